//! Exponential averages of rates per minute, as Mosquitto's `$SYS/broker/load`.

use crate::time::Span;

/// Over one, five and fifteen minutes.
pub(super) const SPANS: [(&str, u64); 3] = [("1min", 60), ("5min", 300), ("15min", 900)];

/// Averages of one counter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    last: f64,
    averages: [f64; 3],
}

impl Load {
    /// The counter is at `count`, `since` after the update before.
    pub(super) fn update(&mut self, count: f64, since: Span) {
        let seconds = since.0 as f64 / 1e9;
        let rate = (count - self.last) * 60.0 / seconds;
        self.last = count;
        for (average, (_, span)) in self.averages.iter_mut().zip(SPANS) {
            *average = rate + (-seconds / span as f64).exp() * (*average - rate);
        }
    }

    pub(super) fn averages(&self) -> [f64; 3] {
        self.averages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_reached_and_forgotten() {
        let mut load = Load::default();
        let mut count = 0.0;
        for _ in 0..6 {
            count += 100.0; // in ten seconds
            load.update(count, Span::from_secs(10));
        }
        let [one, five, fifteen] = load.averages();
        assert!(
            (one - 600.0 * (1.0 - (-1.0_f64).exp())).abs() < 1e-6,
            "{one}"
        );
        assert!(one > five && five > fifteen);
        for _ in 0..1_000 {
            load.update(count, Span::from_secs(10));
        }
        assert!(load.averages().iter().all(|average| *average < 0.01));
    }
}
