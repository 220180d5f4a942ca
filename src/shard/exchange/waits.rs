//! Waits: publications whose acknowledgement depends on others, in two directions.

use std::collections::VecDeque;

use crate::shard::durable::ticket::{Awaited, Ticket};

/// A publication of a shard here that other nodes have not confirmed.
#[derive(Debug)]
struct Wait {
    awaited: Awaited,
    /// Nodes that have not confirmed it.
    left: u16,
}

/// Name of a [`Wait`].
pub(super) type WaitId = u64;

/// Bounded by what is kept for other nodes, and that by its high-water mark.
#[derive(Debug, Default)]
pub(super) struct Waits {
    first: WaitId,
    waits: VecDeque<Wait>,
}

impl Waits {
    /// Waits for so many nodes, one at least.
    pub(super) fn begin(&mut self, awaited: Awaited, left: u16) -> WaitId {
        debug_assert!(left > 0, "nobody would ever confirm it");
        self.waits.push_back(Wait { awaited, left });
        self.first + self.waits.len() as u64 - 1
    }

    /// A node has confirmed it, or is dead. Who waits, if that was the last.
    pub(super) fn confirmed(&mut self, id: WaitId) -> Option<Awaited> {
        let at = usize::try_from(id.checked_sub(self.first)?).ok()?;
        let wait = self.waits.get_mut(at)?;
        wait.left -= 1;
        let reached = (wait.left == 0).then_some(wait.awaited);
        while self.waits.front().is_some_and(|wait| wait.left == 0) {
            self.waits.pop_front();
            self.first += 1;
        }
        reached
    }
}

/// Blocks of other nodes whose publications shards here have not committed. A block's ticket is how shards name it.
#[derive(Debug)]
pub(super) struct Owed {
    first: u64,
    left: VecDeque<u32>,
}

impl Default for Owed {
    fn default() -> Self {
        Self {
            first: 1,
            left: VecDeque::new(),
        }
    }
}

impl Owed {
    /// The ticket of a block that is applied next.
    pub(super) fn begin(&mut self) -> Ticket {
        self.left.push_back(0);
        Ticket(self.first + self.left.len() as u64 - 1)
    }

    fn of(&mut self, ticket: Ticket) -> Option<&mut u32> {
        let at = usize::try_from(ticket.0.checked_sub(self.first)?).ok()?;
        self.left.get_mut(at)
    }

    /// One more shard is to commit something of it.
    pub(super) fn add(&mut self, ticket: Ticket) {
        if let Some(left) = self.of(ticket) {
            *left += 1;
        }
    }

    /// Shards have committed so many publications of it.
    pub(super) fn committed(&mut self, ticket: Ticket, count: u32) {
        if let Some(left) = self.of(ticket) {
            *left = left.saturating_sub(count);
        }
    }

    pub(super) fn is_settled(&mut self, ticket: Ticket) -> bool {
        self.of(ticket).is_none_or(|left| *left == 0)
    }

    /// Forgets what has been asked about: a block's ticket is not used after its frame is acknowledged.
    pub(super) fn trim(&mut self) {
        while self.left.front() == Some(&0) {
            self.left.pop_front();
            self.first += 1;
        }
    }
}
