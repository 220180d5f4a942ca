//! Filters without wildcards, which match one topic each: found by the topic's hash in one step, however
//! many levels it has. Most subscriptions of most brokers are such.

use hashbrown::HashTable;

use crate::ids::{ShardId, ShardSet};

#[derive(Debug)]
struct Filtered<V> {
    filter: Box<str>,
    value: V,
}

/// A slot of the table: two fit the space of one with the filter in it, and to grow, the table need not
/// look at filters, which lie anywhere.
#[derive(Debug)]
struct Slot<V> {
    hash: u64,
    filtered: Box<Filtered<V>>,
}

/// Values by filter; the caller brings the filter's hash. Lives on: each shard its own. Bounded by the
/// sessions' subscriptions.
#[derive(Debug)]
pub(super) struct Exact<V> {
    slots: HashTable<Slot<V>>,
}

impl<V: Default> Exact<V> {
    pub(super) fn new() -> Self {
        Self {
            slots: HashTable::new(),
        }
    }

    #[inline]
    pub(super) fn get(&self, hash: u64, filter: &str) -> Option<&V> {
        let slot = self.slots.find(hash, |slot| is(slot, hash, filter))?;
        Some(&slot.filtered.value)
    }

    pub(super) fn get_mut(&mut self, hash: u64, filter: &str) -> Option<&mut V> {
        let slot = self.slots.find_mut(hash, |slot| is(slot, hash, filter))?;
        Some(&mut slot.filtered.value)
    }

    /// The value of a filter, made if need be.
    pub(super) fn entry(&mut self, hash: u64, filter: &str) -> &mut V {
        let entry = self
            .slots
            .entry(hash, |slot| is(slot, hash, filter), |slot| slot.hash);
        let occupied = entry.or_insert_with(|| Slot {
            hash,
            filtered: Box::new(Filtered {
                filter: filter.into(),
                value: V::default(),
            }),
        });
        &mut occupied.into_mut().filtered.value
    }

    pub(super) fn remove(&mut self, hash: u64, filter: &str) {
        if let Ok(entry) = self.slots.find_entry(hash, |slot| is(slot, hash, filter)) {
            entry.remove();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

fn is<V>(slot: &Slot<V>, hash: u64, filter: &str) -> bool {
    slot.hash == hash && *slot.filtered.filter == *filter
}

/// That another shard has subscribers of a filter, known by 96 bits of the filter's hashes: what is wanted
/// of it is a yes or no per topic, and 16 bytes for each filter and shard are a third of what the text
/// would take. Should two filters ever share all 96 bits (with 10 million filters one chance in 10^15),
/// a publication crosses in vain while both are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interest {
    hash: u64,
    check: u32,
    shard: u16,
}

const _: () = assert!(size_of::<Interest>() == 16);

/// Exact filters of other shards. Lives on: each shard its own.
#[derive(Debug, Default)]
pub(super) struct Interests {
    table: HashTable<Interest>,
}

impl Interests {
    /// True when it is new.
    pub(super) fn insert(&mut self, hash: u64, check: u32, shard: ShardId) -> bool {
        let interest = interest(hash, check, shard);
        let found = self.table.find(hash, |one| *one == interest).is_some();
        if !found {
            self.table.insert_unique(hash, interest, |one| one.hash);
        }
        !found
    }

    /// True when it was there.
    pub(super) fn remove(&mut self, hash: u64, check: u32, shard: ShardId) -> bool {
        let interest = interest(hash, check, shard);
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
    pub(super) fn shards(&self, hash: u64, check: u32) -> ShardSet {
        let mut shards = ShardSet::EMPTY;
        for one in self.table.iter_hash(hash) {
            if (one.hash, one.check) == (hash, check) {
                shards.insert(ShardId(one.shard));
            }
        }
        shards
    }
}

fn interest(hash: u64, check: u32, shard: ShardId) -> Interest {
    Interest {
        hash,
        check,
        shard: shard.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_one_hash_are_told_apart() {
        let mut exact: Exact<u32> = Exact::new();
        *exact.entry(7, "a") = 1;
        *exact.entry(7, "b") = 2;
        assert_eq!((exact.get(7, "a"), exact.get(7, "b")), (Some(&1), Some(&2)));
        exact.remove(7, "a");
        assert_eq!((exact.get(7, "a"), exact.get(7, "b")), (None, Some(&2)));
        assert_eq!(exact.len(), 1);
    }

    #[test]
    fn shards_of_one_hash_are_told_apart() {
        let mut interests = Interests::default();
        assert!(interests.insert(7, 1, ShardId(3)) && !interests.insert(7, 1, ShardId(3)));
        assert!(interests.insert(7, 1, ShardId(5)) && interests.insert(7, 2, ShardId(9)));
        let of =
            |interests: &Interests, check| interests.shards(7, check).iter().collect::<Vec<_>>();
        assert_eq!(of(&interests, 1).len(), 2);
        assert!(interests.remove(7, 1, ShardId(3)) && !interests.remove(7, 1, ShardId(3)));
        assert_eq!(of(&interests, 1), [ShardId(5)]);
        assert_eq!(of(&interests, 2), [ShardId(9)]);
        assert_eq!(of(&interests, 3), []);
    }
}
