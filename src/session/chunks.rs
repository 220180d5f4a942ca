//! A queue that grows and shrinks by chunks: a vector that doubles would be copied while all clients wait, and a queue may
//! have millions of messages.

use std::collections::VecDeque;
use std::ops::Range;

/// Entries of a chunk. A queue of no more is one vector.
const CHUNK: usize = 1_024;

/// First in, first out, with a look at any of them. As large as a `VecDeque`.
#[derive(Debug)]
pub(super) enum Chunks<T> {
    One(VecDeque<T>),
    /// Two or more chunks, all full but the first one, of which some may have left, and the last one. None is empty.
    Many(Box<Many<T>>),
}

#[derive(Debug)]
pub(super) struct Many<T> {
    chunks: VecDeque<VecDeque<T>>,
    len: usize,
}

const _: () = assert!(size_of::<Chunks<u64>>() == size_of::<VecDeque<u64>>());

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self::One(VecDeque::new())
    }
}

impl<T> Many<T> {
    /// Chunk and place in it of an entry.
    fn locate(&self, index: usize) -> (usize, usize) {
        let first = self.chunks[0].len();
        match index.checked_sub(first) {
            None => (0, index),
            Some(behind) => (1 + behind / CHUNK, behind % CHUNK),
        }
    }
}

impl<T> Chunks<T> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(chunk) => chunk.len(),
            Self::Many(many) => many.len,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push_back(&mut self, one: T) {
        match self {
            Self::One(chunk) if chunk.len() < CHUNK => {
                if chunk.len() == chunk.capacity() {
                    // By a quarter, not to twice as much: queues are what most memory is for.
                    let more = (chunk.len() / 4 + 2).min(CHUNK - chunk.len());
                    chunk.reserve_exact(more);
                }
                chunk.push_back(one);
            }
            Self::One(chunk) => {
                let chunks = VecDeque::from([std::mem::take(chunk), first_of_chunk(one)]);
                let len = CHUNK + 1;
                *self = Self::Many(Box::new(Many { chunks, len }));
            }
            Self::Many(many) => {
                many.len += 1;
                let last = many.chunks.back_mut();
                match last.filter(|last| last.len() < CHUNK) {
                    Some(last) => last.push_back(one),
                    None => many.chunks.push_back(first_of_chunk(one)),
                }
            }
        }
    }

    /// The memory of an empty chunk is given back.
    pub(super) fn pop_front(&mut self) -> Option<T> {
        match self {
            Self::One(chunk) => {
                let one = chunk.pop_front();
                if chunk.is_empty() {
                    *chunk = VecDeque::new();
                }
                one
            }
            Self::Many(many) => {
                let one = many.chunks.front_mut()?.pop_front();
                many.len -= 1;
                if many.chunks.front().is_some_and(VecDeque::is_empty) {
                    many.chunks.pop_front();
                }
                if many.chunks.len() == 1 {
                    let last = many.chunks.pop_front().expect("it is the last one");
                    *self = Self::One(last);
                }
                one
            }
        }
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.get(0)
    }

    pub(super) fn back(&self) -> Option<&T> {
        self.get(self.len().checked_sub(1)?)
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        match self {
            Self::One(chunk) => chunk.get(index),
            Self::Many(many) => {
                let (chunk, index) = many.locate(index);
                many.chunks.get(chunk)?.get(index)
            }
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        match self {
            Self::One(chunk) => chunk.get_mut(index),
            Self::Many(many) => {
                let (chunk, index) = many.locate(index);
                many.chunks.get_mut(chunk)?.get_mut(index)
            }
        }
    }

    /// Those with these indices that are there.
    pub(super) fn range(&self, indices: Range<usize>) -> impl Iterator<Item = &T> {
        indices.map_while(|index| self.get(index))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let (one, many) = match self {
            Self::One(chunk) => (Some(chunk), None),
            Self::Many(many) => (None, Some(&many.chunks)),
        };
        let chunks = one.into_iter().chain(many.into_iter().flatten());
        chunks.flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let (one, many) = match self {
            Self::One(chunk) => (Some(chunk), None),
            Self::Many(many) => (None, Some(&mut many.chunks)),
        };
        let chunks = one.into_iter().chain(many.into_iter().flatten());
        chunks.flatten()
    }

    /// All of them, in order.
    pub(super) fn into_iter(self) -> impl Iterator<Item = T> {
        let (one, many) = match self {
            Self::One(chunk) => (Some(chunk), None),
            Self::Many(many) => (None, Some(many.chunks)),
        };
        let chunks = one.into_iter().chain(many.into_iter().flatten());
        chunks.flatten()
    }

    /// Gives back memory for more than there is.
    pub(super) fn shrink_to_fit(&mut self) {
        if let Self::One(chunk) = self {
            chunk.shrink_to_fit();
        }
    }
}

impl<T> FromIterator<T> for Chunks<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let mut it = Self::default();
        all.into_iter().for_each(|one| it.push_back(one));
        it
    }
}

fn first_of_chunk<T>(one: T) -> VecDeque<T> {
    let mut chunk = VecDeque::with_capacity(CHUNK);
    chunk.push_back(one);
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::Prng;

    fn below(random: &mut Prng, end: u64) -> u64 {
        random.draw() % end
    }

    #[test]
    fn is_what_a_deque_is() {
        let mut random = Prng::new(7);
        let (mut it, mut model) = (Chunks::default(), VecDeque::new());
        let mut next = 0_u64;
        for round in 0..60 {
            // Mostly longer for some rounds, then mostly shorter.
            let (pushed, popped) = match round / 10 % 2 {
                0 => (below(&mut random, 2_000), below(&mut random, 500)),
                _ => (below(&mut random, 500), below(&mut random, 2_500)),
            };
            for _ in 0..pushed {
                it.push_back(next);
                model.push_back(next);
                next += 1;
            }
            for _ in 0..popped {
                assert_eq!(it.pop_front(), model.pop_front());
            }
            assert_eq!((it.len(), it.is_empty()), (model.len(), model.is_empty()));
            assert!(it.iter().eq(model.iter()));
            assert!(it.iter_mut().eq(model.iter_mut()));
            assert_eq!((it.front(), it.back()), (model.front(), model.back()));
            for _ in 0..50 {
                let index = below(&mut random, model.len() as u64 + 3) as usize;
                assert_eq!(it.get(index), model.get(index));
                assert_eq!(it.get_mut(index), model.get_mut(index));
                let end = model.len().min(index + 1_500);
                let range = index.min(end)..end;
                assert!(it.range(range.clone()).eq(model.range(range)));
            }
        }
        let all: Vec<_> = it.into_iter().collect();
        assert_eq!(all, Vec::from(model));
    }

    #[test]
    fn a_short_one_is_no_larger_than_it_must_be() {
        let mut it: Chunks<u64> = (0..10).collect();
        it.shrink_to_fit();
        assert!(matches!(&it, Chunks::One(chunk) if chunk.capacity() == 10));
        while it.pop_front().is_some() {}
        assert!(matches!(&it, Chunks::One(chunk) if chunk.capacity() == 0));
        let mut long: Chunks<u64> = (0..3_000).collect();
        assert!(matches!(long, Chunks::Many(_)));
        for _ in 0..2 * CHUNK {
            long.pop_front();
        }
        assert!(matches!(long, Chunks::One(_)));
        assert!(long.iter().copied().eq(2 * CHUNK as u64..3_000));
    }
}
