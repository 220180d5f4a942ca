//! The index against the obvious matcher.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::mqtt::topic::matches;

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
    }
}

#[test]
fn overlapping_subscriptions_are_one_copy_with_highest_qos_and_all_identifiers() {
    let mut index = index();
    let with = |qos, no_local, identifier| Subscription {
        options: SubscriptionOptions {
            qos,
            no_local,
            ..Default::default()
        },
        identifier: Some(identifier),
    };
    index.subscribe("a/#", session(1), with(Qos::AtLeastOnce, false, 7));
    index.subscribe("a/b", session(1), with(Qos::ExactlyOnce, true, 8));
    let route = index.route("a/b");
    assert_eq!(route.targets.len(), 1);
    let grant = route.targets[0].grant.as_ref().unwrap();
    assert_eq!(grant.qos, Qos::ExactlyOnce);
    assert_eq!(
        BTreeSet::from_iter(grant.identifiers.iter()),
        BTreeSet::from([&7, &8])
    );
    let own = route.targets[0].grant_if_own.as_ref().unwrap();
    assert_eq!((own.qos, &*own.identifiers), (Qos::AtLeastOnce, &[7][..]));
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
            first_on_shard: true
        }
    );
    assert_eq!(
        add(&mut index, 2),
        Added {
            replaced: false,
            first_on_shard: false
        }
    );
    assert_eq!(
        add(&mut index, 2),
        Added {
            replaced: true,
            first_on_shard: false
        }
    );
    let gone = |existed, last_on_shard| Removed {
        existed,
        last_on_shard,
    };
    assert_eq!(index.unsubscribe("a/+", session(1)), gone(true, false));
    assert_eq!(index.unsubscribe("a/+", session(1)), gone(false, false));
    assert_eq!(index.unsubscribe("a/+", session(2)), gone(true, true));
    assert_eq!(
        index.filters.node_count(),
        1,
        "nothing is left but the root"
    );
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

#[derive(Clone, Debug)]
enum Operation {
    Subscribe(String, u32),
    Unsubscribe(String, u32),
    AddRemote(String, u16),
    RemoveRemote(String, u16),
    Join(String, u32),
    Leave(String, u32),
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![Just("a"), Just("b"), Just(""), Just("+"), Just("$x")];
    (prop::collection::vec(level, 1..4), any::<bool>()).prop_map(|(levels, hash)| {
        let mut filter = levels.join("/");
        if hash || filter.is_empty() {
            filter.push_str(if filter.is_empty() { "#" } else { "/#" });
        }
        filter
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => (filter(), 0..4_u32).prop_map(|(f, s)| Operation::Subscribe(f, s)),
        2 => (filter(), 0..4_u32).prop_map(|(f, s)| Operation::Unsubscribe(f, s)),
        1 => (filter(), 1..4_u16).prop_map(|(f, s)| Operation::AddRemote(f, s)),
        1 => (filter(), 1..4_u16).prop_map(|(f, s)| Operation::RemoveRemote(f, s)),
        1 => (filter(), 0..3_u32).prop_map(|(f, s)| Operation::Join(f, s)),
        1 => (filter(), 0..3_u32).prop_map(|(f, s)| Operation::Leave(f, s)),
    ]
}

const TOPICS: &[&str] = &[
    "a", "b", "a/b", "a//b", "a/b/a", "/", "$x/a", "$x", "b/a", "a/",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn routes_are_what_the_naive_matcher_says_also_from_the_cache(
        operations in prop::collection::vec(operation(), 1..60),
    ) {
        let mut index = index();
        let mut local = BTreeSet::new();
        let mut remote = BTreeSet::new();
        let mut groups = BTreeSet::new();
        for operation in operations {
            match operation {
                Operation::Subscribe(filter, s) => {
                    index.subscribe(&filter, session(s), plain(Qos::AtMostOnce));
                    local.insert((filter, s));
                }
                Operation::Unsubscribe(filter, s) => {
                    let existed = index.unsubscribe(&filter, session(s)).existed;
                    prop_assert_eq!(existed, local.remove(&(filter, s)));
                }
                Operation::AddRemote(filter, s) => {
                    index.add_remote(&filter, ShardId(s));
                    remote.insert((filter, s));
                }
                Operation::RemoveRemote(filter, s) => {
                    index.remove_remote(&filter, ShardId(s));
                    remote.remove(&(filter, s));
                }
                Operation::Join(filter, s) => {
                    let member = Member { shard: ShardId(0), session: session(s), connected: true };
                    index.join("g", &filter, member);
                    groups.insert((filter, s));
                }
                Operation::Leave(filter, s) => {
                    let left = index.leave("g", &filter, ShardId(0), session(s));
                    prop_assert_eq!(left, groups.remove(&(filter, s)));
                }
            }
            for topic in TOPICS {
                let route = index.route(topic);
                let got: BTreeSet<u32> = route.targets.iter().map(|t| t.session.index).collect();
                let expected: BTreeSet<u32> =
                    local.iter().filter(|(f, _)| matches(f, topic)).map(|(_, s)| *s).collect();
                prop_assert_eq!(got, expected, "{}", topic);
                let got: BTreeSet<u16> = route.remote.iter().map(|shard| shard.0).collect();
                let expected: BTreeSet<u16> =
                    remote.iter().filter(|(f, _)| matches(f, topic)).map(|(_, s)| *s).collect();
                prop_assert_eq!(got, expected, "{}", topic);
                let expected: BTreeSet<&String> =
                    groups.iter().filter(|(f, _)| matches(f, topic)).map(|(f, _)| f).collect();
                prop_assert_eq!(route.groups.len(), expected.len(), "{}", topic);
            }
        }
    }
}
