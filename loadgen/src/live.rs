//! The line that a run writes each second.

use crate::meter::{Count, Counts, Timing, Timings};
use crate::results::{Second, StageResult};

/// Makes one second's figures of two readings of the counters.
pub fn second(
    at_s: f64,
    seconds: f64,
    before: &Counts,
    now: &Counts,
    timings: &mut Timings,
) -> Second {
    let per_s =
        |count: Count| ((now.get(count) - before.get(count)) as f64 / seconds).round() as u64;
    let timing = main_timing(timings);
    let (p50, p99, max) = timing.map_or((0, 0, 0), |timing| {
        let histogram = timings.of(timing);
        (
            histogram.value_at_quantile(0.5),
            histogram.value_at_quantile(0.99),
            histogram.max(),
        )
    });
    Second {
        at_s,
        connected: connected(now),
        published: per_s(Count::Published),
        received: per_s(Count::Received),
        errors: per_s(Count::Errors),
        p50_us: p50 as f64 / 1e3,
        p99_us: p99 as f64 / 1e3,
        max_us: max as f64 / 1e3,
    }
}

/// The timing that an interval is about: the first of these with values.
fn main_timing(timings: &mut Timings) -> Option<Timing> {
    [
        Timing::EndToEnd,
        Timing::RoundTrip,
        Timing::PublishAck,
        Timing::Connect,
        Timing::Subscribe,
    ]
    .into_iter()
    .find(|timing| !timings.of(*timing).is_empty())
}

/// Makes a stage's figures of its counters before and after, and of what was timed meanwhile.
pub(crate) fn stage(
    name: &str,
    (start_s, end_s): (f64, f64),
    (before, after): (&Counts, &Counts),
    timings: &mut Timings,
) -> StageResult {
    let duration_s = (end_s - start_s).max(1e-9);
    let of = |count: Count| after.get(count) - before.get(count);
    let mut stage = StageResult {
        name: name.to_string(),
        start_s,
        duration_s,
        published: of(Count::Published),
        received: of(Count::Received),
        errors: of(Count::Errors),
        connected: connected(after),
        ..StageResult::default()
    };
    stage.published_per_s = stage.published as f64 / duration_s;
    stage.received_per_s = stage.received as f64 / duration_s;
    if let Some(timing) = main_timing(timings) {
        let histogram = timings.of(timing);
        let us = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
        stage.timed = Some(timing.name().to_string());
        stage.p50_us = us(0.5);
        stage.p99_us = us(0.99);
        stage.p999_us = us(0.999);
        stage.max_us = histogram.max() as f64 / 1e3;
    }
    stage
}

/// Clients connected now.
#[must_use]
pub fn connected(counts: &Counts) -> u64 {
    counts
        .get(Count::Connected)
        .saturating_sub(counts.get(Count::Disconnected) + counts.get(Count::Closed))
}

/// The line. `left_s` is what it and the rest of the plan take by plan.
#[must_use]
pub fn line(step: &str, second: &Second, left_s: Option<f64>) -> String {
    let left = left_s.map_or(String::new(), |left| format!("  {left:.0} s left"));
    format!(
        "{:>5.0} s  {step:<10}  connected {:>7}  published/s {:>9}  received/s {:>9}  p50 {:>9}  p99 {:>9}  errors {}{left}",
        second.at_s,
        second.connected,
        second.published,
        second.received,
        timed(second.p50_us),
        timed(second.p99_us),
        second.errors,
    )
}

/// A percentile of a second, in which maybe nothing was timed.
fn timed(us: f64) -> String {
    if us > 0.0 {
        duration(us)
    } else {
        "-".to_string()
    }
}

/// Microseconds for people.
#[must_use]
pub fn duration(us: f64) -> String {
    if us >= 1e6 {
        format!("{:.2} s", us / 1e6)
    } else if us >= 1e3 {
        format!("{:.2} ms", us / 1e3)
    } else {
        format!("{us:.0} us")
    }
}
