//! Operations on publications that cross between shards.

use crate::ids::MemberId;

/// What the receiving shard is to do with a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shard) enum BlockOp<'a> {
    /// Deliver to its own subscribers.
    FanOut,
    /// Keep as the topic's retained message (or clear it).
    Retain,
    FanOutAndRetain,
    /// Deliver to one member of a shared group; `hops` counts how often it was dispatched.
    Member {
        group: &'a str,
        member: MemberId,
        hops: u8,
    },
}

impl BlockOp<'_> {
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::FanOut => 0,
            Self::Retain => 1,
            Self::FanOutAndRetain => 2,
            Self::Member { .. } => 3,
        }
    }
}
