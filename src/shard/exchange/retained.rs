//! Retained messages are on all nodes. A node that joins asks one that has; what comes live meanwhile is newer.

use hashbrown::HashTable;

use super::records::{Carried, Op, Record};
use super::remote::{RetainedWalks, LOW_WATER};
use super::Exchange;
use crate::cluster::NodeName;
use crate::ids::ShardId;
use crate::shard::mesh::block::{Control, RetainedPiece, RetainedWalk};
use crate::shard::mesh::publications::{BlockItem, Position};

/// Topics that are noted while a node joins: 8 MiB. Of what is beyond, an older message may be kept.
const TOPICS_MAX: usize = 1 << 20;

/// Hashes of retained topics that came live while this node was joining.
#[derive(Debug)]
pub(super) struct LiveTopics {
    hasher: ahash::RandomState,
    topics: HashTable<u64>,
    has_ended: bool,
}

impl LiveTopics {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            hasher: ahash::RandomState::with_seeds(hash_seed, 31, 32, 33),
            topics: HashTable::new(),
            has_ended: false,
        }
    }

    pub(super) fn note(&mut self, topic: &str) {
        if self.has_ended || self.topics.len() >= TOPICS_MAX {
            return;
        }
        let hash = self.hasher.hash_one(topic);
        if self.topics.find(hash, |one| *one == hash).is_none() {
            self.topics.insert_unique(hash, hash, |one| *one);
        }
    }

    pub(super) fn contains(&self, topic: &str) -> bool {
        let hash = self.hasher.hash_one(topic);
        self.topics.find(hash, |one| *one == hash).is_some()
    }

    /// Older messages come from here on.
    fn begin(&mut self) {
        self.has_ended = false;
    }

    /// Nothing older comes any more.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
        self.topics = HashTable::new();
    }
}

impl Exchange {
    /// Asks a node that has joined, once; where no node has, the first one asks none.
    pub(super) fn advance_retained(&mut self, source: Option<&NodeName>, is_first: bool) {
        if !self.has_retained {
            self.ask_retained(source, is_first);
        }
        for slot in 0..self.remotes.len() {
            self.advance_walk(slot);
        }
    }

    /// Others may have retained something without this node.
    pub(super) fn ask_retained_again(&mut self) {
        self.has_retained = false;
        self.live_topics.begin();
        for remote in self.remotes.iter_mut().flatten() {
            remote.was_asked_retained = false;
        }
    }

    fn ask_retained(&mut self, source: Option<&NodeName>, is_first: bool) {
        let Some(source) = source else {
            self.has_retained = is_first && self.has_seen_own_put();
            return;
        };
        let mut remotes = self.remotes.iter_mut().flatten();
        let asked = remotes.find(|remote| remote.node.name == *source);
        if let Some(remote) = asked.filter(|remote| !remote.was_asked_retained) {
            remote.was_asked_retained = true;
            remote.put(&Record::AskRetained);
        }
    }

    /// A node that joins asks for what is retained here.
    pub(super) fn retained_asked(&mut self, slot: usize) {
        if let Some(remote) = &mut self.remotes[slot] {
            remote.retained = Some(RetainedWalks {
                shard: 0,
                after: None,
                request: None,
            });
        }
    }

    /// The next piece for a node is asked for when it has taken most of those before.
    fn advance_walk(&mut self, slot: usize) {
        let Some(remote) = &mut self.remotes[slot] else {
            return; // a free place
        };
        let has_room = remote.bytes() < LOW_WATER;
        let Some(walks) = remote.retained.as_mut() else {
            return; // it asks for nothing
        };
        if walks.request.is_some() || !has_room {
            return;
        }
        if walks.shard == self.id.0 {
            remote.retained = None;
            remote.put(&Record::RetainedEnds);
            return;
        }
        self.requests += 1;
        walks.request = Some(self.requests);
        let walk = RetainedWalk {
            request: self.requests,
            filter: "#".into(),
            after: walks.after.take(),
            data_needed: Box::default(),
        };
        let shard = ShardId(walks.shard);
        (self.peers).send(shard, Control::RetainedWalk(Box::new(walk)));
    }

    /// A shard answers.
    pub(super) fn retained_piece(&mut self, piece: &RetainedPiece) {
        let is_for = |walks: &RetainedWalks| walks.request == Some(piece.request);
        let mut remotes = self.remotes.iter_mut().flatten();
        let asked = remotes.find(|remote| remote.retained.as_ref().is_some_and(is_for));
        let Some(remote) = asked else {
            return; // it has ended
        };
        let mut reader = piece.messages.reader(Position::default());
        let mut bytes = Vec::new();
        while let Some(BlockItem::Message(message, _)) = reader.next() {
            bytes.clear();
            Record::Publication(Carried::of(&message, Op::Sync, self.clocks)).put(&mut bytes);
            remote.put_publication(&bytes, None);
        }
        if let Some(walks) = &mut remote.retained {
            walks.request = None;
            walks.after = piece.next.clone();
            walks.shard += u16::from(piece.next.is_none());
        }
    }

    fn has_seen_own_put(&self) -> bool {
        self.lease_until > crate::time::Time::ZERO
    }
}
