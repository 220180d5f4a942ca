//! Cursors: how far this shard has taken the publications that others hold for it (see [`held`](super::held)).
//!
//! The number of the last one is committed in the turn that delivers it, so after a crash both are there or neither
//! is, and what comes again with a number that is not above it was delivered before.

use std::collections::VecDeque;

use super::ticket::HeldNumber;
use crate::ids::ShardId;
use crate::journal::{Lsn, SegmentNumber};
use crate::mutant::{is_on, Mutant};

/// Lives on: the shard, when it has a journal. Bounded by the number of shards, and by the frames under way.
#[derive(Debug)]
pub(in crate::shard) struct Cursors {
    /// By the shard that holds them.
    taken: Vec<HeldNumber>,
    /// Of the turn at hand.
    changed: Vec<ShardId>,
    /// What is to be confirmed when a frame is on the disk.
    recorded: VecDeque<(Lsn, ShardId, HeldNumber)>,
    /// Other shards have committed what is held here: this shard's record of that is old.
    pub(super) is_old: bool,
    /// Where that record is.
    pub(super) segment: Option<SegmentNumber>,
}

impl Cursors {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            taken: vec![HeldNumber(0); shards],
            changed: Vec::new(),
            recorded: VecDeque::new(),
            is_old: false,
            segment: None,
        }
    }

    /// A shard gives one that it holds; false: it was taken before.
    pub(super) fn take(&mut self, from: ShardId, number: HeldNumber) -> bool {
        let taken = &mut self.taken[from.index()];
        let is_new = number > *taken || is_on(Mutant::NoCursor);
        *taken = number.max(*taken);
        if self.changed.last() != Some(&from) {
            self.changed.push(from); // a repeat is confirmed again
        }
        is_new
    }

    pub(in crate::shard) fn taken(&self, from: ShardId) -> HeldNumber {
        self.taken[from.index()]
    }

    pub(super) fn all(&self) -> &[HeldNumber] {
        &self.taken
    }

    pub(super) fn restore(&mut self, taken: impl Iterator<Item = (ShardId, HeldNumber)>) {
        for (shard, number) in taken {
            if let Some(taken) = self.taken.get_mut(shard.index()) {
                *taken = number;
            }
        }
    }

    /// Something was taken in the turn at hand.
    pub(super) fn has_taken(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The records of the turn are appended; the last one is in this frame.
    pub(super) fn end_turn(&mut self, last: Lsn) {
        for shard in self.changed.drain(..) {
            let lsn = match is_on(Mutant::ConfirmHeldEarly) {
                true => Lsn(0),
                false => last,
            };
            (self.recorded).push_back((lsn, shard, self.taken[shard.index()]));
        }
    }

    /// What may be confirmed, now that frames up to this one are on the disk.
    pub(super) fn pop_confirmed(&mut self, durable: Lsn) -> Option<(ShardId, HeldNumber)> {
        let (lsn, shard, number) = *self.recorded.front()?;
        (lsn <= durable).then(|| self.recorded.pop_front())?;
        Some((shard, number))
    }
}
