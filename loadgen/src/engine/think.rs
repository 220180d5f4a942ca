//! Clients that pause between their messages.

use std::cmp::Reverse;

use super::worker::Worker;
use crate::client::State;
use crate::meter::Timing;
use crate::plan::Load;

impl Worker {
    /// Begins a client's next pause, when its message is done with and there is another to send.
    pub(super) fn think(&mut self, slot: usize, now: u64) {
        let place = &mut self.slots[slot];
        let client = &place.client;
        let (least, most, is_life) = match self.work.own_load(client.group) {
            Some(Load::Think { least, most }) => (least, most, false),
            Some(Load::Life { pause, .. }) => (pause.0, pause.1, true),
            _ => return,
        };
        let Some(load) = &mut self.work.load else {
            return;
        };
        let has_more = is_life || client.sequence() < client.limit;
        let may = client.state == State::Ready && has_more && !place.ending;
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
            if self.begin_life(slot, due, now) {
                continue;
            }
            if self.slots[slot].client.state != State::Ready {
                continue; // when it comes back it pauses first
            }
            if self.end_life(slot, now) {
                continue;
            }
            self.meter.time(Timing::ScheduleLag, now - due);
            let is_last = self.with(slot, now, |client, cx| {
                client.publish(due, cx);
                client.sequence() >= client.limit
            });
            let is_life = matches!(
                self.work.own_load(self.slots[slot].client.group),
                Some(Load::Life { .. })
            );
            if is_last && !is_life {
                if let Some(load) = &mut self.work.load {
                    load.sending -= 1;
                }
            }
            self.think(slot, now); // a message of QoS 0 is done with
        }
        busy
    }
}
