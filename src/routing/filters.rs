//! All filters in use, of this shard and of others, and their receivers.
//!
//! A filter without wildcards, or of a [shape](super::shapes) in use, is in the table; the few others are
//! in the tree. Where it is put when it comes, it stays.

use std::hint::black_box;

use super::ahead::{Ahead, EXACT};
use super::destinations::{Destination, Interest, Interested};
use super::groups::GroupKey;
use super::interests::Interests;
use super::shapes::{Shape, Shapes};
use super::subscribers::Subscribers;
use super::table::FilterTable;
use super::tree::{self, Tree};

/// What a filter leads to on this shard.
#[derive(Debug, Default)]
pub(super) struct FilterEntry {
    pub(super) subscribers: Subscribers,
    /// Boxed: most filters have none.
    #[allow(clippy::box_collection)]
    pub(super) groups: Option<Box<Vec<GroupKey>>>,
}

impl FilterEntry {
    fn groups(&self) -> impl Iterator<Item = GroupKey> + '_ {
        self.groups.iter().flat_map(|groups| groups.iter().copied())
    }

    fn is_empty(&self) -> bool {
        self.subscribers.is_empty() && self.groups.is_none()
    }
}

/// What a filter in the tree leads to.
#[derive(Debug, Default)]
struct TreeEntry {
    local: FilterEntry,
    /// Where else it has subscribers.
    remote: Interested,
}

impl TreeEntry {
    fn is_empty(&self) -> bool {
        self.local.is_empty() && self.remote.all.is_empty()
    }
}

/// Room for a match to work in, kept between matches.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// A filter that would match.
    text: Vec<u8>,
    tree: tree::Scratch,
    ahead: Ahead,
    /// Filters asked for and nodes of the tree visited so far, of all matches.
    pub(super) visited: usize,
}

/// What a topic leads to, as it lies in the index.
#[derive(Default)]
pub(super) struct Found<'a> {
    pub(super) first: Option<&'a FilterEntry>,
    /// Allocates when filters overlap.
    pub(super) more: Vec<&'a FilterEntry>,
    pub(super) remote: Interested,
    pub(super) groups: Vec<GroupKey>,
}

impl<'a> Found<'a> {
    #[inline]
    fn add(&mut self, entry: &'a FilterEntry) {
        self.groups.extend(entry.groups());
        match self.first {
            _ if entry.subscribers.is_empty() => {}
            None => self.first = Some(entry),
            Some(_) => self.more.push(entry),
        }
    }
}

/// Lives on: each shard its own. Bounded by the sessions' subscriptions.
#[derive(Debug)]
pub(super) struct Filters {
    /// Keyed, because the network fills the tables.
    hasher: ahash::RandomState,
    /// Of this shard.
    table: FilterTable<FilterEntry>,
    /// Of other destinations.
    interests: Interests,
    /// The shapes of those in both.
    shapes: Shapes,
    /// What has no shape there.
    tree: Tree<TreeEntry>,
    /// Counts what may change where a filter is found.
    changes: u64,
}

impl Filters {
    pub(super) fn new(hasher: &ahash::RandomState, check: ahash::RandomState) -> Self {
        Self {
            hasher: hasher.clone(),
            table: FilterTable::new(),
            interests: Interests::new(check),
            shapes: Shapes::default(),
            tree: Tree::new(hasher),
            changes: 0,
        }
    }

    fn hash(&self, text: &[u8]) -> u64 {
        self.hasher.hash_one(text)
    }

    /// The entry of a filter, made if need be.
    pub(super) fn entry(&mut self, filter: &str) -> &mut FilterEntry {
        self.changes += 1;
        let hash = self.hash(filter.as_bytes());
        let is_in_table = self.table.get(hash, filter.as_bytes()).is_some();
        if is_in_table || self.gets_a_shape(filter) {
            self.table.entry(hash, filter)
        } else {
            &mut self.tree.entry(filter).local
        }
    }

    pub(super) fn get_mut(&mut self, filter: &str) -> Option<&mut FilterEntry> {
        let hash = self.hash(filter.as_bytes());
        match self.table.get_mut(hash, filter.as_bytes()) {
            None => self.tree.get_mut(filter).map(|entry| &mut entry.local),
            found => found,
        }
    }

    /// Removes a filter that has no receivers any more.
    pub(super) fn remove_if_empty(&mut self, filter: &str) {
        self.changes += 1;
        let hash = self.hash(filter.as_bytes());
        match self.table.get(hash, filter.as_bytes()) {
            Some(entry) if entry.is_empty() => {
                self.table.remove(hash, filter.as_bytes());
                self.gives_back_its_shape(filter);
            }
            Some(_) => {}
            None => self.prune_tree(filter),
        }
    }

    /// What a destination wants of a filter now; false when that was known.
    pub(super) fn set_remote(
        &mut self,
        filter: &str,
        destination: Destination,
        interest: Interest,
    ) -> bool {
        self.changes += 1;
        let hash = self.hash(filter.as_bytes());
        let durable = match interest {
            Interest::Absent => return self.remove_remote(hash, filter, destination),
            _ => interest == Interest::Durable,
        };
        if let Some(is_new) = (self.interests).update(hash, filter, destination, durable) {
            return is_new;
        }
        if self.gets_a_shape(filter) {
            self.interests.insert(hash, filter, destination, durable);
            return true;
        }
        let remote = &mut self.tree.entry(filter).remote;
        let before = remote.of(destination);
        remote.set(destination, interest);
        before != interest
    }

    fn remove_remote(&mut self, hash: u64, filter: &str, destination: Destination) -> bool {
        if self.interests.remove(hash, filter, destination) {
            self.gives_back_its_shape(filter);
            return true;
        }
        let Some(entry) = self.tree.get_mut(filter) else {
            return false;
        };
        let before = entry.remote.of(destination);
        entry.remote.set(destination, Interest::Absent);
        self.prune_tree(filter);
        before != Interest::Absent
    }

    /// What this shard wants of a filter.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn local(&self, filter: &str) -> Interest {
        let hash = self.hash(filter.as_bytes());
        let in_tree = || self.tree.get(filter).map(|entry| &entry.local);
        let entry = self.table.get(hash, filter.as_bytes()).or_else(in_tree);
        entry.map_or(Interest::Absent, |entry| entry.subscribers.interest())
    }

    /// What a destination is known to want of a filter.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn remote(&self, filter: &str, destination: Destination) -> Interest {
        let hash = self.hash(filter.as_bytes());
        let mut interested = self.interests.interested(hash, filter.as_bytes());
        if let Some(entry) = self.tree.get(filter) {
            interested.add_all(entry.remote);
        }
        interested.of(destination)
    }

    fn prune_tree(&mut self, filter: &str) {
        if (self.tree.get_mut(filter)).is_some_and(|entry| entry.is_empty()) {
            self.tree.remove(filter);
        }
    }

    /// Whether a filter that is new to the table, or to those of other destinations, can be put there. If
    /// so, it counts.
    fn gets_a_shape(&mut self, filter: &str) -> bool {
        if !has_wildcard(filter) {
            return true;
        }
        let is_in_tree = !self.tree.is_empty() && self.tree.get_mut(filter).is_some();
        !is_in_tree && Shape::of(filter).is_some_and(|shape| self.shapes.admit(shape))
    }

    fn gives_back_its_shape(&mut self, filter: &str) {
        if let Some(shape) = Shape::of(filter).filter(|_| has_wildcard(filter)) {
            self.shapes.release(shape);
        }
    }

    /// What the filters that match a topic lead to, in an order that depends on the filters and on when
    /// they came. `hash` is the topic's.
    pub(super) fn matching(&self, hash: u64, topic: &str, scratch: &mut Scratch) -> Found<'_> {
        let mut found = Found::default();
        let Scratch {
            text,
            tree,
            ahead,
            visited,
        } = scratch;
        let may_match = ahead.may_match(self.changes, hash, topic);
        if may_match & EXACT != 0 {
            self.look_up(hash, topic.as_bytes(), &mut found);
        }
        let shapes = may_match >> 1;
        if shapes != 0 && !self.shapes.is_empty() {
            self.shapes.candidates(topic, shapes, text, |_, filter| {
                *visited += 1;
                self.look_up(self.hash(filter), filter, &mut found);
            });
        }
        if !self.tree.is_empty() {
            *visited += self.tree.matching(topic, tree, |entry| {
                found.remote.add_all(entry.remote);
                found.add(&entry.local);
            });
        }
        found
    }

    /// Brings what the topics, each with its hash, will be matched against into the processor's cache, and
    /// notes which filters there may be. One filter after the other, most of a match would be waiting for
    /// memory: first for the table's slot, then for the filter. So all slots are read first and then all
    /// filters, in loops short enough for the processor to be several turns ahead. The tree is not walked.
    pub(super) fn prefetch<'t>(
        &self,
        topics: impl Iterator<Item = (u64, &'t str)>,
        scratch: &mut Scratch,
    ) {
        let Scratch { text, ahead, .. } = scratch;
        ahead.start(self.changes);
        for (hash, topic) in topics {
            ahead.add(hash, topic);
            ahead.hashes.push((EXACT, hash));
            if !self.shapes.is_empty() {
                self.shapes
                    .candidates(topic, u64::MAX, text, |nth, filter| {
                        ahead.hashes.push((EXACT << 1 << nth, self.hash(filter)));
                    });
            }
        }
        let Ahead {
            topics,
            hashes,
            places,
            ..
        } = ahead;
        // Of one topic after the other, and each begins with the topic itself.
        let mut topics = topics.iter_mut();
        let mut topic = None;
        for (bit, hash) in &*hashes {
            if *bit == EXACT {
                topic = topics.next();
            }
            let place = self.table.place(*hash);
            places.extend(place);
            if let Some(topic) = &mut topic {
                if place.is_some() || self.interests.may_have(*hash) {
                    topic.may_match |= bit;
                }
            }
        }
        let read = places.iter().map(|place| self.table.prefetch(*place));
        black_box(read.fold(0, |all, one| all ^ one)); // so that the reads are made
    }

    #[inline]
    fn look_up<'a>(&'a self, hash: u64, filter: &[u8], found: &mut Found<'a>) {
        if let Some(entry) = self.table.get(hash, filter) {
            found.add(entry);
        }
        if !self.interests.is_empty() {
            found
                .remote
                .add_all(self.interests.interested(hash, filter));
        }
    }

    /// Nothing is left behind: no filter, no shape, no node.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let tables = self.table.is_empty() && self.interests.is_empty();
        tables && self.shapes.is_empty() && self.tree.counts() == (1, 0, 0)
    }
}

fn has_wildcard(filter: &str) -> bool {
    filter.bytes().any(|byte| matches!(byte, b'+' | b'#'))
}
