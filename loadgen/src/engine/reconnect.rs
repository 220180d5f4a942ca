//! LostGenerator connections opened again, when `--reconnect` asks for it: each client waits longer after each
//! failure, and a worker opens no more than its share of the rate.

use super::control::SECOND_NS;
use super::slot::Return;
use super::worker::Worker;
use crate::client::State;
use crate::meter::Count;

impl Worker {
    /// Has a lost connection opened again, when the plan asks for it; true when it does. `state` is that
    /// before the loss.
    pub(super) fn schedule_reconnect(&mut self, slot: usize, state: State, now: u64) -> bool {
        if self.control.plan.connection.reconnect_per_s.is_none() {
            return false;
        }
        let client = &mut self.slots[slot].client;
        if !client.was_lost {
            return false; // it has never been connected
        }
        self.reconnects.add(slot as u32, client.failures, now);
        client.failures = client.failures.saturating_add(1);
        if state != State::Ready {
            self.count(Count::ReconnectFailed);
        }
        self.turn_away(slot);
        true
    }

    /// Opens what may be opened again now.
    pub(super) fn reconnect(&mut self, now: u64) -> bool {
        let Some(per_s) = self.control.plan.connection.reconnect_per_s else {
            return false;
        };
        let share = self.control.plan.share;
        let (_, workers) = share.worker(self.id, self.control.workers());
        let spacing_ns = (SECOND_NS as f64 * workers as f64 / per_s) as u64;
        let mut busy = false;
        while let Some(slot) = self.reconnects.take(now, spacing_ns) {
            busy = true;
            let place = &self.slots[slot as usize];
            if place.client.state == State::Idle && place.socket.is_none() {
                self.connect_anew(slot as usize, now, now);
            }
        }
        busy
    }

    /// A client is connected: when it was before, it takes up what it did.
    pub(super) fn reconnected(&mut self, slot: usize, now: u64) {
        let place = &mut self.slots[slot];
        place.absent = false;
        let returns = std::mem::take(&mut place.returns) == Return::OnItsWay;
        let client = &mut place.client;
        client.failures = 0;
        if !client.is_away {
            if returns || self.work.load.is_some() {
                self.joined(slot, now);
            }
            return;
        }
        client.is_away = false;
        let subscribes = client.subscribes && !client.is_subscribed;
        self.count(Count::Reconnected);
        self.with(slot, now, |client, cx| {
            if subscribes {
                client.subscribe(cx);
            }
            client.publish_held_back(cx);
        });
        self.mark_ready(slot);
    }

    /// A client's connection ends as asked: it is not opened again.
    pub(super) fn forget_reconnect(&mut self, slot: usize) {
        self.reconnects.forget(&(slot..slot + 1));
    }

    /// A group's connections end as asked: none is opened again.
    pub(super) fn forget_reconnects(&mut self, group: usize) {
        let slots = self.group(group);
        self.reconnects.forget(&slots);
    }
}
