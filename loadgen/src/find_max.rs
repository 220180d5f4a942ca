//! Searches for the highest rate at which a plan meets its objective.

use std::time::Duration;

use crate::plan::{Load, Plan, Step};
use crate::results::RunResult;
use crate::run::{run, Options};

/// Rates closer together than this part of the lower one are not told apart.
const PRECISION: f64 = 0.03;
/// Runs after which the search gives what it has.
const RUNS_MAX: usize = 30;
/// Part of the offered rate that must be published and received.
const KEPT_UP: f64 = 0.98;

/// Brackets the highest good rate: doubles until one fails, then halves the distance.
#[derive(Clone, Copy, Debug)]
struct Search {
    good: Option<f64>,
    bad: Option<f64>,
    next: f64,
}

impl Search {
    fn new(first: f64) -> Self {
        Self {
            good: None,
            bad: None,
            next: first,
        }
    }

    /// Takes the outcome at `next`; the rate to try then, `None` at the end.
    fn outcome(&mut self, met: bool) -> Option<f64> {
        let place = if met { &mut self.good } else { &mut self.bad };
        *place = Some(self.next);
        self.next = match (self.good, self.bad) {
            (Some(good), None) => good * 2.0,
            (None, Some(bad)) if bad < 2.0 => return None,
            (None, Some(bad)) => bad / 2.0,
            (Some(good), Some(bad)) if bad <= good * (1.0 + PRECISION) => return None,
            (Some(good), Some(bad)) => (good * bad).sqrt(),
            (None, None) => self.next,
        };
        Some(self.next)
    }
}

/// A plan with its open loads at this rate.
fn at_rate(plan: &Plan, per_s: f64) -> Plan {
    let mut plan = plan.clone();
    for step in &mut plan.steps {
        if let Step::Load(load) = step {
            for (_, load) in &mut load.groups {
                if let Load::Open {
                    from_per_s,
                    to_per_s,
                    ..
                } = load
                {
                    (*from_per_s, *to_per_s) = (per_s, per_s);
                }
            }
        }
    }
    plan.seed = plan.seed.wrapping_add(per_s as u64); // sessions of the runs do not meet
    plan
}

/// True when the run kept the rate, lost nothing and met the latency.
fn is_met(result: &RunResult, per_s: f64, p99: Duration) -> bool {
    let truth = &result.truth;
    let latency = ["round_trip", "end_to_end"]
        .iter()
        .find_map(|name| result.latencies.get(*name));
    result.errors.is_empty()
        && truth.broken_promises.is_empty()
        && truth.lost.iter().sum::<u64>() == 0
        && result.totals.published_per_s >= per_s * KEPT_UP
        && latency.is_some_and(|latency| latency.p99_us <= p99.as_secs_f64() * 1e6)
}

/// Runs the plan at rising rates; the best result, with the search in its notes.
///
/// # Errors
/// A sentence when the plan has no open-loop rate, cannot run, or never meets the objective.
pub fn find_max(plan: &Plan, p99: Duration, options: &Options) -> Result<RunResult, String> {
    let first_per_s = plan.steps.iter().find_map(|step| match step {
        Step::Load(load) => load.groups.iter().find_map(|(_, load)| match load {
            Load::Open { from_per_s, .. } => Some(*from_per_s),
            _ => None,
        }),
        _ => None,
    });
    let first_per_s = first_per_s.ok_or(
        "--find-max needs an open-loop rate to begin with: give --rate and leave out --max",
    )?;
    let mut search = Search::new(first_per_s.max(1.0));
    let mut best: Option<RunResult> = None;
    let mut history = Vec::new();
    let mut generator_limit = false;
    for _ in 0..RUNS_MAX {
        let per_s = search.next;
        let result = run(at_rate(plan, per_s), options)?;
        let met = is_met(&result, per_s, p99);
        let latency = ["round_trip", "end_to_end"]
            .iter()
            .find_map(|name| result.latencies.get(*name));
        let p99_us = latency.map_or(0.0, |latency| latency.p99_us);
        let line = format!(
            "{per_s:.0} per second: {} (p99 {})",
            if met { "met" } else { "not met" },
            crate::live::duration(p99_us)
        );
        eprintln!("find-max: {line}");
        history.push(line);
        generator_limit |= !met && result.generator.is_bottleneck;
        if result.errors.contains_key("interrupted") {
            break;
        }
        if met {
            best = Some(result);
        }
        if search.outcome(met).is_none() {
            break;
        }
    }
    let mut best = best.ok_or("no rate met the objective")?;
    if generator_limit {
        best.generator.is_bottleneck = true;
        best.generator
            .reasons
            .push("a higher rate failed while the generator itself was late or busy".into());
    }
    best.notes.extend(history);
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(first: f64, limit: f64) -> (f64, usize) {
        let mut search = Search::new(first);
        let mut runs = 1;
        while search.outcome(search.next <= limit).is_some() {
            runs += 1;
            assert!(runs < RUNS_MAX);
        }
        (search.good.unwrap_or(0.0), runs)
    }

    #[test]
    fn finds_the_limit_from_below_and_above() {
        for first in [10.0, 1_000.0, 1e6] {
            let (found, _) = search(first, 12_345.0);
            assert!((12_345.0 / 1.04..=12_345.0).contains(&found), "{found}");
        }
    }

    #[test]
    fn ends_when_nothing_is_met() {
        assert_eq!(search(100.0, 0.0).0, 0.0);
    }
}
