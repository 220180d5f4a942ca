//! The retained store against a model of it.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::mqtt::{KeptAt, Qos};

fn publication(topic: &str, expires_at: Option<Time>) -> Rc<Publication> {
    Rc::new(Publication {
        topic: topic.into(),
        payload: Bytes::from_static(b"x"),
        properties: Bytes::new(),
        qos: Qos::AtMostOnce,
        retain: true,
        expires_at,
        kept_at: KeptAt::default(),
    })
}

fn walk_all(store: &mut RetainedStore, filter: &str, budget: WalkBudget) -> Vec<String> {
    let mut topics = Vec::new();
    let mut after: Option<Box<str>> = None;
    loop {
        let piece = store.walk(filter, after.as_deref(), budget, Time(5));
        topics.extend(
            piece
                .messages
                .iter()
                .map(|message| message.topic.to_string()),
        );
        match piece.next {
            Some(next) => after = Some(next),
            None => return topics,
        }
    }
}

const WIDE: WalkBudget = WalkBudget {
    messages: 1 << 20,
    bytes: 1 << 30,
    steps: 1 << 20,
};

#[test]
fn limits_refuse_and_forget_the_old_value() {
    let mut store = RetainedStore::new(2, 1 << 20);
    store.set(publication("a", None)).unwrap();
    store.set(publication("b", None)).unwrap();
    assert_eq!(store.set(publication("c", None)), Err(Full));
    store.set(publication("a", None)).unwrap();
    assert!(store.clear("b") && !store.clear("b"));
    assert!(store.clear("a"));
    assert_eq!((store.len(), store.bytes()), (0, 0));
}

#[test]
fn expired_messages_are_removed_when_met() {
    let mut store = RetainedStore::new(10, 1 << 20);
    store.set(publication("a", Some(Time(5)))).unwrap();
    store.set(publication("b", Some(Time(6)))).unwrap();
    assert_eq!(walk_all(&mut store, "#", WIDE), ["b"]);
    assert_eq!(store.len(), 1);
}

#[test]
fn what_has_expired_takes_no_room_once_swept() {
    let mut store = RetainedStore::new(3, 1 << 20);
    store.set(publication("a", Some(Time(9)))).unwrap();
    store.set(publication("b/c", Some(Time(7)))).unwrap();
    store.set(publication("d", None)).unwrap();
    assert_eq!(store.set(publication("e", None)), Err(Full));
    assert_eq!(store.expire(Time(6), 10), 0);
    assert_eq!(store.expire(Time(9), 1), 1);
    assert!(store.get("b/c").is_none() && store.get("a").is_some());
    store.set(publication("e", None)).unwrap();
    // A message that was replaced does not take its successor with it.
    store.set(publication("a", Some(Time(20)))).unwrap();
    assert_eq!(store.expire(Time(19), 10), 0);
    store.set(publication("a", None)).unwrap();
    assert_eq!(store.expire(Time::FAR, 10), 0);
    assert_eq!((store.len(), store.expiring.len()), (3, 0));
}

#[test]
fn a_hundred_thousand_matches_come_in_pieces_none_missing() {
    let mut store = RetainedStore::new(200_000, 1 << 30);
    for n in 0..100_000 {
        store.set(publication(&format!("s/{n}/t"), None)).unwrap();
        store.set(publication(&format!("s/{n}/u"), None)).unwrap();
    }
    let budget = WalkBudget {
        messages: 128,
        bytes: 64 << 10,
        steps: 300,
    };
    let found = walk_all(&mut store, "s/+/t", budget);
    assert_eq!(found.len(), 100_000);
    assert_eq!(BTreeSet::from_iter(found).len(), 100_000);
}

#[test]
fn a_piece_keeps_its_budget_and_goes_on_whatever_it_is() {
    let mut store = RetainedStore::new(100, 1 << 20);
    for n in 0..10 {
        store.set(publication(&format!("a/{n}"), None)).unwrap();
    }
    let cost = publication("a/0", None).cost_bytes();
    for (budget, count) in [
        (
            WalkBudget {
                messages: 3,
                ..WIDE
            },
            3,
        ),
        (WalkBudget { steps: 4, ..WIDE }, 4),
        (
            WalkBudget {
                bytes: 2 * cost,
                ..WIDE
            },
            2,
        ),
        (
            WalkBudget {
                bytes: 2 * cost + 1,
                ..WIDE
            },
            3,
        ),
        (WalkBudget { bytes: 0, ..WIDE }, 1),
        (
            WalkBudget {
                messages: 0,
                bytes: 0,
                steps: 0,
            },
            1,
        ),
    ] {
        let piece = store.walk("a/+", None, budget, Time(0));
        assert_eq!(piece.messages.len(), count, "{budget:?}");
        assert_eq!(walk_all(&mut store, "a/+", budget).len(), 10, "{budget:?}");
    }
}

#[test]
fn wildcards_step_over_dollar_topics_without_looking_at_them() {
    let mut store = RetainedStore::new(1 << 20, 1 << 30);
    for n in 0..10_000 {
        store.set(publication(&format!("$x/{n}"), None)).unwrap();
    }
    for topic in ["!", "a/b", "%/b", "/b"] {
        store.set(publication(topic, None)).unwrap();
    }
    let budget = WalkBudget { steps: 10, ..WIDE };
    for (filter, expected) in [("#", 4), ("+/b", 3), ("+", 1)] {
        let piece = store.walk(filter, None, budget, Time(0));
        assert_eq!(
            (piece.messages.len(), piece.next),
            (expected, None),
            "{filter}"
        );
    }
    let piece = store.walk("$x/+", None, budget, Time(0));
    assert_eq!(piece.messages.len(), 10);
}

#[test]
fn a_narrow_filter_does_not_scan_everything() {
    let mut store = RetainedStore::new(1 << 20, 1 << 30);
    for n in 0..10_000 {
        store
            .set(publication(&format!("a/{n:05}/x"), None))
            .unwrap();
        store
            .set(publication(&format!("b/{}/{n}", n % 10), None))
            .unwrap();
    }
    let budget = WalkBudget { steps: 100, ..WIDE };
    let piece = store.walk("b/+/7", None, budget, Time(0));
    assert_eq!(piece.messages.len(), 1);
    assert_eq!(
        piece.next, None,
        "ten subtrees are sought, not ten thousand topics scanned"
    );
    let piece = store.walk("a/00077/#", None, budget, Time(0));
    assert_eq!((piece.messages.len(), piece.next), (1, None));
}

fn levels() -> impl Strategy<Value = Vec<&'static str>> {
    let level = prop_oneof![
        Just("a"),
        Just("b"),
        Just(""),
        Just("a!"),
        Just("c"),
        Just("$d")
    ];
    prop::collection::vec(level, 1..5)
}

fn filter() -> impl Strategy<Value = String> {
    (levels(), any::<u8>(), any::<bool>()).prop_map(|(mut levels, plus, hash)| {
        for (at, level) in levels.iter_mut().enumerate() {
            if plus >> at & 1 == 1 {
                *level = "+";
            }
        }
        if hash {
            levels.push("#");
        }
        levels.join("/")
    })
}

proptest! {
    #[test]
    fn pieces_of_any_size_find_what_the_naive_matcher_finds(
        topics in prop::collection::btree_set(levels().prop_map(|l| l.join("/")), 0..40),
        filter in filter(),
        messages in 1..4_usize,
        steps in 1..4_usize,
    ) {
        let mut store = RetainedStore::new(1000, 1 << 20);
        for topic in topics.iter().filter(|topic| !topic.is_empty()) {
            store.set(publication(topic, None)).unwrap();
        }
        let budget = WalkBudget { messages, bytes: 1 << 20, steps };
        let found = walk_all(&mut store, &filter, budget);
        let expected: BTreeSet<String> = topics
            .iter()
            .filter(|topic| !topic.is_empty() && matches(&filter, topic))
            .cloned()
            .collect();
        prop_assert_eq!(found.len(), expected.len());
        prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    }

    #[test]
    fn what_stays_is_found_once_while_other_topics_come_and_go(
        operations in prop::collection::vec((levels(), any::<u8>()), 1..80),
        filter in filter(),
        steps in 1..5_usize,
    ) {
        let mut store = RetainedStore::new(1000, 1 << 20);
        let mut model: BTreeMap<String, Option<Time>> = BTreeMap::new();
        let operations: Vec<(String, u8)> = operations
            .into_iter()
            .map(|(levels, kind)| (levels.join("/"), kind))
            .filter(|(topic, _)| !topic.is_empty())
            .collect();
        let (before, between) = operations.split_at(operations.len() / 2);
        let mut apply = |store: &mut RetainedStore, (topic, kind): &(String, u8)| {
            // Walks are at time 5: 4 has expired by then, 6 has not.
            let expires_at = [None, None, Some(Time(4)), Some(Time(6))][usize::from(kind % 4)];
            if *kind < 64 {
                store.clear(topic);
                model.remove(topic);
            } else {
                store.set(publication(topic, expires_at)).unwrap();
                model.insert(topic.clone(), expires_at);
            }
            model.clone()
        };
        let mut stays = BTreeMap::new();
        for operation in before {
            stays = apply(&mut store, operation);
        }
        let mut was_there = stays.clone();
        let mut touched = BTreeSet::new();
        let mut found = Vec::new();
        let mut after: Option<Box<str>> = None;
        let mut between = between.chunks(2);
        let budget = WalkBudget { steps, ..WIDE };
        loop {
            let piece = store.walk(&filter, after.as_deref(), budget, Time(5));
            found.extend(piece.messages.iter().map(|message| message.topic.to_string()));
            after = piece.next;
            if after.is_none() {
                break;
            }
            for operation in between.next().unwrap_or_default() {
                touched.insert(operation.0.clone());
                was_there.extend(apply(&mut store, operation));
            }
        }
        let once = BTreeSet::from_iter(found.iter().cloned());
        prop_assert_eq!(once.len(), found.len(), "none twice");
        prop_assert!(once.iter().all(|topic| was_there.contains_key(topic)));
        prop_assert!(once.iter().all(|topic| matches(&filter, topic)));
        let must: BTreeSet<String> = stays
            .into_iter()
            .filter(|(topic, expires_at)| {
                !touched.contains(topic) && *expires_at != Some(Time(4)) && matches(&filter, topic)
            })
            .map(|(topic, _)| topic)
            .collect();
        prop_assert!(must.is_subset(&once), "{:?} of {:?}", once, must);
        // Sums and the list of what expires are right after all that.
        let bytes: u64 = store.messages.values().map(|one| cost(one)).sum();
        prop_assert_eq!(store.bytes(), bytes);
        let expiring = store.messages.values().filter(|one| one.expires_at.is_some()).count();
        prop_assert_eq!(store.expiring.len(), expiring);
        store.expire(Time(5), usize::MAX);
        prop_assert!(store.messages.values().all(|one| one.expires_at != Some(Time(4))));
    }
}

#[test]
fn the_brokers_own_messages_take_no_room_of_others() {
    let mut store = RetainedStore::new(1, 1_000);
    store.note_changes();
    let message = |topic| publication(topic, None);
    for round in 0..2 {
        for topic in ["$SYS/broker/uptime", "$SYS/a", "$SYS/b"] {
            assert_eq!(store.set(message(topic)), Ok(()), "{topic} {round}");
        }
    }
    assert_eq!((store.len(), store.bytes()), (3, 0));
    assert!(!store.has_changed());
    assert_eq!(store.set(message("a")), Ok(()));
    assert_eq!(store.set(message("b")), Err(Full));
    assert!(store.clear("$SYS/a") && store.clear("a"));
    assert_eq!(store.set(message("b")), Ok(()));
    assert_eq!(store.take_changed().len(), 3, "a, its end, and b");
    // Clients publish the states of bridges.
    let state = message("$SYS/broker/connection/b/state");
    assert_eq!(store.set(state), Err(Full));
}
