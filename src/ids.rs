//! Identifiers as types, so that a shard is never mistaken for a connection.

use std::num::NonZeroU64;

/// One of the broker's shards, `0..shards`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl ShardId {
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One of the broker's listeners, in the order of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u16);

impl ListenerId {
    /// In place of a listener: connections that bridges have begun.
    pub const BRIDGES: Self = Self(u16::MAX);

    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A connection of one shard: slab index plus generation, so that a stale id is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    pub index: u32,
    pub generation: u32,
}

/// A session of one shard: slab index plus generation, so that a stale id is recognised. Other shards never
/// see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    pub index: u32,
    pub generation: u32,
}

/// A session that is in shared groups, as all shards know it: counted by its home, and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub NonZeroU64);

impl MemberId {
    /// No session ever has it.
    pub const NOBODY: Self = Self(NonZeroU64::MAX);
}

/// More shards than this cannot be configured: a set of destinations is one machine word pair.
pub const SHARDS_MAX: usize = 128;
