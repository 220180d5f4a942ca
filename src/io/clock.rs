//! The clocks: monotonic time, read once per turn and with the same zero on all shards, and wall-clock time.

use std::time::{Instant, SystemTime};

use crate::time::{Clocks, Span, Time, WallTime};

/// So often a shard learns the wall clock again, which may have been set.
const WALL_EVERY: Span = Span::from_secs(1);

/// Monotonic time since the process started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    zero: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            zero: Instant::now(),
        }
    }

    pub(super) fn now(self) -> Time {
        Time(u64::try_from(self.zero.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Both clocks. A thread that loses its core in between is wrong by as much until it reads them again.
    pub(super) fn both(self) -> Clocks {
        Clocks {
            monotonic: self.now(),
            wall: wall(),
        }
    }
}

/// Wall-clock time; the epoch when the clock is before it.
pub(super) fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let ms = since.map_or(0, |since| since.as_millis());
    WallTime(u64::try_from(ms).unwrap_or(u64::MAX))
}

/// Nanoseconds of the clock that all processes of the machine share.
pub(super) fn machine_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds * 1_000_000_000 + nanos
}

/// When a shard is to learn both clocks. Lives on: a driver.
#[derive(Debug, Default)]
pub(super) struct WallReadings {
    due: Time,
}

impl WallReadings {
    /// True when the last reading is [`WALL_EVERY`] old; it is then taken as done.
    pub(super) fn is_due(&mut self, now: Time) -> bool {
        let is_due = now >= self.due;
        if is_due {
            self.due = now + WALL_EVERY;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_is_read_at_the_start_and_then_at_most_a_second_late() {
        let mut readings = WallReadings::default();
        let read =
            |readings: &mut WallReadings, ms| readings.is_due(Time::ZERO + Span::from_millis(ms));
        assert!(read(&mut readings, 3));
        assert!(!read(&mut readings, 4));
        assert!(!read(&mut readings, 1_002));
        assert!(read(&mut readings, 1_003));
        assert!(!read(&mut readings, 1_004));
        assert!(read(&mut readings, 9_000_000), "after a long sleep");
    }
}
