//! Read queues: the socket that is read next, and the time up to which all that had arrived is read.
//!
//! Established connections (their CONNECT was accepted) and all others have a queue each, so that a
//! new connection waits behind other new ones, and never in front of established ones. Queues work in
//! rounds: each records the time up to which everything that had arrived was read. Deadlines of clients
//! are measured against that time, not the clock: unread bytes in a socket of a late shard are no silence.

use std::collections::VecDeque;

use crate::ids::ConnectionId;
use crate::time::Time;

/// Connections that did not want input and are asked again in one turn, of each queue.
const TURN_HELD: usize = 1_024;

/// Sockets of one kind that may have bytes, in turn.
#[derive(Default)]
pub(super) struct Queue {
    ready: VecDeque<ConnectionId>,
    /// They have bytes, and their connection does not want input now.
    held: VecDeque<ConnectionId>,
    /// Of the held, asked again since the last turn in which anything happened.
    asked: usize,
    round: Round,
    heard_until: Time,
}

/// One pass over the sockets that were in the queue when it began.
#[derive(Default)]
struct Round {
    /// What arrived before is in the queue, or was read.
    began: Time,
    /// Places at the head of the queue that belong to it.
    ready: usize,
    /// The same of those that are held.
    held: usize,
    is_open: bool,
}

impl Queue {
    pub(super) fn push(&mut self, id: ConnectionId) {
        self.ready.push_back(id);
    }

    pub(super) fn pop(&mut self) -> Option<ConnectionId> {
        self.round.ready = self.round.ready.saturating_sub(1);
        self.ready.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Its connection does not want input: that is no silence either, and the shard accounts for it.
    pub(super) fn hold(&mut self, id: ConnectionId) {
        self.held.push_back(id);
    }

    /// Asks connections that did not want input whether they do now. `None`: it is closed.
    pub(super) fn ask_held(&mut self, mut wants_input: impl FnMut(ConnectionId) -> Option<bool>) {
        let count = self.held.len().min(TURN_HELD);
        self.asked += count;
        for _ in 0..count {
            let Some(id) = self.held.pop_front() else {
                return;
            };
            let in_round = self.round.held > 0;
            self.round.held = self.round.held.saturating_sub(1);
            match wants_input(id) {
                Some(true) => {
                    self.ready.push_back(id);
                    if in_round {
                        self.round.ready = self.ready.len();
                    }
                }
                Some(false) => self.held.push_back(id),
                None => {}
            }
        }
    }

    /// True when some were not asked again since something happened: do not park yet.
    pub(super) fn turn_ended(&mut self, busy: bool) -> bool {
        if busy {
            self.asked = 0;
        }
        self.asked < self.held.len()
    }

    /// A turn begins, and what had arrived by `collected` is in the queue.
    /// True when a round begins with it.
    pub(super) fn begin_round(&mut self, collected: Time) -> bool {
        let begins = !self.round.is_open;
        if begins {
            self.round = Round {
                began: collected,
                ready: self.ready.len(),
                held: self.held.len(),
                is_open: true,
            };
        }
        begins
    }

    /// What has just been put into the queue belongs to the round, too.
    pub(super) fn extend_round(&mut self) {
        self.round.ready = self.ready.len();
    }

    /// A turn is over: so is the round when all of it was read or asked.
    pub(super) fn end_round(&mut self) {
        let Round {
            began,
            ready,
            held,
            is_open,
        } = self.round;
        if is_open && ready == 0 && held == 0 {
            self.round.is_open = false;
            self.heard_until = began;
        }
    }

    /// Everything that had arrived by then was read.
    pub(super) fn heard_until(&self) -> Time {
        self.heard_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u32) -> ConnectionId {
        ConnectionId {
            index,
            generation: 1,
        }
    }

    /// The queue holds connections 0 to `count`.
    fn queue_of(count: u32) -> Queue {
        let mut queue = Queue::default();
        (0..count).for_each(|index| queue.push(id(index)));
        queue
    }

    #[test]
    fn a_round_is_over_when_all_that_was_there_was_read() {
        let mut queue = queue_of(3);
        queue.begin_round(Time(10));
        queue.pop();
        queue.push(id(7)); // came later, and has no end
        queue.end_round();
        assert_eq!(queue.heard_until(), Time::ZERO);
        queue.begin_round(Time(20));
        queue.pop();
        queue.pop();
        queue.end_round();
        assert_eq!(queue.heard_until(), Time(10), "the round that began first");
        queue.begin_round(Time(30));
        queue.pop();
        queue.end_round();
        assert_eq!(queue.heard_until(), Time(30));
        queue.begin_round(Time(40));
        queue.end_round();
        assert_eq!(queue.heard_until(), Time(40), "nothing to read");
    }

    #[test]
    fn who_was_held_and_wants_input_again_is_read_first() {
        let mut queue = queue_of(2);
        queue.hold(id(8));
        queue.hold(id(9));
        queue.begin_round(Time(10));
        queue.pop();
        queue.pop();
        queue.end_round();
        assert_eq!(queue.heard_until(), Time::ZERO, "the held were not asked");
        queue.push(id(3));
        queue.ask_held(|one| Some(one == id(8)));
        queue.end_round();
        assert_eq!(queue.heard_until(), Time::ZERO, "8 was not read");
        assert_eq!(queue.pop(), Some(id(3)));
        assert_eq!(queue.pop(), Some(id(8)));
        queue.end_round();
        assert_eq!(queue.heard_until(), Time(10), "9 waits because of us");
    }

    #[test]
    fn who_is_held_keeps_a_shard_awake_until_asked_once() {
        let mut queue = Queue::default();
        assert!(!queue.turn_ended(true));
        queue.hold(id(1));
        assert!(queue.turn_ended(true));
        queue.ask_held(|_| Some(false));
        assert!(!queue.turn_ended(false));
        assert!(queue.turn_ended(true), "something happened");
        queue.ask_held(|_| None);
        assert!(!queue.turn_ended(true), "gone");
    }
}
