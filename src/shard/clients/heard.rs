//! Time until which clients were heard: deadlines are checked against it, not against the clock.
//!
//! A shard can be late: its process was stopped, its machine paused, a turn took far too long, or there is
//! more to read than one turn reads. What clients sent in time then lies unread in their sockets. So a
//! deadline has passed only when everything that had arrived by then was read; and a client that waits for
//! an answer of ours, or owes the next step of a handshake, gets as much time again as we were late.

use crate::ids::ConnectionId;
use crate::mutant::{is_on, Mutant};
use crate::shard::Shard;
use crate::time::{Span, Time};

/// Between two checks of a deadline that has passed while others were not heard.
pub(in crate::shard) const LOOK_AGAIN: Span = Span::from_millis(100);

/// What a driver has read. At first everything counts as read when its time has come, which is true for a
/// driver that passes bytes on as they arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What had arrived by then on established connections was read.
    pub established: Time,
    /// The same of all other connections, and of those that waited to be accepted.
    pub others: Time,
    /// The shard was late, and until then no client times out that could not be answered meanwhile.
    pub excused_until: Time,
}

/// A deadline that has passed, in tenths of a second and rounded up: a timer has no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) struct Deadline(u32);

impl Deadline {
    pub(in crate::shard) fn of(time: Time) -> Self {
        Self(u32::try_from(time.0.div_ceil(LOOK_AGAIN.0)).unwrap_or(u32::MAX))
    }

    pub(in crate::shard) fn time(self) -> Time {
        Time(u64::from(self.0) * LOOK_AGAIN.0)
    }
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
    /// A round of reading is over. Deadlines are checked against these times from now on.
    pub fn handle_heard(&mut self, heard: Heard) {
        self.clients.heard = heard;
    }

    /// True for a connection whose CONNECT was accepted and that has not ended: read it first.
    #[must_use]
    pub fn is_established(&self, connection: ConnectionId) -> bool {
        let connection = self.clients.connections.get(connection);
        connection.is_some_and(|connection| connection.session().is_some())
    }

    /// True when this turn's budget is exhausted: read no connection until it has ended.
    #[must_use]
    pub fn is_turn_spent(&self) -> bool {
        self.turn.budget.is_exhausted()
    }
}

impl Heard {
    /// What had arrived on established connections by then was read; nothing is due that is later.
    pub(in crate::shard) fn heard_until(&self, now: Time) -> Time {
        match is_on(Mutant::JudgeUnheard) {
            true => now,
            false => now.min(self.established),
        }
    }

    /// When a deadline of a connection that is not established is checked again: its client may have
    /// acted in time. `None`: it has passed.
    pub(in crate::shard) fn defer(&self, deadline: Time, now: Time) -> Option<Time> {
        (deadline > self.others).then(|| now + LOOK_AGAIN)
    }

    /// The same of a step in an exchange with us, which took longer because we were late.
    pub(in crate::shard) fn defer_exchange(
        &self,
        deadline: Time,
        connect_timeout: Span,
        now: Time,
    ) -> Option<Time> {
        let longest = now + connect_timeout;
        let excused = Some(self.excused_until.min(longest)).filter(|until| *until > now);
        excused.or_else(|| self.defer(deadline, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{connect_packet, World, V5};

    const KEEP_ALIVE_TIMEOUT: u8 = 0x8D;
    const PING: [u8; 2] = [0xC0, 0];

    fn at(ms: u64) -> Time {
        Time(1_000_000_000) + Span::from_millis(ms)
    }

    /// Time passes and nothing is read: what clients sent from `unread` on, in ms, lies in their sockets.
    fn stall(broker: &mut World, ms: u64, unread: u64) {
        broker.shards[0].handle_heard(Heard {
            established: at(unread),
            others: at(unread),
            excused_until: Time::ZERO,
        });
        broker.now = broker.now + Span::from_millis(ms);
        broker.shards[0].handle_timeout(broker.now);
        broker.shards[0].end_turn(broker.now);
    }

    /// Everything was read, and the deadlines before are checked.
    fn catch_up(broker: &mut World) {
        let excused_until = broker.shards[0].clients.heard.excused_until;
        broker.shards[0].handle_heard(Heard {
            established: broker.now,
            others: broker.now,
            excused_until,
        });
        broker.wait_here(200);
    }

    #[test]
    fn a_deadline_passes_when_what_came_before_it_was_read() {
        let mut broker = World::of_one_shard(|_| {});
        let (pings, _) = broker.connect(V5, b'p');
        let (silent, _) = broker.connect(V5, b's');
        stall(&mut broker, 20_000, 1_000);
        assert!(broker.take(pings).is_empty() && broker.take(silent).is_empty());
        broker.give_here(pings, &PING);
        catch_up(&mut broker);
        assert_eq!(broker.take(pings), [0xD0, 0]);
        let last = broker.take(silent);
        assert_eq!((last[0], last[2]), (0xE0, KEEP_ALIVE_TIMEOUT));
        assert_eq!(broker.shards[0].stats().keep_alive_timeouts, 1);
        assert!(broker.shards[0].is_established(pings) && !broker.shards[0].is_established(silent));
    }

    #[test]
    fn a_login_that_could_not_be_heard_has_its_time_again() {
        let mut broker = World::of_one_shard(|limits| limits.connect_timeout_s = 5);
        let id = broker.open_here().unwrap();
        broker.give_here(id, &[0x10]);
        stall(&mut broker, 20_000, 1_000);
        broker.shards[0].clients.heard.excused_until = broker.now + Span::from_millis(60_000);
        broker.shards[0].clients.heard.established = Time::FAR; // from here on all is read as it comes
        broker.shards[0].clients.heard.others = Time::FAR;
        broker.wait_here(4_000);
        broker.give_here(id, &connect_packet(V5, b'c')[1..]);
        assert_eq!(broker.take(id)[0], 0x20, "within another connect-timeout");
        broker.open_here().unwrap();
        broker.shards[0].clients.heard.excused_until = Time::ZERO;
        broker.wait_here(5_100);
        assert_eq!(broker.shards[0].stats().connects_refused, 1);
    }

    /// The CONNECT that cancels a will and keeps a session lies unread.
    #[test]
    fn who_came_back_in_time_finds_its_session_and_no_will_went_out() {
        let mut broker = World::of_one_shard(|_| {});
        let observer = broker.subscribed(b'o', 0);
        let id = broker.open_here().unwrap();
        // Session Expiry Interval 3 s, a will on `t` delayed by 2 s.
        let mut packet = vec![0x10, 0, 0, 4];
        packet.extend_from_slice(b"MQTT\x05\x06\0\0\x05\x11\0\0\0\x03\0\x01c");
        packet.extend_from_slice(b"\x05\x18\0\0\0\x02\0\x01t\0\x01w");
        packet[1] = packet.len() as u8 - 2;
        broker.give_here(id, &packet);
        assert_eq!(broker.take(id)[0], 0x20);
        broker.shards[0].handle_closed(id, crate::shard::CloseCause::EndOfStream, broker.now);
        broker.shards[0].handle_heard(Heard {
            established: at(1_000), // the observer stays
            others: at(1_000),
            excused_until: Time::ZERO,
        });
        broker.now = at(9_000);
        broker.shards[0].handle_timeout(broker.now);
        broker.shards[0].end_turn(broker.now);
        assert!(broker.take(observer).is_empty());
        let again = broker.open_here().unwrap();
        packet[9] = 0x04; // not a clean start
        broker.give_here(again, &packet);
        let connack = broker.take(again);
        assert_eq!(connack[..4], [0x20, connack[1], 1, 0], "session present");
        assert!(broker.take(observer).is_empty());
        // It disconnects again. Reading lags by two seconds from now on: the will is late, and does come.
        let cause = crate::shard::CloseCause::EndOfStream;
        broker.shards[0].handle_closed(again, cause, broker.now);
        for _ in 0..100 {
            broker.now = broker.now + Span::from_millis(50);
            broker.shards[0].clients.heard.others = Time(broker.now.0 - 2_000_000_000);
            broker.shards[0].handle_timeout(broker.now);
            broker.shards[0].end_turn(broker.now);
        }
        assert_eq!(broker.take(observer), [0x30, 4, 0, 1, b't', b'w']);
    }
}
