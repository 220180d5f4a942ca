//! Turns of shared groups.

use std::num::NonZeroU64;

use proptest::prelude::*;

use super::*;

fn nth(n: u16) -> MemberId {
    MemberId(NonZeroU64::MIN.saturating_add(u64::from(n)))
}

fn member(shard: u16, connected: bool) -> Member {
    Member {
        shard: ShardId(shard),
        id: nth(shard),
        connected,
        durable: shard & 1 == 1,
    }
}

fn id(shard: u16) -> Identity {
    (ShardId(shard), nth(shard))
}

fn groups_at(local: u16, members: &[Member]) -> (Groups, GroupKey) {
    let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
    let mut groups = Groups::new(ShardId(local), &hasher);
    for member in members {
        groups.join("g", "a/#", *member);
    }
    let key = groups.key("g", "a/#").unwrap();
    (groups, key)
}

fn turns(groups: &mut Groups, key: GroupKey, count: usize) -> Vec<u16> {
    (0..count)
        .map(|_| groups.choose(key, None).unwrap().shard.0)
        .collect()
}

#[test]
fn turns_go_round_over_all_members_connected_ones_first() {
    let (mut groups, key) = groups_at(0, &[member(0, true), member(1, false), member(2, true)]);
    assert_eq!(turns(&mut groups, key, 4), [0, 2, 0, 2]);
    groups.set_connected(ShardId(0), nth(0), false);
    groups.set_connected(ShardId(2), nth(2), false);
    assert_eq!(turns(&mut groups, key, 3), [0, 1, 2]);
    assert_eq!(groups.choose(key, Some(id(0))).unwrap().shard.0, 1);
    groups.set_connected(ShardId(0), nth(0), true);
    assert_eq!(turns(&mut groups, key, 2), [0, 0]);
    let chosen = groups.choose(key, Some(id(0))).unwrap();
    assert_eq!((chosen.shard.0, chosen.connected), (1, false));
}

#[test]
fn the_only_member_is_not_chosen_when_it_is_to_be_skipped() {
    let (mut groups, key) = groups_at(0, &[member(5, true)]);
    assert_eq!(groups.choose(key, Some(id(5))), None);
    assert_eq!(groups.peek(key, id(5)), None);
    assert_eq!(groups.choose(key, None), Some(member(5, true)));
}

#[test]
fn nobody_is_passed_over_when_members_come_and_go() {
    let all: Vec<Member> = (0..4).map(|n| member(n, true)).collect();
    let (mut groups, key) = groups_at(0, &all);
    assert_eq!(turns(&mut groups, key, 2), [0, 1]);
    groups.leave("g", "a/#", ShardId(0), nth(0));
    assert_eq!(turns(&mut groups, key, 1), [2]);
    groups.join("g", "a/#", member(4, true));
    assert_eq!(turns(&mut groups, key, 5), [3, 4, 1, 2, 3]);
    groups.leave("g", "a/#", ShardId(4), nth(4));
    assert_eq!(turns(&mut groups, key, 2), [1, 2]);
}

#[test]
fn shards_start_their_turns_at_different_members() {
    let all: Vec<Member> = (0..3).map(|n| member(n, true)).collect();
    let first = |local| {
        let (mut groups, key) = groups_at(local, &all);
        turns(&mut groups, key, 4)
    };
    assert_eq!(first(0), [0, 1, 2, 0]);
    assert_eq!(first(1), [1, 2, 0, 1]);
    assert_eq!(first(5), [2, 0, 1, 2]);
}

#[test]
fn peeking_takes_no_turn() {
    let (mut groups, key) = groups_at(0, &[member(0, true), member(1, true), member(2, true)]);
    assert_eq!(groups.peek(key, id(0)), Some(member(1, true)));
    assert_eq!(turns(&mut groups, key, 1), [0]);
}

#[test]
fn a_member_joins_again_with_its_seat() {
    let (mut groups, key) = groups_at(0, &[member(0, true), member(1, true)]);
    let again = groups.join("g", "a/#", member(0, false));
    assert_eq!((again.replaced, again.created), (true, false));
    assert_eq!(turns(&mut groups, key, 2), [1, 1]);
    groups.join("g", "a/#", member(0, true));
    assert_eq!(turns(&mut groups, key, 2), [0, 1]);
}

#[test]
fn a_group_ends_with_its_last_member_and_its_key_goes_stale() {
    let (mut groups, key) = groups_at(0, &[member(0, true), member(1, true)]);
    let mut leave = |shard: u16| groups.leave("g", "a/#", ShardId(shard), nth(shard));
    assert_eq!(leave(0), Left::Member);
    assert_eq!(leave(0), Left::NotMember);
    assert_eq!(leave(1), Left::LastMember(key));
    assert_eq!(groups.counts(), (0, 0, 0));
    assert_eq!(groups.choose(key, None), None);
    assert!(groups.join("h", "b", member(0, true)).created);
    assert_eq!(groups.name(key), None);
    let new = groups.key("h", "b").unwrap();
    assert_eq!(groups.name(new), Some(("h", "b")));
}

#[test]
fn groups_of_one_filter_and_filters_of_one_name_are_different_groups() {
    let (mut groups, key) = groups_at(0, &[member(0, true)]);
    groups.join("g", "b", member(1, true));
    groups.join("h", "a/#", member(2, true));
    assert_eq!(turns(&mut groups, key, 2), [0, 0]);
    assert_eq!(groups.counts().0, 3);
    // The separator is not ambiguous.
    assert_eq!(groups.key("ga", "/#"), None);
}

#[derive(Clone, Debug)]
enum Operation {
    Join(u8, u16, bool),
    Leave(u8, u16),
    SetConnected(u16, bool),
    Choose(u8, Option<u16>),
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => (0..3_u8, 0..6_u16, any::<bool>()).prop_map(|(g, m, c)| Operation::Join(g, m, c)),
        2 => (0..3_u8, 0..6_u16).prop_map(|(g, m)| Operation::Leave(g, m)),
        2 => (0..6_u16, any::<bool>()).prop_map(|(m, c)| Operation::SetConnected(m, c)),
        4 => (0..3_u8, prop::option::of(0..6_u16)).prop_map(|(g, s)| Operation::Choose(g, s)),
    ]
}

/// The model of a group: a list in order of joining and the place after the last turn.
#[derive(Default)]
struct Model {
    members: Vec<Member>,
    next: usize,
}

impl Model {
    fn choose(&mut self, skip: Option<u16>) -> Option<Member> {
        let count = self.members.len();
        let turns: Vec<usize> = (0..count)
            .map(|n| (self.next + n) % count)
            .filter(|at| Some(self.members[*at].shard.0) != skip)
            .collect();
        let connected = turns.iter().find(|at| self.members[**at].connected);
        let at = *connected.or(turns.first())?;
        self.next = at + 1;
        Some(self.members[at])
    }
}

proptest! {
    #[test]
    fn turns_are_those_of_a_plain_list(operations in prop::collection::vec(operation(), 1..100)) {
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let mut groups = Groups::new(ShardId(0), &hasher);
        let mut models: [Model; 3] = Default::default();
        let shares = ["a", "b", "c"];
        for operation in operations {
            match operation {
                Operation::Join(g, m, connected) => {
                    let model = &mut models[usize::from(g)];
                    let known = model.members.iter_mut().find(|one| one.shard.0 == m);
                    let joined =
                        groups.join(shares[usize::from(g)], "x/+", member(m, connected));
                    prop_assert_eq!(joined.replaced, known.is_some());
                    match known {
                        Some(known) => known.connected = connected,
                        None => model.members.push(member(m, connected)),
                    }
                    prop_assert_eq!(joined.created, model.members.len() == 1 && !joined.replaced);
                }
                Operation::Leave(g, m) => {
                    let model = &mut models[usize::from(g)];
                    let at = model.members.iter().position(|one| one.shard.0 == m);
                    let (shard, session) = id(m);
                    let left = groups.leave(shares[usize::from(g)], "x/+", shard, session);
                    prop_assert_eq!(left == Left::NotMember, at.is_none());
                    if let Some(at) = at {
                        model.members.remove(at);
                        model.next -= usize::from(at < model.next);
                    }
                    let is_empty = model.members.is_empty();
                    if is_empty {
                        *model = Model::default();
                    }
                    prop_assert_eq!(
                        matches!(left, Left::LastMember(_)), is_empty && at.is_some());
                }
                Operation::SetConnected(m, connected) => {
                    let (shard, session) = id(m);
                    groups.set_connected(shard, session, connected);
                    for member in models.iter_mut().flat_map(|model| &mut model.members) {
                        if member.shard.0 == m {
                            member.connected = connected;
                        }
                    }
                }
                Operation::Choose(g, skip) => {
                    let expected = models[usize::from(g)].choose(skip);
                    let key = groups.key(shares[usize::from(g)], "x/+");
                    let peeked = key.zip(skip).map(|(key, skip)| groups.peek(key, id(skip)));
                    let chosen = key.and_then(|key| groups.choose(key, skip.map(id)));
                    prop_assert_eq!(chosen, expected);
                    prop_assert!(peeked.is_none_or(|peeked| peeked == chosen));
                }
            }
            let members: usize = models.iter().map(|model| model.members.len()).sum();
            let live = models.iter().filter(|model| !model.members.is_empty()).count();
            prop_assert_eq!(groups.counts(), (live, live, members));
        }
    }
}
