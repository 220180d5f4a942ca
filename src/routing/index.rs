//! The topic index: filters to local sessions, interested shards and shared groups.

use std::cell::OnceCell;
use std::rc::Rc;

use super::cache::RouteCache;
use super::exact::{Exact, Interests};
use super::groups::{GroupKey, Groups, Left, Member};
use super::route::{plain_grants, Grant, Route, Targets, TargetsBuilder};
use super::subscribers::{Subscribers, Subscription};
use super::trie::{Scratch, Trie};
use crate::ids::{SessionId, ShardId, ShardSet};

/// What became of [`TopicIndex::subscribe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// The session had this filter already.
    pub replaced: bool,
    /// No session of this shard had it: peers must be told.
    pub first_on_shard: bool,
}

/// What became of [`TopicIndex::unsubscribe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    pub existed: bool,
    /// No session of this shard has it any more: peers must be told.
    pub last_on_shard: bool,
}

/// From so many subscribers on, a filter keeps its list of targets for all topics that match it
/// alone: 10,000 topics under a `#` of 1,000 subscribers are one list, not 160 MB.
const SHARED_TARGETS_MIN: usize = 8;

/// What a filter leads to.
#[derive(Debug, Default)]
struct FilterEntry {
    subscribers: Subscribers,
    /// The subscribers as targets, once asked for.
    targets: OnceCell<Rc<Targets>>,
    /// Other shards with subscribers, if the filter has a wildcard.
    remote: ShardSet,
    /// Boxed: most filters have none.
    #[allow(clippy::box_collection)]
    groups: Option<Box<Vec<GroupKey>>>,
}

/// One per filter in its own shard.
const _: () = assert!(size_of::<FilterEntry>() <= 64);

impl FilterEntry {
    fn groups(&self) -> impl Iterator<Item = GroupKey> + '_ {
        self.groups.iter().flat_map(|groups| groups.iter().copied())
    }

    fn is_empty(&self) -> bool {
        self.subscribers.is_empty() && self.remote.is_empty() && self.groups.is_none()
    }
}

/// Replica of one shard. Lives on: each shard its own. Written by: that shard only, from its own
/// sessions and from ordered messages of its peers.
///
/// Hash tables are keyed with a seed, because the network fills them; nothing depends on their order.
#[derive(Debug)]
pub struct TopicIndex {
    local: ShardId,
    /// Filters without wildcards.
    exact: Exact<FilterEntry>,
    /// Those of other shards.
    interests: Interests,
    /// Filters with wildcards.
    filters: Trie<FilterEntry>,
    /// Second hash of a filter without wildcards.
    check: ahash::RandomState,
    groups: Groups,
    cache: RouteCache,
    scratch: Scratch,
    /// Subscribers merged so far, of all routes.
    merged: usize,
    plain: Rc<[Grant]>,
    no_targets: Rc<Targets>,
}

impl TopicIndex {
    /// `hash_seed` keys the hash tables.
    #[must_use]
    pub fn new(local: ShardId, hash_seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(hash_seed, 21, 22, 23);
        let plain = plain_grants();
        Self {
            local,
            exact: Exact::new(),
            interests: Interests::default(),
            filters: Trie::new(&hasher),
            check: ahash::RandomState::with_seeds(hash_seed, 24, 25, 26),
            groups: Groups::new(local, &hasher),
            cache: RouteCache::new(&hasher),
            scratch: Scratch::default(),
            merged: 0,
            no_targets: TargetsBuilder::new(&plain, 0).finish(),
            plain,
        }
    }

    /// Adds or replaces an ordinary subscription of a local session. `filter` is valid.
    pub fn subscribe(
        &mut self,
        filter: &str,
        session: SessionId,
        subscription: Subscription,
    ) -> Added {
        let entry = self.entry(filter);
        let first_on_shard = entry.subscribers.is_empty();
        let before = entry.subscribers.insert(session, subscription);
        // Clients that come back subscribe again to what they have: nobody's route changes.
        if before != Some(subscription) {
            entry.targets.take();
            self.cache.forget(filter);
        }
        Added {
            replaced: before.is_some(),
            first_on_shard,
        }
    }

    /// Removes an ordinary subscription of a local session.
    pub fn unsubscribe(&mut self, filter: &str, session: SessionId) -> Removed {
        let mut removed = Removed {
            existed: false,
            last_on_shard: false,
        };
        let Some(entry) = self.get_mut(filter) else {
            return removed;
        };
        if entry.subscribers.remove(session).is_some() {
            removed.existed = true;
            removed.last_on_shard = entry.subscribers.is_empty();
            entry.targets.take();
            self.shrunk(filter);
        }
        removed
    }

    /// A peer has its first subscriber of a filter.
    pub fn add_remote(&mut self, filter: &str, shard: ShardId) {
        debug_assert_ne!(shard, self.local, "local subscribers are subscriptions");
        if !has_wildcard(filter) {
            let (hash, check) = self.hashes(filter);
            if self.interests.insert(hash, check, shard) {
                self.cache.forget(filter);
            }
            return;
        }
        let remote = &mut self.filters.entry(filter).remote;
        if !remote.contains(shard) {
            remote.insert(shard);
            self.cache.forget(filter);
        }
    }

    /// A peer has lost its last subscriber of a filter.
    pub fn remove_remote(&mut self, filter: &str, shard: ShardId) {
        if !has_wildcard(filter) {
            let (hash, check) = self.hashes(filter);
            if self.interests.remove(hash, check, shard) {
                self.cache.forget(filter);
            }
            return;
        }
        let Some(entry) = self.filters.get_mut(filter) else {
            return;
        };
        if entry.remote.contains(shard) {
            entry.remote.remove(shard);
            self.shrunk(filter);
        }
    }

    /// Adds or updates a member of a shared group; true when it was a member already. `filter` is
    /// the part after `$share/{share}/`.
    pub fn join(&mut self, share: &str, filter: &str, member: Member) -> bool {
        let joined = self.groups.join(share, filter, member);
        if joined.created {
            let groups = &mut self.entry(filter).groups;
            groups.get_or_insert_default().push(joined.key);
            self.cache.forget(filter);
        }
        joined.replaced
    }

    /// Removes a member; false when it was none. A group ends with its last member.
    pub fn leave(&mut self, share: &str, filter: &str, shard: ShardId, session: SessionId) -> bool {
        let left = self.groups.leave(share, filter, shard, session);
        if let Left::LastMember(key) = left {
            if let Some(entry) = self.get_mut(filter) {
                if let Some(groups) = &mut entry.groups {
                    groups.retain(|known| *known != key);
                }
                entry.groups.take_if(|groups| groups.is_empty());
                self.shrunk(filter);
            }
        }
        left != Left::NotMember
    }

    /// A member of shared groups came or went; routes stay as they are.
    pub fn set_connected(&mut self, shard: ShardId, session: SessionId, connected: bool) {
        self.groups.set_connected(shard, session, connected);
    }

    /// The group of a share name and filter.
    #[must_use]
    pub fn group(&self, share: &str, filter: &str) -> Option<GroupKey> {
        self.groups.key(share, filter)
    }

    /// The member whose turn it is, round-robin over the whole group, connected members first.
    /// `skip` leaves one out.
    pub fn choose(
        &mut self,
        group: GroupKey,
        skip: Option<(ShardId, SessionId)>,
    ) -> Option<Member> {
        self.groups.choose(group, skip)
    }

    /// Whom [`TopicIndex::choose`] would name, without taking the turn.
    #[must_use]
    pub fn peek(&self, group: GroupKey, skip: (ShardId, SessionId)) -> Option<Member> {
        self.groups.peek(group, skip)
    }

    /// Share name and filter of a group.
    #[must_use]
    pub fn group_name(&self, group: GroupKey) -> Option<(&str, &str)> {
        self.groups.name(group)
    }

    /// Rises with each change that may concern a route: while it stands, a route got before is what
    /// [`TopicIndex::route`] would answer.
    #[inline]
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.cache.generation()
    }

    /// Everybody a topic goes to. A topic seen before costs one lookup.
    #[inline]
    pub fn route(&mut self, topic: &str) -> Rc<Route> {
        let hash = self.cache.hash(topic);
        if let Some(route) = self.cache.get(hash, topic) {
            return route;
        }
        let route = Rc::new(self.find_hashed(hash, topic));
        self.cache.insert(hash, topic, &route);
        route
    }

    /// Nodes of the index and overlapping subscribers that were looked at to find routes since this
    /// was last asked: nothing for a route that was known.
    pub fn take_looked_at(&mut self) -> usize {
        std::mem::take(&mut self.scratch.visited) + std::mem::take(&mut self.merged)
    }

    /// Something of a filter is gone: so is the filter when that was the last.
    fn shrunk(&mut self, filter: &str) {
        self.cache.forget(filter);
        let entry = self.get_mut(filter);
        if entry.is_some_and(|entry| entry.is_empty()) {
            if has_wildcard(filter) {
                self.filters.remove(filter);
            } else {
                self.exact.remove(self.cache.hash(filter), filter);
            }
        }
    }

    /// The entry of a filter, made if need be.
    fn entry(&mut self, filter: &str) -> &mut FilterEntry {
        if has_wildcard(filter) {
            self.filters.entry(filter)
        } else {
            self.exact.entry(self.cache.hash(filter), filter)
        }
    }

    fn get_mut(&mut self, filter: &str) -> Option<&mut FilterEntry> {
        if has_wildcard(filter) {
            self.filters.get_mut(filter)
        } else {
            self.exact.get_mut(self.cache.hash(filter), filter)
        }
    }

    /// What stands for a filter without wildcards that another shard has.
    fn hashes(&self, filter: &str) -> (u64, u32) {
        let check = self.check.hash_one(filter.as_bytes());
        (self.cache.hash(filter), check as u32)
    }

    /// The same, found anew and not remembered.
    pub fn find(&mut self, topic: &str) -> Route {
        self.find_hashed(self.cache.hash(topic), topic)
    }

    /// How many filters with subscribers match a topic: finding without building a route.
    pub fn count_matching(&mut self, topic: &str) -> usize {
        let mut scratch = std::mem::take(&mut self.scratch);
        let found = self.search(self.cache.hash(topic), topic, &mut scratch);
        let count = usize::from(found.first.is_some()) + found.more.len() + found.groups.len();
        self.scratch = scratch;
        count
    }

    fn find_hashed(&mut self, hash: u64, topic: &str) -> Route {
        let mut scratch = std::mem::take(&mut self.scratch);
        let Found {
            first,
            more,
            remote,
            groups,
        } = self.search(hash, topic, &mut scratch);
        let mut merged = 0;
        let targets = match first {
            None => Rc::clone(&self.no_targets),
            Some(first) if !more.is_empty() => {
                let others = more.iter().map(|entry| entry.subscribers.len());
                merged = first.subscribers.len() + others.sum::<usize>();
                merge(&self.plain, first, &more)
            }
            Some(only) if only.subscribers.len() < SHARED_TARGETS_MIN => {
                targets_of(&self.plain, only)
            }
            Some(only) => Rc::clone(only.targets.get_or_init(|| targets_of(&self.plain, only))),
        };
        self.scratch = scratch;
        self.merged += merged;
        Route {
            topic: topic.into(),
            targets,
            remote,
            groups: groups.into(),
        }
    }

    /// What the filters that match a topic lead to.
    fn search(&self, hash: u64, topic: &str, scratch: &mut Scratch) -> Found<'_> {
        let mut found = Found::default();
        if !self.interests.is_empty() {
            let check = self.check.hash_one(topic.as_bytes());
            found.remote = self.interests.shards(hash, check as u32);
        }
        if let Some(entry) = self.exact.get(hash, topic) {
            found.add(entry);
        }
        self.filters
            .matching(topic, scratch, |entry| found.add(entry));
        found
    }
}

/// What a topic leads to, as it lies in the index.
#[derive(Default)]
struct Found<'a> {
    first: Option<&'a FilterEntry>,
    /// Allocates when filters overlap.
    more: Vec<&'a FilterEntry>,
    remote: ShardSet,
    groups: Vec<GroupKey>,
}

impl<'a> Found<'a> {
    fn add(&mut self, entry: &'a FilterEntry) {
        self.remote = self.remote.union(entry.remote);
        self.groups.extend(entry.groups());
        match self.first {
            _ if entry.subscribers.is_empty() => {}
            None => self.first = Some(entry),
            Some(_) => self.more.push(entry),
        }
    }
}

fn has_wildcard(filter: &str) -> bool {
    filter.bytes().any(|byte| matches!(byte, b'+' | b'#'))
}

fn targets_of(plain: &Rc<[Grant]>, entry: &FilterEntry) -> Rc<Targets> {
    let mut builder = TargetsBuilder::new(plain, entry.subscribers.len());
    entry
        .subscribers
        .for_each(|session, subscription| push_target(&mut builder, session, &[subscription]));
    builder.finish()
}

/// One target per session, however many of its filters match.
fn merge(plain: &Rc<[Grant]>, first: &FilterEntry, more: &[&FilterEntry]) -> Rc<Targets> {
    let matched = || std::iter::once(&first).chain(more);
    let count = matched().map(|entry| entry.subscribers.len()).sum();
    let mut all: Vec<(SessionId, Subscription)> = Vec::with_capacity(count);
    for entry in matched() {
        entry
            .subscribers
            .for_each(|session, subscription| all.push((session, subscription)));
    }
    // Stable, so that identifiers come in the order of the match; and made for runs that are sorted.
    all.sort_by_key(|(session, _)| *session);
    let mut builder = TargetsBuilder::new(plain, count);
    let mut matching = Vec::new();
    for of_session in all.chunk_by(|one, next| one.0 == next.0) {
        matching.clear();
        matching.extend(of_session.iter().map(|(_, subscription)| *subscription));
        push_target(&mut builder, of_session[0].0, &matching);
    }
    builder.finish()
}

fn push_target(builder: &mut TargetsBuilder, session: SessionId, matching: &[Subscription]) {
    let Some(grant) = grant_number(builder, matching.iter()) else {
        return;
    };
    let own = if matching.iter().any(|one| one.options.no_local) {
        grant_number(builder, matching.iter().filter(|one| !one.options.no_local))
    } else {
        Some(grant)
    };
    builder.push(session, grant, own);
}

/// What subscriptions of one session come to; `None` when there are none.
fn grant_number<'s>(
    builder: &mut TargetsBuilder,
    matching: impl Iterator<Item = &'s Subscription>,
) -> Option<u32> {
    let mut qos = None;
    let mut retain_as_published = false;
    let mut identifiers = Vec::new(); // allocates when there are any
    for subscription in matching {
        qos = qos.max(Some(subscription.options.qos));
        retain_as_published |= subscription.options.retain_as_published;
        identifiers.extend(subscription.identifier);
    }
    Some(builder.grant(qos?, retain_as_published, &identifiers))
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
