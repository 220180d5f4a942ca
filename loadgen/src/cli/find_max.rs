//! The highest rate that meets an objective: doubled until it fails, then halved in between.

use std::time::Duration;

use crate::live::duration;
use crate::plan::{Load, Plan, Step};
use crate::results::RunResult;
use crate::run::{run, Options};

/// Tries between the last rate that met the objective and the first that did not.
const BISECTIONS: u32 = 5;
/// Doublings before giving up: enough for any machine.
const DOUBLINGS: u32 = 24;
/// Share of the scheduled messages that must have been sent in their time.
const SENT_MIN: f64 = 0.98;

/// Runs a plan at rising rates; the result of the highest that met the objective.
///
/// # Errors
/// A sentence when the plan has no rate, or the first rate already fails.
pub(super) fn find_max(plan: &Plan, options: &Options, p99: Duration) -> Result<RunResult, String> {
    let rate = first_rate(plan).ok_or("--find-max needs an open loop: give --rate above 0")?;
    let (mut best, mut low, mut high) = (None, 0.0, None);
    let mut next = rate;
    for _ in 0..DOUBLINGS + BISECTIONS {
        let result = run(at_rate(plan, next), options)?;
        let failed = miss(&result, next, p99);
        println!(
            "{next:>12.0} per second: {}",
            failed.as_deref().unwrap_or("meets the objective")
        );
        match failed {
            None => {
                low = next;
                best = Some(result);
            }
            Some(sentence) => {
                if low == 0.0 {
                    return Err(format!(
                        "{next:.0} messages per second already miss the objective: {sentence}"
                    ));
                }
                high = Some(next);
            }
        }
        next = high.map_or(low * 2.0, |high| (low + high) / 2.0);
        if high.is_some_and(|high| high - low < low / 2_f64.powi(BISECTIONS as i32)) {
            break;
        }
    }
    let mut best = best.ok_or("no rate met the objective")?;
    let objective = duration(p99.as_secs_f64() * 1e6);
    best.notes.push(format!(
        "highest rate found with p99 below {objective}: {low:.0} messages per second"
    ));
    Ok(best)
}

fn first_rate(plan: &Plan) -> Option<f64> {
    let loads = plan.steps.iter().filter_map(|step| match step {
        Step::Load(load) => Some(&load.groups),
        _ => None,
    });
    loads.flatten().find_map(|(_, load)| match load {
        Load::Open { from_per_s, .. } if *from_per_s > 0.0 => Some(*from_per_s),
        _ => None,
    })
}

fn at_rate(plan: &Plan, rate: f64) -> Plan {
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

/// Why a run misses the objective; `None` when it does not.
fn miss(result: &RunResult, rate: f64, p99: Duration) -> Option<String> {
    if !result.errors.is_empty() {
        return Some(result.errors.keys().cloned().collect::<Vec<_>>().join("; "));
    }
    let lost: u64 = result.truth.lost.iter().sum();
    if lost > 0 {
        return Some(format!("{lost} messages were lost"));
    }
    if let Some(sentence) = result.truth.broken_promises.first() {
        return Some(sentence.clone());
    }
    if result.generator.is_bottleneck {
        return Some(format!(
            "the generator was the limit: {}",
            result.generator.reasons.join("; ")
        ));
    }
    if result.totals.published_per_s < rate * SENT_MIN {
        return Some(format!(
            "only {:.0} per second could be sent",
            result.totals.published_per_s
        ));
    }
    let objective_us = p99.as_secs_f64() * 1e6;
    let worst = ["end_to_end", "round_trip"]
        .iter()
        .filter_map(|name| result.latencies.get(*name));
    let worst = worst.map(|latency| latency.p99_us).fold(0.0, f64::max);
    (worst > objective_us).then(|| format!("p99 is {}", duration(worst)))
}
