//! Answers that are late: looked for by a worker, counted, and not waited for any more.

use super::worker::Worker;
use crate::client::Promise;

impl Worker {
    /// Counts what has not been answered in time; true when there was something.
    pub(super) fn look_at_deadlines(&mut self, now: u64) -> bool {
        let mut busy = false;
        let timeout_ns = self.deadlines.timeout_ns;
        while let Some((id, promise)) = self.deadlines.take(now) {
            busy = true;
            let slot = id.index as usize;
            let place = &mut self.slots[slot];
            let is_same = place.generation == id.generation && place.socket.is_some();
            if is_same && place.client.misses(promise, now, timeout_ns) {
                self.missed(slot, promise);
            }
        }
        if let Some(part) = self.deadlines.next_part(self.slots.len(), now) {
            for slot in part {
                self.with(slot, now, |client, cx| {
                    client.look_for_late_acks(timeout_ns, cx);
                });
            }
        }
        busy
    }

    fn missed(&mut self, slot: usize, promise: Promise) {
        let (name, count) = promise.describe();
        self.count(count);
        let seconds = self.deadlines.timeout_ns as f64 / 1e9;
        let sentence = format!("{name} did not come within {seconds:.1} s");
        if promise == Promise::ConnAck {
            return self.lost(slot, sentence);
        }
        self.error(sentence);
        self.settle(slot);
    }
}
