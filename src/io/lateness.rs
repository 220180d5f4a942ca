//! Lateness of a shard's turns.
//!
//! A process can be stopped, its machine paused, or a turn can take far too long. While that lasts no
//! client can be answered, so an exchange that waits for an answer (handshake, CONNECT, login) has as much
//! time again.

use crate::time::{Span, Time};

/// A turn that takes longer than this was late.
const TURN_MAX: Span = Span::from_millis(250);

/// Lives on: a driver.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    turn_began: Time,
    /// The shard sleeps and asked to be woken then; something that happens wakes it earlier.
    sleeps_until: Option<Time>,
    excused_until: Time,
}

impl Lateness {
    /// A turn that begins late excuses exchanges for as long again.
    pub(super) fn turn_begins(&mut self, now: Time) {
        let asleep = self.sleeps_until.take().unwrap_or(Time::ZERO);
        let expected = self.turn_began.max(asleep);
        let late = now.since(expected);
        if self.turn_began > Time::ZERO && late > TURN_MAX {
            self.excused_until = self.excused_until.max(now + late);
        }
        self.turn_began = now;
    }

    pub(super) fn sleeps(&mut self, until: Option<Time>) {
        self.sleeps_until = Some(until.unwrap_or(Time::FAR));
    }

    /// Until then no exchange times out in which the client or the broker waits for an answer.
    pub(super) fn excused_until(&self) -> Time {
        self.excused_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::ZERO + Span::from_millis(ms)
    }

    #[test]
    fn a_turn_that_took_too_long_is_made_up_for() {
        let mut lateness = Lateness::default();
        lateness.turn_begins(at(5_000));
        lateness.turn_begins(at(5_200));
        assert_eq!(lateness.excused_until(), Time::ZERO);
        lateness.turn_begins(at(15_200));
        assert_eq!(lateness.excused_until(), at(25_200));
        lateness.turn_begins(at(15_201));
        assert_eq!(lateness.excused_until(), at(25_200));
    }

    #[test]
    fn sleep_is_not_late_until_the_shard_was_to_be_woken() {
        let mut lateness = Lateness::default();
        lateness.turn_begins(at(1_000));
        lateness.sleeps(Some(at(60_000)));
        lateness.turn_begins(at(60_100));
        lateness.sleeps(None);
        lateness.turn_begins(at(900_000));
        assert_eq!(lateness.excused_until(), Time::ZERO);
        lateness.turn_begins(at(902_000)); // without a sleep
        assert_eq!(lateness.excused_until(), at(904_000));
        lateness.sleeps(Some(at(903_000)));
        lateness.turn_begins(at(907_000));
        assert_eq!(lateness.excused_until(), at(911_000));
    }
}
