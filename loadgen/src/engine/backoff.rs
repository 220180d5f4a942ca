//! Backoff of lost connections: each client waits longer after each failure, and the worker's rate is kept.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::control::SECOND_NS;

/// First wait of a client; doubled after each failure.
const WAIT_NS: u64 = SECOND_NS / 10;
/// Longest wait, before the random part.
const WAIT_MAX_NS: u64 = 5 * SECOND_NS;

/// Clients that wait to connect again.
#[derive(Default)]
pub(super) struct Reconnects {
    waiting: BinaryHeap<Reverse<(u64, u32)>>,
    /// The rate allows the next one from here on.
    not_before_ns: u64,
}

impl Reconnects {
    pub(super) fn add(&mut self, slot: u32, failures: u8, now: u64) {
        let wait = (WAIT_NS << failures.min(16)).min(WAIT_MAX_NS);
        let spread = fastrand::u64(0..=wait / 2); // so that they do not all come at once
        self.waiting.push(Reverse((now + wait + spread, slot)));
    }

    /// When the next client may connect again.
    pub(super) fn due_ns(&self) -> Option<u64> {
        let due = self.waiting.peek()?.0 .0;
        Some(due.max(self.not_before_ns))
    }

    /// The next one whose time has come, at most one per `spacing_ns`.
    pub(super) fn take(&mut self, now: u64, spacing_ns: u64) -> Option<u32> {
        if self.due_ns()? > now {
            return None;
        }
        self.not_before_ns = now.max(self.not_before_ns) + spacing_ns;
        self.waiting.pop().map(|waiting| waiting.0 .1)
    }

    /// None of these slots connects again.
    pub(super) fn forget(&mut self, slots: &std::ops::Range<usize>) {
        let stays = |waiting: &Reverse<(u64, u32)>| !slots.contains(&(waiting.0 .1 as usize));
        self.waiting.retain(stays);
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
