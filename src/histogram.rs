//! Histograms of spans and depths: recorded by one shard, taken from it as values.

use hdrhistogram::Histogram as Hdr;

use crate::time::Span;

/// Largest value: a hundred seconds in microseconds. What is larger counts as this.
const VALUE_MAX: u64 = 100_000_000;
/// Two decimal digits: a value is kept within 1 %, and a histogram in 12 KiB.
const DIGITS: u8 = 2;

/// Counts of values. Lives on: its shard; copies leave it. Takes memory once something is recorded.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Option<Hdr<u64>>,
    /// Of the values themselves, not of what they were rounded to.
    sum: u64,
}

fn empty() -> Hdr<u64> {
    let counts = Hdr::new_with_bounds(1, VALUE_MAX, DIGITS);
    counts.expect("the bounds are a range, and the digits at most five")
}

impl Histogram {
    /// In microseconds.
    pub fn record_span(&mut self, span: Span) {
        self.record(span.0 / 1_000);
    }

    pub fn record(&mut self, value: u64) {
        self.sum = self.sum.saturating_add(value);
        let counts = self.counts.get_or_insert_with(empty);
        counts.saturating_record(value);
    }

    pub fn add(&mut self, other: &Self) {
        self.sum = self.sum.saturating_add(other.sum);
        if let Some(others) = &other.counts {
            let counts = self.counts.get_or_insert_with(empty);
            let added = counts.add(others);
            added.expect("all histograms have the same bounds");
        }
    }

    /// What was recorded after an earlier copy of this histogram was taken.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut recent = self.clone();
        recent.sum = recent.sum.wrapping_sub(earlier.sum);
        if let (Some(counts), Some(before)) = (&mut recent.counts, &earlier.counts) {
            let taken = counts.subtract(before);
            taken.expect("counts of one histogram only grow");
        }
        recent
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.as_ref().map_or(0, Hdr::len)
    }

    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The value that this part of all, from 0 to 1, does not exceed.
    #[must_use]
    pub fn quantile(&self, part: f64) -> u64 {
        let counts = self.counts.as_ref();
        counts.map_or(0, |counts| counts.value_at_quantile(part))
    }

    /// How many values are at most each of these bounds, which ascend.
    #[must_use]
    pub fn up_to(&self, bounds: &[u64]) -> Vec<u64> {
        let Some(counts) = &self.counts else {
            return vec![0; bounds.len()];
        };
        let mut recorded = counts.iter_recorded().peekable();
        let mut below = 0;
        let count = |bound: &u64| {
            while let Some(step) = recorded.next_if(|step| step.value_iterated_to() <= *bound) {
                below += step.count_since_last_iteration();
            }
            below
        };
        bounds.iter().map(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_below_bounds_and_summed() {
        let mut one = Histogram::default();
        for value in [0, 1, 5, 90, 100, 5_000_000_000] {
            one.record(value);
        }
        one.record_span(Span::from_millis(2));
        assert_eq!(
            one.up_to(&[0, 1, 10, 100, 2_100, u64::MAX]),
            [1, 2, 3, 5, 6, 7]
        );
        assert_eq!((one.count(), one.sum()), (7, 5_000_002_196));
        let mut all = one.clone();
        all.add(&one);
        assert_eq!((all.count(), all.up_to(&[10])), (14, vec![6]));
        assert_eq!(all.quantile(0.5), 90);
        let recent = all.since(&one);
        assert_eq!((recent.count(), recent.sum()), (7, one.sum()));
        assert_eq!(all.since(&all).quantile(0.99), 0);
    }
}
