//! Figures that two sides are compared by.

use crate::output::main_latency;
use crate::results::{About, Latency, Reason, RunResult};

/// A figure of a run.
#[derive(Debug)]
pub(super) struct Figure {
    /// As in `--max-regression NAME=5%`.
    pub(super) name: &'static str,
    pub(super) more_is_better: bool,
    /// A bound without a name is for this one, too.
    pub(super) is_usual: bool,
    pub(super) of: fn(&RunResult) -> Option<f64>,
    /// The generator's own trouble that this figure suffers from.
    spoiled_by: Trouble,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// None: the broker's process is measured.
    None,
    /// A worker that was the limit.
    Limit,
    /// That, or lateness that makes up most of the latency's tail.
    Lateness,
}

const fn figure(
    name: &'static str,
    more_is_better: bool,
    is_usual: bool,
    spoiled_by: Trouble,
    of: fn(&RunResult) -> Option<f64>,
) -> Figure {
    Figure {
        name,
        more_is_better,
        is_usual,
        of,
        spoiled_by,
    }
}

pub(super) const FIGURES: &[Figure] = &[
    figure("rate", true, true, Trouble::Limit, rate),
    figure("p50", false, true, Trouble::Limit, |run| {
        time(run, |latency| latency.p50_us)
    }),
    figure("p99", false, true, Trouble::Lateness, |run| {
        time(run, |latency| latency.p99_us)
    }),
    figure("p99.9", false, false, Trouble::Lateness, |run| {
        time(run, |latency| latency.p999_us)
    }),
    figure("cpu", false, false, Trouble::None, cpu_ns),
    figure("memory", false, false, Trouble::None, |run| {
        run.broker.as_ref().map(|broker| broker.rss_kb_max as f64)
    }),
];

/// What the rate of a run is: that found, or of what came, or was sent, or of connections.
pub(super) fn rate_name(run: &RunResult) -> &'static str {
    match &run.totals {
        _ if run.found.is_some() => "highest rate/s",
        totals if totals.received > 0 => "received/s",
        totals if totals.published > 0 => "published/s",
        _ => "connected/s",
    }
}

fn rate(run: &RunResult) -> Option<f64> {
    let rate = match rate_name(run) {
        "highest rate/s" => run.found.as_ref()?.found_rate_per_s,
        "received/s" => run.totals.received_per_s,
        "published/s" => run.totals.published_per_s,
        _ => run.totals.connected_per_s,
    };
    (rate > 0.0).then_some(rate)
}

fn time(run: &RunResult, value: fn(&Latency) -> f64) -> Option<f64> {
    main_latency(run).map(value)
}

fn cpu_ns(run: &RunResult) -> Option<f64> {
    let messages = run.totals.received.max(run.totals.published);
    let broker = run.broker.as_ref().filter(|_| messages > 0)?;
    Some(broker.cpu_s * 1e9 / messages as f64)
}

impl Figure {
    /// The generator's own trouble in a run, when it makes this figure.
    pub(super) fn is_spoiled(&self, run: &RunResult) -> bool {
        let reasons = &run.generator.reasons;
        let is_late = |reason: &Reason| reason.about == About::Latency;
        match self.spoiled_by {
            Trouble::None => false,
            Trouble::Limit => reasons.iter().any(|reason| !is_late(reason)),
            Trouble::Lateness => !reasons.is_empty(),
        }
    }

    pub(super) fn shown(&self, value: f64) -> String {
        match self.name {
            "rate" => format!("{value:.0}"),
            "cpu" => format!("{value:.0} ns"),
            "memory" => format!("{value:.0} KB"),
            _ => crate::live::duration(value),
        }
    }
}
