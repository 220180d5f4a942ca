//! Interest elsewhere: the filters of which other destinations have subscribers.

use hashbrown::HashTable;

use super::destinations::{Destination, Interested};
use crate::ids::SHARDS_MAX;

/// A filter that a destination has, known by 96 bits of its hashes: what is wanted of it is a yes or no per
/// topic, and 16 bytes for each filter and destination are a third of what the text would take. With 10 million
/// filters, two of them share all 96 bits with one chance in 10^15: then a publication crosses in vain
/// while both are there, and when one destination has both, none crosses for the second after the first is
/// removed, and the last update of either holds for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    hash: u64,
    check: u32,
    /// The destination's number, and [`DURABLE`].
    destination: u16,
}

const _: () = assert!(size_of::<Entry>() == 16);

/// Of [`Entry::destination`]: one of the subscribers' sessions outlives its connection.
const DURABLE: u16 = 1 << 15;
const _: () = assert!(SHARDS_MAX <= DURABLE as usize);

impl Entry {
    #[inline]
    fn new(hash: u64, check: u32, destination: Destination, durable: bool) -> Self {
        let mark = if durable { DURABLE } else { 0 };
        Self {
            hash,
            check,
            destination: destination.number() | mark,
        }
    }

    #[inline]
    fn destination(&self) -> Destination {
        Destination::of_number(self.destination & !DURABLE)
    }

    #[inline]
    fn is_durable(&self) -> bool {
        self.destination & DURABLE != 0
    }
}

/// Lives on: each shard its own. Bounded by the peers' sessions' subscriptions.
#[derive(Debug)]
pub(super) struct Interests {
    table: HashTable<Entry>,
    /// Second hash of a filter.
    check: ahash::RandomState,
}

impl Interests {
    pub(super) fn new(check: ahash::RandomState) -> Self {
        Self {
            table: HashTable::new(),
            check,
        }
    }

    /// A filter that a destination did not have. The caller brings its hash.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        filter: &str,
        destination: Destination,
        durable: bool,
    ) {
        let entry = Entry::new(hash, self.check(filter.as_bytes()), destination, durable);
        self.table.insert_unique(hash, entry, |one| one.hash);
    }

    /// Says how durable the interest is in a filter that a destination has: whether that is new. `None`: it
    /// does not have the filter.
    pub(super) fn update(
        &mut self,
        hash: u64,
        filter: &str,
        destination: Destination,
        durable: bool,
    ) -> Option<bool> {
        let check = self.check(filter.as_bytes());
        let is_it = |one: &Entry| is_of(one, hash, check, destination);
        let entry = self.table.find_mut(hash, is_it)?;
        let is_new = entry.is_durable() != durable;
        *entry = Entry::new(hash, check, destination, durable);
        Some(is_new)
    }

    /// True when it was there.
    pub(super) fn remove(&mut self, hash: u64, filter: &str, destination: Destination) -> bool {
        let check = self.check(filter.as_bytes());
        let is_it = |one: &Entry| is_of(one, hash, check, destination);
        match self.table.find_entry(hash, is_it) {
            Ok(entry) => {
                entry.remove();
                true
            }
            Err(_) => false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Where a filter has subscribers.
    #[inline]
    pub(super) fn interested(&self, hash: u64, filter: &[u8]) -> Interested {
        let mut interested = Interested::default();
        let mut check = None;
        for one in self.table.iter_hash(hash) {
            if one.hash == hash && one.check == *check.get_or_insert_with(|| self.check(filter)) {
                interested.insert(one.destination(), one.is_durable());
            }
        }
        interested
    }

    /// False when no filter of this hash is known.
    #[inline]
    pub(super) fn may_have(&self, hash: u64) -> bool {
        self.table.find(hash, |one| one.hash == hash).is_some()
    }

    fn check(&self, filter: &[u8]) -> u32 {
        self.check.hash_one(filter) as u32
    }
}

fn is_of(one: &Entry, hash: u64, check: u32, destination: Destination) -> bool {
    (one.hash, one.check, one.destination()) == (hash, check, destination)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    #[test]
    fn filters_and_destinations_of_one_hash_are_told_apart() {
        let [three, five, nine] = [3, 5, 127].map(|n| Destination::Shard(ShardId(n)));
        let mut interests = Interests::new(ahash::RandomState::with_seeds(1, 2, 3, 4));
        interests.insert(7, "a", three, false);
        interests.insert(7, "a", five, true);
        interests.insert(7, "b", nine, true);
        let of = |interests: &Interests, filter: &[u8]| {
            let of = interests.interested(7, filter);
            [of.all, of.durable].map(|set| set.iter().collect::<Vec<_>>())
        };
        assert_eq!(of(&interests, b"a"), [vec![three, five], vec![five]]);
        assert_eq!(interests.update(7, "a", three, true), Some(true));
        assert_eq!(interests.update(7, "a", five, true), Some(false));
        assert_eq!(interests.update(7, "b", three, true), None);
        assert_eq!(of(&interests, b"a"), [vec![three, five], vec![three, five]]);
        assert!(interests.remove(7, "a", three) && !interests.remove(7, "a", three));
        assert_eq!(of(&interests, b"a"), [vec![five], vec![five]]);
        assert_eq!(interests.update(7, "b", nine, false), Some(true));
        assert_eq!(of(&interests, b"b"), [vec![nine], vec![]]);
        assert_eq!(of(&interests, b"c"), [vec![], vec![]]);
    }
}
