//! Looks at what a session has that lies in the oldest segment of the log, some entries of its queue at a time.

use std::ops::Range;

use crate::journal::{Position, SegmentNumber};
use crate::mqtt::Place;
use crate::session::{Change, Lying, Session, SessionKey, Spot};

/// Entries of a queue that a turn looks at.
pub(super) const LOOKED_AT: u32 = 4_096;
/// Bytes of a segment that are read at a time, unless a single record is larger.
pub(super) const PIECE_BYTES: u32 = 64 << 10;

/// That is not in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    pub(super) session: SessionKey,
    pub(super) spot: Spot,
    pub(super) place: Place,
}

/// A part of a segment, with messages of one or several sessions.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) messages: Vec<Message>,
    pub(super) bytes: Range<u32>,
    /// When it is being read.
    pub(super) id: Option<u64>,
}

impl Piece {
    /// False: it would be larger than that.
    fn add(piece: &mut Option<Self>, message: Message, bytes_max: u32) -> bool {
        let (start, bytes) = (message.place.offset, message.place.bytes);
        let bytes = start..start.saturating_add(bytes);
        let Some(piece) = piece else {
            let messages = vec![message];
            let id = None;
            *piece = Some(Self {
                messages,
                bytes,
                id,
            });
            return true;
        };
        let both = piece.bytes.start.min(bytes.start)..piece.bytes.end.max(bytes.end);
        let fits = both.end - both.start <= bytes_max;
        if fits {
            piece.bytes = both;
            piece.messages.push(message);
        }
        fits
    }

    pub(super) fn end(&self) -> Position {
        Position {
            segment: SegmentNumber(self.messages[0].place.segment),
            offset: self.bytes.end,
        }
    }
}

/// A look at all that a session has: from where the last visit ended to the end of the queue, and from its beginning.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) segment: SegmentNumber,
    pub(super) session: SessionKey,
    has_seen_sent: bool,
    /// Entries of the queue to be looked at, as it counts them.
    numbers: Range<u32>,
    /// To where those at the beginning are looked at behind that.
    then_until: Option<u32>,
}

impl Visit {
    pub(super) fn new(
        segment: SegmentNumber,
        key: SessionKey,
        session: &Session,
        from: Option<u32>,
    ) -> Self {
        let first = session.queue.first_number();
        let count = session.queue.len() as u32;
        let from = from.filter(|from| from.wrapping_sub(first) < count);
        let from = from.unwrap_or(first);
        Self {
            segment,
            session: key,
            has_seen_sent: false,
            numbers: from..first.wrapping_add(count),
            then_until: Some(from),
        }
    }

    /// The next entries to look at, by their indices, so many at most; `None`: all have been.
    fn next(&mut self, session: &Session, max: u32) -> Option<Range<usize>> {
        let first = session.queue.first_number();
        let count = session.queue.len() as u32;
        // Those that have left since count as the first.
        let index = |number: u32| match number.wrapping_sub(first) {
            behind if behind > u32::MAX / 2 => 0,
            index => index.min(count),
        };
        loop {
            let (from, until) = (index(self.numbers.start), index(self.numbers.end));
            if from < until {
                let until = until.min(from.saturating_add(max));
                return Some(from as usize..until as usize);
            }
            self.numbers = first..self.then_until.take()?;
        }
    }
}

/// What one look has found.
pub(super) enum Seen {
    /// All was seen before.
    Nothing,
    Some {
        /// False: there was more than a turn takes.
        fits: bool,
        /// The last one in the queue that lies in the segment.
        last: Option<u32>,
    },
}

impl Visit {
    /// The next entries; those that do not fit are seen again.
    pub(super) fn see(&mut self, taken: &mut Taken<'_>, looks: &mut u32) -> Seen {
        let (session, segment) = (taken.session, self.segment.0);
        *looks = looks.saturating_sub(1);
        let mut last = None;
        if !self.has_seen_sent {
            self.has_seen_sent = session.sent_from(segment).all(|one| taken.take(one));
            if !self.has_seen_sent {
                return Seen::Some { fits: false, last };
            }
        }
        let Some(indices) = self.next(session, (*looks).max(1)) else {
            return Seen::Nothing;
        };
        *looks = looks.saturating_sub(indices.len() as u32);
        let first = session.queue.first_number();
        self.numbers.start = first.wrapping_add(indices.end as u32);
        for (number, lying) in session.waiting_from(segment, indices) {
            last = Some(number);
            if !taken.take((Spot::Waiting(number), lying)) {
                self.numbers.start = number;
                return Seen::Some { fits: false, last };
            }
        }
        Seen::Some { fits: true, last }
    }
}

/// What a turn takes of one session.
pub(super) struct Taken<'a> {
    pub(super) key: SessionKey,
    pub(super) session: &'a Session,
    pub(super) piece: &'a mut Option<Piece>,
    /// Of the piece, and of the publications of changes.
    pub(super) bytes_max: u32,
    pub(super) changes: Vec<Change>,
    /// Of the publications of those.
    pub(super) bytes: usize,
}

impl Taken<'_> {
    /// False: it would be too much.
    fn take(&mut self, (spot, lying): (Spot, Lying)) -> bool {
        match lying {
            Lying::Here(publication) if !self.session.is_recorded() => {
                publication.kept_at.forget(); // the log does not name it
                true
            }
            Lying::Here(_) if self.bytes >= self.bytes_max as usize => false,
            Lying::Here(publication) => {
                self.bytes += publication.payload.len();
                self.changes
                    .extend(self.session.moved_change(spot, publication));
                true
            }
            Lying::Stored(place) => Piece::add(
                self.piece,
                Message {
                    session: self.key,
                    spot,
                    place,
                },
                self.bytes_max,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use bytes::Bytes;

    use super::*;
    use crate::limits::QueuePolicy;
    use crate::mqtt::{KeptAt, Publication, Qos};
    use crate::session::{Delivery, QueueBounds};

    const BOUNDS: QueueBounds = QueueBounds {
        messages_max: usize::MAX,
        bytes_max: usize::MAX,
        policy: QueuePolicy::DropNewest,
    };

    /// However long a queue is, and whatever lies elsewhere: what has been looked at is all that a turn may.
    #[test]
    fn no_more_than_a_turn_may_is_looked_at() {
        let mut session = Session::new("c".into(), 1);
        let publication = Publication {
            topic: "t".into(),
            payload: Bytes::new(),
            properties: Bytes::new(),
            qos: Qos::AtLeastOnce,
            retain: false,
            expires_at: None,
            kept_at: KeptAt::default(),
        };
        let delivery = Delivery {
            publication: Rc::new(publication),
            qos: Qos::AtLeastOnce,
            retain: false,
            identifiers: None,
            shared: None,
        };
        for _ in 0..10_000 {
            session.queue.offer(delivery.clone(), &BOUNDS);
        }
        let mut visit = Visit::new(SegmentNumber(3), SessionKey(1), &session, None);
        let mut seen = Vec::new();
        for may in [100, LOOKED_AT, LOOKED_AT, LOOKED_AT] {
            let mut looks = may;
            let mut taken = Taken {
                key: SessionKey(1),
                session: &session,
                piece: &mut None,
                bytes_max: PIECE_BYTES,
                changes: Vec::new(),
                bytes: 0,
            };
            let mut looked_at = 0;
            while looks > 0 {
                let before = visit.numbers.start;
                if matches!(visit.see(&mut taken, &mut looks), Seen::Nothing) {
                    break;
                }
                looked_at += visit.numbers.start - before;
            }
            assert!(taken.changes.is_empty() && taken.piece.is_none());
            assert!(looked_at <= may, "{looked_at} of {may}");
            seen.push(looked_at);
        }
        assert_eq!(seen.iter().sum::<u32>(), 10_000, "{seen:?}");
    }
}
