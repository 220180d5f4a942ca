//! Interest elsewhere: the filters of which other destinations have subscribers.

use hashbrown::HashTable;

use super::destinations::{Destination, Destinations};

/// A filter that a destination has, known by 96 bits of its hashes: what is wanted of it is a yes or no per
/// topic, and 16 bytes for each filter and destination are a third of what the text would take. With 10 million
/// filters, two of them share all 96 bits with one chance in 10^15: then a publication crosses in vain
/// while both are there, and when one destination has both, none crosses for the second after the first is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interest {
    hash: u64,
    check: u32,
    destination: u16,
}

const _: () = assert!(size_of::<Interest>() == 16);

/// Lives on: each shard its own. Bounded by the peers' sessions' subscriptions.
#[derive(Debug)]
pub(super) struct Interests {
    table: HashTable<Interest>,
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

    /// The caller brings the filter's hash. True when it is new.
    pub(super) fn insert(&mut self, hash: u64, filter: &str, destination: Destination) -> bool {
        let interest = self.interest(hash, filter, destination);
        let found = self.table.find(hash, |one| *one == interest).is_some();
        if !found {
            self.table.insert_unique(hash, interest, |one| one.hash);
        }
        !found
    }

    /// True when it was there.
    pub(super) fn remove(&mut self, hash: u64, filter: &str, destination: Destination) -> bool {
        let interest = self.interest(hash, filter, destination);
        match self.table.find_entry(hash, |one| *one == interest) {
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
    pub(super) fn destinations(&self, hash: u64, filter: &[u8]) -> Destinations {
        let mut destinations = Destinations::EMPTY;
        let mut check = None;
        for one in self.table.iter_hash(hash) {
            if one.hash == hash && one.check == *check.get_or_insert_with(|| self.check(filter)) {
                destinations.insert(Destination::of_number(one.destination));
            }
        }
        destinations
    }

    /// False when no filter of this hash is known.
    #[inline]
    pub(super) fn may_have(&self, hash: u64) -> bool {
        self.table.find(hash, |one| one.hash == hash).is_some()
    }

    fn check(&self, filter: &[u8]) -> u32 {
        self.check.hash_one(filter) as u32
    }

    fn interest(&self, hash: u64, filter: &str, destination: Destination) -> Interest {
        Interest {
            hash,
            check: self.check(filter.as_bytes()),
            destination: destination.number(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    #[test]
    fn filters_and_destinations_of_one_hash_are_told_apart() {
        let [three, five, nine] = [3, 5, 9].map(|n| Destination::Shard(ShardId(n)));
        let mut interests = Interests::new(ahash::RandomState::with_seeds(1, 2, 3, 4));
        assert!(interests.insert(7, "a", three) && !interests.insert(7, "a", three));
        assert!(interests.insert(7, "a", five) && interests.insert(7, "b", nine));
        let of = |interests: &Interests, filter: &[u8]| -> Vec<Destination> {
            interests.destinations(7, filter).iter().collect()
        };
        assert_eq!(of(&interests, b"a").len(), 2);
        assert!(interests.remove(7, "a", three) && !interests.remove(7, "a", three));
        assert_eq!(of(&interests, b"a"), [five]);
        assert_eq!(of(&interests, b"b"), [nine]);
        assert_eq!(of(&interests, b"c"), []);
    }
}
