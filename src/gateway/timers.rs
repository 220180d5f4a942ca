//! Deadlines of peers: one for each at most, which is looked at again when it has passed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Gateway;
use crate::time::Time;

/// A deadline of the peer in a place; stale when the place has another generation.
type Deadline = Reverse<(Time, u32, u32)>;

#[derive(Default)]
pub(super) struct Timers(BinaryHeap<Deadline>);

impl Timers {
    fn next(&self) -> Option<Time> {
        self.0.peek().map(|Reverse((at, ..))| *at)
    }

    fn pop_due(&mut self, now: Time) -> Option<(u32, u32)> {
        self.next().filter(|at| *at <= now)?;
        let Reverse((_, index, generation)) = self.0.pop()?;
        Some((index, generation))
    }
}

impl Gateway {
    /// What is done with a peer ends here. Counts its state, and sets its timer, if it is due before the one that is set: a later one is set when that
    /// has passed.
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
            peer.armed = due;
            self.timers.0.push(Reverse((due, index, generation)));
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
        while let Some((index, generation)) = self.timers.pop_due(now) {
            if self.peers.generation(index) != Some(generation) {
                continue;
            }
            let peer = self.peers.get_mut(index);
            peer.armed = Time(u64::MAX);
            if peer.due().is_some_and(|due| due <= now) {
                return Some(index);
            }
            self.arm(index);
        }
        None
    }
}
