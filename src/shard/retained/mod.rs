//! Retained messages that are sent besides live delivery: to new subscriptions, in pieces, and after a race of
//! publishers on one topic.

mod keep;
pub(in crate::shard) mod live_topics;
pub(in crate::shard) mod races;
mod walk;
pub(in crate::shard) mod walk_queue;
pub(in crate::shard) mod walks;

use races::Races;
use walk_queue::WalkQueue;

/// Retained messages that are being sent. Lives on: the shard.
pub(in crate::shard) struct Replay {
    pub(in crate::shard) walks: WalkQueue,
    pub(in crate::shard) races: Races,
}

impl Replay {
    pub(in crate::shard) fn new(hash_seed: u64) -> Self {
        Self {
            walks: WalkQueue::new(hash_seed),
            races: Races::new(hash_seed),
        }
    }
}
