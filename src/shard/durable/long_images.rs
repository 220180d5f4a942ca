//! Images of sessions with long queues: no turn writes more than some of what waits.
//!
//! The queue is written in pieces, over several turns, while its session continues. They count for nothing until the image
//! comes that begins with them: it says how many of their messages have left since, and what waits behind them is
//! written with it. So what the log held of the session before counts until then, and a crash in between
//! loses nothing.

use super::pieces::PiecesOfQueue;
use super::record::{kind, put_key};
use super::seal::{Source, Written};
use super::Durable;
use crate::journal::SegmentNumber;
use crate::mutant::{is_on, Mutant};
use crate::session::{Session, SessionKey};

/// Bytes of the record of one message that waits and is not in memory, about.
const ENTRY_BYTES: usize = 64;

/// The pieces of one session that the log has, as its queue counts. Lives on: the shard, when it has a journal.
#[derive(Debug)]
pub(super) struct LongImage {
    key: SessionKey,
    /// The first message of the first piece.
    first: u32,
    /// The first one behind the last piece.
    end: u32,
    /// That the first piece begins in; `None`: it is of this turn.
    segment: Option<SegmentNumber>,
}

impl LongImage {
    pub(super) fn is_of(&self, key: SessionKey) -> bool {
        self.key == key
    }

    /// How many of its messages have left the queue, and how many wait.
    pub(super) fn pieces(&self, session: &Session) -> PiecesOfQueue {
        let written = self.end.wrapping_sub(self.first);
        let left = session.queue.first_number().wrapping_sub(self.first);
        let left = left.min(written);
        PiecesOfQueue {
            left,
            wait: written - left,
        }
    }
}

impl Durable {
    /// Writes the whole state of a session, or a further piece of what waits for it. False: the rest is for other turns.
    pub(super) fn put_session(
        &mut self,
        key: SessionKey,
        source: &Source<'_>,
        written: &mut Written,
    ) -> bool {
        let entry = source.clients.session(self.ledger.sessions[&key].session);
        let session = &entry.session;
        let begun = self.long_image.as_ref().filter(|image| image.key == key);
        let wait = begun.map_or(0, |image| image.pieces(session).wait) as usize;
        let each = (self.ledger.cleaning.turn_bytes / ENTRY_BYTES).max(1);
        if !session.is_recorded() || session.queue.len() - wait <= each {
            self.put_image(key, source, written);
            return true;
        }
        let begins = wait == 0;
        let from = session.queue.first_number().wrapping_add(wait as u32);
        let end = from.wrapping_add(each as u32);
        match self.long_image.as_mut().filter(|_| !begins) {
            Some(image) => image.end = end,
            None => {
                self.long_image = Some(LongImage {
                    key,
                    first: from,
                    end,
                    segment: None,
                });
            }
        }
        let clocks = source.turn.clocks;
        let changes = session.queue.as_changes(wait..wait + each);
        self.ledger.put_piece(key, begins, &changes, clocks);
        false
    }

    /// Says in the image of a session with which pieces its queue begins; how many messages those are.
    pub(super) fn put_pieces(&mut self, key: SessionKey, source: &Source<'_>) -> usize {
        let Some(image) = self.long_image.as_ref().filter(|image| image.key == key) else {
            return 0;
        };
        let kept = &self.ledger.sessions[&key];
        let pieces = image.pieces(&source.clients.session(kept.session).session);
        if pieces.wait == 0 {
            return 0;
        }
        let lane = kept.lane;
        if !is_on(Mutant::ForgetPieces) {
            let records = &mut self.ledger.records;
            records.add(kind::PIECES, lane, source.turn.clocks, |out, _| {
                put_key(out, key);
                out.number(pieces.left);
                out.number(pieces.wait);
            });
        }
        pieces.wait as usize
    }

    /// The pieces of a session are not what waits for it any more.
    pub(super) fn forget_pieces(&mut self, key: SessionKey) {
        self.long_image.take_if(|image| image.key == key);
    }

    /// The records of the turn begin there.
    pub(super) fn pieces_are_in(&mut self, segment: SegmentNumber) {
        if let Some(image) = &mut self.long_image {
            image.segment.get_or_insert(segment);
        }
    }

    /// The image of a session is written: where it begins, when that was before this turn.
    pub(super) fn end_pieces(&mut self, key: SessionKey) -> Option<SegmentNumber> {
        self.long_image.take_if(|image| image.key == key)?.segment
    }
}
