//! Until when clients were heard: deadlines are judged by that, not by the clock.
//!
//! A shard can be late: its process was stopped, its machine paused, a turn took far too long, or there is
//! more to read than one turn reads. What clients sent in time then lies unread in their sockets. So a
//! deadline has passed only when everything that had arrived by then was read; and who waits for an
//! answer of ours, or owes the next step of a handshake, gets as much time again as we were late.

use super::Shard;
use crate::ids::ConnectionId;
use crate::mutant::{is_on, Mutant};
use crate::time::{Span, Time};

/// Between two looks at a deadline that has passed while others were not heard.
const LOOK_AGAIN: Span = Span::from_millis(100);

/// What a driver has read. At first everything counts as read when its time has come, which is true for
/// whoever hands bytes over as they arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What had arrived by then on established connections was read.
    pub established: Time,
    /// The same of all other connections, and of those that waited to be accepted.
    pub others: Time,
    /// The shard was late, and until then nobody is given up who could not be answered meanwhile.
    pub excused_until: Time,
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            established: Time::FAR,
            others: Time::FAR,
            excused_until: Time::ZERO,
        }
    }
}

impl Shard {
    /// A round of reading is over. Deadlines are judged by what is said here from now on.
    pub fn handle_heard(&mut self, heard: Heard) {
        self.heard = heard;
    }

    /// True for a connection whose CONNECT was accepted and that has not ended: read it first.
    #[must_use]
    pub fn is_established(&self, connection: ConnectionId) -> bool {
        let connection = self.connections.get(connection);
        connection.is_some_and(|connection| connection.session().is_some())
    }

    /// True when this turn has done its work: read nobody until it has ended.
    #[must_use]
    pub fn is_turn_spent(&self) -> bool {
        self.work.is_spent()
    }

    /// What had arrived on established connections by then was read; nothing is due that is later.
    pub(super) fn heard_until(&self, now: Time) -> Time {
        match is_on(Mutant::JudgeUnheard) {
            true => now,
            false => now.min(self.heard.established),
        }
    }

    /// When a deadline of somebody who is not established is looked at again: who is meant may have
    /// acted in time. `None`: it has passed.
    pub(super) fn defer(&self, deadline: Time, now: Time) -> Option<Time> {
        (deadline > self.heard.others).then(|| now + LOOK_AGAIN)
    }

    /// The same of a step in an exchange with us, which took longer because we were late.
    pub(super) fn defer_exchange(&self, deadline: Time, now: Time) -> Option<Time> {
        let longest = now + Span::from_secs(u64::from(self.limits().connect_timeout_s));
        let excused = Some(self.heard.excused_until.min(longest)).filter(|until| *until > now);
        excused.or_else(|| self.defer(deadline, now))
    }
}
