//! Latencies as an HdrHistogram interval log, which HdrHistogram's own tools read and plot.

use std::time::{Duration, UNIX_EPOCH};

use base64::prelude::{Engine as _, BASE64_STANDARD};
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use hdrhistogram::serialization::V2DeflateSerializer;

use crate::histogram::decode;
use crate::results::{Interval, RunResult};

/// The column of maxima is in milliseconds, as the tools expect; the histograms are in nanoseconds.
const NS_PER_MS: f64 = 1e6;

/// The log: an interval per second and kind of latency, distinguished by its tag. A result that was read
/// from JSON has no seconds; then there is one interval per kind.
///
/// # Errors
/// A sentence when a histogram cannot be read.
pub fn hdr_log(result: &RunResult) -> Result<String, String> {
    let failed =
        |error: &dyn std::fmt::Display| format!("cannot write the HdrHistogram log: {error}");
    let began = UNIX_EPOCH + Duration::from_millis(result.started_unix_ms);
    let (mut log, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment(&format!(
            "[mqload {}: {}]",
            result.mqload_version, result.scenario
        ))
        .add_comment("[Histogram log format version 1.3]")
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(NS_PER_MS)
        .begin_log_with(&mut log, &mut serializer)
        .map_err(|error| failed(&error))?;
    let whole = whole_run(result)?;
    let intervals = if result.intervals.is_empty() {
        &whole
    } else {
        &result.intervals
    };
    for interval in intervals {
        let histogram = decode(&interval.histogram)?;
        writer
            .write_histogram(
                &histogram,
                interval.start,
                interval.length,
                Tag::new(&interval.name),
            )
            .map_err(|error| failed(&format!("{error:?}")))?;
    }
    String::from_utf8(log).map_err(|error| failed(&error))
}

fn whole_run(result: &RunResult) -> Result<Vec<Interval>, String> {
    let interval = |(name, latency): (&String, &crate::results::Latency)| {
        Ok(Interval {
            start: Duration::ZERO,
            length: Duration::try_from_secs_f64(result.duration_s).unwrap_or_default(),
            name: name.clone(),
            histogram: BASE64_STANDARD
                .decode(&latency.histogram)
                .map_err(|error| format!("the histogram of {name} is damaged: {error}"))?,
        })
    };
    result.latencies.iter().map(interval).collect()
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use hdrhistogram::Histogram;

    use super::*;
    use crate::histogram::encode;
    use crate::results::Latency;

    /// The intervals of one kind in a log, as another program reads them: start in seconds, histogram.
    fn intervals(log: &str, tag: &str) -> Vec<(f64, Histogram<u64>)> {
        let mut found = Vec::new();
        for entry in IntervalLogIterator::new(log.as_bytes()) {
            if let LogEntry::Interval(interval) = entry.unwrap() {
                if interval.tag().map(|tag| tag.as_str()) == Some(tag) {
                    let bytes = BASE64_STANDARD
                        .decode(interval.encoded_histogram())
                        .unwrap();
                    let start = interval.start_timestamp().as_secs_f64();
                    found.push((start, decode(&bytes).unwrap()));
                }
            }
        }
        found
    }

    #[test]
    fn the_intervals_add_up_to_the_whole() {
        let mut result = RunResult::default();
        let empty = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
        let mut whole = empty.clone();
        for second in 0..3_u64 {
            let mut histogram = empty.clone();
            for value in 0..1_000 {
                histogram
                    .record(1_000_000 * (second + 1) + value * 1_000)
                    .unwrap();
            }
            whole.add(&histogram).unwrap();
            for name in ["end_to_end", "publish_ack"] {
                result.intervals.push(Interval {
                    start: Duration::from_secs(second),
                    length: Duration::from_secs(1),
                    name: name.into(),
                    histogram: encode(&histogram),
                });
            }
        }
        let found = intervals(&hdr_log(&result).unwrap(), "end_to_end");
        let starts: Vec<f64> = found.iter().map(|(start, _)| *start).collect();
        assert_eq!(starts, [0.0, 1.0, 2.0]);
        let mut merged = empty;
        for (_, histogram) in &found {
            merged.add(histogram).unwrap();
        }
        assert_eq!(merged, whole);
    }

    #[test]
    fn a_result_without_seconds_is_one_interval() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        histogram.record(5_000).unwrap();
        let mut result = RunResult {
            duration_s: 2.0,
            ..RunResult::default()
        };
        let latency = Latency {
            histogram: BASE64_STANDARD.encode(encode(&histogram)),
            ..Latency::default()
        };
        result.latencies.insert("connect".into(), latency);
        let found = intervals(&hdr_log(&result).unwrap(), "connect");
        assert_eq!(found, [(0.0, histogram)]);
        result
            .latencies
            .insert("damaged".into(), Latency::default());
        assert!(hdr_log(&result).unwrap_err().contains("damaged"));
    }
}
