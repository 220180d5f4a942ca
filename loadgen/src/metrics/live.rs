//! The figures of a run up to its last second.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::meter::{Counts, Timing, Timings};
use crate::plan::{Options, Plan};
use crate::results::Second;
use crate::system::{self, Process};

/// Seconds that the page shows.
const SECONDS_MAX: usize = 600;
/// Upper ends of the histograms' buckets, in seconds.
pub const BOUNDS_S: [f64; 20] = [
    5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
    20.0, 60.0, 300.0,
];

/// What a run hands over, and others read.
#[derive(Debug, Default)]
pub struct Live(Mutex<Snapshot>);

/// One moment of a run. What is counted never falls, also over the several runs of a search.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub scenario: String,
    pub label: String,
    pub step: String,
    /// Of the plan; `None` when it is not known.
    pub left_s: Option<f64>,
    pub connected: u64,
    /// Of earlier runs, and of this one.
    before: Counts,
    now: Counts,
    /// When this run began, by the seconds of those before it.
    began_s: f64,
    pub seconds: VecDeque<Second>,
    pub histograms: BTreeMap<&'static str, Buckets>,
    pub own: Option<Process>,
    pub broker: Option<Process>,
}

/// A latency's values by the bounds above; what is beyond the last is counted behind it.
#[derive(Clone, Debug, Default)]
pub struct Buckets {
    pub counts: [u64; BOUNDS_S.len() + 1],
    pub sum_s: f64,
}

impl Live {
    /// A run begins, maybe not the first.
    pub(crate) fn begin(&self, plan: &Plan, options: &Options) {
        let mut own = self.lock();
        let now = std::mem::take(&mut own.now);
        own.before.merge(&now);
        own.scenario.clone_from(&plan.scenario);
        own.label = options.label.clone().unwrap_or_else(|| {
            let targets = plan.connection.targets.iter().filter_map(|own| own.first());
            targets
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(",")
        });
        own.began_s = own.seconds.back().map_or(0.0, |second| second.at_s);
    }

    /// A second is over.
    pub(crate) fn second(
        &self,
        (step, left_s): (&str, Option<f64>),
        second: &Second,
        counts: &Counts,
        timings: &mut Timings,
        broker: Option<Process>,
    ) {
        let mut own = self.lock();
        own.step = step.to_string();
        own.left_s = left_s;
        own.connected = second.connected;
        own.now = *counts;
        own.broker = broker;
        own.own = system::usage(std::process::id());
        let at_s = own.began_s + second.at_s;
        own.seconds.push_back(Second {
            at_s,
            buckets: Vec::new(),
            ..second.clone()
        });
        if own.seconds.len() > SECONDS_MAX {
            own.seconds.pop_front();
        }
        for timing in Timing::ALL {
            let histogram = timings.of(timing);
            if !histogram.is_empty() {
                own.histograms
                    .entry(timing.name())
                    .or_default()
                    .add(histogram);
            }
        }
    }

    /// A copy, so that no reader keeps the run waiting.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        // Numbers have no state that half a write could break.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    /// Everything counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = self.before;
        counts.merge(&self.now);
        counts
    }

    /// For the page.
    #[must_use]
    pub fn json(&self) -> String {
        let seconds: Vec<&Second> = self.seconds.iter().collect();
        serde_json::json!({
            "scenario": self.scenario,
            "label": self.label,
            "step": self.step,
            "left_s": self.left_s,
            "seconds": seconds,
        })
        .to_string()
    }
}

impl Buckets {
    fn add(&mut self, histogram: &hdrhistogram::Histogram<u64>) {
        for value in histogram.iter_recorded() {
            let (seconds, count) = (
                value.value_iterated_to() as f64 / 1e9,
                value.count_at_value(),
            );
            let place = BOUNDS_S.partition_point(|bound| *bound < seconds);
            self.counts[place] += count;
            self.sum_s += seconds * count as f64;
        }
    }
}
