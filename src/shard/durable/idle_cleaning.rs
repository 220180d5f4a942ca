//! Cleaning without changes: space that has become free is given back though no client writes.
//!
//! A turn without changes of its own writes a piece anew once all before it is on the disk, so the disk sets the pace.
//! What was written since the last change is not written once more: a log that stays larger than what is thought to be
//! alive in it is left alone then.

use super::Durable;
use crate::journal::SegmentNumber;

/// Lives on: the shard, when it has a journal.
#[derive(Debug)]
pub(in crate::shard) struct IdleCleaning {
    /// Segments before this one may hold what has been left behind by changes.
    until: SegmentNumber,
    /// The broker stops as soon as all is on the disk.
    is_over: bool,
}

impl IdleCleaning {
    pub(super) fn new(until: SegmentNumber) -> Self {
        let is_over = false;
        Self { until, is_over }
    }

    pub(in crate::shard) fn end(&mut self) {
        self.is_over = true;
    }
}

impl Durable {
    /// What a turn has written was asked for by changes; it lies in segments up to the current one.
    pub(super) fn note_changes(&mut self) {
        self.idle_cleaning.until = self.log.segment();
    }

    /// A turn could do nothing for the oldest segment: unless something of it is being read back or is taken out of
    /// memory first, or what waited for an ended session is being dropped, it takes another change, such as an
    /// acknowledgement.
    pub(super) fn stop_cleaning(&mut self, retained_bytes: u64, drops_queues: bool) {
        let goes_on = self.moves.is_reading() || self.moves.is_under_way() || drops_queues;
        if !goes_on && !self.ledger.stores_soon() {
            self.idle_cleaning.until = self.oldest;
            self.note_unfit(retained_bytes);
        }
    }

    /// The log is larger than it should be, and a turn without changes makes it smaller.
    pub(super) fn cleans_idle(&self, retained_bytes: u64) -> bool {
        self.oldest < self.idle_cleaning.until
            && !self.idle_cleaning.is_over
            && !self.full.own
            && !self.ledger.takes_over
            && !self.moves.is_reading()
            && self.log.unwritten_bytes() == 0
            && self.is_too_large(self.oldest, retained_bytes)
    }
}
