//! Shared groups: members on all shards, replicated; each publication goes to one.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

use hashbrown::HashTable;

use super::table::shrink;

use crate::ids::{MemberId, ShardId};

/// A group of this replica; stale once the group is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    index: u32,
    generation: u32,
}

impl GroupKey {
    const FIRST: Self = Self {
        index: 0,
        generation: 0,
    };
}

/// One member: a session of some shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub shard: ShardId,
    pub id: MemberId,
    pub connected: bool,
    /// Its session outlives its connection.
    pub durable: bool,
}

type Identity = (ShardId, MemberId);

/// Place of a member in the round, kept while it is away; later members get higher ones.
type Seat = u64;

/// Who has a seat.
#[derive(Clone, Copy, Debug)]
struct Seated {
    shard: ShardId,
    durable: bool,
    id: MemberId,
}

const _: () = assert!(size_of::<Seated>() == size_of::<Identity>());

impl Seated {
    fn identity(&self) -> Identity {
        (self.shard, self.id)
    }

    fn member(self, connected: bool) -> Member {
        Member {
            shard: self.shard,
            id: self.id,
            connected,
            durable: self.durable,
        }
    }
}

#[derive(Debug)]
struct Group {
    share: Rc<str>,
    filter: Rc<str>,
    hash: u64,
    /// Connected members and the others, so that choosing does not skip members one by one.
    connected: BTreeMap<Seat, Seated>,
    away: BTreeMap<Seat, Seated>,
    next_seat: Seat,
    /// The turn is this seat's or the next one's; `None` before the first turn.
    turn: Option<Seat>,
}

/// Lives on: each shard its own replica. Bounded by the sessions' subscriptions.
#[derive(Debug)]
pub(super) struct Groups {
    local: ShardId,
    hasher: ahash::RandomState,
    /// With the generation of each place. Boxed, so that places whose groups have ended cost little.
    groups: Vec<(u32, Option<Box<Group>>)>,
    free: Vec<u32>,
    by_name: HashTable<GroupKey>,
    /// Every member's seat in every group, by member: its coming and going is no search.
    seats: BTreeMap<(Identity, GroupKey), Seat>,
}

/// Result of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) key: GroupKey,
    pub(super) created: bool,
    pub(super) replaced: bool,
}

/// Result of a leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    NotMember,
    Member,
    /// The group is removed, too.
    LastMember(GroupKey),
}

impl Groups {
    pub(super) fn new(local: ShardId, hasher: &ahash::RandomState) -> Self {
        Self {
            local,
            hasher: hasher.clone(),
            groups: Vec::new(),
            free: Vec::new(),
            by_name: HashTable::new(),
            seats: BTreeMap::new(),
        }
    }

    pub(super) fn key(&self, share: &str, filter: &str) -> Option<GroupKey> {
        let is_it = |key: &GroupKey| self.name(*key) == Some((share, filter));
        self.by_name.find(self.hash(share, filter), is_it).copied()
    }

    /// Adds a member, or updates it. `created`: the group is new.
    pub(super) fn join(&mut self, share: &str, filter: &str, member: Member) -> Joined {
        let id = (member.shard, member.id);
        let (key, created) = match self.key(share, filter) {
            Some(key) => (key, false),
            None => (self.create(share, filter), true),
        };
        let group = self.groups[key.index as usize].1.as_mut();
        let group = group.expect("found or created just now");
        let known = self.seats.get(&(id, key)).copied();
        match known {
            Some(seat) => group.seat(seat, member),
            None => {
                let seat = group.next_seat;
                group.next_seat += 1;
                group.seat(seat, member);
                self.seats.insert((id, key), seat);
            }
        }
        Joined {
            key,
            created,
            replaced: known.is_some(),
        }
    }

    /// Removes a member; a group without members is removed, too.
    pub(super) fn leave(
        &mut self,
        share: &str,
        filter: &str,
        shard: ShardId,
        member: MemberId,
    ) -> Left {
        let Some(key) = self.key(share, filter) else {
            return Left::NotMember;
        };
        let Some(seat) = self.seats.remove(&((shard, member), key)) else {
            return Left::NotMember;
        };
        if let Some(group) = self.group_mut(key) {
            group.connected.remove(&seat);
            group.away.remove(&seat);
            if !(group.connected.is_empty() && group.away.is_empty()) {
                return Left::Member;
            }
        }
        self.end(key);
        Left::LastMember(key)
    }

    /// A member keeps its seats while it is away.
    pub(super) fn set_connected(&mut self, shard: ShardId, member: MemberId, connected: bool) {
        let id = (shard, member);
        for ((member, key), seat) in self.seats.range((id, GroupKey::FIRST)..) {
            if *member != id {
                break;
            }
            if let Some(group) = &mut self.groups[key.index as usize].1 {
                group.set_connected(*seat, connected);
            }
        }
    }

    /// The next member in turn, connected ones first.
    pub(super) fn choose(&mut self, key: GroupKey, skip: Option<Identity>) -> Option<Member> {
        let local = self.local;
        let group = self.group_mut(key)?;
        let (seat, member) = group.pick(local, skip)?;
        group.turn = Some(seat + 1);
        Some(member)
    }

    /// The member that `choose` would return; the turn does not move.
    pub(super) fn peek(&self, key: GroupKey, skip: Identity) -> Option<Member> {
        let picked = self.group(key)?.pick(self.local, Some(skip));
        picked.map(|(_, member)| member)
    }

    /// The member that `choose` would return without one to skip; the turn does not move.
    pub(super) fn next(&self, key: GroupKey) -> Option<Member> {
        let picked = self.group(key)?.pick(self.local, None);
        picked.map(|(_, member)| member)
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn member(&self, share: &str, filter: &str, id: Identity) -> Option<Member> {
        let key = self.key(share, filter)?;
        let seat = self.seats.get(&(id, key))?;
        let group = self.group(key)?;
        let connected = group.connected.get(seat).map(|seated| seated.member(true));
        connected.or_else(|| group.away.get(seat).map(|seated| seated.member(false)))
    }

    pub(super) fn name(&self, key: GroupKey) -> Option<(&str, &str)> {
        self.group(key).map(|group| (&*group.share, &*group.filter))
    }

    fn create(&mut self, share: &str, filter: &str) -> GroupKey {
        let group = Box::new(Group {
            share: share.into(),
            filter: filter.into(),
            hash: self.hash(share, filter),
            connected: BTreeMap::new(),
            away: BTreeMap::new(),
            next_seat: 0,
            turn: None,
        });
        let hash = group.hash;
        let index = self.free.pop().unwrap_or_else(|| {
            self.groups.push((0, None));
            (self.groups.len() - 1) as u32
        });
        let slot = &mut self.groups[index as usize];
        slot.1 = Some(group);
        let key = GroupKey {
            index,
            generation: slot.0,
        };
        let groups = &self.groups;
        self.by_name.insert_unique(hash, key, |key| {
            let group = groups[key.index as usize].1.as_ref();
            group.map_or(0, |group| group.hash)
        });
        key
    }

    /// Frees the slot; the next generation makes kept keys stale.
    fn end(&mut self, key: GroupKey) {
        let slot = &mut self.groups[key.index as usize];
        let Some(group) = slot.1.take() else { return };
        slot.0 = slot.0.wrapping_add(1);
        self.free.push(key.index);
        if let Ok(entry) = self.by_name.find_entry(group.hash, |known| *known == key) {
            entry.remove();
        }
        let groups = &self.groups;
        shrink(&mut self.by_name, |key| {
            let group = groups[key.index as usize].1.as_ref();
            group.map_or(0, |group| group.hash)
        });
    }

    fn hash(&self, share: &str, filter: &str) -> u64 {
        self.hasher.hash_one((share, filter))
    }

    fn group(&self, key: GroupKey) -> Option<&Group> {
        let (generation, group) = self.groups.get(key.index as usize)?;
        let group = group.as_deref();
        group.filter(|_| *generation == key.generation)
    }

    fn group_mut(&mut self, key: GroupKey) -> Option<&mut Group> {
        let (generation, group) = self.groups.get_mut(key.index as usize)?;
        let group = group.as_deref_mut();
        group.filter(|_| *generation == key.generation)
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let live = self.groups.len() - self.free.len();
        (live, self.by_name.len(), self.seats.len())
    }
}

impl Group {
    /// Gives a member this seat, or says how it is now.
    fn seat(&mut self, seat: Seat, member: Member) {
        let (to, other) = if member.connected {
            (&mut self.connected, &mut self.away)
        } else {
            (&mut self.away, &mut self.connected)
        };
        other.remove(&seat);
        let seated = Seated {
            shard: member.shard,
            durable: member.durable,
            id: member.id,
        };
        to.insert(seat, seated);
    }

    fn set_connected(&mut self, seat: Seat, connected: bool) {
        let (from, to) = if connected {
            (&mut self.away, &mut self.connected)
        } else {
            (&mut self.connected, &mut self.away)
        };
        if let Some(seated) = from.remove(&seat) {
            to.insert(seat, seated);
        }
    }

    /// The first member from the turn on, connected ones first, without `skip`; the turn does not move.
    fn pick(&self, local: ShardId, skip: Option<Identity>) -> Option<(Seat, Member)> {
        let pick_from = |members: &BTreeMap<Seat, Seated>, connected| {
            // Every shard takes its own turns. They start at different members, lest a single
            // publication on each shard all go to the first.
            let turn = self.turn.unwrap_or_else(|| {
                let at = local.index() % members.len().max(1);
                members.keys().nth(at).copied().unwrap_or(0)
            });
            let from_turn = members.range((Bound::Included(turn), Bound::Unbounded));
            let in_turn = from_turn.chain(members.range(..turn));
            in_turn
                .map(|(seat, seated)| (*seat, *seated))
                .find(|(_, seated)| Some(seated.identity()) != skip)
                .map(|(seat, seated)| (seat, seated.member(connected)))
        };
        pick_from(&self.connected, true).or_else(|| pick_from(&self.away, false))
    }
}

#[cfg(test)]
#[path = "groups_tests.rs"]
mod tests;
