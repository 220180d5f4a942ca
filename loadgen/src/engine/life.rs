//! Lives of clients: each connects, publishes its messages with pauses between, leaves, sleeps, and begins anew.

use std::cmp::Reverse;

use super::worker::Worker;
use crate::plan::Load;

impl Worker {
    /// A client that sleeps wakes up; true when it does.
    pub(super) fn begin_life(&mut self, slot: usize, due: u64, now: u64) -> bool {
        let place = &mut self.slots[slot];
        let Some(Load::Life { messages, .. }) = self.work.own_load(place.client.group) else {
            return false;
        };
        if place.socket.is_some() || place.client.is_away {
            return false;
        }
        place.client.limit = place.client.sequence() + messages;
        if place.client.settled {
            place.client.settled = false;
            self.work.unsettled += 1;
        }
        self.connect_anew(slot, due, now);
        true
    }

    /// A client that has published what it was to leaves; true when it does.
    pub(super) fn end_life(&mut self, slot: usize, now: u64) -> bool {
        let place = &mut self.slots[slot];
        let is_life = matches!(
            self.work.own_load(place.client.group),
            Some(Load::Life { .. })
        );
        if !is_life || place.client.sequence() < place.client.limit {
            return false;
        }
        place.absent = true;
        place.client.settled = false;
        self.work.unsettled += 1;
        self.disconnect(slot, now);
        true
    }

    /// A connection is closed: a client with a life sleeps.
    pub(super) fn sleep_after_life(&mut self, slot: usize, now: u64) {
        let place = &mut self.slots[slot];
        let Some(Load::Life { sleep, .. }) = self.work.own_load(place.client.group) else {
            return;
        };
        let Some(load) = &mut self.work.load else {
            return;
        };
        if !place.thinks && !place.client.is_away {
            place.thinks = true;
            let sleeps = fastrand::u64(sleep.0.as_nanos() as u64..=sleep.1.as_nanos() as u64);
            load.thinkers
                .0
                .push(Reverse((now + sleeps.max(1), slot as u32)));
        }
    }
}
