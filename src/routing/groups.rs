//! Shared groups: members on all shards, replicated; each publication goes to one.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::ids::{SessionId, ShardId};

/// A group of this replica; stale once the group is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupKey {
    index: u32,
    generation: u32,
}

/// One member: a session of some shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub shard: ShardId,
    pub session: SessionId,
    pub connected: bool,
}

impl Member {
    fn id(&self) -> (ShardId, SessionId) {
        (self.shard, self.session)
    }
}

#[derive(Debug)]
struct Group {
    share: Rc<str>,
    filter: Rc<str>,
    members: Vec<Member>,
    /// Index of the member to be asked next.
    next: usize,
}

/// Lives on: each shard its own replica. Bounded by the sessions' subscriptions.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: Vec<(u32, Option<Group>)>,
    free: Vec<u32>,
    by_name: HashMap<(Rc<str>, Rc<str>), GroupKey, ahash::RandomState>,
    /// Groups of each member, so that coming and going is no search.
    by_member: BTreeMap<(ShardId, SessionId), Vec<GroupKey>>,
}

impl Groups {
    pub(super) fn new(hasher: &ahash::RandomState) -> Self {
        Self {
            by_name: HashMap::with_hasher(hasher.clone()),
            ..Self::default()
        }
    }

    pub(super) fn key(&self, share: &str, filter: &str) -> Option<GroupKey> {
        self.by_name
            .get(&(Rc::from(share), Rc::from(filter)))
            .copied()
    }

    /// Adds a member, or updates it. `created`: the group is new.
    pub(super) fn join(&mut self, share: &str, filter: &str, member: Member) -> Joined {
        let (key, created) = match self.key(share, filter) {
            Some(key) => (key, false),
            None => (self.create(share, filter), true),
        };
        let Some(group) = self.group_mut(key) else {
            return Joined {
                key,
                created,
                replaced: false,
            };
        };
        if let Some(known) = group
            .members
            .iter_mut()
            .find(|known| known.id() == member.id())
        {
            *known = member;
            return Joined {
                key,
                created,
                replaced: true,
            };
        }
        group.members.push(member);
        self.by_member.entry(member.id()).or_default().push(key);
        Joined {
            key,
            created,
            replaced: false,
        }
    }

    /// Removes a member; a group without members is gone.
    pub(super) fn leave(
        &mut self,
        share: &str,
        filter: &str,
        shard: ShardId,
        session: SessionId,
    ) -> Left {
        let Some(key) = self.key(share, filter) else {
            return Left::NotMember;
        };
        let Some(group) = self.group_mut(key) else {
            return Left::NotMember;
        };
        let id = (shard, session);
        let Some(at) = group.members.iter().position(|member| member.id() == id) else {
            return Left::NotMember;
        };
        group.members.remove(at);
        if at < group.next {
            group.next -= 1; // nobody is passed over
        }
        let is_empty = group.members.is_empty();
        if let Some(keys) = self.by_member.get_mut(&id) {
            keys.retain(|known| *known != key);
            if keys.is_empty() {
                self.by_member.remove(&id);
            }
        }
        if !is_empty {
            return Left::Member;
        }
        self.by_name.remove(&(Rc::from(share), Rc::from(filter)));
        let slot = &mut self.groups[key.index as usize];
        slot.0 = slot.0.wrapping_add(1);
        slot.1 = None;
        self.free.push(key.index);
        Left::LastMember(key)
    }

    pub(super) fn set_connected(&mut self, shard: ShardId, session: SessionId, connected: bool) {
        let id = (shard, session);
        for key in self.by_member.get(&id).cloned().unwrap_or_default() {
            let Some(group) = self.group_mut(key) else {
                continue;
            };
            if let Some(member) = group.members.iter_mut().find(|member| member.id() == id) {
                member.connected = connected;
            }
        }
    }

    /// The next member in turn, connected ones first.
    pub(super) fn choose(
        &mut self,
        key: GroupKey,
        skip: Option<(ShardId, SessionId)>,
    ) -> Option<Member> {
        let group = self.group_mut(key)?;
        let at = group.pick(skip)?;
        group.next = (at + 1) % group.members.len();
        Some(group.members[at])
    }

    /// Whom `choose` would name; the turn does not move.
    pub(super) fn peek(&self, key: GroupKey, skip: (ShardId, SessionId)) -> Option<Member> {
        let group = self.group(key)?;
        group.pick(Some(skip)).map(|at| group.members[at])
    }

    pub(super) fn name(&self, key: GroupKey) -> Option<(&str, &str)> {
        self.group(key).map(|group| (&*group.share, &*group.filter))
    }

    fn create(&mut self, share: &str, filter: &str) -> GroupKey {
        let (share, filter): (Rc<str>, Rc<str>) = (share.into(), filter.into());
        let name = (Rc::clone(&share), Rc::clone(&filter));
        let group = Group {
            share,
            filter,
            members: Vec::new(),
            next: 0,
        };
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
        self.by_name.insert(name, key);
        key
    }

    fn group(&self, key: GroupKey) -> Option<&Group> {
        let (generation, group) = self.groups.get(key.index as usize)?;
        group.as_ref().filter(|_| *generation == key.generation)
    }

    fn group_mut(&mut self, key: GroupKey) -> Option<&mut Group> {
        let (generation, group) = self.groups.get_mut(key.index as usize)?;
        group.as_mut().filter(|_| *generation == key.generation)
    }
}

impl Group {
    fn pick(&self, skip: Option<(ShardId, SessionId)>) -> Option<usize> {
        let count = self.members.len();
        let in_turn = (0..count).map(|step| (self.next + step) % count);
        let mut others = in_turn.filter(|at| skip != Some(self.members[*at].id()));
        let first = others.next()?;
        if self.members[first].connected {
            return Some(first);
        }
        others
            .find(|at| self.members[*at].connected)
            .or(Some(first))
    }
}

/// What became of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) key: GroupKey,
    pub(super) created: bool,
    pub(super) replaced: bool,
}

/// What became of a leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    NotMember,
    Member,
    /// The group is gone.
    LastMember(GroupKey),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(shard: u16, connected: bool) -> Member {
        let session = SessionId {
            index: u32::from(shard),
            generation: 0,
        };
        Member {
            shard: ShardId(shard),
            session,
            connected,
        }
    }

    fn groups(members: &[Member]) -> (Groups, GroupKey) {
        let mut groups = Groups::new(&ahash::RandomState::with_seeds(1, 2, 3, 4));
        for member in members {
            groups.join("g", "a/#", *member);
        }
        let key = groups.key("g", "a/#").unwrap();
        (groups, key)
    }

    #[test]
    fn turns_go_round_over_all_members_connected_ones_first() {
        let all = [member(0, true), member(1, false), member(2, true)];
        let (mut groups, key) = groups(&all);
        let turns: Vec<_> = (0..4)
            .map(|_| groups.choose(key, None).unwrap().shard.0)
            .collect();
        assert_eq!(turns, [0, 2, 0, 2]);
        groups.set_connected(ShardId(0), all[0].session, false);
        groups.set_connected(ShardId(2), all[2].session, false);
        let turns: Vec<_> = (0..3)
            .map(|_| groups.choose(key, None).unwrap().shard.0)
            .collect();
        assert_eq!(turns, [0, 1, 2]);
        let skip = Some(all[0].id());
        assert_eq!(groups.choose(key, skip).unwrap().shard.0, 1);
    }

    #[test]
    fn a_group_ends_with_its_last_member_and_its_key_goes_stale() {
        let (mut groups, key) = groups(&[member(0, true), member(1, true)]);
        let session = |n| SessionId {
            index: n,
            generation: 0,
        };
        assert_eq!(
            groups.leave("g", "a/#", ShardId(0), session(0)),
            Left::Member
        );
        assert_eq!(
            groups.leave("g", "a/#", ShardId(0), session(0)),
            Left::NotMember
        );
        assert_eq!(
            groups.leave("g", "a/#", ShardId(1), session(1)),
            Left::LastMember(key)
        );
        assert_eq!(groups.choose(key, None), None);
        assert!(groups.join("h", "b", member(0, true)).created);
        assert_eq!(groups.name(key), None);
    }
}
