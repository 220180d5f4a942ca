//! Filters found by their whole text in one step, however many levels they have.

use compact_str::CompactString;
use hashbrown::HashTable;

/// Filters per chunk: the list of the chunks of a million filters fits the first-level cache.
const CHUNK: usize = 1024;

/// One cache line, the text with it when that is short: a filter is found with one access to memory that
/// lies anywhere.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Filtered<V> {
    filter: CompactString,
    value: V,
}

/// Small, so that the slots of 100,000 filters stay in the cache; to grow, the table need not look at
/// filters, which lie anywhere.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Low half of the filter's hash.
    hash: u32,
    index: u32,
}

/// Where a filter lies while none is added or removed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(u32);

/// Values by filter; the caller brings the filter's hash. Lives on: each shard its own. Bounded by the
/// sessions' subscriptions.
#[derive(Debug)]
pub(super) struct FilterTable<V> {
    slots: HashTable<Slot>,
    /// In chunks, which stay where they are: a table of a million filters grows without copying them. A chunk
    /// of which all places are free has no memory.
    chunks: Vec<Vec<Filtered<V>>>,
    /// By chunk: places that are in use.
    used: Vec<u16>,
    free: Vec<u32>,
}

impl<V: Default> FilterTable<V> {
    pub(super) fn new() -> Self {
        const { assert!(size_of::<Filtered<V>>() == 64) }
        Self {
            slots: HashTable::new(),
            chunks: Vec::new(),
            used: Vec::new(),
            free: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn get(&self, hash: u64, filter: &[u8]) -> Option<&V> {
        let index = self.index(hash as u32, filter)? as usize;
        Some(&self.chunks[index / CHUNK][index % CHUNK].value)
    }

    /// Where the filter of a hash would be, for [`FilterTable::prefetch`].
    #[inline]
    pub(super) fn place(&self, hash: u64) -> Option<Place> {
        let hash = hash as u32;
        let slot = self.slots.find(spread(hash), |slot| slot.hash == hash)?;
        Some(Place(slot.index))
    }

    /// Reads what lies at a place, so that it is in the processor's cache when it is asked for: its first
    /// character, which is there or in the line that it refers to. Reads that follow each other here
    /// proceed in parallel, because none depends on another.
    #[inline]
    pub(super) fn prefetch(&self, Place(index): Place) -> u8 {
        let index = index as usize;
        let filter = &self.chunks[index / CHUNK][index % CHUNK].filter;
        filter.as_bytes().first().copied().unwrap_or(0)
    }

    pub(super) fn get_mut(&mut self, hash: u64, filter: &[u8]) -> Option<&mut V> {
        let index = self.index(hash as u32, filter)?;
        Some(&mut self.at_mut(index).value)
    }

    /// The value of a filter, made if need be.
    pub(super) fn entry(&mut self, hash: u64, filter: &str) -> &mut V {
        let hash = hash as u32;
        let index = match self.index(hash, filter.as_bytes()) {
            Some(index) => index,
            None => self.add(hash, filter),
        };
        &mut self.at_mut(index).value
    }

    pub(super) fn remove(&mut self, hash: u64, filter: &[u8]) {
        let hash = hash as u32;
        let Some(index) = self.index(hash, filter) else {
            return;
        };
        if let Ok(entry) = (self.slots).find_entry(spread(hash), |slot| slot.index == index) {
            entry.remove();
        }
        *self.at_mut(index) = Filtered::default();
        self.free.push(index);
        let chunk = index as usize / CHUNK;
        self.used[chunk] -= 1;
        if self.used[chunk] == 0 && self.chunks[chunk].len() == CHUNK {
            self.chunks[chunk] = Vec::new();
        }
        shrink(&mut self.slots, |slot| spread(slot.hash));
    }

    #[inline]
    fn index(&self, hash: u32, filter: &[u8]) -> Option<u32> {
        let is_it = |slot: &Slot| {
            let index = slot.index as usize;
            slot.hash == hash
                && self.chunks[index / CHUNK][index % CHUNK].filter.as_bytes() == filter
        };
        Some(self.slots.find(spread(hash), is_it)?.index)
    }

    fn add(&mut self, hash: u32, filter: &str) -> u32 {
        let filtered = Filtered {
            filter: CompactString::new(filter),
            value: V::default(),
        };
        let index = match self.free.pop() {
            Some(index) => {
                let chunk = &mut self.chunks[index as usize / CHUNK];
                if chunk.is_empty() {
                    chunk.resize_with(CHUNK, Filtered::default);
                }
                *self.at_mut(index) = filtered;
                self.used[index as usize / CHUNK] += 1;
                index
            }
            None => self.push(filtered),
        };
        let hash_of = |slot: &Slot| spread(slot.hash);
        self.slots
            .insert_unique(spread(hash), Slot { hash, index }, hash_of);
        index
    }

    /// Adds a place: only while none is free, so that every chunk has its memory.
    fn push(&mut self, filtered: Filtered<V>) -> u32 {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
            self.used.push(0);
        }
        let last = self.chunks.len() - 1;
        self.chunks[last].push(filtered);
        self.used[last] += 1;
        (last * CHUNK + self.chunks[last].len() - 1) as u32
    }

    fn at_mut(&mut self, index: u32) -> &mut Filtered<V> {
        &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

/// Tables of fewer places keep their memory.
const SHRINK_FROM: usize = 4_096;

/// Returns most of a table's memory when less than an eighth of it is in use: so seldom that it costs next to
/// nothing per entry that was removed.
pub(super) fn shrink<T>(table: &mut HashTable<T>, hash: impl Fn(&T) -> u64) {
    if table.capacity() >= SHRINK_FROM && table.len() * 8 < table.capacity() {
        table.shrink_to(table.len() * 2, hash);
    }
}

/// The table goes by the low and the highest bits of 64.
#[inline]
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_one_hash_are_told_apart() {
        type Table = FilterTable<[u64; 4]>;
        let mut table = Table::new();
        table.entry(7, "a")[0] = 1;
        table.entry(7, "b")[0] = 2;
        let get = |table: &Table, filter: &[u8]| table.get(7, filter).map(|value| value[0]);
        assert_eq!((get(&table, b"a"), get(&table, b"b")), (Some(1), Some(2)));
        table.remove(7, b"a");
        assert_eq!((get(&table, b"a"), get(&table, b"b")), (None, Some(2)));
        table.remove(7, b"b");
        assert!(table.is_empty());
        assert_eq!(table.entry(9, "c")[0], 0, "nothing of what was there");
    }

    #[test]
    fn more_filters_than_a_chunk_has() {
        let mut table: FilterTable<[u64; 4]> = FilterTable::new();
        for round in 0..2 {
            for n in 0..3_000_u64 {
                table.entry(n * 77, &format!("f/{n}"))[0] = n + round;
            }
            for n in 0..3_000_u64 {
                let filter = format!("f/{n}");
                assert_eq!(table.get(n * 77, filter.as_bytes()).unwrap()[0], n + round);
                table.remove(n * 77, filter.as_bytes());
            }
        }
        assert!(table.is_empty());
        assert_eq!(table.chunks.len(), 3, "places are used again");
    }

    #[test]
    fn a_table_returns_memory_when_most_filters_are_gone() {
        let mut table: FilterTable<[u64; 4]> = FilterTable::new();
        let name = |n: u64| format!("f/{n}");
        for n in 0..50_000 {
            table.entry(n * 77, &name(n))[0] = n;
        }
        for n in 0..50_000 {
            if n % 10_000 != 0 {
                table.remove(n * 77, name(n).as_bytes());
            }
        }
        let chunks = table.chunks.iter().filter(|chunk| chunk.capacity() > 0);
        assert!(chunks.count() <= 6 && table.slots.capacity() < SHRINK_FROM);
        for n in 0..50_000 {
            table.entry(n * 77, &name(n))[0] = n;
        }
        assert!((0..50_000).all(|n| table.get(n * 77, name(n).as_bytes()).unwrap()[0] == n));
    }
}
