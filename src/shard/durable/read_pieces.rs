//! Pieces of queues while a log is read back.

use std::collections::HashMap;

use super::pieces::PiecesOfQueue;
use super::record::Problem;
use crate::journal::SegmentNumber;
use crate::session::{Change, Holds, Queue, SessionKey};

/// Pieces that are read back, until the images that begin with them come.
#[derive(Debug, Default)]
pub(super) struct ReadPieces(HashMap<SessionKey, ReadQueue, ahash::RandomState>);

#[derive(Debug)]
struct ReadQueue {
    queue: Queue,
    segment: SegmentNumber,
    /// Its first piece is not in the log, since a repair has given up where it was.
    is_cut: bool,
}

impl ReadPieces {
    pub(super) fn new(hash_seed: u64) -> Self {
        let state = ahash::RandomState::with_seeds(hash_seed, 34, 35, 36);
        Self(HashMap::with_hasher(state))
    }

    pub(super) fn add(
        &mut self,
        key: SessionKey,
        (begins, changes): (bool, Vec<Change>),
        segment: SegmentNumber,
        holds: Holds<'_>,
    ) -> Result<(), Problem> {
        if begins {
            self.0.remove(&key);
        }
        let read = self.0.entry(key).or_insert_with(|| ReadQueue {
            queue: Queue::default(),
            segment,
            is_cut: !begins,
        });
        for change in changes {
            if !read.queue.put_recorded(change, key, holds) {
                return Err(Problem::Piece);
            }
        }
        read.queue.store(key, holds);
        Ok(())
    }

    /// The beginning of a queue, the segment it begins in, and how many of its messages the log does not have.
    pub(super) fn take(
        &mut self,
        key: SessionKey,
        pieces: PiecesOfQueue,
    ) -> Result<Option<(Queue, SegmentNumber, usize)>, Problem> {
        let Some(mut read) = self.0.remove(&key) else {
            return Ok(None);
        };
        let expected = pieces.left as usize + pieces.wait();
        let Some(cut) = expected.checked_sub(read.queue.len()) else {
            return Err(Problem::Piece);
        };
        if cut > 0 && !read.is_cut {
            return Err(Problem::Piece);
        }
        for _ in cut..pieces.left as usize {
            read.queue.take_oldest();
        }
        let missing = cut.saturating_sub(pieces.left as usize);
        Ok(Some((read.queue, read.segment, missing)))
    }

    pub(super) fn ended(&mut self, key: SessionKey) {
        self.0.remove(&key);
    }
}
