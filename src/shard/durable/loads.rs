//! Publications that are read back from the log: for clients that are there to take them, and to be moved out of
//! a segment that is to be used again.
//!
//! A session asks when what is next to be sent is not in memory, and continues when the bytes have come: nothing
//! waits for a disk meanwhile but its own queue. What is read is a piece of a segment; of it the session takes
//! what it still needs, by place, so that it does not matter what has happened in between.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;

use super::Durable;
use crate::ids::SessionId;
use crate::image::Reader;
use crate::journal::{Log, Position, Record, SegmentNumber};
use crate::mqtt::{Place, Publication};
use crate::mutant::{is_on, Mutant};
use crate::session::{take_publication, StoredDelivery};
use crate::shard::durable::kind;
use crate::shard::Shard;
use crate::time::{Clocks, Time};

/// Bytes of a segment that one read is of, unless a single record is larger.
const PIECE_BYTES: u32 = 64 << 10;
/// Deliveries that one read is for.
const PIECE_COUNT: usize = 1_024;
/// Reads on their way.
const READS_MAX: usize = 32;

/// A piece of a segment that is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadBack {
    pub id: u64,
    /// Of the log that this shard had when there was another number of them; `None`: the shard's own.
    pub former: Option<u16>,
    pub segment: SegmentNumber,
    pub offset: u32,
    pub bytes: u32,
}

/// What was read is not what had been written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message at segment {}, byte {} is not what was written", .place.segment, .place.offset)]
pub struct NotWritten {
    pub place: Place,
    /// As of [`ReadBack`].
    pub former: Option<u16>,
}

impl NotWritten {
    pub(super) fn of(stored: &StoredDelivery) -> Self {
        Self {
            place: stored.place(),
            former: stored.hold().former(),
        }
    }
}

#[derive(Debug)]
struct Load {
    session: SessionId,
    segment: u32,
    range: Range<u32>,
}

/// Lives on: the shard, when it has a journal. Bounded by sessions; reads on their way by [`READS_MAX`].
#[derive(Debug)]
pub(in crate::shard) struct Loads {
    waiting: VecDeque<SessionId>,
    /// Sessions that wait to be sent something, or for which it is being read.
    asking: HashSet<SessionId, ahash::RandomState>,
    under_way: HashMap<u64, Load, ahash::RandomState>,
    last: u64,
    /// A session waits for what is placed and not on the disk.
    waits_for_commit: bool,
}

/// What a session needs next.
enum Piece {
    Nothing,
    /// It is not on the disk yet.
    Later,
    Of(u32, Range<u32>),
}

impl Loads {
    pub(super) fn new(hash_seed: u64) -> Self {
        let state = |n| ahash::RandomState::with_seeds(hash_seed, 37, 38, n);
        Self {
            waiting: VecDeque::new(),
            asking: HashSet::with_hasher(state(1)),
            under_way: HashMap::with_hasher(state(2)),
            last: 0,
            waits_for_commit: false,
        }
    }

    /// Of a read.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// What a session is to be sent next is to be read back.
    pub(in crate::shard) fn want(&mut self, session: SessionId) {
        if self.asking.insert(session) {
            self.waiting.push_back(session);
        }
    }

    /// It is asked for, or being read.
    pub(super) fn is_wanted(&self, session: SessionId) -> bool {
        self.asking.contains(&session)
    }
}

/// The first ones of these that one read is enough for.
fn piece<'a>(stored: impl Iterator<Item = &'a StoredDelivery>, log: &Log) -> Piece {
    let mut piece = Piece::Nothing;
    for stored in stored.take(PIECE_COUNT) {
        let place = stored.place();
        let end = place.offset.saturating_add(place.bytes);
        // What lies in a former log is copied into this one first.
        let is_on_disk = !stored.lies_in_former() && log.has_written(position_of(&place));
        match &mut piece {
            Piece::Nothing if !is_on_disk => return Piece::Later,
            Piece::Nothing => piece = Piece::Of(place.segment, place.offset..end),
            Piece::Of(segment, range)
                if is_on_disk
                    && *segment == place.segment
                    && place.offset >= range.start
                    && end - range.start <= PIECE_BYTES =>
            {
                range.end = end.max(range.end);
            }
            _ => break,
        }
    }
    piece
}

fn position_of(place: &Place) -> Position {
    Position {
        segment: SegmentNumber(place.segment),
        offset: place.offset,
    }
}

/// The bytes of a record, in a piece of its segment that begins there.
pub(super) fn record_of<'a>(piece: &'a [u8], start: u32, place: &Place) -> Option<&'a [u8]> {
    let start = match is_on(Mutant::ReadWrongPlace) {
        true => 0,
        false => place.offset.checked_sub(start)? as usize,
    };
    piece.get(start..start.saturating_add(place.bytes as usize))
}

/// A publication from the bytes of its record.
pub(super) fn publication_of(bytes: &[u8], place: &Place, clocks: Clocks) -> Option<Publication> {
    let (record, rest) = Record::split_first(bytes)?;
    let is_it = rest.is_empty() && record.kind == kind::PUBLICATION;
    let is_whole = is_it && crc32c::crc32c(record.body) == place.checksum;
    if !is_whole && !is_on(Mutant::ReadWrongPlace) {
        return None;
    }
    let it = &mut Reader::fields(record.body);
    it.number().ok()?;
    let publication = take_publication(it, clocks).ok()?;
    Some(std::rc::Rc::unwrap_or_clone(publication))
}

impl Shard {
    /// A client waits for messages that are not in memory and not on the disk either: the next frame is written without
    /// delay.
    #[must_use]
    pub fn waits_for_commit(&self) -> bool {
        let durable = self.durable.as_deref();
        durable.is_some_and(|durable| durable.loads.waits_for_commit)
    }

    /// The next piece of the log that is to be read; answered by [`handle_read`](Self::handle_read). Call it after
    /// each turn and when a frame is on the disk.
    pub fn poll_read(&mut self) -> Option<ReadBack> {
        let first = self.poll_former().or_else(|| self.poll_move());
        if first.is_some() {
            return first;
        }
        let Self {
            durable, clients, ..
        } = self;
        let Durable { loads, log, .. } = durable.as_deref_mut()?;
        loads.waits_for_commit = false;
        if loads.under_way.len() >= READS_MAX {
            return None;
        }
        for _ in 0..loads.waiting.len() {
            let session = loads.waiting.pop_front()?;
            let found = match clients.sessions.get(session) {
                None => Piece::Nothing,
                Some(entry) => piece(entry.session.stored(), log),
            };
            match found {
                Piece::Nothing => drop(loads.asking.remove(&session)),
                Piece::Later => {
                    loads.waits_for_commit = true;
                    loads.waiting.push_back(session);
                }
                Piece::Of(segment, range) => {
                    let read = ReadBack {
                        id: loads.next_id(),
                        former: None,
                        segment: SegmentNumber(segment),
                        offset: range.start,
                        bytes: range.end - range.start,
                    };
                    let load = Load {
                        session,
                        segment,
                        range,
                    };
                    loads.under_way.insert(read.id, load);
                    return Some(read);
                }
            }
        }
        None
    }

    /// The bytes of a piece, or none, when it could not be read: which is an error only if something in it is
    /// still needed.
    ///
    /// # Errors
    /// A message that is needed is not there.
    ///
    /// # Panics
    /// The piece was not asked for.
    pub fn handle_read(&mut self, id: u64, bytes: &[u8], now: Time) -> Result<(), NotWritten> {
        let handled = self.handle_former(id, bytes);
        if let Some(handled) = handled.or_else(|| self.handle_move(id, bytes)) {
            return handled;
        }
        let clocks = self.turn.clocks;
        let durable = self.durable.as_deref_mut().expect("a journal is read");
        let load = durable.loads.under_way.remove(&id);
        let Load {
            session,
            segment,
            range,
        } = load.expect("it was asked for");
        durable.loads.asking.remove(&session);
        let Some(entry) = self.clients.sessions.get_mut(session) else {
            return Ok(()); // its session ended while the piece was read
        };
        let mut wrong = None;
        let mut load = |stored: &StoredDelivery| {
            let place = stored.place();
            let end = place.offset.saturating_add(place.bytes);
            if place.segment != segment || place.offset < range.start || end > range.end {
                return None;
            }
            let record = record_of(bytes, range.start, &place);
            let found = record.and_then(|record| publication_of(record, &place, clocks));
            if found.is_none() {
                wrong.get_or_insert(NotWritten::of(stored));
            }
            found
        };
        entry.session.load(&mut load);
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        durable.ledger.count_here_of(session, &entry.session);
        self.pump(session, now);
        Ok(())
    }
}
