//! When messages are due: an open-loop schedule of one worker's share of a group. Pure.

use crate::plan::Arrivals;

/// Messages of several publishers in turn, at times that do not depend on the broker.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    from_per_s: f64,
    to_per_s: f64,
    seconds: f64,
    start_ns: u64,
    arrivals: Arrivals,
    /// Messages so far, as a real number: Poisson arrivals are steps of random length.
    position: f64,
    due_ns: u64,
}

impl Schedule {
    /// `phase` (0 to 1) shifts the schedule by a part of a message, so that workers take turns.
    pub(crate) fn new(
        rates_per_s: (f64, f64),
        seconds: f64,
        start_ns: u64,
        arrivals: Arrivals,
        phase: f64,
    ) -> Self {
        let mut schedule = Self {
            from_per_s: rates_per_s.0,
            to_per_s: rates_per_s.1,
            seconds,
            start_ns,
            arrivals,
            position: phase,
            due_ns: 0,
        };
        if arrivals == Arrivals::Poisson {
            schedule.position = 0.0;
            schedule.step();
        } else {
            schedule.due_ns = schedule.time_of(phase);
        }
        schedule
    }

    /// Intended time of the next message; `u64::MAX` when there is none.
    pub(crate) fn due_ns(&self) -> u64 {
        self.due_ns
    }

    pub(crate) fn step(&mut self) {
        self.position += match self.arrivals {
            Arrivals::Constant => 1.0,
            // The distance of arrivals is exponential; 1 - f64() is above 0.
            Arrivals::Poisson => -(1.0 - fastrand::f64()).ln(),
        };
        self.due_ns = self.time_of(self.position);
    }

    /// Messages that were to come, about.
    pub(crate) fn left(&self) -> u64 {
        if self.due_ns == u64::MAX {
            return 0;
        }
        let all = (self.from_per_s + self.to_per_s) / 2.0 * self.seconds;
        (all - self.position).max(1.0).ceil() as u64
    }

    /// No more messages.
    pub(crate) fn end(&mut self) {
        self.due_ns = u64::MAX;
    }

    /// When `position` messages are due: the rate, integrated and turned round.
    fn time_of(&self, position: f64) -> u64 {
        let growth = (self.to_per_s - self.from_per_s) / self.seconds;
        let seconds = if growth.abs() < 1e-9 {
            position / self.from_per_s
        } else {
            let root = self.from_per_s * self.from_per_s + 2.0 * growth * position;
            (root.sqrt() - self.from_per_s) / growth // NaN when the rate has fallen to 0
        };
        if seconds.is_finite() && seconds < self.seconds {
            self.start_ns + (seconds * 1e9) as u64
        } else {
            u64::MAX
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut schedule: Schedule) -> Vec<u64> {
        let mut times = Vec::new();
        while schedule.due_ns() != u64::MAX {
            times.push(schedule.due_ns());
            schedule.step();
        }
        times
    }

    #[test]
    fn constant_is_even() {
        let times = all(Schedule::new((4.0, 4.0), 1.0, 100, Arrivals::Constant, 0.0));
        let mut schedule = Schedule::new((4.0, 4.0), 1.0, 100, Arrivals::Constant, 0.0);
        assert_eq!(schedule.left(), 4);
        schedule.step();
        assert_eq!(schedule.left(), 3);
        (0..3).for_each(|_| schedule.step());
        assert_eq!(schedule.left(), 0);
        assert_eq!(times, [100, 250_000_100, 500_000_100, 750_000_100]);
    }

    #[test]
    fn ramps_send_the_mean_of_both_rates() {
        let up = all(Schedule::new(
            (0.0, 1000.0),
            2.0,
            0,
            Arrivals::Constant,
            0.0,
        ));
        let down = all(Schedule::new(
            (1000.0, 0.0),
            2.0,
            0,
            Arrivals::Constant,
            0.0,
        ));
        assert!((995..=1005).contains(&up.len()), "{}", up.len());
        assert!((995..=1005).contains(&down.len()), "{}", down.len());
        let half = up.iter().filter(|time| **time < 1_000_000_000).count();
        assert!((245..=255).contains(&half), "{half}");
    }

    #[test]
    fn poisson_has_the_rate_and_is_not_even() {
        fastrand::seed(1);
        let times = all(Schedule::new((1e4, 1e4), 1.0, 0, Arrivals::Poisson, 0.0));
        assert!((9_600..10_400).contains(&times.len()), "{}", times.len());
        let short = times
            .windows(2)
            .filter(|pair| pair[1] - pair[0] < 10_000)
            .count();
        assert!(short > 500, "{short}");
    }

    #[test]
    fn no_rate_sends_nothing() {
        assert!(all(Schedule::new((0.0, 0.0), 1.0, 0, Arrivals::Constant, 0.0)).is_empty());
    }
}
