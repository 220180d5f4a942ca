//! Retained messages level by level, as a person browses them.

use std::ops::Bound;

use super::retained::{Key, RetainedStore};
use crate::time::Time;

/// A level below a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedLevel {
    pub name: Box<str>,
    /// There is a message at this level itself.
    pub has_message: bool,
    /// There are messages below it.
    pub has_below: bool,
}

/// Levels and messages that have expired, looked at by one call: each is a search of the tree.
const STEPS: usize = 1_024;

/// Behind a level and all that is below it.
fn end_of(prefix: &str, name: &str) -> Key {
    Key::after_subtree(&Key::of(&format!("{prefix}{name}")).0)
}

impl RetainedStore {
    /// The next level below a topic (`None`: the first level of all), in order, behind the name `after`; and
    /// the name behind which the next piece begins.
    #[must_use]
    pub fn levels(
        &self,
        below: Option<&str>,
        after: Option<&str>,
        max: usize,
        now: Time,
    ) -> (Vec<RetainedLevel>, Option<Box<str>>) {
        let prefix = below.map_or(String::new(), |below| format!("{below}/"));
        let start = Key::of(&prefix);
        let mut from = Bound::Included(match after {
            Some(name) => end_of(&prefix, name),
            None => start.clone(),
        });
        let mut levels: Vec<RetainedLevel> = Vec::new();
        let mut last = after.map(Box::from);
        for _ in 0..STEPS {
            let found = self
                .behind(from)
                .filter(|(key, _)| key.0.starts_with(&start.0));
            let Some((key, message)) = found else {
                return (levels, None);
            };
            let rest = &message.topic[prefix.len()..];
            let (name, is_below) = match rest.split_once('/') {
                Some((name, _)) => (name, true),
                None => (rest, false),
            };
            let is_known = levels.last().is_some_and(|level| *level.name == *name);
            let is_alive = message.expires_at.is_none_or(|at| at > now);
            if is_alive && !is_known {
                if levels.len() == max {
                    let last = levels.last().map(|level| level.name.clone());
                    return (levels, last);
                }
                levels.push(RetainedLevel {
                    name: name.into(),
                    has_message: !is_below,
                    has_below: false,
                });
            }
            last = Some(name.into());
            from = match levels.last_mut() {
                Some(level) if is_alive && is_below => {
                    level.has_below = true;
                    Bound::Included(end_of(&prefix, name))
                }
                _ => Bound::Excluded(key.clone()), // what is below it may follow
            };
        }
        (levels, last)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::rc::Rc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::mqtt::{KeptAt, Publication, Qos};

    fn store(topics: &[(String, bool)]) -> RetainedStore {
        let mut store = RetainedStore::new(1_000, 1 << 20);
        for (topic, expires) in topics {
            let publication = Publication {
                topic: topic.as_str().into(),
                payload: Bytes::from_static(b"x"),
                properties: Bytes::new(),
                qos: Qos::AtMostOnce,
                retain: true,
                expires_at: expires.then_some(Time(5)),
                kept_at: KeptAt::default(),
            };
            store.set(Rc::new(publication)).unwrap();
        }
        store
    }

    fn topic() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["", "a", "b", "a b", "ab"]), 1..4)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("a topic is not empty", |topic| !topic.is_empty())
    }

    proptest! {
        /// Piece by piece, each level once with what it has.
        #[test]
        fn levels_are_those_of_the_topics(
            topics in prop::collection::vec((topic(), any::<bool>()), 0..30),
            below in prop::option::of(topic()),
            max in 1..4_usize,
        ) {
            let store = store(&topics);
            let alive: BTreeMap<_, _> = topics.into_iter().collect();
            let prefix = below.as_ref().map_or(String::new(), |below| format!("{below}/"));
            let mut expected: BTreeMap<String, (bool, bool)> = BTreeMap::new();
            for topic in alive.iter().filter(|(_, expires)| !**expires).map(|(topic, _)| topic) {
                let Some(rest) = topic.strip_prefix(&prefix) else { continue };
                let name = rest.split('/').next().unwrap();
                let level = expected.entry(name.into()).or_default();
                level.0 |= name == rest;
                level.1 |= name != rest;
            }
            let mut found = BTreeMap::new();
            let mut after: Option<Box<str>> = None;
            loop {
                let (levels, next) = store.levels(below.as_deref(), after.as_deref(), max, Time(9));
                prop_assert!(levels.len() <= max);
                for level in levels {
                    let has = (level.has_message, level.has_below);
                    prop_assert!(found.insert(level.name.to_string(), has).is_none());
                }
                after = next;
                if after.is_none() {
                    break;
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
