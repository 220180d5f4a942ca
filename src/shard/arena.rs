//! Values under small ids with generations, in chunks that never move: a table of a million
//! connections grows without copying the others.

use crate::ids::{ConnectionId, SessionId};

/// Entries per chunk: with the sizes of connections and sessions whole pages of 64 KiB, as the allocator counts them.
/// What is not used yet of a chunk is not in memory.
const CHUNK: usize = 2_048;

/// An id made of index and generation.
pub(super) trait ArenaId: Copy {
    fn new(index: u32, generation: u32) -> Self;
    fn index(self) -> u32;
    fn generation(self) -> u32;
}

impl ArenaId for ConnectionId {
    fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }
    fn index(self) -> u32 {
        self.index
    }
    fn generation(self) -> u32 {
        self.generation
    }
}

impl ArenaId for SessionId {
    fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }
    fn index(self) -> u32 {
        self.index
    }
    fn generation(self) -> u32 {
        self.generation
    }
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// Bounded by its callers: each insertion is checked against a limit of `limits`.
#[derive(Debug)]
pub(super) struct Arena<I, T> {
    chunks: Vec<Vec<Entry<T>>>,
    free: Vec<u32>,
    len: usize,
    id: std::marker::PhantomData<I>,
}

impl<I, T> Default for Arena<I, T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            len: 0,
            id: std::marker::PhantomData,
        }
    }
}

impl<I: ArenaId, T> Arena<I, T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, value: T) -> I {
        self.len += 1;
        if let Some(index) = self.free.pop() {
            let entry = self.entry_mut(index).expect("a free index was used before");
            entry.value = Some(value);
            let generation = entry.generation;
            return I::new(index, generation);
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let last = self.chunks.len() - 1;
        let chunk = &mut self.chunks[last];
        chunk.push(Entry {
            generation: 0,
            value: Some(value),
        });
        let index = last * CHUNK + chunk.len() - 1;
        I::new(u32::try_from(index).expect("fewer than 2^32 entries"), 0)
    }

    pub(super) fn remove(&mut self, id: I) -> Option<T> {
        let entry = self
            .entry_mut(id.index())
            .filter(|e| e.generation == id.generation())?;
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(id.index());
        self.len -= 1;
        Some(value)
    }

    #[inline]
    pub(super) fn get(&self, id: I) -> Option<&T> {
        let index = id.index() as usize;
        let entry = self.chunks.get(index / CHUNK)?.get(index % CHUNK)?;
        if entry.generation == id.generation() {
            entry.value.as_ref()
        } else {
            None
        }
    }

    /// Places there are, used or free.
    pub(super) fn end(&self) -> u32 {
        let last = self.chunks.last().map_or(0, Vec::len);
        (self.chunks.len().saturating_sub(1) * CHUNK + last) as u32
    }

    /// The value at a place; `None`: the place is free.
    pub(super) fn at(&self, place: u32) -> Option<&T> {
        let place = place as usize;
        let entry = self.chunks.get(place / CHUNK)?.get(place % CHUNK)?;
        entry.value.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: I) -> Option<&mut T> {
        let entry = self.entry_mut(id.index())?;
        if entry.generation == id.generation() {
            entry.value.as_mut()
        } else {
            None
        }
    }

    pub(super) fn ids(&self) -> Vec<I> {
        let mut ids = Vec::with_capacity(self.len);
        for (at, chunk) in self.chunks.iter().enumerate() {
            for (offset, entry) in chunk.iter().enumerate() {
                if entry.value.is_some() {
                    ids.push(I::new((at * CHUNK + offset) as u32, entry.generation));
                }
            }
        }
        ids
    }

    /// Places from one on, in order, whether something is there or not.
    pub(super) fn places(&self, from: u32) -> impl Iterator<Item = (u32, Option<(I, &T)>)> {
        let end = u32::try_from(self.places_len()).unwrap_or(u32::MAX);
        (from..end).map(|index| {
            let at = index as usize;
            let entry = &self.chunks[at / CHUNK][at % CHUNK];
            let id = I::new(index, entry.generation);
            (index, entry.value.as_ref().map(|value| (id, value)))
        })
    }

    /// Places there are: as many as were ever in use at once.
    pub(super) fn places_len(&self) -> usize {
        let last = self.chunks.last().map_or(0, |chunk| CHUNK - chunk.len());
        self.chunks.len() * CHUNK - last
    }

    #[inline]
    fn entry_mut(&mut self, index: u32) -> Option<&mut Entry<T>> {
        let index = index as usize;
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_finds_nothing() {
        let mut arena: Arena<SessionId, u32> = Arena::default();
        let ids: Vec<_> = (0..600).map(|n| arena.insert(n)).collect();
        assert_eq!(arena.get(ids[300]), Some(&300));
        assert_eq!(arena.remove(ids[300]), Some(300));
        assert_eq!(arena.remove(ids[300]), None);
        let again = arena.insert(9);
        assert_eq!(again.index, 300);
        assert_eq!(arena.get(ids[300]), None);
        assert_eq!(arena.get_mut(again), Some(&mut 9));
        assert_eq!((arena.len(), arena.ids().len()), (600, 600));
        arena.remove(ids[599]);
        assert_eq!(
            (arena.end(), arena.at(599), arena.at(300)),
            (600, None, Some(&9))
        );
    }
}
