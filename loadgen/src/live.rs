//! The line that a run writes each second.

use crate::meter::{Count, Counts, Timing, Timings};
use crate::results::Second;

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
    let timing = [
        Timing::EndToEnd,
        Timing::RoundTrip,
        Timing::PublishAck,
        Timing::Connect,
        Timing::Subscribe,
    ]
    .into_iter()
    .find(|timing| !timings.of(*timing).is_empty());
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

/// Clients connected now.
#[must_use]
pub fn connected(counts: &Counts) -> u64 {
    counts
        .get(Count::Connected)
        .saturating_sub(counts.get(Count::Disconnected) + counts.get(Count::Closed))
}

/// The line. `left_s` is what the step takes at most.
#[must_use]
pub fn line(step: &str, second: &Second, left_s: Option<f64>) -> String {
    let left = left_s.map_or(String::new(), |left| format!("  {left:.0} s left"));
    format!(
        "{:>5.0} s  {step:<10}  connected {:>7}  published/s {:>9}  received/s {:>9}  p50 {:>9}  p99 {:>9}  errors {}{left}",
        second.at_s,
        second.connected,
        second.published,
        second.received,
        duration(second.p50_us),
        duration(second.p99_us),
        second.errors,
    )
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
