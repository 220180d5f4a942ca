//! Time as a value. The core receives it as an argument; only `io` reads a clock.
//!
//! Deadlines are compared as [`Time`], which no one can set and which ends with its process. What another
//! process or machine reads is written down as [`WallTime`]; [`Clocks`] converts between the two.

use std::ops::Add;

/// Nanoseconds since the process started (monotonic).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

/// A span in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub u64);

/// Milliseconds since the Unix epoch. May be set forward and back at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub u64);

/// Both clocks, read at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Clocks {
    pub monotonic: Time,
    pub wall: WallTime,
}

const NS_PER_MS: u64 = 1_000_000;

impl Time {
    pub const ZERO: Self = Self(0);
    /// Later than anything that can happen.
    pub const FAR: Self = Self(u64::MAX);

    /// Time since `earlier`, zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Span> for Time {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Span {
    pub const ZERO: Self = Self(0);

    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }
    #[must_use]
    pub const fn from_secs(s: u64) -> Self {
        Self(s.saturating_mul(1_000_000_000))
    }
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }
    /// Whole seconds, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }
}

impl WallTime {
    /// Later than anything that can happen.
    pub const FAR: Self = Self(u64::MAX);

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000
    }
}

impl Clocks {
    /// A time of this process, to be written down. Rounded up: what is read back is never due early.
    /// What is never due stays so.
    #[must_use]
    pub fn to_wall(self, time: Time) -> WallTime {
        let Self { monotonic, wall } = self;
        if time == Time::FAR {
            return WallTime::FAR;
        }
        let ahead_ms = time.since(monotonic).0.div_ceil(NS_PER_MS);
        let behind_ms = monotonic.since(time).0 / NS_PER_MS;
        WallTime(wall.0.saturating_add(ahead_ms).saturating_sub(behind_ms))
    }

    /// A time that was written down, as time of this process; [`Time::ZERO`] when it is before its start.
    #[must_use]
    pub fn to_time(self, written: WallTime) -> Time {
        let Self { monotonic, wall } = self;
        if written == WallTime::FAR {
            return Time::FAR;
        }
        let ahead = Span::from_millis(written.0.saturating_sub(wall.0));
        let behind = Span::from_millis(wall.0.saturating_sub(written.0));
        Time((monotonic + ahead).0.saturating_sub(behind.0))
    }

    /// The clocks for reading back what was written down at `at`. The time that has passed since then is
    /// never negative: a wall clock that was set back meanwhile prolongs nothing.
    #[must_use]
    pub fn reading_since(self, at: WallTime) -> Self {
        Self {
            wall: self.wall.max(at),
            ..self
        }
    }

    /// The same, but for a wall clock that was set back since `before`: then it continues from there. What was written
    /// down before it was set would else be due at another time than what is written down behind it, and a later
    /// process cannot tell one from the other.
    #[must_use]
    pub fn never_behind(self, before: Self) -> Self {
        // Whole milliseconds, so that nothing adds up however often the clocks are read.
        let passed_ms = self.monotonic.since(before.monotonic).as_millis();
        let wall = WallTime(before.wall.0.saturating_add(passed_ms));
        if self.wall >= wall {
            return self;
        }
        Self {
            monotonic: before.monotonic + Span::from_millis(passed_ms),
            wall,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = NS_PER_MS;
    const EPOCH_MS: u64 = 1_800_000_000_000;

    fn clocks(monotonic_ms: u64, wall_ms: u64) -> Clocks {
        Clocks {
            monotonic: Time(monotonic_ms * MS),
            wall: WallTime(wall_ms),
        }
    }

    /// A deadline 60 s ahead is written down by a process that runs for 100 s, and read back by one that has
    /// run for 2 s, at another time of the wall clock.
    #[test]
    fn time_away_counts_and_is_never_negative() {
        let writer = clocks(100_000, EPOCH_MS);
        let deadline = writer.to_wall(Time(160_000 * MS));
        assert_eq!(deadline, WallTime(EPOCH_MS + 60_000));
        for (read_at, left_ms) in [
            (EPOCH_MS, 60_000),
            (EPOCH_MS + 20_000, 40_000),
            (EPOCH_MS + 60_000, 0),
            (EPOCH_MS - 1, 60_000), // set back while the process was away
            (0, 60_000),
        ] {
            let reader = clocks(2_000, read_at).reading_since(writer.wall);
            let expected = Time((2_000 + left_ms) * MS);
            assert_eq!(reader.to_time(deadline), expected, "read at {read_at}");
        }
        // It passed long ago: due at once, also when that is before this process's start.
        for away_ms in [61_000, 63_000, 1 << 50] {
            let reader = clocks(2_000, EPOCH_MS + away_ms).reading_since(writer.wall);
            assert!(reader.to_time(deadline) < reader.monotonic);
        }
    }

    #[test]
    fn a_wall_clock_that_is_set_back_continues_from_where_it_was() {
        let before = clocks(5_000, EPOCH_MS);
        for (read, expected) in [
            (
                clocks(6_000, EPOCH_MS + 1_000),
                clocks(6_000, EPOCH_MS + 1_000),
            ),
            (
                clocks(6_000, EPOCH_MS + 9_000),
                clocks(6_000, EPOCH_MS + 9_000),
            ), // set ahead
            (
                clocks(6_000, EPOCH_MS + 999),
                clocks(6_000, EPOCH_MS + 1_000),
            ),
            (clocks(6_000, 0), clocks(6_000, EPOCH_MS + 1_000)),
        ] {
            assert_eq!(read.never_behind(before), expected, "{read:?}");
        }
        // However often it is read, and at whichever part of a millisecond.
        let mut now = before;
        for step in 1..=10_000 {
            let read = Clocks {
                monotonic: Time(5_000 * MS + step * 333_333),
                wall: WallTime(7),
            };
            now = read.never_behind(now);
        }
        let at = now.to_wall(Time(5_000 * MS + 10_000 * 333_333));
        assert_eq!(at, WallTime(EPOCH_MS + 3_334), "3,333.33 ms, rounded up");
    }

    #[test]
    fn ends_of_time_stay_where_they_are() {
        let now = clocks(5_000, EPOCH_MS);
        assert_eq!(now.to_wall(Time::FAR), WallTime::FAR);
        assert_eq!(now.to_time(WallTime::FAR), Time::FAR);
        // Further ahead than this process can count.
        assert_eq!(now.to_time(WallTime(u64::MAX - 1)), Time::FAR);
        assert_eq!(clocks(0, u64::MAX).to_wall(Time(9 * MS)), WallTime::FAR);
        // Before both clocks began.
        assert_eq!(clocks(5_000, 3).to_wall(Time::ZERO), WallTime(0));
        assert_eq!(now.to_time(WallTime(0)), Time::ZERO);
        // The longest interval of the protocol.
        let longest = now.monotonic + Span::from_secs(u64::from(u32::MAX));
        assert_eq!(now.to_time(now.to_wall(longest)), longest);
    }

    proptest! {
        /// Read back by the same clocks, at most a millisecond is added and the order stays.
        #[test]
        fn read_back_by_the_same_clocks(
            monotonic in 0..1_u64 << 60,
            wall in 1_u64 << 41..1 << 50,
            times in [0..1_u64 << 60, 0..1_u64 << 60],
        ) {
            let now = Clocks { monotonic: Time(monotonic), wall: WallTime(wall) };
            let read = times.map(|time| now.to_time(now.to_wall(Time(time))));
            for (written, read) in times.into_iter().zip(read) {
                prop_assert!(read >= Time(written) && read.since(Time(written)).0 < MS);
            }
            prop_assert!((read[0] < read[1]) <= (times[0] < times[1]));
        }
    }
}
