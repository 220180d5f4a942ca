//! The topic index: filters to local sessions, interested shards and shared groups.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::cache::RouteCache;
use super::groups::{GroupKey, Groups, Left, Member};
use super::route::{Grant, Route, Target};
use super::trie::Trie;
use crate::ids::{SessionId, ShardId, ShardSet};
use crate::mqtt::{Qos, SubscriptionOptions};

/// One ordinary subscription of a local session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub options: SubscriptionOptions,
    pub identifier: Option<u32>,
}

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

/// What a filter leads to.
#[derive(Debug, Default)]
struct FilterEntry {
    /// Ordered, so that the order of deliveries is the same in every run of a seed.
    subscribers: BTreeMap<SessionId, Subscription>,
    remote: ShardSet,
    groups: Vec<GroupKey>,
}

impl FilterEntry {
    fn is_empty(&self) -> bool {
        self.subscribers.is_empty() && self.remote.is_empty() && self.groups.is_empty()
    }
}

/// Replica of one shard. Lives on: each shard its own. Written by: that shard only, from its own
/// sessions and from ordered messages of its peers.
#[derive(Debug)]
pub struct TopicIndex {
    local: ShardId,
    filters: Trie<FilterEntry>,
    groups: Groups,
    cache: RouteCache,
    no_identifiers: Rc<[u32]>,
}

impl TopicIndex {
    /// `hash_seed` keys the hash tables, which the network fills.
    #[must_use]
    pub fn new(local: ShardId, hash_seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(hash_seed, 21, 22, 23);
        Self {
            local,
            filters: Trie::new(&hasher),
            groups: Groups::new(&hasher),
            cache: RouteCache::new(&hasher),
            no_identifiers: Rc::from([]),
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
        let first_on_shard = entry.subscribers.is_empty();
        let replaced = entry.subscribers.insert(session, subscription).is_some();
        self.cache.forget(filter);
        Added {
            replaced,
            first_on_shard,
        }
    }

    /// Removes an ordinary subscription of a local session.
    pub fn unsubscribe(&mut self, filter: &str, session: SessionId) -> Removed {
        let Some(entry) = self.filters.get_mut(filter) else {
            return Removed {
                existed: false,
                last_on_shard: false,
            };
        };
        let existed = entry.subscribers.remove(&session).is_some();
        let last_on_shard = existed && entry.subscribers.is_empty();
        self.changed(filter);
        Removed {
            existed,
            last_on_shard,
        }
    }

    /// A peer has its first subscriber of a filter.
    pub fn add_remote(&mut self, filter: &str, shard: ShardId) {
        debug_assert_ne!(shard, self.local, "local subscribers are subscriptions");
        self.filters.entry(filter).remote.insert(shard);
        self.cache.forget(filter);
    }

    /// A peer has lost its last subscriber of a filter.
    pub fn remove_remote(&mut self, filter: &str, shard: ShardId) {
        if let Some(entry) = self.filters.get_mut(filter) {
            entry.remote.remove(shard);
            self.changed(filter);
        }
    }

    /// Adds or updates a member of a shared group; true when it was a member already. `filter` is
    /// the part after `$share/{share}/`.
    pub fn join(&mut self, share: &str, filter: &str, member: Member) -> bool {
        let joined = self.groups.join(share, filter, member);
        if joined.created {
            self.filters.entry(filter).groups.push(joined.key);
            self.cache.forget(filter);
        }
        joined.replaced
    }

    /// Removes a member; false when it was none.
    pub fn leave(&mut self, share: &str, filter: &str, shard: ShardId, session: SessionId) -> bool {
        let left = self.groups.leave(share, filter, shard, session);
        if let Left::LastMember(key) = left {
            if let Some(entry) = self.filters.get_mut(filter) {
                entry.groups.retain(|known| *known != key);
                self.changed(filter);
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

    /// Everybody a topic goes to. A topic seen before costs one lookup.
    #[inline]
    pub fn route(&mut self, topic: &str) -> Rc<Route> {
        if let Some(route) = self.cache.get(topic) {
            return Rc::clone(route);
        }
        let route = Rc::new(self.find_route(topic));
        self.cache.insert(topic, Rc::clone(&route));
        route
    }

    fn changed(&mut self, filter: &str) {
        self.cache.forget(filter);
        if self.filters.get(filter).is_some_and(FilterEntry::is_empty) {
            self.filters.remove(filter);
        }
    }

    fn find_route(&self, topic: &str) -> Route {
        let mut remote = ShardSet::EMPTY;
        let mut groups = Vec::new();
        let mut matched: Vec<&BTreeMap<SessionId, Subscription>> = Vec::new();
        self.filters.matching(topic, &mut |entry| {
            remote = remote.union(entry.remote);
            groups.extend_from_slice(&entry.groups);
            if !entry.subscribers.is_empty() {
                matched.push(&entry.subscribers);
            }
        });
        let targets = match matched.as_slice() {
            [only] => only
                .iter()
                .map(|(id, one)| self.target(*id, &[*one]))
                .collect(),
            _ => self.merge(&matched),
        };
        Route {
            targets,
            remote,
            groups: groups.into(),
        }
    }

    /// One target per session, however many of its filters match.
    fn merge(&self, matched: &[&BTreeMap<SessionId, Subscription>]) -> Box<[Target]> {
        let mut sessions: BTreeMap<SessionId, Vec<Subscription>> = BTreeMap::new();
        for subscribers in matched {
            for (session, subscription) in *subscribers {
                sessions.entry(*session).or_default().push(*subscription);
            }
        }
        sessions
            .iter()
            .map(|(session, matching)| self.target(*session, matching))
            .collect()
    }

    fn target(&self, session: SessionId, matching: &[Subscription]) -> Target {
        let others = |subscription: &Subscription| !subscription.options.no_local;
        Target {
            session,
            grant: self.grant(matching, |_| true),
            grant_if_own: self.grant(matching, others),
        }
    }

    fn grant(
        &self,
        matching: &[Subscription],
        counts: impl Fn(&Subscription) -> bool,
    ) -> Option<Grant> {
        let mut qos = None;
        let mut retain_as_published = false;
        let mut identifiers = Vec::new();
        for subscription in matching.iter().filter(|subscription| counts(subscription)) {
            qos = qos.max(Some(subscription.options.qos));
            retain_as_published |= subscription.options.retain_as_published;
            identifiers.extend(subscription.identifier);
        }
        let qos: Qos = qos?;
        let identifiers = if identifiers.is_empty() {
            Rc::clone(&self.no_identifiers)
        } else {
            identifiers.into()
        };
        Some(Grant {
            qos,
            retain_as_published,
            identifiers,
        })
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
