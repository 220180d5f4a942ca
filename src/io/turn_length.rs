//! Length of a shard's turns: how much the next one may read, and whether there is too much to do.

use crate::limits::{READ_BUFFER, TURN_BYTES};
use crate::time::{Span, Time};

/// So long turns must have been too long before clients are refused.
const PATIENCE: Span = Span::from_secs(1);
/// Least bytes read in a turn, however long turns are.
const TURN_BYTES_MIN: usize = READ_BUFFER / 4;
/// A short turn lets the next one read so much more.
const TURN_BYTES_STEP: usize = TURN_BYTES / 16;

/// How much a shard reads in a turn, and whether it has too much to do, by the length of its turns.
///
/// Sockets are read in turn, so that a smaller budget slows down all publishers alike: what is not
/// read waits in their sockets.
#[derive(Debug)]
pub(super) struct TurnLength {
    max: Option<Span>,
    budget: usize,
    /// When the turn began that runs.
    began: Option<Time>,
    /// Since when turns take too long.
    long_since: Option<Time>,
}

impl TurnLength {
    /// `max`: how long a turn may take; `None`: as long as it takes.
    pub(super) fn new(max: Option<Span>) -> Self {
        Self {
            max,
            budget: TURN_BYTES,
            began: None,
            long_since: None,
        }
    }

    /// Turns may take another time from now on.
    pub(super) fn set_max(&mut self, max: Option<Span>) {
        self.max = max;
        if max.is_none() {
            *self = Self::new(None);
        }
    }

    /// Bytes the next turn may read.
    pub(super) fn budget(&self) -> usize {
        self.budget
    }

    /// A turn begins, and the one before has ended.
    pub(super) fn begins(&mut self, now: Time) {
        let (Some(max), Some(began)) = (self.max, self.began.replace(now)) else {
            return;
        };
        let took = now.since(began);
        if took > max {
            self.budget = (self.budget / 2).max(TURN_BYTES_MIN);
            self.long_since.get_or_insert(began);
        } else if took.0 < max.0 / 2 {
            self.budget = (self.budget + TURN_BYTES_STEP).min(TURN_BYTES);
            self.long_since = None;
        }
    }

    /// The shard had time to sleep: that is no turn, and it has not too much to do.
    pub(super) fn rested(&mut self) {
        self.began = None;
        self.long_since = None;
    }

    /// Turns have been too long for some time, although they read less.
    pub(super) fn is_too_long(&self, now: Time) -> bool {
        self.long_since
            .is_some_and(|since| now.since(since) >= PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn long_turns_read_less_and_refuse_after_a_while() {
        let mut turns = TurnLength::new(Some(Span::from_millis(10)));
        let mut now = Time(5_000 * MS);
        let mut turn = |turns: &mut TurnLength, ms: u64| {
            now = now + Span::from_millis(ms);
            turns.begins(now);
            now
        };
        turn(&mut turns, 0);
        turn(&mut turns, 9);
        assert_eq!(turns.budget(), TURN_BYTES);
        for expected in [
            TURN_BYTES / 2,
            TURN_BYTES / 4,
            TURN_BYTES / 8,
            TURN_BYTES / 16,
        ] {
            turn(&mut turns, 20);
            assert_eq!(turns.budget(), expected);
        }
        for _ in 0..40 {
            turn(&mut turns, 20);
        }
        let now_is = turn(&mut turns, 8);
        assert_eq!(turns.budget(), TURN_BYTES_MIN, "never nothing");
        assert!(!turns.is_too_long(now_is), "for less than a second");
        for _ in 0..15 {
            turn(&mut turns, 20);
        }
        let now_is = turn(&mut turns, 8);
        assert!(turns.is_too_long(now_is));
        turns.rested();
        assert!(!turns.is_too_long(now_is), "no hurry after a sleep");
        turn(&mut turns, 0);
        turn(&mut turns, 1);
        assert_eq!(turns.budget(), TURN_BYTES_MIN + TURN_BYTES_STEP);
        for _ in 0..20 {
            turn(&mut turns, 1);
        }
        assert_eq!(turns.budget(), TURN_BYTES);
        let mut unlimited = TurnLength::new(None);
        let now_is = turn(&mut unlimited, 60_000);
        assert!(unlimited.budget() == TURN_BYTES && !unlimited.is_too_long(now_is));
    }
}
