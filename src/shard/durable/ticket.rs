//! Names of what waits for a commit: turns with replies, and publications for other shards.

use crate::ids::ShardId;

/// A turn of a shard that has promised something. Counts on, and tickets are reached in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::shard) struct Ticket(pub(in crate::shard) u64);

/// Names one publication for one shard. Rises for each shard; 0 is before all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::shard) struct HeldNumber(pub(in crate::shard) u64);

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
    /// The shard that it comes from, whose log holds it under this number.
    Held(HeldNumber),
    /// This shard's log: no publisher would repeat it, so that it is held there for the shards it goes to.
    Log,
}
