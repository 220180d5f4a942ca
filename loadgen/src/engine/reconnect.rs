//! Lost connections opened again, when `--reconnect` asks for it: each client waits longer after each
//! failure, and a worker opens no more than its share of the rate.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::control::SECOND_NS;
use super::worker::Worker;
use crate::client::State;
use crate::meter::Count;

/// First wait of a client; doubled after each failure.
const WAIT_NS: u64 = SECOND_NS / 10;
/// Longest wait, before the random part.
const WAIT_MAX_NS: u64 = 5 * SECOND_NS;

/// Who waits to connect again.
#[derive(Default)]
pub(super) struct Reconnects {
    waiting: BinaryHeap<Reverse<(u64, u32)>>,
    /// The rate allows the next one from here on.
    not_before_ns: u64,
}

impl Reconnects {
    fn add(&mut self, slot: u32, failures: u8, now: u64) {
        let wait = (WAIT_NS << failures.min(16)).min(WAIT_MAX_NS);
        let spread = fastrand::u64(0..=wait / 2); // so that all do not come at once
        self.waiting.push(Reverse((now + wait + spread, slot)));
    }

    /// When somebody may connect again.
    pub(super) fn due_ns(&self) -> Option<u64> {
        let due = self.waiting.peek()?.0 .0;
        Some(due.max(self.not_before_ns))
    }

    /// The next one whose time has come, at most one per `spacing_ns`.
    fn take(&mut self, now: u64, spacing_ns: u64) -> Option<u32> {
        if self.due_ns()? > now {
            return None;
        }
        self.not_before_ns = now.max(self.not_before_ns) + spacing_ns;
        self.waiting.pop().map(|waiting| waiting.0 .1)
    }

    /// Nobody of these slots comes back.
    fn forget(&mut self, slots: &std::ops::Range<usize>) {
        let stays = |waiting: &Reverse<(u64, u32)>| !slots.contains(&(waiting.0 .1 as usize));
        self.waiting.retain(stays);
    }
}

impl Worker {
    /// A connection is gone that is opened again; true when it is. `state` is where it was.
    pub(super) fn is_opened_again(&mut self, slot: usize, state: State, now: u64) -> bool {
        if self.control.plan.connection.reconnect_per_s.is_none() {
            return false;
        }
        let client = &mut self.slots[slot].client;
        if !client.was_lost {
            return false; // it has never been there
        }
        self.reconnects.add(slot as u32, client.failures, now);
        client.failures = client.failures.saturating_add(1);
        if state != State::Ready {
            self.count(Count::ReconnectFailed);
        }
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
                self.open(slot as usize, now);
            }
        }
        busy
    }

    /// A client is connected: when it was before, it takes up what it did.
    pub(super) fn came_back(&mut self, slot: usize, now: u64) {
        let client = &mut self.slots[slot].client;
        client.failures = 0;
        if !client.is_away {
            if self.work.load.is_some() {
                self.joined(slot, now);
            }
            return;
        }
        client.is_away = false;
        let subscribes = client.subscribes && !client.is_subscribed;
        self.count(Count::Reconnected);
        self.with(slot, now, |client, cx| {
            if subscribes {
                client.subscribe(cx.plan, cx.now_ns);
            }
            client.publish_owed(cx);
        });
        self.hunger(slot);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_the_rate_is_kept() {
        let mut reconnects = Reconnects::default();
        assert_eq!(reconnects.due_ns(), None);
        for (failures, least) in [(0, WAIT_NS), (3, 8 * WAIT_NS), (200, WAIT_MAX_NS)] {
            reconnects.add(1, failures, 7);
            let due = reconnects.due_ns().unwrap() - 7;
            assert!(
                (least..=least + least / 2).contains(&due),
                "{failures}: {due}"
            );
            reconnects.forget(&(0..2));
            assert_eq!(reconnects.due_ns(), None);
        }
        for slot in 0..10 {
            reconnects.add(slot, 0, 0);
        }
        let now = SECOND_NS;
        assert!(reconnects.take(now, 1_000).is_some());
        assert_eq!(reconnects.take(now, 1_000), None, "one per spacing");
        assert_eq!(reconnects.due_ns(), Some(now + 1_000));
        assert!(reconnects.take(now + 1_000, 1_000).is_some());
    }
}
