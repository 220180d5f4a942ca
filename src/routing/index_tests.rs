//! The index against a model: a matcher without an index.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::mqtt::topic::matches;
use crate::mqtt::{Qos, SubscriptionOptions};

fn member(n: u32) -> MemberId {
    MemberId(std::num::NonZeroU64::MIN.saturating_add(u64::from(n)))
}

fn session(n: u32) -> SessionId {
    SessionId {
        index: n,
        generation: 0,
    }
}

fn index() -> TopicIndex {
    TopicIndex::new(ShardId(0), 42)
}

fn plain(qos: Qos) -> Subscription {
    Subscription {
        options: SubscriptionOptions {
            qos,
            ..Default::default()
        },
        identifier: None,
        durable: false,
    }
}

const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

/// (filter, QoS, No Local, Retain As Published, identifier) of one session, and what it is granted:
/// (QoS, Retain As Published, identifiers), as publisher in the second place.
type Row = (&'static str, u8, bool, bool, Option<u32>);
type Granted = Option<(u8, bool, &'static [u32])>;

#[test]
fn overlapping_subscriptions_are_one_copy_with_highest_qos_and_all_identifiers() {
    #[rustfmt::skip]
    let table: &[(&[Row], Granted, Granted)] = &[
        (&[("a/b", 1, false, false, None)],
            Some((1, false, &[])), Some((1, false, &[]))),
        (&[("a/b", 1, true, false, Some(9))],
            Some((1, false, &[9])), None),
        (&[("a/#", 1, false, false, Some(7)), ("a/b", 2, true, true, Some(8))],
            Some((2, true, &[7, 8])), Some((1, false, &[7]))),
        (&[("a/#", 0, false, true, None), ("a/+", 1, false, false, Some(8)), ("+/b", 2, true, false, None)],
            Some((2, true, &[8])), Some((1, true, &[8]))),
        (&[("#", 2, true, false, Some(1)), ("+/+", 0, true, false, Some(2))],
            Some((2, false, &[1, 2])), None),
        // One identifier on two filters is sent twice: one for each subscription.
        (&[("#", 0, false, false, Some(5)), ("a/b", 0, false, false, Some(5))],
            Some((0, false, &[5, 5])), Some((0, false, &[5, 5]))),
        (&[("a/c", 2, false, true, Some(3)), ("a/b", 0, false, false, None)],
            Some((0, false, &[])), Some((0, false, &[]))),
    ];
    for (rows, expected, expected_if_own) in table {
        let mut index = index();
        for (filter, qos, no_local, retain_as_published, identifier) in *rows {
            let options = SubscriptionOptions {
                qos: QOS[usize::from(*qos)],
                no_local: *no_local,
                retain_as_published: *retain_as_published,
                ..Default::default()
            };
            let identifier = *identifier;
            let subscription = Subscription {
                options,
                identifier,
                durable: false,
            };
            index.subscribe(filter, session(1), subscription);
            // Another session, which must not get mixed up with it.
            index.subscribe(filter, session(2), plain(Qos::AtMostOnce));
        }
        let route = index.route("a/b");
        assert_eq!(route.targets.len(), 2);
        let target = &route.targets[0];
        assert_eq!(target.session, session(1));
        for (own, expected) in [(false, expected), (true, expected_if_own)] {
            let granted = route.targets.grant(target, own).map(|grant| {
                let mut identifiers = grant.identifiers.to_vec();
                identifiers.sort_unstable();
                (grant.qos as u8, grant.retain_as_published, identifiers)
            });
            let expected = expected.map(|(qos, retain, ids)| (qos, retain, ids.to_vec()));
            assert_eq!(granted, expected, "{rows:?}, own: {own}");
        }
        let other = route.targets.grant(&route.targets[1], true).unwrap();
        assert_eq!((other.qos, other.identifiers.len()), (Qos::AtMostOnce, 0));
    }
}

#[test]
fn first_and_last_subscriber_of_a_shard_are_told_apart() {
    let mut index = index();
    let add =
        |index: &mut TopicIndex, n| index.subscribe("a/+", session(n), plain(Qos::AtMostOnce));
    assert_eq!(
        add(&mut index, 1),
        Added {
            replaced: false,
            interest: Some(Interest::Transient)
        }
    );
    assert_eq!(
        add(&mut index, 2),
        Added {
            replaced: false,
            interest: None
        }
    );
    assert_eq!(
        add(&mut index, 2),
        Added {
            replaced: true,
            interest: None
        }
    );
    let gone = |existed, interest| Removed { existed, interest };
    assert_eq!(index.unsubscribe("a/+", session(1)), gone(true, None));
    assert_eq!(index.unsubscribe("a/+", session(1)), gone(false, None));
    let last = Some(Interest::Absent);
    assert_eq!(index.unsubscribe("a/+", session(2)), gone(true, last));
    assert!(index.filters.is_empty(), "nothing is left");
}

#[test]
fn what_others_must_know_is_told_when_it_changes() {
    let mut index = index();
    let durable = |durable| Subscription {
        durable,
        ..plain(Qos::AtMostOnce)
    };
    let mut add = |n, is| index.subscribe("a/+", session(n), durable(is)).interest;
    let here = Destination::Shard(ShardId(0));
    assert_eq!(add(1, false), Some(Interest::Transient));
    assert_eq!(add(2, true), Some(Interest::Durable));
    assert_eq!((add(3, true), add(2, false)), (None, None));
    assert_eq!(add(3, false), Some(Interest::Transient));
    assert_eq!(add(1, true), Some(Interest::Durable));
    assert!(index.route("a/b").durable.contains(here));
    let left = index.unsubscribe("a/+", session(1)).interest;
    assert_eq!(left, Some(Interest::Transient));
    assert!(index.route("a/b").durable.is_empty());
}

#[test]
fn matching_follows_section_4_7() {
    for (filter, topic, expected) in [
        ("sport/#", "sport", true),
        ("sport/#", "sport/a/b", true),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("#", "$SYS/x", false),
        ("+/x", "$SYS/x", false),
        ("$SYS/#", "$SYS/x", true),
        ("$SYS/+", "$SYS/x", true),
        ("a//b", "a//b", true),
        ("a/+/b", "a//b", true),
        ("A", "a", false),
    ] {
        let mut index = index();
        index.subscribe(filter, session(1), plain(Qos::AtMostOnce));
        assert_eq!(
            !index.route(topic).targets.is_empty(),
            expected,
            "{filter} {topic}"
        );
    }
}

#[test]
fn what_changes_nothing_leaves_the_cache_alone() {
    let mut index = index();
    index.subscribe("a/+", session(1), plain(Qos::AtLeastOnce));
    index.set_remote("a/#", ShardId(3).into(), Interest::Transient);
    let generation = index.generation();
    index.subscribe("a/+", session(1), plain(Qos::AtLeastOnce));
    index.unsubscribe("a/+", session(2));
    index.unsubscribe("#", session(1));
    index.set_remote("a/#", ShardId(3).into(), Interest::Transient);
    index.set_remote("a/#", ShardId(4).into(), Interest::Absent);
    index.set_connected(ShardId(3), member(1), true);
    assert_eq!(index.generation(), generation);
    index.subscribe("a/+", session(1), plain(Qos::AtMostOnce));
    assert!(index.generation() > generation);
}

#[test]
fn what_was_noted_ahead_is_not_relied_on_after_a_change() {
    let mut index = index();
    let reaches = |index: &mut TopicIndex, topic: &str| {
        let route = index.find(topic);
        (route.targets.len(), route.remote.iter().count())
    };
    let topics = ["a/b", "c", "a/b", "d/e"];
    index.prefetch(topics.into_iter());
    index.subscribe("a/+", session(1), plain(Qos::AtMostOnce));
    assert_eq!(reaches(&mut index, "a/b"), (1, 0));
    index.prefetch(topics.into_iter());
    assert_eq!(reaches(&mut index, "c"), (0, 0));
    assert_eq!(reaches(&mut index, "a/b"), (1, 0));
    index.set_remote("c", ShardId(3).into(), Interest::Transient);
    index.set_remote("d/#", ShardId(3).into(), Interest::Transient);
    assert_eq!(reaches(&mut index, "c"), (0, 1));
    assert_eq!(reaches(&mut index, "d/e"), (0, 1));
    index.prefetch(topics.into_iter());
    index.unsubscribe("a/+", session(1));
    index.subscribe("c", session(1), plain(Qos::AtMostOnce));
    for (topic, expected) in topics.into_iter().zip([(0, 0), (1, 1), (0, 0), (0, 1)]) {
        assert_eq!(reaches(&mut index, topic), expected, "{topic}");
    }
    index.prefetch(topics.into_iter());
    index.set_remote("c", ShardId(3).into(), Interest::Absent);
    for (topic, expected) in topics.into_iter().zip([(0, 0), (1, 0), (0, 0), (0, 1)]) {
        assert_eq!(reaches(&mut index, topic), expected, "{topic}");
    }
}

#[test]
fn a_change_forgets_only_the_routes_it_may_concern() {
    let topics = ["a/b/c/d/e", "a/b/c/x", "a/b/y", "a/z", "a", "q/b/c"];
    for (filter, forgotten) in [
        ("a/b/c/d/e", 1),
        ("a/b/c/d/#", 2), // distinguished by three levels
        ("a/b/c/#", 2),
        ("a/b/+/x", 3),
        ("a/#", 5),
        ("+/b", 6),
        ("q/+", 1),
        ("a/b/other/#", 0),
        ("other/+", 0),
    ] {
        let mut index = index();
        let before = topics.map(|topic| index.route(topic));
        index.set_remote(filter, ShardId(1).into(), Interest::Transient);
        let after = topics.map(|topic| index.route(topic));
        let count =
            (before.iter().zip(&after)).filter(|(before, after)| !Rc::ptr_eq(before, after));
        assert_eq!(count.count(), forgotten, "{filter}");
    }
}

#[test]
fn the_cache_is_bounded_and_keeps_what_is_asked_for() {
    let mut index = index();
    let busy = index.route("busy");
    for n in 0..200_000 {
        index.route(&format!("t/{n}"));
        if n % 100 == 0 {
            assert!(Rc::ptr_eq(&index.route("busy"), &busy));
        }
    }
    let (routes, bytes) = index.cache.len_and_bytes();
    assert!((3_000..=7_000).contains(&routes) && bytes <= 64 << 20);
    let once = index.route("new");
    let twice = index.route("new");
    assert!(!Rc::ptr_eq(&once, &twice), "it pushes nobody out at first");
    for _ in 0..200 {
        assert!(Rc::ptr_eq(&index.route("new"), &twice));
    }
    // Whatever is asked for twice gets in; the bound holds.
    for n in 0..100_000 {
        index.route(&format!("u/{n}"));
        index.route(&format!("u/{n}"));
        if n % 100 == 0 {
            assert!(Rc::ptr_eq(&index.route("busy"), &busy));
        }
    }
    let (routes, bytes) = index.cache.len_and_bytes();
    assert!((3_000..=7_000).contains(&routes) && bytes <= 64 << 20);
}

#[test]
fn wide_routes_are_bounded_by_bytes() {
    let mut index = index();
    for n in 0..40_000 {
        index.subscribe("a/#", session(n), plain(Qos::AtMostOnce));
        index.subscribe("+/+", session(n), plain(Qos::AtMostOnce));
    }
    for n in 0..200 {
        assert_eq!(index.route(&format!("a/{n}")).targets.len(), 40_000);
    }
    let (routes, bytes) = index.cache.len_and_bytes();
    assert!(routes < 200 && (32 << 20..=64 << 20).contains(&bytes));
}

#[test]
fn topics_of_one_wide_filter_share_its_targets() {
    let mut index = index();
    for n in 0..100 {
        index.subscribe("a/#", session(n), plain(Qos::AtMostOnce));
    }
    let (one, other) = (index.route("a/1"), index.route("a/2"));
    assert!(Rc::ptr_eq(&one.targets, &other.targets));
    index.unsubscribe("a/#", session(7));
    assert_eq!(index.route("a/1").targets.len(), 99);
    index.subscribe("a/#", session(8), plain(Qos::ExactlyOnce));
    let route = index.route("a/1");
    let grant = route.targets.grant(&route.targets[7], false).unwrap();
    assert_eq!(
        (route.targets[7].session, grant.qos),
        (session(8), Qos::ExactlyOnce)
    );
}

/// The deepest topic there can be: a match must not recurse.
#[test]
fn a_topic_of_65535_levels_matches_without_recursion() {
    let mut index = index();
    let deep = "/".repeat(65_534);
    index.subscribe(&deep, session(1), plain(Qos::AtMostOnce));
    let plus = format!("{}+", &deep[1..]);
    index.subscribe(&plus, session(2), plain(Qos::AtMostOnce));
    index.subscribe("#", session(3), plain(Qos::AtMostOnce));
    assert_eq!(index.route(&deep).targets.len(), 2);
    assert_eq!(index.route(&deep[1..]).targets.len(), 2);
    for (filter, n) in [(&*deep, 1), (&*plus, 2), ("#", 3)] {
        assert!(index.unsubscribe(filter, session(n)).interest.is_some());
    }
    assert!(index.filters.is_empty());
}

/// Every mix of `a` and `+` of one length: each node of the tree is visited, none twice.
#[test]
fn all_mixes_of_plus_match_once_each() {
    let mut index = index();
    for mix in 0..1_u32 << 12 {
        let level = |at: u32| if mix >> at & 1 == 1 { "+" } else { "a" };
        let filter: Vec<&str> = (0..12).map(level).collect();
        index.subscribe(&filter.join("/"), session(mix), plain(Qos::AtMostOnce));
    }
    assert_eq!(index.route(&["a"; 12].join("/")).targets.len(), 1 << 12);
    assert_eq!(index.route(&["a"; 11].join("/")).targets.len(), 0);
    assert_eq!(index.route(&["b"; 12].join("/")).targets.len(), 1);
}

#[derive(Clone, Debug)]
enum Operation {
    Subscribe(String, u32, Subscription),
    Unsubscribe(String, u32),
    AddRemote(String, u16, bool),
    RemoveRemote(String, u16),
    Join(String, u32),
    Leave(String, u32),
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![Just("a"), Just("b"), Just(""), Just("+"), Just("$x")];
    (prop::collection::vec(level, 1..6), any::<bool>()).prop_map(|(levels, hash)| {
        let mut filter = levels.join("/");
        if hash || filter.is_empty() {
            filter.push_str(if filter.is_empty() { "#" } else { "/#" });
        }
        filter
    })
}

fn subscription() -> impl Strategy<Value = Subscription> {
    let identifier = prop::option::of(1..4_u32);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (0..3_usize, flags, identifier).prop_map(
        |(qos, (no_local, retain_as_published, durable), identifier)| Subscription {
            options: SubscriptionOptions {
                qos: QOS[qos],
                no_local,
                retain_as_published,
                ..Default::default()
            },
            identifier,
            durable,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (filter(), 0..12_u32, subscription())
            .prop_map(|(f, s, o)| Operation::Subscribe(f, s, o)),
        3 => (filter(), 0..12_u32).prop_map(|(f, s)| Operation::Unsubscribe(f, s)),
        1 => (filter(), 1..4_u16, any::<bool>())
            .prop_map(|(f, s, durable)| Operation::AddRemote(f, s, durable)),
        1 => (filter(), 1..4_u16).prop_map(|(f, s)| Operation::RemoveRemote(f, s)),
        1 => (filter(), 0..3_u32).prop_map(|(f, s)| Operation::Join(f, s)),
        1 => (filter(), 0..3_u32).prop_map(|(f, s)| Operation::Leave(f, s)),
    ]
}

const TOPICS: &[&str] = &[
    "a",
    "b",
    "a/b",
    "a//b",
    "a/b/a",
    "/",
    "//",
    "$x/a",
    "$x",
    "$x/$x/a",
    "b/a",
    "a/",
    "a/b/a/b",
    "a/b/a/b/a",
    "a/b/a/a",
    "/a/b",
];

/// The model of the index: its expected content, kept without an index.
#[derive(Default)]
struct Model {
    local: BTreeMap<(String, u32), Subscription>,
    /// And whether it is durable.
    remote: BTreeMap<(String, u16), bool>,
    groups: BTreeSet<(String, u32)>,
}

impl Model {
    /// Does the same to both; false when they disagree about what was there.
    fn apply(&mut self, index: &mut TopicIndex, operation: Operation) -> bool {
        match operation {
            Operation::Subscribe(filter, s, subscription) => {
                let before = self.interest(&filter);
                let added = index.subscribe(&filter, session(s), subscription);
                let replaced = self.local.insert((filter.clone(), s), subscription);
                let now = self.interest(&filter);
                added
                    == Added {
                        replaced: replaced.is_some(),
                        interest: (now != before).then_some(now),
                    }
            }
            Operation::Unsubscribe(filter, s) => {
                let before = self.interest(&filter);
                let removed = index.unsubscribe(&filter, session(s));
                let existed = self.local.remove(&(filter.clone(), s)).is_some();
                let now = self.interest(&filter);
                removed
                    == Removed {
                        existed,
                        interest: (now != before).then_some(now),
                    }
            }
            Operation::AddRemote(filter, s, durable) => {
                index.set_remote(&filter, ShardId(s).into(), Interest::of_some(durable));
                self.remote.insert((filter, s), durable);
                true
            }
            Operation::RemoveRemote(filter, s) => {
                index.set_remote(&filter, ShardId(s).into(), Interest::Absent);
                self.remote.remove(&(filter, s));
                true
            }
            Operation::Join(filter, s) => {
                let member = Member {
                    shard: ShardId(0),
                    id: member(s),
                    connected: true,
                    durable: true,
                };
                let replaced = index.join("g", &filter, member);
                replaced != self.groups.insert((filter, s))
            }
            Operation::Leave(filter, s) => {
                let left = index.leave("g", &filter, ShardId(0), member(s));
                left == self.groups.remove(&(filter, s))
            }
        }
    }

    /// What this shard wants of a filter.
    fn interest(&self, filter: &str) -> Interest {
        let of_filter = self.local.iter().filter(|((known, _), _)| known == filter);
        let interest = of_filter.map(|(_, one)| Interest::of_some(one.durable));
        interest.max().unwrap_or(Interest::Absent)
    }

    /// Where a topic has durable subscribers.
    fn durable(&self, topic: &str) -> BTreeSet<u16> {
        let remote = self.remote.iter().filter(|(_, durable)| **durable);
        let remote = remote
            .filter(|((f, _), _)| matches(f, topic))
            .map(|((_, s), _)| *s);
        let mut here = self.local.iter().filter(|((f, _), _)| matches(f, topic));
        remote
            .chain(here.any(|(_, one)| one.durable).then_some(0))
            .collect()
    }

    /// Session to what it is granted: (QoS, Retain As Published, sorted identifiers).
    fn grants(&self, topic: &str, own: bool) -> BTreeMap<u32, (Qos, bool, Vec<u32>)> {
        let mut grants = BTreeMap::new();
        for ((filter, s), subscription) in &self.local {
            if matches(filter, topic) && !(own && subscription.options.no_local) {
                let grant: &mut (Qos, bool, Vec<u32>) = grants.entry(*s).or_default();
                grant.0 = grant.0.max(subscription.options.qos);
                grant.1 |= subscription.options.retain_as_published;
                grant.2.extend(subscription.identifier);
                grant.2.sort_unstable();
            }
        }
        grants
    }
}

/// The same in a route.
fn grants(route: &Route, own: bool) -> BTreeMap<u32, (Qos, bool, Vec<u32>)> {
    let targets = &route.targets;
    let granted = targets.iter().filter_map(|target| {
        let grant = targets.grant(target, own)?;
        let mut identifiers = grant.identifiers.to_vec();
        identifiers.sort_unstable();
        let granted = (grant.qos, grant.retain_as_published, identifiers);
        Some((target.session.index, granted))
    });
    granted.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn routes_are_what_the_naive_matcher_says_also_from_the_cache(
        operations in prop::collection::vec(operation(), 1..80),
    ) {
        let mut index = index();
        let mut model = Model::default();
        for operation in operations {
            let before = (index.generation(), TOPICS.iter().map(|topic| index.route(topic)));
            let (generation, routes) = (before.0, before.1.collect::<Vec<_>>());
            prop_assert!(model.apply(&mut index, operation.clone()), "{:?}", operation);
            // A hint: changes no answer, in whatever order they are asked for afterwards.
            index.prefetch(TOPICS.iter().copied());
            for topic in TOPICS.iter().rev().step_by(2).chain(TOPICS) {
                let found = index.find(topic);
                let expected = grants(&index.route(topic), false);
                prop_assert_eq!(grants(&found, false), expected, "{}", topic);
            }
            index.prefetch(TOPICS.iter().copied());
            for (topic, before) in TOPICS.iter().zip(routes) {
                let route = index.route(topic);
                // A route cached with its generation must not be used when it is stale.
                prop_assert!(index.generation() > generation || route == before);
                let found = index.find(topic);
                prop_assert_eq!(&*route, &found, "{} is outdated after {:?}", topic, operation);
                for own in [false, true] {
                    prop_assert_eq!(grants(&route, own), model.grants(topic, own), "{}", topic);
                }
                let sessions: Vec<SessionId> = route.targets.iter().map(|t| t.session).collect();
                prop_assert!(sessions.is_sorted_by(|one, next| one < next), "{}", topic);
                let got: BTreeSet<u16> = route.remote.iter().map(|Destination::Shard(shard)| shard.0).collect();
                let expected: BTreeSet<u16> = (model.remote.keys())
                    .filter(|(f, _)| matches(f, topic)).map(|(_, s)| *s).collect();
                prop_assert_eq!(got, expected, "{}", topic);
                let got: BTreeSet<u16> = (route.durable.iter())
                    .map(|Destination::Shard(shard)| shard.0).collect();
                prop_assert_eq!(got, model.durable(topic), "durable for {}", topic);
                let got: Vec<&str> = (route.groups.iter())
                    .map(|group| index.group_name(*group).unwrap().1).collect();
                let expected: BTreeSet<&str> = (model.groups.iter())
                    .filter(|(f, _)| matches(f, topic)).map(|(f, _)| &**f).collect();
                prop_assert_eq!(got.len(), expected.len(), "{}", topic);
                prop_assert_eq!(BTreeSet::from_iter(got), expected, "{}", topic);
            }
        }
        let Model { local, remote, groups } = model;
        for (filter, s) in local.into_keys() {
            index.unsubscribe(&filter, session(s));
        }
        for (filter, s) in remote.into_keys() {
            index.set_remote(&filter, ShardId(s).into(), Interest::Absent);
        }
        for (filter, s) in groups {
            index.leave("g", &filter, ShardId(0), member(s));
        }
        prop_assert!(index.filters.is_empty(), "something is left behind");
        prop_assert!(TOPICS.iter().all(|topic| index.route(topic).groups.is_empty()));
    }
}
