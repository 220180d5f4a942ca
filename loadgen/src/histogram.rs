//! Histograms as bytes: HdrHistogram's V2 format, deflated.

use std::io::Cursor;

use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use hdrhistogram::Histogram;

/// Bytes of a histogram.
pub(crate) fn encode(histogram: &Histogram<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("a histogram is written to memory");
    bytes
}

/// Pairs of percentile and microseconds, closer together towards the tail.
pub(crate) fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let values = histogram.iter_quantiles(4);
    let points = values.map(|value| {
        let us = value.value_iterated_to() as f64 / 1e3;
        (value.quantile_iterated_to() * 100.0, us)
    });
    points.collect()
}

/// Counts by decibel of microseconds: bucket b has the values from 10^(b/10) to 10^((b+1)/10) us.
pub(crate) fn buckets(histogram: &Histogram<u64>) -> Vec<(i32, u64)> {
    let mut buckets: Vec<(i32, u64)> = Vec::new();
    for value in histogram.iter_recorded() {
        let us = value.value_iterated_to().max(1) as f64 / 1e3;
        let bucket = (us.log10() * 10.0).floor() as i32;
        match buckets.last_mut() {
            Some((last, count)) if *last == bucket => *count += value.count_at_value(),
            _ => buckets.push((bucket, value.count_at_value())),
        }
    }
    buckets
}

/// Reads a V2-deflate histogram.
///
/// # Errors
/// A sentence when it is none.
pub fn decode(bytes: &[u8]) -> Result<Histogram<u64>, String> {
    Deserializer::new()
        .deserialize(&mut Cursor::new(bytes))
        .map_err(|error| format!("a histogram is damaged: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_tenths_of_a_decade() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        for (ns, count) in [
            (500, 2),
            (1_100, 3),
            (1_200, 4),
            (10_100, 5),
            (99_000_000, 6),
        ] {
            histogram.record_n(ns, count).unwrap();
        }
        assert_eq!(buckets(&histogram), [(-4, 2), (0, 7), (10, 5), (49, 6)]);
    }
}
