//! The topic index: filters to local sessions, interested shards and shared groups.

use std::rc::Rc;

use super::cache::RouteCache;
use super::destinations::{Destination, Interest};
use super::filters::{FilterEntry, Filters, Found, Scratch};
use super::groups::{GroupKey, Groups, Left, Member};
use super::merge;
use super::route::{plain_grants, Grant, Route, Targets, TargetsBuilder};
use super::subscribers::Subscription;
use crate::ids::{MemberId, SessionId, ShardId};

/// Result of [`TopicIndex::subscribe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// The session had this filter already.
    pub replaced: bool,
    /// What this shard wants of the filter now, if that has changed: peers must be notified.
    pub interest: Option<Interest>,
}

/// Result of [`TopicIndex::unsubscribe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    pub existed: bool,
    /// What this shard wants of the filter now, if that has changed: peers must be notified.
    pub interest: Option<Interest>,
}

/// Replica of one shard. Lives on: each shard its own. Written by: that shard only, from its own
/// sessions and from ordered messages of its peers.
///
/// Hash tables are keyed with a seed, because the network fills them; nothing depends on their order.
#[derive(Debug)]
pub struct TopicIndex {
    local: ShardId,
    filters: Filters,
    groups: Groups,
    cache: RouteCache,
    scratch: Scratch,
    /// Subscribers merged so far, of all routes.
    merged: usize,
    /// Routes found anew.
    misses: u64,
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
            filters: Filters::new(
                &hasher,
                ahash::RandomState::with_seeds(hash_seed, 24, 25, 26),
            ),
            groups: Groups::new(local, &hasher),
            cache: RouteCache::new(&hasher),
            scratch: Scratch::default(),
            merged: 0,
            misses: 0,
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
        let entry = self.filters.entry(filter);
        let interest = entry.subscribers.interest();
        let before = entry.subscribers.insert(session, subscription);
        let now = entry.subscribers.interest();
        // Clients that reconnect subscribe again to what they have: no route changes.
        if before != Some(subscription) {
            self.cache.forget(filter);
        }
        Added {
            replaced: before.is_some(),
            interest: (now != interest).then_some(now),
        }
    }

    /// Removes an ordinary subscription of a local session.
    pub fn unsubscribe(&mut self, filter: &str, session: SessionId) -> Removed {
        let mut removed = Removed {
            existed: false,
            interest: None,
        };
        let Some(entry) = self.filters.get_mut(filter) else {
            return removed;
        };
        let before = entry.subscribers.interest();
        if entry.subscribers.remove(session).is_some() {
            let now = entry.subscribers.interest();
            removed.existed = true;
            removed.interest = (now != before).then_some(now);
            self.shrunk(filter);
        }
        removed
    }

    /// What a destination wants of a filter now.
    pub fn set_remote(&mut self, filter: &str, destination: Destination, interest: Interest) {
        debug_assert_ne!(
            destination,
            self.local.into(),
            "local subscribers are subscriptions"
        );
        if self.filters.set_remote(filter, destination, interest) {
            self.cache.forget(filter);
        }
    }

    /// What a destination, which may be this shard, is known to want of a filter.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn interest(&self, filter: &str, destination: Destination) -> Interest {
        match destination == self.local.into() {
            true => self.filters.local(filter),
            false => self.filters.remote(filter, destination),
        }
    }

    /// A member of a group.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn member(
        &self,
        share: &str,
        filter: &str,
        shard: ShardId,
        id: MemberId,
    ) -> Option<Member> {
        self.groups.member(share, filter, (shard, id))
    }

    /// Adds or updates a member of a shared group; true when it was a member already. `filter` is
    /// the part after `$share/{share}/`.
    pub fn join(&mut self, share: &str, filter: &str, member: Member) -> bool {
        let joined = self.groups.join(share, filter, member);
        if joined.created {
            let groups = &mut self.filters.entry(filter).groups;
            groups.get_or_insert_default().push(joined.key);
            self.cache.forget(filter);
        }
        joined.replaced
    }

    /// Removes a member; false when it was none. A group ends with its last member.
    pub fn leave(&mut self, share: &str, filter: &str, shard: ShardId, member: MemberId) -> bool {
        let left = self.groups.leave(share, filter, shard, member);
        if let Left::LastMember(key) = left {
            if let Some(entry) = self.filters.get_mut(filter) {
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
    pub fn set_connected(&mut self, shard: ShardId, member: MemberId, connected: bool) {
        self.groups.set_connected(shard, member, connected);
    }

    /// The group of a share name and filter.
    #[must_use]
    pub fn group(&self, share: &str, filter: &str) -> Option<GroupKey> {
        self.groups.key(share, filter)
    }

    /// The member whose turn it is, round-robin over the whole group, connected members first.
    /// `skip` leaves one out.
    pub fn choose(&mut self, group: GroupKey, skip: Option<(ShardId, MemberId)>) -> Option<Member> {
        self.groups.choose(group, skip)
    }

    /// The member that [`TopicIndex::choose`] would return, without taking the turn.
    #[must_use]
    pub fn peek(&self, group: GroupKey, skip: (ShardId, MemberId)) -> Option<Member> {
        self.groups.peek(group, skip)
    }

    /// The member that is next in turn, which stays so.
    #[must_use]
    pub fn next(&self, group: GroupKey) -> Option<Member> {
        self.groups.next(group)
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

    /// As [`TopicIndex::route`], for topics that mostly come several times in succession: the same as last
    /// time costs a comparison.
    #[inline]
    pub fn route_again(&mut self, topic: &str) -> Rc<Route> {
        if let Some(last) = self.cache.last(topic) {
            return last;
        }
        let route = self.route(topic);
        self.cache.set_last(&route);
        route
    }

    /// All receivers of a topic. A cached route costs one lookup.
    #[inline]
    pub fn route(&mut self, topic: &str) -> Rc<Route> {
        let hash = self.cache.hash(topic);
        if let Some(route) = self.cache.get(hash, topic) {
            return route;
        }
        self.misses += 1;
        let route = Rc::new(self.find_hashed(hash, topic));
        self.cache.insert(hash, topic, &route);
        route
    }

    /// Prefetches for topics whose routes will be asked for one after the other: those that are not cached
    /// are found sooner. A hint: it changes no answer.
    pub fn prefetch<'t>(&mut self, topics: impl Iterator<Item = &'t str>) {
        let Self {
            cache,
            filters,
            scratch,
            ..
        } = self;
        let hashed = topics.map(|topic| (cache.hash(topic), topic));
        let unknown = hashed.filter(|(hash, topic)| !cache.has(*hash, topic));
        filters.prefetch(unknown, scratch);
    }

    /// Routes found anew since the start.
    #[inline]
    pub fn misses(&self) -> u64 {
        self.misses
    }

    /// Nodes of the index and overlapping subscribers that were looked at to find routes since this
    /// was last asked: nothing for a route that was known.
    pub fn take_looked_at(&mut self) -> usize {
        std::mem::take(&mut self.scratch.visited) + std::mem::take(&mut self.merged)
    }

    /// Something of a filter was removed: so is the filter when that was the last.
    fn shrunk(&mut self, filter: &str) {
        self.cache.forget(filter);
        self.filters.remove_if_empty(filter);
    }

    /// How many filters with subscribers match a topic: finding without building a route.
    pub fn count_matching(&mut self, topic: &str) -> usize {
        let hash = self.cache.hash(topic);
        let found = self.filters.matching(hash, topic, &mut self.scratch);
        usize::from(found.first.is_some()) + found.more.len() + found.groups.len()
    }

    /// What [`TopicIndex::route`] answers, found anew and not remembered.
    pub fn find(&mut self, topic: &str) -> Route {
        self.find_hashed(self.cache.hash(topic), topic)
    }

    /// One hash serves the cache and the filters: their tables have the same key.
    fn find_hashed(&mut self, hash: u64, topic: &str) -> Route {
        let Found {
            first,
            more,
            remote,
            groups,
        } = self.filters.matching(hash, topic, &mut self.scratch);
        let targets = match first {
            None => Rc::clone(&self.no_targets),
            Some(only) if more.is_empty() => merge::of_one(&self.plain, only),
            Some(first) => {
                let others = more.iter().map(|entry| entry.subscribers.len());
                self.merged += first.subscribers.len() + others.sum::<usize>();
                merge::of_several(&self.plain, first, &more)
            }
        };
        let mut durable = remote.durable;
        if first.into_iter().chain(more).any(is_durable) {
            durable.insert(self.local.into());
        }
        Route {
            topic: topic.into(),
            targets,
            remote: remote.all,
            durable,
            groups: groups.into(),
        }
    }
}

fn is_durable(entry: &FilterEntry) -> bool {
    entry.subscribers.interest() == Interest::Durable
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
