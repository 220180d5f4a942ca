//! Lanes: which node owns a client id.
//!
//! A client id hashes to one of 1,024 lanes by a key that the cluster has made once, and 16 lanes are a group. A group has
//! one owner, which serves its clients, wherever they connect. The owners are in a store of keys whose changes all
//! nodes watch in one order, and are changed only over the revision that was seen, by a node that has a lease:
//!
//! - a group without an owner, or of a node whose lease is surely over, is taken by the node that is wanted for it; but by
//!   the node itself, if that is back, and by a node that adopts its sessions;
//! - a node that owns a group for which another one is wanted, because it has joined or because this one is drained, lets
//!   no new client in, and gives the group if it has no session of it. Otherwise it keeps it, and looks again later.
//!
//! Wanted is, for each group, the node with the highest hash of group and name (rendezvous hashing): nodes that come or go
//! move no group but those that they get or had.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use siphasher::sip::SipHasher24;

pub use super::lane_values::{
    Claim, Details, Group, LaneKey, LaneTable, Owner, Peer, Place, GROUPS,
};
use super::{Incarnation, Node, NodeName};
use crate::time::{Span, Time};

/// An owner that was never seen alive is dead after it, as any other node.
const UNKNOWN_AFTER: Span = Span::from_millis(6_000);
/// Who adopts the sessions of a lost node takes its groups within this time, if any node does.
const ADOPTED_WITHIN: Span = Span::from_millis(12_000);
/// A claim that has not come back for so long is tried again.
const CLAIM_PATIENCE: Span = Span::from_millis(2_500);
/// Groups that are looked at at the same time, to be given away: their new CONNECTs wait meanwhile.
const OFFERED_AT_ONCE: usize = 4;
/// Before a group is looked at again whose sessions keep it where it is.
const OFFERED_AGAIN: Span = Span::from_secs(10);
/// Deaths of unknown owners and claims without an outcome are looked for so often.
const LOOK_EVERY: Span = Span::from_millis(100);

/// What a node that owns a group does about another one that is wanted for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Offer {
    #[default]
    Not,
    /// Shards are asked for sessions, and hold new CONNECTs.
    Asked,
    /// There is none.
    Free,
    /// There were some then.
    InUse(Time),
}

/// A group, as the watch has shown it last.
#[derive(Debug, Default)]
struct Row {
    revision: u64,
    owner: Option<Owner>,
    seen_at: Time,
    /// Since when its owner has left, or is dead.
    gone_at: Option<Time>,
    /// It is this node's, and is served when the sessions of that one are adopted.
    awaits: Option<NodeName>,
    offer: Offer,
    claimed_at: Option<Time>,
}

/// See the module. Lives on: the cluster's thread.
#[derive(Debug)]
pub struct Lanes {
    own: Node,
    key: LaneKey,
    rows: Box<[Row]>,
    /// Other nodes that are alive.
    alive: BTreeMap<NodeName, Incarnation>,
    details: BTreeMap<NodeName, Details>,
    /// Nodes whose sessions this one adopts.
    adopts: BTreeSet<NodeName>,
    /// Nodes that have left nothing to be adopted.
    settled: BTreeSet<NodeName>,
    lease_until: Time,
    leased_since: Time,
    /// Something that the table shows has changed.
    has_changed: bool,
    /// When dead owners are looked for next, if nothing changes.
    next_look: Time,
}

impl Lanes {
    #[must_use]
    pub fn new(own: Node, key: LaneKey) -> Self {
        Self {
            own,
            key,
            rows: (0..GROUPS).map(|_| Row::default()).collect(),
            alive: BTreeMap::new(),
            details: BTreeMap::new(),
            adopts: BTreeSet::new(),
            settled: BTreeSet::new(),
            lease_until: Time::ZERO,
            leased_since: Time::ZERO,
            has_changed: true,
            next_look: Time::ZERO,
        }
    }

    fn changed(&mut self) {
        self.has_changed = true;
        self.next_look = Time::ZERO;
    }

    /// Another node is alive.
    pub fn joined(&mut self, node: &Node) {
        self.alive.insert(node.name.clone(), node.incarnation);
        self.settled.remove(&node.name);
        self.changed();
    }

    /// It has left, or its lease is surely over.
    pub fn left(&mut self, node: &Node, now: Time) {
        if self.alive.get(&node.name) == Some(&node.incarnation) {
            self.alive.remove(&node.name);
        }
        self.settled.remove(&node.name);
        for row in &mut self.rows {
            if row.owner.as_ref().is_some_and(|owner| owner.node == *node) {
                row.gone_at = row.gone_at.or(Some(now));
            }
        }
        self.changed();
    }

    /// What a node says of itself; of this one it comes back, too.
    pub fn described(&mut self, name: &NodeName, details: Option<Details>) {
        match details {
            Some(details) => self.details.insert(name.clone(), details),
            None => self.details.remove(name),
        };
        self.changed();
    }

    #[must_use]
    pub fn details(&self, name: &NodeName) -> Option<&Details> {
        self.details.get(name)
    }

    /// The watch shows the key of a group, or that it was deleted (`None`).
    pub fn seen(&mut self, group: Group, revision: u64, owner: Option<Owner>, now: Time) {
        let row = &mut self.rows[group.index()];
        if revision <= row.revision {
            return; // a watch that began anew shows again what is known
        }
        let is_own = owner.as_ref().is_some_and(|owner| owner.node == self.own);
        *row = Row {
            revision,
            owner,
            seen_at: now,
            awaits: row.awaits.take().filter(|_| is_own),
            ..Row::default()
        };
        self.changed();
    }

    /// This node adopts what that one has left: it takes its groups, and serves them when that has ended.
    pub fn adopts(&mut self, node: &NodeName) {
        self.adopts.insert(node.clone());
        self.changed();
    }

    /// It has all that the node has left, or there was nothing.
    pub fn adopted(&mut self, node: &NodeName) {
        self.adopts.remove(node);
        self.settled.insert(node.clone());
        for row in &mut self.rows {
            row.awaits.take_if(|awaited| awaited == node);
        }
        self.changed();
    }

    /// A claim was refused, or its outcome is unknown.
    pub fn claim_failed(&mut self, group: Group) {
        self.rows[group.index()].claimed_at = None;
        self.changed();
    }

    /// Whether there is no session of a group that this node would give away.
    pub fn answered(&mut self, group: Group, epoch: u64, is_free: bool, now: Time) {
        let row = &mut self.rows[group.index()];
        let is_it = row.owner.as_ref().is_some_and(|owner| owner.epoch == epoch);
        if is_it && row.offer == Offer::Asked {
            row.offer = match is_free {
                true => Offer::Free,
                false => Offer::InUse(now),
            };
            self.changed();
        }
    }

    /// Until when this node may act.
    pub fn leased(&mut self, until: Time, now: Time) {
        if self.lease_until <= now && until > now {
            self.leased_since = now;
            self.changed();
        }
        self.lease_until = until;
    }

    fn is_alive(&self, node: &Node) -> bool {
        *node == self.own || self.alive.get(&node.name) == Some(&node.incarnation)
    }

    /// Surely without a lease.
    fn is_dead(&self, row: &Row, owner: &Owner, now: Time) -> bool {
        if self.is_alive(&owner.node) {
            return false;
        }
        let is_own_past = owner.node.name == self.own.name;
        let has_next_life = self.alive.contains_key(&owner.node.name);
        let since = row.seen_at.max(self.leased_since);
        row.gone_at.is_some() || is_own_past || has_next_life || now.since(since) >= UNKNOWN_AFTER
    }

    fn weight(name: &NodeName, group: Group) -> u64 {
        let hasher = SipHasher24::new_with_key(b"ringmq rendezvou");
        hasher.hash(&[name.as_str().as_bytes(), &[group.0]].concat())
    }

    /// The node that is to own a group. `None`: all are drained, and it need not be one of those.
    fn wanted(&self, group: Group, or_drained: bool) -> Option<Node> {
        let own = [(&self.own.name, &self.own.incarnation)];
        let all = self.alive.iter().chain(own);
        let taking = all.filter_map(|(name, incarnation)| {
            let details = self.details.get(name);
            let details = details.filter(|it| it.incarnation == *incarnation)?;
            Some((
                !details.is_drained,
                Self::weight(name, group),
                name,
                incarnation,
            ))
        });
        let (takes, _, name, incarnation) = taking.max()?;
        (takes || or_drained).then(|| Node {
            name: name.clone(),
            incarnation: *incarnation,
        })
    }

    /// Keys that are to be put now.
    pub fn claims(&mut self, now: Time) -> Vec<Claim> {
        if self.lease_until <= now || now < self.next_look {
            return Vec::new();
        }
        self.next_look = now + LOOK_EVERY;
        let is_offered = |row: &&Row| matches!(row.offer, Offer::Asked | Offer::Free);
        let mut offered = self.rows.iter().filter(is_offered).count();
        let mut claims = Vec::new();
        for group in Group::all() {
            let row = &self.rows[group.index()];
            let is_on_its_way = |at: Time| now.since(at) < CLAIM_PATIENCE;
            if row.claimed_at.is_some_and(is_on_its_way) {
                continue;
            }
            let owner = row.owner.as_ref();
            let is_free = owner.is_none_or(|owner| self.is_dead(row, owner, now));
            let node = match owner.filter(|_| is_free) {
                Some(owner) => self.heir(group, owner, now),
                None => self.wanted(group, is_free),
            };
            let Some(node) = node else {
                continue; // all are drained: it stays where it is
            };
            let is_own = owner.is_some_and(|owner| owner.node == self.own);
            let epoch = owner.map_or(1, |owner| owner.epoch + 1);
            let revision = row.revision;
            let before = owner.map(|owner| &owner.node.name);
            let awaits = before.filter(|name| self.adopts.contains(*name)).cloned();
            let moves = match (is_free, is_own) {
                (true, _) => node == self.own,
                (false, false) => false,
                (false, true) => self.offer(group, &node, &mut offered, now),
            };
            if moves {
                let owner = Owner { node, epoch };
                let row = &mut self.rows[group.index()];
                row.awaits = awaits;
                row.claimed_at = Some(now);
                claims.push(Claim {
                    group,
                    revision,
                    owner,
                });
            }
        }
        claims
    }

    /// Who takes a group of a dead node: its next life, who adopts its sessions, or the node that is wanted for it.
    fn heir(&self, group: Group, owner: &Owner, now: Time) -> Option<Node> {
        let row = &self.rows[group.index()];
        let name = &owner.node.name;
        if *name == self.own.name || self.adopts.contains(name) {
            return Some(self.own.clone());
        }
        if let Some(incarnation) = self.alive.get(name) {
            let (name, incarnation) = (name.clone(), *incarnation);
            return Some(Node { name, incarnation });
        }
        let details = self.details.get(name);
        let is_adopted = details.is_some_and(|it| it.is_adopted) && !self.settled.contains(name);
        let since = row.gone_at.unwrap_or(row.seen_at).max(self.leased_since);
        let waits = is_adopted && now.since(since) < ADOPTED_WITHIN;
        (!waits).then(|| self.wanted(group, true)).flatten()
    }

    /// A group of this node, for which that one is wanted; true when it is given now.
    fn offer(&mut self, group: Group, wanted: &Node, offered: &mut usize, now: Time) -> bool {
        let row = &mut self.rows[group.index()];
        let before = row.offer;
        let is_old = |at: Time| now.since(at) >= OFFERED_AGAIN;
        row.offer = match before {
            // What is being adopted is of sessions that are not here yet.
            _ if *wanted == self.own || row.awaits.is_some() => Offer::Not,
            Offer::InUse(at) if !is_old(at) => before,
            Offer::Not | Offer::InUse(_) if *offered < OFFERED_AT_ONCE => {
                *offered += 1;
                Offer::Asked
            }
            Offer::InUse(_) => Offer::Not,
            Offer::Not | Offer::Asked | Offer::Free => before,
        };
        self.has_changed |= row.offer != before;
        row.offer == Offer::Free
    }

    fn place(&self, row: &Row) -> Place {
        let Some(owner) = &row.owner else {
            return Place::Nowhere;
        };
        if owner.node == self.own {
            let is_offered = matches!(row.offer, Offer::Asked | Offer::Free);
            let is_served = !is_offered && row.awaits.is_none();
            return [Place::Nowhere, Place::Here][usize::from(is_served)].clone();
        }
        let details = self.details.get(&owner.node.name);
        let details = details.filter(|it| it.incarnation == owner.node.incarnation);
        match details.filter(|_| self.is_alive(&owner.node)) {
            None => Place::Nowhere,
            Some(details) => Place::There(Arc::new(Peer {
                node: owner.node.clone(),
                relay: Arc::clone(&details.relay),
                clients: details.clients.clone(),
            })),
        }
    }

    /// What has changed for the shards since it was asked last.
    pub fn poll_table(&mut self) -> Option<LaneTable> {
        if !std::mem::take(&mut self.has_changed) {
            return None;
        }
        let offered = |row: &Row| match (&row.owner, row.offer) {
            (Some(owner), Offer::Asked) => owner.epoch,
            _ => 0,
        };
        Some(LaneTable {
            key: self.key,
            places: self.rows.iter().map(|row| self.place(row)).collect(),
            offered: self.rows.iter().map(offered).collect(),
        })
    }

    /// Groups that a node owns.
    #[must_use]
    pub fn owned_by(&self, node: &Node) -> usize {
        let is_its = |owner: &Owner| owner.node == *node;
        let owners = self.rows.iter().filter_map(|row| row.owner.as_ref());
        owners.filter(|owner| is_its(owner)).count()
    }

    /// Groups that no node owns which is alive.
    #[must_use]
    pub fn without_owner(&self) -> usize {
        let is_owned = |owner: &Owner| self.is_alive(&owner.node);
        let rows = self.rows.iter();
        let free = rows.filter(|row| !row.owner.as_ref().is_some_and(is_owned));
        free.count()
    }

    /// Groups of this node for which another one is wanted, and which have sessions.
    #[must_use]
    pub fn kept(&self) -> usize {
        let is_kept = |row: &&Row| matches!(row.offer, Offer::InUse(_));
        self.rows.iter().filter(is_kept).count()
    }

    /// Owner and epoch of a group.
    #[must_use]
    pub fn owner(&self, group: Group) -> Option<&Owner> {
        self.rows[group.index()].owner.as_ref()
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
