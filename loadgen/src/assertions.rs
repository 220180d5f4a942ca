//! Assertions: bounds that a run must keep to count as passed.

use clap::Args;

use crate::payload::HEADER_BYTES;
use crate::plan::{Plan, Publishing};
use crate::results::{Assertion, RunResult};

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
        let mut add = |text: String, passed: bool, measured: String| {
            result.assertions.push(Assertion {
                text,
                passed,
                measured,
            });
        };
        if let Some(bound) = self.p99_ms {
            let latency = [
                "round_trip",
                "end_to_end",
                "last_stored",
                "publish_ack",
                "connect",
            ];
            let latency = latency.iter().find_map(|name| result.latencies.get(*name));
            let measured = latency.map(|latency| latency.p99_us / 1e3);
            let text = measured.map_or("nothing was timed".into(), |ms| format!("{ms:.3}"));
            add(
                format!("p99_ms <= {bound}"),
                measured.is_some_and(|ms| ms <= bound),
                text,
            );
        }
        let truth = &result.truth;
        let counts = [
            ("loss", self.loss, truth.lost),
            ("duplicates", self.duplicates, truth.duplicates),
            ("reordered", self.reordered, truth.reordered),
        ];
        for (name, bound, by_qos) in counts {
            let measured: u64 = by_qos.iter().sum();
            if let Some(bound) = bound {
                add(
                    format!("{name} <= {bound}"),
                    measured <= bound,
                    measured.to_string(),
                );
            }
        }
        if let Some(bound) = self.rate_min {
            let rate = result.totals.received_per_s;
            add(
                format!("rate_min >= {bound}"),
                rate >= bound,
                format!("{rate:.0}"),
            );
        }
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
        let bounds = [
            (
                "p99_ms <= ",
                self.bounds.p99_ms,
                timed.map(|stage| stage.p99_us / 1e3),
            ),
            (
                "rate_min >= ",
                self.bounds.rate_min,
                stage.map(|stage| stage.received_per_s),
            ),
        ];
        for (name, bound, measured) in bounds {
            let Some(bound) = bound else { continue };
            let is_kept = |measured: f64| {
                if name.contains('<') {
                    measured <= bound
                } else {
                    measured >= bound
                }
            };
            result.assertions.push(Assertion {
                text: format!("{}: {name}{bound}", self.stage),
                passed: measured.is_some_and(is_kept),
                measured: measured.map_or("nothing".into(), |value| format!("{value:.3}")),
            });
        }
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
        assert_eq!(passed, [false, false, true, true]);
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
