//! The highest rate that meets an objective: doubled until it fails, then halved in between.

use std::time::Duration;

use crate::audience;
use crate::live::duration;
use crate::plan::{Load, Options, Plan, Step};
use crate::results::{About, FoundRate, RateTry, Reason, RunResult};
use crate::run::run;

/// Halvings of the gap between the last rate that met the objective and the first that did not: the
/// rate found is at most 1/32 of itself below the true one.
const BISECTIONS: u32 = 5;
/// Doublings, or halvings when the first rate fails: enough for any machine.
const DOUBLINGS: u32 = 24;
/// A rate has failed when it fails this often in a row: one hiccup of the machine is no limit.
const TRIES: u32 = 2;
/// The same when the generator was in its own way: that says nothing about the broker.
const GENERATOR_TRIES: u32 = 4;
/// Share of the scheduled messages that must have been sent in their time.
const SENT_MIN: f64 = 0.98;

/// Why a rate does not meet the objective.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Miss {
    Broker(String),
    /// The generator could not do it, so nothing is known about the broker.
    Generator(String),
}

impl Miss {
    fn sentence(&self) -> &str {
        match self {
            Self::Broker(sentence) | Self::Generator(sentence) => sentence,
        }
    }
}

/// The highest rate that met the objective, and why the next did not.
#[derive(Debug)]
struct Found<T> {
    rate: f64,
    best: T,
    miss: Option<Miss>,
}

/// Runs a plan at rising rates; the result of the highest that met the objective.
///
/// # Errors
/// A sentence when the plan has no rate, or no rate meets the objective.
pub(super) fn find_max(plan: &Plan, options: &Options, p99: Duration) -> Result<RunResult, String> {
    let rate = first_rate(plan).ok_or("--find-max needs an open loop: give --rate above 0")?;
    let receivers = audience::receivers_per_message(plan).unwrap_or(0);
    let mut best_so_far: Option<(f64, RunResult)> = None;
    let mut last: Option<(RunResult, Option<Miss>)> = None;
    let mut tries = Vec::new();
    let searched = search(rate, |rate| {
        let result = run(at_rate(plan, rate), options)?;
        if let Some(sentence) = unfinished(&result) {
            return Err(format!("while looking for the highest rate: {sentence}"));
        }
        let missed = miss(&result, rate, receivers, p99);
        let verdict = missed
            .as_ref()
            .map_or("meets the objective", Miss::sentence);
        println!("{rate:>12.0} per second: {verdict}");
        tries.push(RateTry {
            rate_per_s: rate,
            met: missed.is_none(),
            verdict: verdict.to_string(),
        });
        let is_best = best_so_far.as_ref().is_none_or(|(best, _)| rate > *best);
        if missed.is_none() && is_best {
            best_so_far = Some((rate, result.clone()));
        }
        last = Some((result.clone(), missed.clone()));
        Ok(missed.map_or(Ok(result), Err))
    });
    let found = match (searched, best_so_far, last) {
        (Ok(found), ..) => found,
        (Err(sentence), Some((rate, best)), _) => return Ok(cut_short(rate, best, sentence)),
        (Err(sentence), None, Some((mut last, Some(Miss::Generator(_))))) => {
            last.notes.push(format!("inconclusive: {sentence}"));
            last.inconclusive = true;
            return Ok(last);
        }
        (Err(sentence), ..) => return Err(sentence),
    };
    Ok(concluded(found, p99, tries))
}

/// The result of the best try, with what was found.
fn concluded(found: Found<RunResult>, p99: Duration, tries: Vec<RateTry>) -> RunResult {
    let mut best = found.best;
    let objective = duration(p99.as_secs_f64() * 1e6);
    best.notes.push(format!(
        "highest rate found with p99 below {objective}: {:.0} messages per second",
        found.rate
    ));
    best.found = Some(FoundRate {
        found_rate_per_s: found.rate,
        objective_p99_us: p99.as_secs_f64() * 1e6,
        limit: found.miss.as_ref().map(|miss| miss.sentence().to_string()),
        tries,
    });
    match found.miss {
        Some(Miss::Generator(sentence)) => {
            best.inconclusive = true;
            best.generator.is_bottleneck = true;
            best.generator.reasons.push(Reason {
                about: About::Rate,
                sentence: format!(
                    "above this rate the generator was the limit, and the broker may take more: {sentence}"
                ),
            });
        }
        Some(Miss::Broker(sentence)) => best.notes.push(format!("above this rate: {sentence}")),
        None => {}
    }
    best
}

/// Why a run is no try: it was interrupted, or its broker is away. One that was cut off while the broker
/// was still delivering is a try that failed.
fn unfinished(result: &RunResult) -> Option<&String> {
    let is_late = result.truth.cut_off.iter().any(|count| *count > 0);
    let is_there = result.totals.disconnected + result.totals.connect_failed == 0;
    let is_stopped = result.interrupted.as_deref() == Some("interrupted");
    let may_count = is_late && is_there && !is_stopped;
    result.interrupted.as_ref().filter(|_| !may_count)
}

/// The best rate so far, of a search that was cut short.
fn cut_short(rate: f64, mut best: RunResult, sentence: String) -> RunResult {
    best.notes.push(format!(
        "the highest rate tried that met the objective: {rate:.0} messages per second"
    ));
    best.errors.insert(sentence.clone(), 1);
    best.interrupted = Some(sentence);
    best
}

/// Looks for the highest rate at which `attempt` succeeds. An error of `attempt` itself ends the search.
fn search<T>(
    first: f64,
    mut attempt: impl FnMut(f64) -> Result<Result<T, Miss>, String>,
) -> Result<Found<T>, String> {
    let mut attempt = |rate| {
        let mut result = attempt(rate)?;
        for tries in 1..GENERATOR_TRIES {
            let again = match &result {
                Ok(_) => false,
                Err(Miss::Broker(_)) => tries < TRIES,
                Err(Miss::Generator(_)) => true,
            };
            if !again {
                break;
            }
            result = attempt(rate)?;
        }
        Ok::<_, String>(result)
    };
    let (mut next, mut low, mut high) = (first, None, None);
    for _ in 0..DOUBLINGS {
        match attempt(next)? {
            Ok(best) => {
                low = Some((next, best));
                if high.is_some() {
                    break;
                }
                next *= 2.0;
            }
            Err(miss) => {
                high = Some((next, miss));
                if low.is_some() {
                    break;
                }
                next /= 2.0;
            }
        }
    }
    let Some((mut rate, mut best)) = low else {
        let sentence = high.map_or(String::new(), |(_, miss)| miss.sentence().to_string());
        return Err(format!(
            "{:.0} messages per second already miss the objective: {sentence}",
            next * 2.0
        ));
    };
    let Some((mut failing, mut miss)) = high else {
        return Ok(Found {
            rate,
            best,
            miss: None,
        });
    };
    for _ in 0..BISECTIONS {
        let middle = (rate + failing) / 2.0;
        match attempt(middle)? {
            Ok(result) => (rate, best) = (middle, result),
            Err(reason) => (failing, miss) = (middle, reason),
        }
    }
    Ok(Found {
        rate,
        best,
        miss: Some(miss),
    })
}

pub(super) fn first_rate(plan: &Plan) -> Option<f64> {
    let loads = plan.steps.iter().filter_map(|step| match step {
        Step::Load(load) => Some(&load.groups),
        _ => None,
    });
    loads.flatten().find_map(|(_, load)| match load {
        Load::Open { from_per_s, .. } if *from_per_s > 0.0 => Some(*from_per_s),
        _ => None,
    })
}

pub(super) fn at_rate(plan: &Plan, rate: f64) -> Plan {
    let mut plan = plan.clone();
    for step in &mut plan.steps {
        let Step::Load(step) = step else {
            continue;
        };
        for (_, load) in &mut step.groups {
            if let Load::Open {
                from_per_s,
                to_per_s,
                ..
            } = load
            {
                (*from_per_s, *to_per_s) = (rate, rate);
            }
        }
    }
    plan
}

/// Why a run misses the objective; `None` when it does not. What the generator was late is in the latency:
/// a run that meets the objective all the same has met it.
fn miss(result: &RunResult, rate: f64, receivers: u64, p99: Duration) -> Option<Miss> {
    let whose = |sentence: String| {
        if result.generator.is_bottleneck {
            let reasons = result.generator.reasons.iter();
            let own: Vec<&str> = reasons.map(|reason| &reason.sentence[..]).collect();
            let own = own.join("; ");
            Miss::Generator(format!("{sentence}, but {own}"))
        } else {
            Miss::Broker(sentence)
        }
    };
    let broken = result.truth.broken_promises.first();
    if let Some(sentence) = broken {
        return Some(Miss::Broker(sentence.clone()));
    }
    let lost: u64 = result.truth.lost.iter().sum();
    if lost > 0 {
        return Some(Miss::Broker(format!("{lost} messages were lost")));
    }
    let timed = ["end_to_end", "round_trip", "publish_ack"]
        .iter()
        .filter_map(|name| result.latencies.get(*name));
    let (mut worst, mut middle) = (0.0_f64, 0.0_f64);
    for latency in timed {
        worst = worst.max(latency.p99_us);
        middle = middle.max(latency.p50_us);
    }
    if worst > p99.as_secs_f64() * 1e6 {
        return Some(whose(format!("p99 is {}", duration(worst))));
    }
    let sent = result.totals.published_per_s;
    if sent < rate * SENT_MIN {
        return Some(whose(format!("only {sent:.0} per second could be sent")));
    }
    // What is sent at the end of the load arrives after it.
    let in_time = (1.0 - middle / 1e6 / result.duration_s.max(1e-9)).max(0.0);
    let received = result.totals.received_per_s;
    if received < rate * receivers as f64 * SENT_MIN * in_time {
        return Some(whose(format!(
            "only {received:.0} per second were received"
        )));
    }
    if !result.errors.is_empty() {
        let sentences: Vec<_> = result.errors.keys().cloned().collect();
        return Some(whose(sentences.join("; ")));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Latency;

    /// A broker that takes up to `capacity`; its tries, too.
    fn search_for(first: f64, capacity: f64) -> (Result<Found<f64>, String>, Vec<f64>) {
        let mut tries = Vec::new();
        let found = search(first, |rate| {
            tries.push(rate);
            Ok(if rate <= capacity {
                Ok(rate)
            } else {
                Err(Miss::Broker("too much".into()))
            })
        });
        (found, tries)
    }

    #[test]
    fn the_capacity_is_found_from_below_and_from_above() {
        for first in [1.0, 900.0, 1_000.0, 64_000.0, 10_000_000.0] {
            for capacity in [1_000.0, 65_432.1, 1e6] {
                let (found, tries) = search_for(first, capacity);
                let found = found.unwrap();
                assert_eq!(found.best, found.rate, "the result is the rate's own");
                let missing = (capacity - found.rate) / capacity;
                assert!((0.0..=1.0 / 32.0).contains(&missing), "{first}: {found:?}");
                assert_eq!(found.miss, Some(Miss::Broker("too much".into())));
                assert!(tries.len() < 50, "{tries:?}");
            }
        }
    }

    #[test]
    fn a_broker_that_takes_nothing_ends_the_search() {
        let (found, tries) = search_for(1_000.0, 0.0);
        assert!(found.unwrap_err().contains("miss the objective: too much"));
        assert_eq!(tries.len(), (DOUBLINGS * TRIES) as usize);
    }

    #[test]
    fn a_broker_that_takes_everything_ends_it_too() {
        let found = search_for(1.0, f64::MAX).0.unwrap();
        assert_eq!(found.miss, None);
    }

    #[test]
    fn one_hiccup_is_no_limit() {
        let mut count = 0;
        let found = search(1_000.0, |rate| {
            count += 1;
            Ok(if count == 3 || rate > 50_000.0 {
                Err(Miss::Broker("hiccup".into()))
            } else {
                Ok(())
            })
        });
        assert!(found.unwrap().rate > 48_000.0);
    }

    #[test]
    fn errors_end_the_search_at_once() {
        let mut count = 0;
        let found = search::<()>(1.0, |_| {
            count += 1;
            Err("the broker is gone".into())
        });
        assert_eq!(
            (found.unwrap_err(), count),
            ("the broker is gone".into(), 1)
        );
    }

    #[test]
    fn what_the_generator_could_not_do_is_no_limit_of_the_broker() {
        let found = |miss| Found {
            rate: 1_000.0,
            best: RunResult::default(),
            miss,
        };
        let concluded = |miss| concluded(found(miss), Duration::from_millis(5), Vec::new());
        let own = concluded(Some(Miss::Generator("it was late".into())));
        assert!(own.inconclusive && own.generator.is_bottleneck);
        assert!(own.generator.reasons[0]
            .sentence
            .contains("the broker may take more: it was late"));
        let brokers = concluded(Some(Miss::Broker("p99 is 6 ms".into())));
        assert!(!brokers.inconclusive && !brokers.generator.is_bottleneck);
        assert_eq!(brokers.notes[1], "above this rate: p99 is 6 ms");
        for result in [own, brokers, concluded(None)] {
            let found = result.found.unwrap();
            assert_eq!(
                (found.found_rate_per_s, found.objective_p99_us),
                (1_000.0, 5_000.0)
            );
            let note = "highest rate found with p99 below 5.00 ms: 1000 messages per second";
            assert_eq!(result.notes[0], note);
        }
    }

    #[test]
    fn a_run_misses_for_its_own_reason() {
        let p99 = Duration::from_millis(10);
        let mut result = RunResult::default();
        result.totals.published_per_s = 1_000.0;
        let latency = |p99_us| Latency {
            p99_us,
            ..Latency::default()
        };
        result
            .latencies
            .insert("end_to_end".into(), latency(9_999.0));
        (result.totals.received_per_s, result.duration_s) = (2_000.0, 1.0);
        assert_eq!(miss(&result, 1_000.0, 2, p99), None);
        let sentence = |result: &RunResult| miss(result, 1_000.0, 2, p99).unwrap();
        let mut behind = result.clone();
        behind.totals.received_per_s = 1_950.0;
        assert_eq!(
            sentence(&behind),
            Miss::Broker("only 1950 per second were received".into())
        );
        let mut late = result.clone();
        late.generator.is_bottleneck = true;
        assert_eq!(miss(&late, 1_000.0, 2, p99), None, "it meets the objective");
        let own = late.latencies.get_mut("end_to_end").unwrap();
        own.p99_us = 10_001.0;
        assert!(matches!(sentence(&late), Miss::Generator(_)));
        let mut slow = result.clone();
        slow.latencies
            .insert("publish_ack".into(), latency(10_001.0));
        assert_eq!(sentence(&slow), Miss::Broker("p99 is 10.00 ms".into()));
        let mut short = result.clone();
        short.totals.published_per_s = 979.0;
        assert_eq!(
            sentence(&short),
            Miss::Broker("only 979 per second could be sent".into())
        );
        result.truth.lost[0] = 1;
        assert_eq!(
            sentence(&result),
            Miss::Broker("1 messages were lost".into())
        );
    }
}
