//! Members of shared groups of other nodes, as shards here know them, and those of shards here, as other nodes do.
//!
//! Shards name a member by its shard and a number that its shard has counted. Here the exchange is that shard for all
//! members of other nodes, so it counts numbers of its own.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;
use std::ops::Bound;

use super::records::RemoteMember;
use super::remote::MemberKey;
use crate::ids::MemberId;

/// A member's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemberState {
    pub(super) connected: bool,
    pub(super) durable: bool,
}

/// A member of another node.
#[derive(Debug)]
struct Known {
    slot: usize,
    member: RemoteMember,
    /// The groups that it is in.
    groups: Vec<(Box<str>, Box<str>)>,
}

/// Groups that a member here is in, by share name and filter.
type Groups = BTreeMap<(Box<str>, Box<str>), MemberState>;

/// Lives on: the exchange. Bounded by the memberships of all nodes.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Of shards here.
    here: BTreeMap<RemoteMember, Groups>,
    last: u64,
    known: HashMap<MemberId, Known>,
    numbers: HashMap<(usize, RemoteMember), MemberId>,
}

impl Members {
    pub(super) fn joined_here(
        &mut self,
        member: RemoteMember,
        group: (Box<str>, Box<str>),
        state: MemberState,
    ) {
        self.here.entry(member).or_default().insert(group, state);
    }

    pub(super) fn left_here(&mut self, member: RemoteMember, group: &(Box<str>, Box<str>)) {
        if let Some(groups) = self.here.get_mut(&member) {
            groups.remove(group);
            if groups.is_empty() {
                self.here.remove(&member);
            }
        }
    }

    /// A member here has connected or disconnected: so in all its groups.
    pub(super) fn connected_here(&mut self, member: RemoteMember, connected: bool) {
        let groups = self.here.get_mut(&member).into_iter();
        for state in groups.flat_map(BTreeMap::values_mut) {
            state.connected = connected;
        }
    }

    /// Members here behind `after`, at most so many, each with its groups.
    pub(super) fn piece(
        &self,
        after: Option<RemoteMember>,
        most: usize,
    ) -> impl Iterator<Item = (RemoteMember, &Groups)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let all = self.here.range((from, Bound::Unbounded));
        all.map(|(member, groups)| (*member, groups)).take(most)
    }

    /// A member of another node has joined a group, or says how it is in it; its number here.
    pub(super) fn joined(
        &mut self,
        slot: usize,
        member: RemoteMember,
        (share, filter): (&str, &str),
    ) -> MemberId {
        let id = *self.numbers.entry((slot, member)).or_insert_with(|| {
            self.last += 1;
            MemberId(NonZeroU64::new(self.last).expect("it was counted up"))
        });
        let known = self.known.entry(id).or_insert_with(|| Known {
            slot,
            member,
            groups: Vec::new(),
        });
        let is_it = |(one, other): &(Box<str>, Box<str>)| **one == *share && **other == *filter;
        if !known.groups.iter().any(is_it) {
            known.groups.push((share.into(), filter.into()));
        }
        id
    }

    /// Its number here, if it was in that group.
    pub(super) fn left(
        &mut self,
        slot: usize,
        member: RemoteMember,
        (share, filter): (&str, &str),
    ) -> Option<MemberId> {
        let id = *self.numbers.get(&(slot, member))?;
        let known = self.known.get_mut(&id)?;
        let before = known.groups.len();
        (known.groups).retain(|(one, other)| **one != *share || **other != *filter);
        let was_in = known.groups.len() < before;
        if known.groups.is_empty() {
            self.known.remove(&id);
            self.numbers.remove(&(slot, member));
        }
        was_in.then_some(id)
    }

    pub(super) fn number(&self, slot: usize, member: RemoteMember) -> Option<MemberId> {
        self.numbers.get(&(slot, member)).copied()
    }

    /// Whose number it is.
    pub(super) fn find(&self, id: MemberId) -> Option<(usize, RemoteMember)> {
        let known = self.known.get(&id)?;
        Some((known.slot, known.member))
    }

    /// All that a node has in groups.
    pub(super) fn of(&self, slot: usize) -> Vec<MemberKey> {
        let of = self.known.values().filter(|known| known.slot == slot);
        let keys = of.flat_map(|known| {
            let groups = known.groups.iter();
            groups.map(|(share, filter)| (share.clone(), filter.clone(), known.member))
        });
        keys.collect()
    }
}
