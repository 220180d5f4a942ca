//! Retained messages of the topics whose home is this shard.
//!
//! Ordered by levels, so that a filter's literal beginning is one range, and a walk resumes at a
//! topic: it stays complete when topics are set or cleared between its pieces.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;

use crate::mqtt::topic::{is_reserved, matches};
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
    /// Where the walk continues; `None`: it is complete.
    pub next: Option<Box<str>>,
}

/// Bookkeeping of one message: places in the tables, counts of references.
const ENTRY_BYTES: usize = 96;

/// What keeping a message takes: it, its topic once more as the key, and its place.
fn cost(publication: &Publication) -> u64 {
    if is_status(&publication.topic) {
        return 0; // bounded by the broker itself
    }
    (publication.cost_bytes() + publication.topic.len() + ENTRY_BYTES) as u64
}

/// The broker's own: clients publish nothing there. It counts against no limit and is not noted as changed.
pub fn is_status(topic: &str) -> bool {
    topic.starts_with("$SYS/") && is_reserved(topic)
}

/// There is no room for another retained message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A topic ordered by levels: `/` sorts below every other character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) Box<[u8]>);

/// U+0000 is in no topic [MQTT-1.5.4-2], so it can stand for the separator.
const SEPARATOR: u8 = 0;

/// Sorts behind every topic that starts with `$` and before every other that sorts behind those.
const BEHIND_DOLLAR: &str = "%";

impl Key {
    pub(super) fn of(topic: &str) -> Self {
        Self(
            topic
                .bytes()
                .map(|byte| if byte == b'/' { SEPARATOR } else { byte })
                .collect(),
        )
    }

    /// The first key after everything that starts with `prefix` and a separator.
    pub(super) fn after_subtree(prefix: &[u8]) -> Self {
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
    /// Topics whose messages expire, soonest first.
    expiring: BTreeSet<(Time, Rc<str>)>,
    bytes: u64,
    messages_max: usize,
    bytes_max: u64,
    /// Topics whose message was set or removed, when that is noted.
    changed: Option<Vec<Rc<str>>>,
    /// How many are the broker's own.
    status: usize,
}

impl RetainedStore {
    #[must_use]
    pub fn new(messages_max: usize, bytes_max: u64) -> Self {
        Self {
            messages: BTreeMap::new(),
            expiring: BTreeSet::new(),
            bytes: 0,
            messages_max,
            bytes_max,
            changed: None,
            status: 0,
        }
    }

    /// Other limits from now on; what is there stays.
    pub fn set_limits(&mut self, messages_max: usize, bytes_max: u64) {
        (self.messages_max, self.bytes_max) = (messages_max, bytes_max);
    }

    /// From here on it is noted which topics' messages change.
    pub fn note_changes(&mut self) {
        self.changed.get_or_insert_default();
    }

    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.changed.as_ref().is_some_and(|list| !list.is_empty())
    }

    /// Topics whose messages have changed since this was last asked; some twice.
    pub fn take_changed(&mut self) -> Vec<Rc<str>> {
        self.changed
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Takes one for changed.
    pub fn note_changed(&mut self, topic: &Rc<str>) {
        if let Some(changed) = self.changed.as_mut().filter(|_| !is_status(topic)) {
            changed.push(Rc::clone(topic));
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
        let bytes = cost(&publication);
        let own = is_status(&publication.topic);
        let count = self.messages.len() - self.status;
        if !own && (count >= self.messages_max || self.bytes + bytes > self.bytes_max) {
            return Err(Full);
        }
        self.status += usize::from(own);
        self.bytes += bytes;
        if let Some(at) = publication.expires_at {
            self.expiring.insert((at, Rc::clone(&publication.topic)));
        }
        self.note_changed(&publication.topic);
        self.messages.insert(key, publication);
        Ok(())
    }

    /// Whether keeping a publication would take more bytes than what its topic has now.
    #[must_use]
    pub fn grows_with(&self, publication: &Publication) -> bool {
        let before = self.get(&publication.topic);
        before.is_none_or(|before| before.cost_bytes() < publication.cost_bytes())
    }

    /// The first message from a key on.
    pub(super) fn behind(&self, from: Bound<Key>) -> Option<(&Key, &Rc<Publication>)> {
        self.messages.range((from, Bound::Unbounded)).next()
    }

    /// Removes the message of a topic; false when there was none.
    pub fn clear(&mut self, topic: &str) -> bool {
        self.remove(&Key::of(topic))
    }

    /// Removes up to `count_max` messages that have expired, the soonest first; returns how many. To
    /// be called before [`RetainedStore::set`], so that what has expired never takes room.
    pub fn expire(&mut self, now: Time, count_max: usize) -> usize {
        let mut count = 0;
        while count < count_max {
            let soonest = self.expiring.first().filter(|(at, _)| *at <= now);
            let Some(key) = soonest.map(|(_, topic)| Key::of(topic)) else {
                break;
            };
            self.remove(&key);
            count += 1;
        }
        count
    }

    /// The message of a topic, expired or not.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<&Rc<Publication>> {
        self.messages.get(&Key::of(topic))
    }

    /// The next messages that match `filter`, from the topic behind `after` on. A piece makes some
    /// headway whatever the budget, so it may pass `bytes` by one message. A message that is there
    /// from the first piece to the last is in exactly one, whatever is set and cleared in between.
    /// Messages that have expired are removed when met.
    pub fn walk(
        &mut self,
        filter: &str,
        after: Option<&str>,
        budget: WalkBudget,
        now: Time,
    ) -> Piece {
        let (piece, expired) = self.look(filter, after, budget, now);
        for key in expired {
            self.remove(&key);
        }
        piece
    }

    /// As [`RetainedStore::walk`], and nothing is removed: what has expired is named.
    fn look(
        &self,
        filter: &str,
        after: Option<&str>,
        budget: WalkBudget,
        now: Time,
    ) -> (Piece, Vec<Key>) {
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
                if steps > 0 && (is_full || steps >= budget.steps) {
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
        (piece, expired)
    }

    /// All of them but the broker's own.
    pub fn of_clients(&self) -> impl Iterator<Item = &Rc<Publication>> {
        let all = self.messages.values();
        all.filter(|publication| !is_status(&publication.topic))
    }

    /// As [`RetainedStore::walk`], and nothing changes.
    #[must_use]
    pub fn read(&self, filter: &str, after: Option<&str>, budget: WalkBudget, now: Time) -> Piece {
        self.look(filter, after, budget, now).0
    }

    fn remove(&mut self, key: &Key) -> bool {
        match self.messages.remove(key) {
            Some(old) => {
                self.bytes -= cost(&old);
                self.status -= usize::from(is_status(&old.topic));
                self.note_changed(&old.topic);
                if let Some(at) = old.expires_at {
                    self.expiring.remove(&(at, Rc::clone(&old.topic)));
                }
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

/// Where a walk may continue after a topic that does not match.
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
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return Candidate::From(Key::of(BEHIND_DOLLAR)); // [MQTT-4.7.2-1]
    }
    let mut agreed = 0; // bytes of the topic in levels that agree, separator included
    let mut last_wild = None; // end of the last level that a `+` agreed with
    let mut filter_levels = filter.split('/');
    for level in topic.split('/') {
        let end = agreed + level.len();
        match filter_levels.next() {
            Some("+") => last_wild = Some(end),
            Some("#") => return Candidate::Next, // not reached: the topic matches
            Some(wanted) if wanted == level => {}
            Some(wanted) if wanted > level => {
                let key = format!("{}{wanted}", &topic[..agreed]);
                return Candidate::From(Key::of(&key));
            }
            // Passed, or the topic is deeper than the filter: continue behind the last level that
            // may differ.
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
#[path = "retained_tests.rs"]
mod tests;
