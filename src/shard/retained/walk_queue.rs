//! The walks of one shard: those that are ready, and what the others wait for.

use std::collections::{HashMap, VecDeque};

use crate::ids::{SessionId, ShardId};
use crate::shard::mesh::block::RetainedWalk;

/// The walks of one shard.
#[derive(Debug)]
pub(in crate::shard) struct WalkQueue {
    pub(in crate::shard) ready: VecDeque<SessionId>,
    /// Waiting for one of the requests to come back.
    pub(in crate::shard) starved: VecDeque<SessionId>,
    /// Waiting for publications of other shards to be applied here.
    pub(in crate::shard) behind: Vec<SessionId>,
    /// Pieces asked of us that wait for the same.
    pub(in crate::shard) asked: Vec<(ShardId, Box<RetainedWalk>)>,
    pub(in crate::shard) requests: HashMap<u64, SessionId, ahash::RandomState>,
    pub(in crate::shard) next_request: u64,
    pub(in crate::shard) hasher: ahash::RandomState,
}

impl WalkQueue {
    pub(in crate::shard) fn new(hash_seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(hash_seed, 17, 18, 19);
        Self {
            ready: VecDeque::new(),
            starved: VecDeque::new(),
            behind: Vec::new(),
            asked: Vec::new(),
            requests: HashMap::with_hasher(hasher.clone()),
            next_request: 0,
            hasher,
        }
    }

    pub(in crate::shard) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A number for a request to another shard.
    pub(in crate::shard) fn number_request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }
}
