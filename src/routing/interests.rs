//! Interest of other shards: the filters of which they have subscribers.

use hashbrown::HashTable;

use crate::ids::{ShardId, ShardSet};

/// A filter that another shard has, known by 96 bits of its hashes: what is wanted of it is a yes or no per
/// topic, and 16 bytes for each filter and shard are a third of what the text would take. With 10 million
/// filters, two of them share all 96 bits with one chance in 10^15: then a publication crosses in vain
/// while both are there, and when one shard has both, none crosses for the second after the first is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interest {
    hash: u64,
    check: u32,
    shard: u16,
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
    pub(super) fn insert(&mut self, hash: u64, filter: &str, shard: ShardId) -> bool {
        let interest = self.interest(hash, filter, shard);
        let found = self.table.find(hash, |one| *one == interest).is_some();
        if !found {
            self.table.insert_unique(hash, interest, |one| one.hash);
        }
        !found
    }

    /// True when it was there.
    pub(super) fn remove(&mut self, hash: u64, filter: &str, shard: ShardId) -> bool {
        let interest = self.interest(hash, filter, shard);
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

    /// The shards with subscribers of a filter.
    #[inline]
    pub(super) fn shards(&self, hash: u64, filter: &[u8]) -> ShardSet {
        let mut shards = ShardSet::EMPTY;
        let mut check = None;
        for one in self.table.iter_hash(hash) {
            if one.hash == hash && one.check == *check.get_or_insert_with(|| self.check(filter)) {
                shards.insert(ShardId(one.shard));
            }
        }
        shards
    }

    /// False when no filter of this hash is known.
    #[inline]
    pub(super) fn may_have(&self, hash: u64) -> bool {
        self.table.find(hash, |one| one.hash == hash).is_some()
    }

    fn check(&self, filter: &[u8]) -> u32 {
        self.check.hash_one(filter) as u32
    }

    fn interest(&self, hash: u64, filter: &str, shard: ShardId) -> Interest {
        Interest {
            hash,
            check: self.check(filter.as_bytes()),
            shard: shard.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_and_shards_of_one_hash_are_told_apart() {
        let mut interests = Interests::new(ahash::RandomState::with_seeds(1, 2, 3, 4));
        assert!(interests.insert(7, "a", ShardId(3)) && !interests.insert(7, "a", ShardId(3)));
        assert!(interests.insert(7, "a", ShardId(5)) && interests.insert(7, "b", ShardId(9)));
        let of = |interests: &Interests, filter: &[u8]| -> Vec<ShardId> {
            interests.shards(7, filter).iter().collect()
        };
        assert_eq!(of(&interests, b"a").len(), 2);
        assert!(interests.remove(7, "a", ShardId(3)) && !interests.remove(7, "a", ShardId(3)));
        assert_eq!(of(&interests, b"a"), [ShardId(5)]);
        assert_eq!(of(&interests, b"b"), [ShardId(9)]);
        assert_eq!(of(&interests, b"c"), []);
    }
}
