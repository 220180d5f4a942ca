//! Deadlines of promises: answers that have not come in time are errors with a count.

use std::collections::VecDeque;
use std::time::Duration;

use ringmq::ids::ConnectionId;

use crate::client::Promise;

/// Unanswered PUBLISH packets are looked for all over the clients so often per timeout.
const ROUNDS: u64 = 4;
/// Parts of a round, so that none takes long, and the least time between two.
const PARTS: u64 = 256;
const PART_NS: u64 = 5_000_000;

/// Answers that are due, in the order of their times.
pub(super) struct Deadlines {
    pub(super) timeout_ns: u64,
    due: VecDeque<(u64, ConnectionId, Promise)>,
    /// Next part of the clients to be looked at for PUBLISH packets, and when; `None`: none is promised
    /// an acknowledgement.
    part_at_ns: Option<u64>,
    part: u64,
    round_began_ns: u64,
}

impl Deadlines {
    pub(super) fn new(timeout: Duration, promises_acks: bool) -> Self {
        Self {
            timeout_ns: timeout.as_nanos() as u64,
            due: VecDeque::new(),
            part_at_ns: promises_acks.then_some(0),
            part: 0,
            round_began_ns: 0,
        }
    }

    pub(super) fn add(&mut self, id: ConnectionId, promise: Promise, now: u64) {
        self.due.push_back((now + self.timeout_ns, id, promise));
    }

    pub(super) fn due_ns(&self) -> Option<u64> {
        let due = self.due.front().map(|due| due.0);
        [due, self.part_at_ns].into_iter().flatten().min()
    }

    pub(super) fn take(&mut self, now: u64) -> Option<(ConnectionId, Promise)> {
        if self.due.front()?.0 > now {
            return None;
        }
        self.due.pop_front().map(|(_, id, promise)| (id, promise))
    }

    /// The slots, of so many, to be looked at now.
    pub(super) fn next_part(&mut self, slots: usize, now: u64) -> Option<std::ops::Range<usize>> {
        if now < self.part_at_ns? {
            return None;
        }
        let round_ns = (self.timeout_ns / ROUNDS).max(1);
        let passed_ns = now - self.round_began_ns;
        let due = (u128::from(passed_ns) * u128::from(PARTS) / u128::from(round_ns)) as u64;
        let due = due.min(PARTS);
        let at = |part: u64| (slots as u64 * part / PARTS) as usize;
        let range = at(self.part)..at(due);
        self.part = due;
        if due == PARTS {
            (self.part, self.round_began_ns) = (0, now);
        }
        self.part_at_ns = Some(now + PART_NS.max(round_ns / PARTS));
        Some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_looked_at_once_a_round() {
        for slots in [0, 1, 7, 256, 1_000] {
            for step_ns in [PART_NS, 70_000_000, 2_000_000_000] {
                let mut deadlines = Deadlines::new(Duration::from_secs(4), true);
                let (mut seen, mut now) = (vec![0; slots], 5_000_000_000);
                deadlines.next_part(slots, now); // ends the round that has never begun
                let ends = now + 1_000_000_000;
                while now < ends {
                    now += step_ns;
                    let part = deadlines.next_part(slots, now).unwrap();
                    seen[part].iter_mut().for_each(|count| *count += 1);
                    assert_eq!(deadlines.next_part(slots, now), None);
                }
                assert!(seen.iter().all(|count| *count == 1), "{slots} {step_ns}");
            }
        }
        let mut none = Deadlines::new(Duration::from_secs(4), false);
        assert_eq!((none.next_part(9, 1), none.due_ns()), (None, None));
    }

    #[test]
    fn answers_are_due_in_their_order() {
        let mut deadlines = Deadlines::new(Duration::from_nanos(10), false);
        let id = |index| ConnectionId {
            index,
            generation: 0,
        };
        deadlines.add(id(1), Promise::ConnAck, 5);
        deadlines.add(id(2), Promise::SubAck, 6);
        assert_eq!((deadlines.due_ns(), deadlines.take(14)), (Some(15), None));
        assert_eq!(deadlines.take(15), Some((id(1), Promise::ConnAck)));
        assert_eq!(deadlines.take(15), None);
    }
}
