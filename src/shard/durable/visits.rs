//! Looks at what a session has that lies in the oldest segment of the log, some entries of its queue at a time.

use std::ops::Range;

use crate::journal::{Position, SegmentNumber};
use crate::mqtt::Place;
use crate::session::{Change, Lying, Session, SessionKey, Spot};

/// Entries of a queue that a turn looks at.
pub(super) const LOOKED_AT: u32 = 4_096;
/// Bytes of a segment that are read at a time, unless a single record is larger.
const PIECE_BYTES: u32 = 64 << 10;

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
    /// False: it would be too large.
    fn add(piece: &mut Option<Self>, message: Message) -> bool {
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
        let fits = both.end - both.start <= PIECE_BYTES;
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

    /// The next entries to look at, by their indices; `None`: all have been.
    fn next(&mut self, session: &Session) -> Option<Range<usize>> {
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
                let until = until.min(from + LOOKED_AT);
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
        let Some(indices) = self.next(session) else {
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
            Lying::Here(_) if self.bytes >= PIECE_BYTES as usize => false,
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
            ),
        }
    }
}
