//! Tickets: names of turns whose replies wait for a commit.

use crate::ids::ShardId;

/// A turn of a shard that has promised something. Counts on, and tickets are reached in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::shard) struct Ticket(pub(in crate::shard) u64);

/// The turn that waits until a publication is committed by another shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) struct Awaited {
    /// Where the publisher is.
    pub(in crate::shard) by: ShardId,
    pub(in crate::shard) ticket: Ticket,
}

/// Who is to learn that a publication is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::shard) enum Waiter {
    /// It has QoS 0 or no publisher, or acknowledgements do not wait.
    #[default]
    Nobody,
    /// An acknowledgement of this shard's turn at hand.
    Reply,
    /// A turn of the shard where its publisher is.
    Peer(Awaited),
}

/// What of a publication is to be committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::shard) struct CommitNeeds {
    /// It is retained, or goes to a session that outlives its connection.
    pub(in crate::shard) needed: bool,
    /// A peer has it to keep, and confirms its commit.
    pub(in crate::shard) by_peer: bool,
}
