//! Which messages of one publisher have arrived.

use std::collections::BTreeSet;

/// A set of sequence numbers that takes no more room than its gaps need.
#[derive(Default)]
pub(crate) struct Seen {
    /// Every number below has arrived.
    next: u64,
    beyond: BTreeSet<u64>,
}

impl Seen {
    /// True when the number arrives for the first time.
    pub(crate) fn insert(&mut self, n: u64) -> bool {
        if n < self.next || !self.beyond.insert(n) {
            return false;
        }
        while self.beyond.remove(&self.next) {
            self.next += 1;
        }
        true
    }

    /// The first number that has not arrived though a later one has.
    pub(crate) fn gap(&self) -> Option<u64> {
        (!self.beyond.is_empty()).then_some(self.next)
    }

    pub(crate) fn count(&self) -> u64 {
        self.next + self.beyond.len() as u64
    }
}
