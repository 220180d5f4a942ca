//! The line that a run writes each second.

use crate::histogram::{buckets, curve};
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
    let mut second = Second {
        at_s,
        connected: connected(now),
        published: per_s(Count::Published),
        received: per_s(Count::Received),
        errors: per_s(Count::Errors),
        ..Second::default()
    };
    if let Some(timing) = main_timing(timings) {
        let histogram = timings.of(timing);
        let us = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
        second.timed = Some(timing.name().to_string());
        (second.p50_us, second.p99_us) = (us(0.5), us(0.99));
        second.max_us = histogram.max() as f64 / 1e3;
        second.buckets = buckets(histogram);
    }
    second
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
        stage.curve = curve(histogram);
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

/// What the columns of [`line()`] are.
#[must_use]
pub fn heading() -> String {
    format!(
        "{:>6} {:<10} {:>7} {:>8} {:>8} {:>9} {:>9} {:>6} {:>8}",
        "time", "step", "clients", "sent/s", "recv/s", "p50", "p99", "errors", "left"
    )
}

/// A second in 80 columns. `left_s` is what it and the rest of the plan take by plan.
#[must_use]
pub fn line(step: &str, second: &Second, left_s: Option<f64>) -> String {
    let step: String = step.chars().take(10).collect();
    format!(
        "{:>4.0} s {step:<10} {:>7} {:>8} {:>8} {:>9} {:>9} {:>6} {:>8}",
        second.at_s,
        short(second.connected as f64),
        short(second.published as f64),
        short(second.received as f64),
        timed(second.p50_us),
        timed(second.p99_us),
        short(second.errors as f64),
        left_s.map_or(String::new(), clock)
    )
}

/// A number in six columns at most.
#[must_use]
pub fn short(value: f64) -> String {
    match value {
        _ if value < 100_000.0 => format!("{value:.0}"),
        _ if value < 1e6 => format!("{:.0}k", value / 1e3),
        _ if value < 1e9 => format!("{:.1}M", value / 1e6),
        _ => format!("{:.1}G", value / 1e9),
    }
}

/// Time left: 7 s, 1:30, 2:00:05.
#[must_use]
pub fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0).ceil() as u64;
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest} s"),
        (0, _) => format!("{minutes}:{rest:02}"),
        _ => format!("{hours}:{minutes:02}:{rest:02}"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_80_columns_at_most() {
        let second = Second {
            at_s: 9_999.0,
            connected: 1_000_000,
            published: 123_456_789,
            received: 1_234_567_890,
            errors: 999_999,
            p50_us: 99e6,
            p99_us: 3_600e6,
            ..Second::default()
        };
        let line = line("a stage of a long name", &second, Some(359_999.0));
        assert!(line.chars().count() <= 80, "{line}");
        assert!(heading().chars().count() <= 80);
        assert_eq!(
            short(99_999.0) + &short(123_456.0) + &short(2.5e6),
            "99999123k2.5M"
        );
        assert_eq!(
            [7.0, 90.0, 7_205.0].map(clock).join(" "),
            "7 s 1:30 2:00:05"
        );
    }
}
