//! Deadlines of peers: one for each at most, which is looked at again when it has passed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Gateway;
use crate::time::Time;

/// A deadline of the peer in a place; stale when the place has another generation.
type Deadline = Reverse<(Time, u32, u32)>;

/// So much room for deadlines is never given back.
const ROOM_MIN: usize = 1_024;

#[derive(Default)]
pub(super) struct Timers(BinaryHeap<Deadline>);

impl Timers {
    fn next(&self) -> Option<Time> {
        self.0.peek().map(|Reverse((at, ..))| *at)
    }

    /// With room for an eighth more at a time, not twice as much: there is one for each client.
    fn push(&mut self, deadline: Deadline) {
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(64.max(self.0.len() / 8));
        }
        self.0.push(deadline);
    }

    fn pop_due(&mut self, now: Time) -> Option<(Time, u32, u32)> {
        self.next().filter(|at| *at <= now)?;
        let Reverse((at, index, generation)) = self.0.pop()?;
        // Most clients have one that is far away, and a second one in times of messages alone.
        if self.0.capacity() >= ROOM_MIN.max(self.0.len() / 4 * 5) {
            self.0.shrink_to(self.0.len() + self.0.len() / 16);
        }
        Some((at, index, generation))
    }
}

impl Gateway {
    /// What is done with a peer ends here. Counts its state, and sets its timer, if it is due before the one that is
    /// set: a later one is set when that has passed, unless the one before is in the list still.
    pub(super) fn arm(&mut self, index: u32) {
        let Some(generation) = self.peers.generation(index) else {
            return;
        };
        self.peers.count_state(index);
        let peer = self.peers.get_mut(index);
        peer.busy.rest();
        let Some(due) = peer.due() else {
            return;
        };
        if due < peer.armed {
            peer.armed_next = std::mem::replace(&mut peer.armed, due);
            self.timers.push(Reverse((due, index, generation)));
        }
    }

    /// When [`Gateway::handle_timeout`] is due at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let timers = [self.timers.next(), self.discovery.next()];
        timers.into_iter().flatten().min()
    }

    /// The next peer whose time has come.
    pub(super) fn next_due(&mut self, now: Time) -> Option<u32> {
        while let Some((at, index, generation)) = self.timers.pop_due(now) {
            if self.peers.generation(index) != Some(generation) {
                continue;
            }
            let peer = self.peers.get_mut(index);
            if at != peer.armed {
                continue; // one before it was looked at instead
            }
            peer.armed = std::mem::replace(&mut peer.armed_next, Time::FAR);
            if peer.due().is_some_and(|due| due <= now) {
                return Some(index);
            }
            self.arm(index);
        }
        None
    }
}
