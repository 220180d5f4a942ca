//! Placement: the home shard of a client id or a topic. The same on all shards.

use ahash::RandomState;

use crate::ids::ShardId;

/// Keyed hash, so that the network cannot choose ids that all land on one shard.
#[derive(Clone, Debug)]
pub(in crate::shard) struct Placement {
    hasher: RandomState,
    shards: u64,
}

impl Placement {
    pub(in crate::shard) fn new(seed: u64, shards: u16) -> Self {
        Self {
            hasher: RandomState::with_seeds(seed, 0x5EED, 11, 13),
            shards: u64::from(shards),
        }
    }

    /// Home of a client id (its connection and session) or of a topic (its retained message).
    pub(in crate::shard) fn home(&self, name: &str) -> ShardId {
        // The high bits: the low ones pick the bucket in hash maps keyed alike.
        let hash = self.hasher.hash_one(name.as_bytes()) >> 32;
        ShardId(((hash * self.shards) >> 32) as u16)
    }

    /// A 64-bit name for a topic.
    pub(in crate::shard) fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name.as_bytes())
    }
}
