//! Columns of result tables, each with its heading and figure, for text and for the HTML page.

use Figure::{Count, Latency, Nanoseconds, Rate, Ratio, Text, Time};

use crate::results::{self, RunResult, StageResult, SweepStep};

/// A value of a table, formatted by the medium that shows it.
pub(super) enum Figure {
    /// Per second.
    Rate(f64),
    /// Microseconds; `None` when nothing was timed.
    Latency(Option<f64>),
    Nanoseconds(Option<f64>),
    /// Seconds since the beginning of the run.
    Time(f64),
    Ratio(Option<f64>),
    Count(u64),
    Text(&'static str),
    Name(String),
}

/// Tables that a column is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    Both,
    Terminal,
    Page,
}

pub(super) struct Column<T> {
    pub(super) heading: &'static str,
    pub(super) figure: fn(&T) -> Figure,
    medium: Medium,
    /// Only in terminals wider than [`NARROW`].
    is_wide: bool,
}

/// Columns of a narrow terminal, in which tables leave out what can be done without.
const NARROW: usize = 110;

const fn column<T>(heading: &'static str, figure: fn(&T) -> Figure) -> Column<T> {
    only(Medium::Both, heading, figure)
}

const fn only<T>(medium: Medium, heading: &'static str, figure: fn(&T) -> Figure) -> Column<T> {
    Column {
        heading,
        figure,
        medium,
        is_wide: false,
    }
}

/// Left out in narrow terminals.
const fn wide<T>(mut column: Column<T>) -> Column<T> {
    column.is_wide = true;
    column
}

/// The columns of a table in one medium; `width` is that of a terminal.
pub(super) fn of<T>(
    columns: &[Column<T>],
    medium: Medium,
    width: Option<usize>,
) -> Vec<&Column<T>> {
    let is_narrow = width.is_some_and(|width| width < NARROW);
    let is_there = |column: &&Column<T>| {
        let is_right = matches!(column.medium, Medium::Both) || column.medium == medium;
        is_right && !(is_narrow && column.is_wide)
    };
    columns.iter().filter(is_there).collect()
}

/// The rates of a sweep, a row each.
pub(super) const SWEEP: &[Column<SweepStep>] = &[
    column("rate/s", |step| Rate(step.rate_per_s)),
    wide(column("published/s", |step| Rate(step.published_per_s))),
    column("received/s", |step| Rate(step.received_per_s)),
    column("p50", |step| Latency(Some(step.p50_us))),
    column("p99", |step| Latency(Some(step.p99_us))),
    wide(column("p99.9", |step| Latency(Some(step.p999_us)))),
    column("max", |step| Latency(Some(step.max_us))),
    column("lost", |step| Count(step.lost)),
    only(Medium::Page, "duplicates", |step| Count(step.duplicates)),
    only(Medium::Page, "reordered", |step| Count(step.reordered)),
    column("errors", |step| Count(step.errors)),
    wide(only(Medium::Terminal, "limit", |step| {
        Text(limit(step.is_generator_limit))
    })),
    only(Medium::Page, "generator was the limit", |step| {
        Text(if step.is_generator_limit { "yes" } else { "no" })
    }),
];

/// The stages of a scenario file, a row each.
pub(super) const STAGES: &[Column<StageResult>] = &[
    column("stage", |stage| Figure::Name(stage.name.clone())),
    wide(column("from", |stage| Time(stage.start_s))),
    wide(column("connected", |stage| Count(stage.connected))),
    column("published/s", |stage| Rate(stage.published_per_s)),
    column("received/s", |stage| Rate(stage.received_per_s)),
    column("p50", |stage| timed(stage, stage.p50_us)),
    column("p99", |stage| timed(stage, stage.p99_us)),
    wide(column("p99.9", |stage| timed(stage, stage.p999_us))),
    column("max", |stage| timed(stage, stage.max_us)),
    column("errors", |stage| Count(stage.errors)),
];

fn timed(stage: &StageResult, us: f64) -> Figure {
    Latency(stage.timed.is_some().then_some(us))
}

/// A run beside the first one of its scenario.
pub(super) struct Compared<'a> {
    pub(super) result: &'a RunResult,
    pub(super) first: &'a RunResult,
}

/// Runs side by side, a row each. The names of runs come before these.
pub(super) fn comparison<'a>() -> [Column<Compared<'a>>; 11] {
    [
        only(Medium::Page, "published/s", |run| {
            Rate(run.result.totals.published_per_s)
        }),
        column("received/s", |run| Rate(run.result.totals.received_per_s)),
        column("ratio", |run| Ratio(run.ratio())),
        column("p50", |run| run.latency(|latency| latency.p50_us)),
        column("p99", |run| run.latency(|latency| latency.p99_us)),
        wide(column("p99.9", |run| {
            run.latency(|latency| latency.p999_us)
        })),
        only(Medium::Page, "max", |run| {
            run.latency(|latency| latency.max_us)
        }),
        column("lost", |run| Count(run.result.truth.lost.iter().sum())),
        only(Medium::Terminal, "broker CPU/message", |run| {
            Nanoseconds(run.cpu_per_message_ns())
        }),
        only(Medium::Page, "CPU/message", |run| {
            Nanoseconds(run.cpu_per_message_ns())
        }),
        wide(only(Medium::Terminal, "limit", |run| {
            Text(match run.result.interrupted {
                Some(_) => "PARTIAL, see below",
                None => limit(run.result.generator.is_bottleneck),
            })
        })),
    ]
}

/// The latency that a run is about.
pub(crate) fn main_latency(result: &RunResult) -> Option<&results::Latency> {
    ["round_trip", "end_to_end", "publish_ack", "connect"]
        .iter()
        .find_map(|name| result.latencies.get(*name))
}

impl Compared<'_> {
    fn ratio(&self) -> Option<f64> {
        let first = self.first.totals.received_per_s;
        (first > 0.0).then(|| self.result.totals.received_per_s / first)
    }

    fn latency(&self, value: fn(&results::Latency) -> f64) -> Figure {
        Latency(main_latency(self.result).map(value))
    }

    fn cpu_per_message_ns(&self) -> Option<f64> {
        let received = self.result.totals.received;
        let broker = self.result.broker.as_ref().filter(|_| received > 0)?;
        Some(broker.cpu_s * 1e9 / received as f64)
    }
}

fn limit(is_generator: bool) -> &'static str {
    if is_generator {
        "generator, not the broker"
    } else {
        "broker or schedule"
    }
}
