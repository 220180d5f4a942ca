//! Clients that pause between their messages.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::slot::Slot;
use super::worker::Worker;
use crate::client::State;
use crate::meter::Timing;
use crate::plan::Load;

/// Clients in a pause, by its end.
#[derive(Default)]
pub(super) struct Thinkers(BinaryHeap<Reverse<(u64, u32)>>);

impl Thinkers {
    /// When the next pause ends.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.0.peek().map(|next| next.0 .0)
    }

    /// First pause of a client: any part of one, so that all do not send at once.
    pub(super) fn begin(&mut self, slot: usize, most: Duration, now: u64) {
        let pause = fastrand::u64(0..=most.as_nanos() as u64);
        self.0.push(Reverse((now + pause, slot as u32)));
    }

    fn take(&mut self, now: u64) -> Option<(u64, usize)> {
        if self.due_ns()? > now {
            return None;
        }
        self.0.pop().map(|next| (next.0 .0, next.0 .1 as usize))
    }

    /// The load is over: nobody is in a pause any more.
    pub(super) fn end(&mut self, slots: &mut [Slot]) {
        for Reverse((_, slot)) in self.0.drain() {
            slots[slot as usize].thinks = false;
        }
    }
}

impl Worker {
    /// Begins a client's next pause, when its message is done with and there is another to send.
    pub(super) fn think(&mut self, slot: usize, now: u64) {
        let place = &mut self.slots[slot];
        let client = &place.client;
        let Some(Load::Think { least, most }) = self.work.own_load(client.group) else {
            return;
        };
        let Some(load) = &mut self.work.load else {
            return;
        };
        let may = client.state == State::Ready && client.sequence() < client.limit;
        if may && !place.thinks && client.is_done() {
            place.thinks = true;
            let pause = fastrand::u64(least.as_nanos() as u64..=most.as_nanos() as u64);
            let ends = now + pause.max(1); // later than now, or a turn would not end
            load.thinkers.0.push(Reverse((ends, slot as u32)));
        }
    }

    /// Sends for those whose pauses are over: at the ends of these, whenever that is noticed.
    pub(super) fn wake_thinkers(&mut self, now: u64) -> bool {
        let mut busy = false;
        while let Some((due, slot)) = self
            .work
            .load
            .as_mut()
            .and_then(|load| load.thinkers.take(now))
        {
            busy = true;
            let place = &mut self.slots[slot];
            place.thinks = false;
            if place.client.state != State::Ready {
                continue; // when it comes back it pauses first
            }
            self.meter.time(Timing::ScheduleLag, now - due);
            let is_last = self.with(slot, now, |client, cx| {
                client.publish(due, cx);
                client.sequence() >= client.limit
            });
            if is_last {
                if let Some(load) = &mut self.work.load {
                    load.sending -= 1;
                }
            }
            self.think(slot, now); // a message of QoS 0 is done with
        }
        busy
    }
}
