//! Identifiers as types, so that a shard is never mistaken for a connection.

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

/// A session of one shard: slab index plus generation, so that a stale id is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    pub index: u32,
    pub generation: u32,
}

/// A set of shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ShardSet(pub u128);

/// More shards than this cannot be configured: [`ShardSet`] is one machine word pair.
pub const SHARDS_MAX: usize = 128;

impl ShardSet {
    pub const EMPTY: Self = Self(0);

    pub fn insert(&mut self, shard: ShardId) {
        self.0 |= 1 << shard.0;
    }
    pub fn remove(&mut self, shard: ShardId) {
        self.0 &= !(1 << shard.0);
    }
    #[must_use]
    pub fn contains(self, shard: ShardId) -> bool {
        self.0 >> shard.0 & 1 == 1
    }
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    pub fn iter(self) -> impl Iterator<Item = ShardId> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            (rest != 0).then(|| {
                let lowest = rest.trailing_zeros();
                rest &= rest - 1;
                ShardId(lowest as u16)
            })
        })
    }
}
