//! Retained messages of the topics whose home is this shard.
//!
//! Ordered by levels, so that a filter's literal beginning is one range, and a walk resumes at a
//! topic: it stays complete when topics are set or cleared between its pieces.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

use crate::mqtt::topic::matches;
use crate::mqtt::Publication;
use crate::time::Time;

/// Bounds of the work of one piece.
#[derive(Clone, Copy, Debug)]
pub struct WalkBudget {
    pub messages: usize,
    pub bytes: usize,
    /// Topics looked at, matching or not.
    pub steps: usize,
}

/// A piece of a walk.
#[derive(Debug, Default)]
pub struct Piece {
    pub messages: Vec<Rc<Publication>>,
    /// Where to go on; `None`: the walk is complete.
    pub next: Option<Box<str>>,
}

/// There is no room for another retained message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A topic ordered by levels: `/` sorts below every other character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(Box<[u8]>);

/// U+0000 is in no topic [MQTT-1.5.4-2], so it can stand for the separator.
const SEPARATOR: u8 = 0;

impl Key {
    fn of(topic: &str) -> Self {
        Self(
            topic
                .bytes()
                .map(|byte| if byte == b'/' { SEPARATOR } else { byte })
                .collect(),
        )
    }

    /// The first key after everything that starts with `prefix` and a separator.
    fn after_subtree(prefix: &[u8]) -> Self {
        let mut key = Vec::with_capacity(prefix.len() + 1);
        key.extend_from_slice(prefix);
        key.push(SEPARATOR + 1);
        Self(key.into())
    }
}

/// Lives on: the shard `hash(topic)` names.
#[derive(Debug)]
pub struct RetainedStore {
    messages: BTreeMap<Key, Rc<Publication>>,
    bytes: u64,
    messages_max: usize,
    bytes_max: u64,
}

impl RetainedStore {
    #[must_use]
    pub fn new(messages_max: usize, bytes_max: u64) -> Self {
        Self {
            messages: BTreeMap::new(),
            bytes: 0,
            messages_max,
            bytes_max,
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Keeps a publication as the one of its topic [MQTT-3.3.1-5]. When there is no room the topic
    /// has none afterwards: an older value must not look like the latest.
    pub fn set(&mut self, publication: Rc<Publication>) -> Result<(), Full> {
        let key = Key::of(&publication.topic);
        self.remove(&key);
        let bytes = publication.cost_bytes() as u64;
        if self.messages.len() >= self.messages_max || self.bytes + bytes > self.bytes_max {
            return Err(Full);
        }
        self.bytes += bytes;
        self.messages.insert(key, publication);
        Ok(())
    }

    /// Forgets the message of a topic; false when there was none.
    pub fn clear(&mut self, topic: &str) -> bool {
        self.remove(&Key::of(topic))
    }

    /// The message of a topic.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<&Rc<Publication>> {
        self.messages.get(&Key::of(topic))
    }

    /// The next messages that match `filter`, from the topic behind `after` on. Messages that have
    /// expired are removed when met.
    pub fn walk(
        &mut self,
        filter: &str,
        after: Option<&str>,
        budget: WalkBudget,
        now: Time,
    ) -> Piece {
        let mut piece = Piece::default();
        let mut expired = Vec::new();
        let mut bytes = 0;
        let mut from = match after {
            Some(topic) => Bound::Excluded(Key::of(topic)),
            None => Bound::Included(Key::of(literal_start(filter))),
        };
        let mut steps = 0;
        'seek: loop {
            for (key, publication) in self.messages.range((from.clone(), Bound::Unbounded)) {
                let is_full = piece.messages.len() >= budget.messages || bytes >= budget.bytes;
                if is_full || steps >= budget.steps {
                    break 'seek;
                }
                steps += 1;
                piece.next = Some((*publication.topic).into());
                if publication.expires_at.is_some_and(|at| at <= now) {
                    expired.push(key.clone());
                    continue;
                }
                if matches(filter, &publication.topic) {
                    bytes += publication.cost_bytes();
                    piece.messages.push(Rc::clone(publication));
                    continue;
                }
                match next_candidate(filter, &publication.topic) {
                    Candidate::None => {
                        piece.next = None;
                        break 'seek;
                    }
                    Candidate::Next => {}
                    Candidate::From(seek) if seek > *key => {
                        from = Bound::Included(seek);
                        continue 'seek;
                    }
                    Candidate::From(_) => {}
                }
            }
            piece.next = None;
            break;
        }
        for key in expired {
            self.remove(&key);
        }
        piece
    }

    fn remove(&mut self, key: &Key) -> bool {
        match self.messages.remove(key) {
            Some(old) => {
                self.bytes -= old.cost_bytes() as u64;
                true
            }
            None => false,
        }
    }
}

/// The levels of a filter before its first wildcard, without a trailing separator.
fn literal_start(filter: &str) -> &str {
    match filter.find(['+', '#']) {
        Some(at) => filter[..at].trim_end_matches('/'),
        None => filter,
    }
}

/// Where a walk may go on after a topic that does not match.
enum Candidate {
    /// Nothing behind it can match.
    None,
    Next,
    /// Nothing before this key can match.
    From(Key),
}

/// Looks at the first level in which topic and filter part. Beneath the levels that agree, a literal
/// level that is still to come can be sought directly; one that has passed means the whole subtree
/// has.
fn next_candidate(filter: &str, topic: &str) -> Candidate {
    let mut agreed = 0; // bytes of the topic in levels that agree, separator included
    let mut last_wild = None; // end of the last level that a `+` agreed with
    let mut filter_levels = filter.split('/');
    for level in topic.split('/') {
        let end = agreed + level.len();
        match filter_levels.next() {
            Some("+") => last_wild = Some(end),
            Some("#") => return Candidate::Next, // a $-topic
            Some(wanted) if wanted == level => {}
            Some(wanted) if wanted > level => {
                let key = format!("{}{wanted}", &topic[..agreed]);
                return Candidate::From(Key::of(&key));
            }
            // Passed, or the topic is deeper than the filter: go on behind the last level that may
            // differ.
            _ => return behind(topic, last_wild),
        }
        agreed = end + 1;
    }
    Candidate::Next // the topic is a beginning of what the filter wants
}

fn behind(topic: &str, last_wild: Option<usize>) -> Candidate {
    match last_wild {
        Some(end) => Candidate::From(Key::after_subtree(&Key::of(&topic[..end]).0)),
        None => Candidate::None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::mqtt::Qos;

    fn publication(topic: &str, expires_at: Option<Time>) -> Rc<Publication> {
        Rc::new(Publication {
            topic: topic.into(),
            payload: Bytes::from_static(b"x"),
            properties: Bytes::new(),
            qos: Qos::AtMostOnce,
            retain: true,
            expires_at,
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
    }
}
