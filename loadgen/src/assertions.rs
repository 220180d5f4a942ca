//! Assertions: bounds that a run must keep to count as passed.

use clap::Args;

use crate::payload::HEADER_BYTES;
use crate::plan::{Plan, Publishing};
use crate::results::{Assertion, Latency, RunResult};

/// Bounds; those not given are not checked.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Assertions {
    /// Fails when the 99th percentile of the latency is above this many milliseconds
    #[arg(long = "assert-p99-ms", value_name = "MS")]
    pub p99_ms: Option<f64>,
    /// Fails when more messages than this are lost
    #[arg(long = "assert-loss", value_name = "MESSAGES")]
    pub loss: Option<u64>,
    /// Fails when more messages than this come more than once
    #[arg(long = "assert-duplicates", value_name = "MESSAGES")]
    pub duplicates: Option<u64>,
    /// Fails when more messages than this come after a later one
    #[arg(long = "assert-reordered", value_name = "MESSAGES")]
    pub reordered: Option<u64>,
    /// Fails when fewer messages than this are received per second
    #[arg(long = "assert-rate-min", value_name = "PER_S")]
    pub rate_min: Option<f64>,
}

impl Assertions {
    /// # Errors
    /// A sentence when the payloads of the plan do not show what is asked for.
    pub fn fit(&self, plan: &Plan) -> Result<(), String> {
        let mut publishing = plan
            .groups
            .iter()
            .filter_map(|group| group.publishing.as_ref());
        let is_short = publishing.any(Publishing::is_unproven);
        if is_short && (self.duplicates.is_some() || self.reordered.is_some()) {
            return Err(format!(
                "--assert-duplicates and --assert-reordered need payloads of {HEADER_BYTES} bytes or more, \
                 or of your own with a proof: others do not tell which message they are"
            ));
        }
        Ok(())
    }

    /// Checks a result; adds one line per bound to it.
    pub fn check(&self, result: &mut RunResult) {
        let truth = &result.truth;
        let sum = |by_qos: [u64; 3]| Some(by_qos.iter().sum::<u64>() as f64);
        let latency = main_latency(result).map(|latency| latency.p99_us / 1e3);
        let count = |bound: Option<u64>| bound.map(|bound| bound as f64);
        let rows = [
            ("p99_ms", self.p99_ms, latency),
            ("loss", count(self.loss), sum(truth.lost)),
            ("duplicates", count(self.duplicates), sum(truth.duplicates)),
            ("reordered", count(self.reordered), sum(truth.reordered)),
            (
                "rate_min",
                self.rate_min,
                Some(result.totals.received_per_s),
            ),
        ];
        let judged =
            rows.map(|(metric, bound, measured)| Some(judged(None, metric, bound?, measured)));
        result.assertions.extend(judged.into_iter().flatten());
    }
}

/// The latency that a bound is about.
fn main_latency(result: &RunResult) -> Option<&Latency> {
    let names = [
        "round_trip",
        "end_to_end",
        "last_stored",
        "publish_ack",
        "connect",
    ];
    names.iter().find_map(|name| result.latencies.get(*name))
}

/// A bound beside what was measured; where nothing was, it is not kept.
fn judged(stage: Option<&str>, metric: &str, bound: f64, measured: Option<f64>) -> Assertion {
    let (sign, is_kept): (_, fn(f64, f64) -> bool) = if metric == "rate_min" {
        (">=", |measured, bound| measured >= bound)
    } else {
        ("<=", |measured, bound| measured <= bound)
    };
    let of = stage.map_or(String::new(), |stage| format!("{stage}: "));
    Assertion {
        text: format!("{of}{metric} {sign} {bound}"),
        stage: stage.map(str::to_string),
        metric: metric.to_string(),
        bound,
        measured,
        passed: measured.is_some_and(|measured| is_kept(measured, bound)),
    }
}

/// Bounds of one stage: of `p99_ms` and `rate_min`.
#[derive(Clone, Debug)]
pub struct StageAssertions {
    pub stage: String,
    pub bounds: Assertions,
}

impl StageAssertions {
    /// Checks a result; adds one line per bound to it. A stage that was not reached has failed.
    pub fn check(&self, result: &mut RunResult) {
        let stage = result.stages.iter().find(|stage| stage.name == self.stage);
        let timed = stage.filter(|stage| stage.timed.is_some());
        let rows = [
            (
                "p99_ms",
                self.bounds.p99_ms,
                timed.map(|stage| stage.p99_us / 1e3),
            ),
            (
                "rate_min",
                self.bounds.rate_min,
                stage.map(|stage| stage.received_per_s),
            ),
        ];
        let judged = rows.map(|(metric, bound, measured)| {
            Some(judged(Some(&self.stage), metric, bound?, measured))
        });
        result.assertions.extend(judged.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_checked_one_by_one() {
        let mut result = RunResult::default();
        result.truth.lost = [1, 1, 0];
        result.totals.received_per_s = 10.0;
        let bounds = Assertions {
            loss: Some(1),
            duplicates: Some(0),
            rate_min: Some(10.0),
            p99_ms: Some(1.0),
            ..Assertions::default()
        };
        bounds.check(&mut result);
        let passed: Vec<bool> = result
            .assertions
            .iter()
            .map(|assertion| assertion.passed)
            .collect();
        assert_eq!(
            passed,
            [false, false, true, true],
            "in the order of their options"
        );
    }

    #[test]
    fn stages_have_bounds_of_their_own() {
        let stage = |name: &str, timed: Option<&str>| crate::results::StageResult {
            name: name.into(),
            timed: timed.map(str::to_string),
            p99_us: 2_000.0,
            received_per_s: 10.0,
            ..Default::default()
        };
        let mut result = RunResult {
            stages: vec![stage("a", Some("end_to_end")), stage("b", None)],
            ..RunResult::default()
        };
        for (stage, p99_ms, rate_min) in [
            ("a", 2.0, 10.0),
            ("a", 1.9, 11.0),
            ("b", 3.0, 1.0),
            ("c", 3.0, 0.0),
        ] {
            let bounds = Assertions {
                p99_ms: Some(p99_ms),
                rate_min: Some(rate_min),
                ..Assertions::default()
            };
            let stage = stage.to_string();
            StageAssertions { stage, bounds }.check(&mut result);
        }
        let passed: Vec<bool> = result.assertions.iter().map(|own| own.passed).collect();
        let expected = [true, true, false, false, false, true, false, false];
        assert_eq!(passed, expected, "{:?}", result.assertions);
    }
}
