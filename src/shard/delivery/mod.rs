//! Delivery: a publication to connections, queues, windows, groups and other shards.

mod drops;
pub(in crate::shard) mod fan_out;
mod group;
pub(in crate::shard) mod message;
pub(in crate::shard) mod prefetch;
pub(in crate::shard) mod publish_run;
#[cfg(test)]
mod publish_run_tests;
mod pump;
mod route;
pub(in crate::shard) mod send;

use crate::ids::ShardId;
use crate::limits::share_of;
use crate::routing::{RetainedStore, TopicIndex};
use crate::shard::mesh::placement::Placement;
use crate::shard::sparkplug::Sparkplug;
use crate::shard::ShardConfig;

/// Where publications go: the replica of the topic index, the retained messages of this shard, the
/// home shards of client ids and topics, and what publications say of the nodes of Sparkplug. Lives on: the shard.
pub(in crate::shard) struct Routes {
    pub(in crate::shard) index: TopicIndex,
    pub(in crate::shard) retained: RetainedStore,
    pub(in crate::shard) placement: Placement,
    /// When it is on.
    pub(in crate::shard) sparkplug: Option<Box<Sparkplug>>,
}

impl Routes {
    pub(in crate::shard) fn new(id: ShardId, config: &ShardConfig, hash_seed: u64) -> Self {
        let (messages_max, bytes_max) = retained_limits(config);
        Self {
            index: TopicIndex::new(id, hash_seed),
            retained: RetainedStore::new(messages_max, bytes_max),
            placement: Placement::new(config.placement_seed, config.shards, config.hash_seed),
            sparkplug: Sparkplug::new(&config.limits, config.shards),
        }
    }
}

/// Messages and bytes that one shard may retain.
pub(in crate::shard) fn retained_limits(config: &ShardConfig) -> (usize, u64) {
    let (limits, shards) = (&config.limits, u32::from(config.shards));
    (
        share_of(limits.retained_messages_max, shards) as usize,
        limits.retained_bytes_max / u64::from(shards),
    )
}
