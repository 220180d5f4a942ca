//! Cleaning of a log on a full disk, within the room that is left of it.
//!
//! When all that is alive fits twice into that room, it is cleaned as ever. Otherwise the oldest segment is emptied and
//! used again, and then the next one: each takes no more than what is alive in it. A segment of room stays for
//! acknowledgements and the ends of things. What does not fit beside that, such as the image of a session with a long
//! queue, is left where it is until much less is alive or there is more room.

use super::ledger::Ledger;
use super::seal::Source;
use super::Durable;
use crate::session::{Session, SessionKey};

/// Bytes of a turn's frames beyond its records, at most.
const FRAMES_BYTES: u64 = 16 << 10;
/// Bytes in an image for one message that waits and is not in memory, at most.
const ENTRY_BYTES: u64 = 64;
/// Bytes in an image for what a session has beside what is counted, about: sizes, attributes.
const IMAGE_BYTES: u64 = 256;

/// What was alive and what room there was when something did not fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unfit {
    alive: u64,
    room: u64,
}

impl Unfit {
    /// Much has changed since, so that it may fit now.
    fn is_over(self, alive: u64, room: u64, segment_bytes: u64) -> bool {
        room > self.room || alive + segment_bytes / 4 <= self.alive
    }
}

impl Durable {
    /// The disk is full, and what a log holds that is not alive is more than half of it.
    pub(super) fn wants_disk_freed(&self, retained_bytes: u64) -> bool {
        let alive = self.alive(retained_bytes);
        self.full.own
            && !self.ledger.takes_over
            && self.oldest < self.log.segment()
            && self.segments_bytes() > 2 * alive
            && !self.is_unfit(alive)
    }

    /// The same, and this turn can do something about it.
    pub(super) fn frees_disk(&self, retained_bytes: u64) -> bool {
        let turn_bytes = self.ledger.cleaning.turn_bytes;
        self.wants_disk_freed(retained_bytes)
            && !self.moves.is_reading()
            && self.log.unwritten_bytes() <= turn_bytes // the disk sets the pace
    }

    /// Bytes of records that a turn may have with what cleaning adds.
    pub(super) fn cleaning_room(&self, retained_bytes: u64) -> u64 {
        let room = self.log.room();
        if !self.full.own || self.alive(retained_bytes) < room / 2 {
            return u64::MAX;
        }
        let kept = u64::from(self.log.segment_bytes()) + FRAMES_BYTES;
        room.saturating_sub(kept)
    }

    /// Nothing of the oldest segment fits into the room that is left.
    pub(super) fn note_unfit(&mut self, retained_bytes: u64) {
        if self.full.own {
            self.full.unfit = Some(Unfit {
                alive: self.alive(retained_bytes),
                room: self.log.room(),
            });
        }
    }

    fn is_unfit(&self, alive: u64) -> bool {
        let segment_bytes = u64::from(self.log.segment_bytes());
        let is_over = |unfit: Unfit| unfit.is_over(alive, self.log.room(), segment_bytes);
        self.full.unfit.is_some_and(|unfit| !is_over(unfit))
    }

    /// Of all segments from the oldest one on, the one that is being written whole.
    fn segments_bytes(&self) -> u64 {
        let segments = u64::from(self.log.segment().0 - self.oldest.0 + 1);
        segments * u64::from(self.log.segment_bytes())
    }
}

impl Ledger {
    /// What the image of a session takes, at most: what waits for it in memory, and where the rest is.
    pub(super) fn image_bytes(&self, key: SessionKey, source: &Source<'_>) -> u64 {
        let Some(kept) = self.sessions.get(&key) else {
            return 0; // it has ended
        };
        let session = &source.clients.session(kept.session).session;
        let messages = (session.queue.len() + session.window.len()) as u64;
        IMAGE_BYTES + own_bytes(session) as u64 + messages * ENTRY_BYTES
    }
}

fn own_bytes(session: &Session) -> usize {
    let will = session.will.as_ref();
    let will = will.map_or(0, |will| will.payload.len() + will.topic.len());
    let sensor = session.sensor.as_ref().map_or(0, |sensor| sensor.cost());
    let here = session.queue.here_bytes() + session.window.here_bytes();
    session.client_id.len() + will + sensor + session.subscriptions.bytes() + here
}
