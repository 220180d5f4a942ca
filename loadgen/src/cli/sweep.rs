//! A row of rates, each measured alone: a run of its own, with connections of its own.

use std::time::Duration;

use super::find_max::{at_rate, first_rate};
use crate::options::Sweep;
use crate::output::main_latency;
use crate::plan::{Options, Plan, Step};
use crate::results::{RunResult, SweepStep};
use crate::run::run;

/// Runs a plan at each rate for `time`. The result is the last run's, with a step for each rate, the
/// seconds of all, and what went wrong in any of them.
///
/// # Errors
/// A sentence when the plan has no rate or a run cannot begin.
pub(super) fn sweep(
    plan: &Plan,
    options: &Options,
    sweep: Sweep,
    time: Duration,
) -> Result<RunResult, String> {
    first_rate(plan).ok_or("--sweep needs an open loop: leave --max out")?;
    let mut all: Option<RunResult> = None;
    for rate in sweep.rates() {
        let result = run(lasting(at_rate(plan, rate), time), options)?;
        let step = step(rate, &result);
        let is_over = result.interrupted.is_some();
        let mut result = join(all.take(), result);
        result.steps.push(step);
        all = Some(result);
        if is_over {
            break;
        }
    }
    let mut result = all.ok_or("a sweep has at least one rate")?;
    result.notes.push(format!(
        "a sweep of {} rates; the totals and latencies are those of the last",
        result.steps.len()
    ));
    Ok(result)
}

fn lasting(mut plan: Plan, time: Duration) -> Plan {
    for step in &mut plan.steps {
        if let Step::Load(load) = step {
            load.time = time;
        }
    }
    plan
}

fn step(rate_per_s: f64, result: &RunResult) -> SweepStep {
    let latency = main_latency(result).cloned().unwrap_or_default();
    let truth = &result.truth;
    SweepStep {
        rate_per_s,
        published_per_s: result.totals.published_per_s,
        received_per_s: result.totals.received_per_s,
        p50_us: latency.p50_us,
        p99_us: latency.p99_us,
        p999_us: latency.p999_us,
        max_us: latency.max_us,
        lost: truth.lost.iter().sum(),
        duplicates: truth.duplicates.iter().sum(),
        reordered: truth.reordered.iter().sum(),
        errors: result.errors.values().sum(),
        is_generator_limit: result.generator.is_bottleneck,
    }
}

/// The later result with what must not be forgotten of the earlier ones.
fn join(earlier: Option<RunResult>, mut later: RunResult) -> RunResult {
    let Some(earlier) = earlier else {
        return later;
    };
    let began_s = earlier.series.last().map_or(0.0, |second| second.at_s);
    for second in &mut later.series {
        second.at_s += began_s;
    }
    later.series.splice(0..0, earlier.series);
    for (sentence, count) in earlier.errors {
        *later.errors.entry(sentence).or_default() += count;
    }
    let promises = &mut later.truth.broken_promises;
    promises.splice(0..0, earlier.truth.broken_promises);
    later.steps = earlier.steps;
    later.started_unix_ms = earlier.started_unix_ms;
    later
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_earlier_is_kept() {
        let mut earlier = RunResult::default();
        earlier.errors.insert("a".into(), 2);
        earlier.truth.broken_promises.push("b".into());
        earlier.series.push(crate::results::Second {
            at_s: 3.0,
            ..Default::default()
        });
        let mut later = earlier.clone();
        later.series[0].at_s = 1.0;
        let joined = join(Some(earlier), later);
        assert_eq!(joined.errors["a"], 4);
        assert_eq!(joined.truth.broken_promises.len(), 2);
        let times: Vec<f64> = joined.series.iter().map(|second| second.at_s).collect();
        assert_eq!(times, [3.0, 4.0]);
    }
}
