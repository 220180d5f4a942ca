//! Segments that publications lie in which are not in memory: what keeps them from being used again.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::journal::SegmentNumber;
use crate::mqtt::Hold;

/// Lives on: the shard's ledger, and the fold before it. Bounded by the segments of the log.
#[derive(Debug, Default)]
pub(super) struct SegmentHolds {
    by_segment: BTreeMap<u32, Rc<Hold>>,
    /// Segments before this one may be used again.
    oldest: u32,
    /// The log is of another number of shards; by the shard that had it.
    former: Option<u16>,
}

impl SegmentHolds {
    pub(super) fn in_log(former: Option<u16>) -> Self {
        Self {
            former,
            ..Self::default()
        }
    }

    /// All of them in which something lies, in order.
    pub(super) fn into_used(self) -> impl Iterator<Item = Rc<Hold>> {
        let holds = self.by_segment.into_values();
        holds.filter(|hold| Rc::strong_count(hold) > 1)
    }

    /// Sessions are noted again, with the keys they have then.
    pub(super) fn forget_sessions(&self) {
        self.by_segment
            .values()
            .for_each(|hold| hold.forget_sessions());
    }

    /// What keeps a segment; `None`: it may be used again.
    pub(super) fn of(&mut self, segment: u32) -> Option<Rc<Hold>> {
        if segment < self.oldest {
            return None;
        }
        let hold = self.by_segment.entry(segment);
        let made = || Hold::in_log(self.former, segment);
        Some(Rc::clone(hold.or_insert_with(made)))
    }

    /// The oldest segment that something lies in, of those before `current`, which is needed.
    pub(super) fn oldest_needed(&mut self, current: SegmentNumber) -> SegmentNumber {
        while let Some(first) = self.by_segment.first_entry() {
            if Rc::strong_count(first.get()) > 1 {
                return current.min(SegmentNumber(*first.key()));
            }
            first.remove();
        }
        current
    }

    /// Segments before this one may be used again from here on.
    pub(super) fn retire_before(&mut self, oldest: SegmentNumber) {
        self.oldest = oldest.0;
    }

    /// Of a segment that something lies in.
    pub(super) fn used(&self, segment: SegmentNumber) -> Option<&Rc<Hold>> {
        let hold = self.by_segment.get(&segment.0)?;
        (Rc::strong_count(hold) > 1).then_some(hold)
    }
}
