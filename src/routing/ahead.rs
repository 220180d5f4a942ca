//! Results of prefetching: what was found out about topics before they are matched.

use super::shapes::CANDIDATES_MAX;
use super::table::Place;

/// Bit of the filter that is the topic itself; those of the shapes follow.
pub(super) const EXACT: u64 = 1;
const _: () = assert!(CANDIDATES_MAX + 1 < u64::BITS as usize);

/// Notes of one look ahead; good for as long as no filter comes or goes. Bounded by its caller.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// In the order in which they will be matched.
    pub(super) topics: Vec<Noted>,
    /// Their texts, one after the other.
    text: Vec<u8>,
    /// The first that was not matched yet.
    next: usize,
    /// Changes of the filters when this was noted.
    changes: u64,
    /// Filters that may be there: whose topic's bit, and its hash.
    pub(super) hashes: Vec<(u64, u64)>,
    pub(super) places: Vec<Place>,
}

#[derive(Debug)]
pub(super) struct Noted {
    hash: u64,
    /// Where its text starts.
    start: usize,
    length: usize,
    /// A bit for each filter that may exist.
    pub(super) may_match: u64,
}

impl Ahead {
    pub(super) fn start(&mut self, changes: u64) {
        self.topics.clear();
        self.text.clear();
        self.hashes.clear();
        self.places.clear();
        self.next = 0;
        self.changes = changes;
    }

    pub(super) fn add(&mut self, hash: u64, topic: &str) {
        self.topics.push(Noted {
            hash,
            start: self.text.len(),
            length: topic.len(),
            may_match: 0,
        });
        self.text.extend_from_slice(topic.as_bytes());
    }

    /// The filters that may match a topic; all bits are set when nothing is known of it.
    #[inline]
    pub(super) fn may_match(&mut self, changes: u64, hash: u64, topic: &str) -> u64 {
        if self.changes != changes {
            return u64::MAX;
        }
        let waiting = self.topics.get(self.next..).unwrap_or(&[]);
        let Some(at) = waiting.iter().position(|noted| noted.hash == hash) else {
            return u64::MAX;
        };
        let noted = &waiting[at];
        if self.text[noted.start..][..noted.length] != *topic.as_bytes() {
            return u64::MAX;
        }
        self.next += at + 1;
        noted.may_match
    }
}
