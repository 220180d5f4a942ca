//! The walks of one shard: whose turn it is, and what they wait for.

use std::collections::{HashMap, VecDeque};

use super::block::RetainedWalk;
use crate::ids::{SessionId, ShardId};

/// The walks of one shard.
#[derive(Debug)]
pub(super) struct WalkQueue {
    pub(super) ready: VecDeque<SessionId>,
    /// Waiting for one of the requests to come back.
    pub(super) starved: VecDeque<SessionId>,
    /// Waiting for publications of other shards to be applied here.
    pub(super) behind: Vec<SessionId>,
    /// Pieces asked of us that wait for the same.
    pub(super) asked: Vec<(ShardId, Box<RetainedWalk>)>,
    pub(super) requests: HashMap<u64, SessionId, ahash::RandomState>,
    pub(super) next_request: u64,
    pub(super) hasher: ahash::RandomState,
}

impl WalkQueue {
    pub(super) fn new(hash_seed: u64) -> Self {
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

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A number for a question to another shard.
    pub(super) fn number_request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }
}
