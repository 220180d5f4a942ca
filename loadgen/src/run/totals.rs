//! Totals of a run so far: seconds, latencies, connections, the broker's process.

use std::time::Duration;

use crate::engine::LostGenerator;
use crate::histogram::encode;
use crate::meter::{Count, Counts, Timing, Timings};
use crate::plan::Share;
use crate::results::{IdleCost, Interval, Restart, Saturation, Second, StageResult};
use crate::system;

/// A broker is behind when what it takes so long for has not arrived.
const BEHIND_S: f64 = 0.5;

/// Figures of a run up to now.
#[derive(Default)]
pub(crate) struct RunTotals {
    pub(crate) seconds: Vec<Second>,
    pub(crate) intervals: Vec<Interval>,
    pub(crate) timings: Timings,
    /// Wall time of the load steps.
    pub(crate) load_s: f64,
    /// Counters when the first load began and when the last ended.
    pub(crate) load_counts: (Counts, Counts),
    /// When the last load ended, and when the run did.
    pub(crate) load_ended_ns: u64,
    pub(crate) ended_ns: u64,
    pub(crate) stages: Vec<StageResult>,
    pub(crate) restarts: Vec<Restart>,
    /// Connections opened in connect steps, and the wall time of those.
    pub(crate) connected: u64,
    pub(crate) connect_s: f64,
    pub(crate) idle: Option<IdleCost>,
    pub(crate) broker: Option<BrokerSamples>,
    /// How workers run, when that is worth a note.
    pub(crate) remark: Option<String>,
    /// Why the run ended early.
    pub(crate) stopped: Option<String>,
    /// Clients without a report, since their generator was lost.
    pub(crate) missing: Vec<Share>,
}

impl RunTotals {
    /// A generator was lost, and the run is over.
    pub(crate) fn lose(&mut self, lost: LostGenerator) {
        self.missing.push(lost.share);
        self.stop(lost.sentence);
    }

    /// The run ends early, maybe for one more reason.
    pub(crate) fn stop(&mut self, sentence: String) {
        self.stopped = Some(match self.stopped.take() {
            Some(earlier) => format!("{earlier}; {sentence}"),
            None => sentence,
        });
    }

    /// How far the broker was behind at the end of the load, when that was half a second or more.
    pub(crate) fn saturation(&self, receivers: u64) -> Option<Saturation> {
        let (before, after) = &self.load_counts;
        let during = |count: Count| after.get(count) - before.get(count);
        let (expected, received) = (
            during(Count::Published) * receivers,
            during(Count::Received),
        );
        let backlog = expected.saturating_sub(received);
        let received_per_s = received as f64 / self.load_s.max(1e-9);
        let is_behind = backlog as f64 > received_per_s * BEHIND_S && backlog * 50 > expected;
        is_behind.then_some(Saturation {
            backlog,
            expected,
            received_per_s,
        })
    }

    /// Keeps a second's timings, by themselves and with all others.
    pub(crate) fn end_interval(&mut self, timings: &mut Timings, start_ns: u64, end_ns: u64) {
        let kinds = Timing::ALL
            .into_iter()
            .filter(|timing| *timing != Timing::ScheduleLag);
        for timing in kinds {
            let histogram = timings.of(timing);
            if histogram.is_empty() {
                continue;
            }
            self.intervals.push(Interval {
                start: Duration::from_nanos(start_ns),
                length: Duration::from_nanos(end_ns - start_ns),
                name: timing.name().to_string(),
                histogram: encode(histogram),
            });
        }
        self.timings.merge(timings);
    }
}

/// The broker's process at the beginning of the run and last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BrokerSamples {
    pub(crate) pid: u32,
    pub(crate) first: system::Process,
    pub(crate) last: system::Process,
    pub(crate) rss_kb_max: u64,
}

impl BrokerSamples {
    /// The first sample; `None` when there is no such process.
    pub(crate) fn take(pid: u32) -> Option<Self> {
        let first = system::process(pid)?;
        Some(Self {
            pid,
            first,
            last: first,
            rss_kb_max: first.rss_kb,
        })
    }

    /// One more sample; false when the process has ended.
    pub(crate) fn update(&mut self) -> bool {
        let process = system::process(self.pid);
        if let Some(process) = process {
            self.last = process;
            self.rss_kb_max = self.rss_kb_max.max(process.rss_kb);
        }
        process.is_some()
    }

    /// What it has done up to now is not what the run is about.
    pub(crate) fn begin(&mut self) {
        if let Some(now) = system::process(self.pid) {
            self.first.cpu_ticks = now.cpu_ticks;
        }
    }
}
