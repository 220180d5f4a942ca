//! The walks of one session over retained messages: where each is, and what it waits for.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::ids::ShardId;
use crate::mqtt::Publication;
use crate::session::Subscriptions;
use crate::shard::mesh::barrier::DataSent;
use crate::shard::retained::live_topics::{LiveTopics, PublicationSource};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum WalkStage {
    /// Until this barrier is reached everywhere.
    Barrier(u64),
    Ready,
    /// A piece with this number was asked of a peer.
    Requested(u64),
}

#[derive(Debug)]
pub(in crate::shard) struct Walk {
    /// Walks of a session are numbered from 1.
    pub(in crate::shard) number: u64,
    pub(in crate::shard) filter: Rc<str>,
    pub(in crate::shard) stage: WalkStage,
    /// Shards still to be asked, in order; the first is the current one.
    pub(in crate::shard) homes: VecDeque<ShardId>,
    /// Where to continue at the current one.
    pub(in crate::shard) after: Option<Box<str>>,
    /// What each shard had sent when it applied the subscription.
    pub(in crate::shard) subscribed: Option<Rc<DataSent>>,
    /// The same of the newest barrier.
    pub(in crate::shard) data_sent: Option<Rc<DataSent>>,
    /// Messages of a piece that wait for room.
    pub(in crate::shard) pending: VecDeque<Rc<Publication>>,
}

impl Walk {
    /// Its subscription is still there. One with the same filter that was made later has a text of its
    /// own, and a walk.
    pub(in crate::shard) fn is_wanted(&self, subscriptions: &Subscriptions) -> bool {
        let held = subscriptions.get_key_value(&self.filter);
        held.is_some_and(|(filter, _)| Rc::ptr_eq(filter, &self.filter))
    }
}

/// The walks of one session, one after the other.
#[derive(Debug)]
pub(in crate::shard) struct Walks {
    pub(in crate::shard) queue: VecDeque<Walk>,
    /// On the shard's list of walks that are ready.
    pub(in crate::shard) is_ready: bool,
    /// On the list of those that wait for room for a request.
    pub(in crate::shard) is_starved: bool,
    /// Number of the newest walk.
    pub(in crate::shard) newest: u64,
    /// The newest barrier that they wait for.
    pub(in crate::shard) barrier: u64,
    pub(in crate::shard) live_topics: LiveTopics,
}

impl Walks {
    pub(in crate::shard) fn new(hasher: ahash::RandomState) -> Self {
        Self {
            queue: VecDeque::new(),
            is_ready: false,
            is_starved: false,
            newest: 0,
            barrier: 0,
            live_topics: LiveTopics::new(hasher),
        }
    }

    pub(in crate::shard) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The first walk is over; its filter, unless that was asked for again meanwhile and has another walk.
    pub(in crate::shard) fn end_first(&mut self) -> Option<Rc<str>> {
        let filter = self.queue.pop_front()?.filter;
        let mut others = self.queue.iter();
        let has_another = others.any(|walk| Rc::ptr_eq(&walk.filter, &filter));
        (!has_another).then_some(filter)
    }

    /// Messages of a piece wait for room.
    pub(in crate::shard) fn has_pending(&self) -> bool {
        let walk = self.queue.front();
        walk.is_some_and(|walk| !walk.pending.is_empty())
    }

    /// They wait for this barrier; false when they did already.
    pub(in crate::shard) fn waits_for(&mut self, barrier: u64) -> bool {
        std::mem::replace(&mut self.barrier, barrier) != barrier
    }

    /// A retained publication is delivered live while walks are open.
    pub(in crate::shard) fn saw_live(&mut self, topic_hash: u64, origin: PublicationSource) {
        self.live_topics.saw(topic_hash, origin, self.newest);
    }
}
