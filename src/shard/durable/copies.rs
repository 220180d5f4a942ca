//! Copies of messages that wait in the logs of another number of shards: they stay out of memory on the way.
//!
//! Images of sessions name places, so everything that waits has to be in this log before any session is written. The
//! former logs are read from their beginning on, a piece at a time, and each publication is a turn of its own here:
//! nothing of it counts before an image names it. Former logs are the truth until all new ones are on the disk, so a
//! process that ends in between leaves them as they were, and the next one begins again.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use super::kind;
use super::ledger::Ledger;
use super::loads::{NotWritten, ReadBack};
use super::record::{FIRST, LAST};
use super::Durable;
use crate::journal::{Log, Record, SegmentNumber};
use crate::mqtt::{Hold, Place};
use crate::mutant::{is_on, Mutant};
use crate::session::{SessionKey, StoredDelivery};
use crate::shard::clients::Clients;
use crate::shard::Shard;

/// Messages whose places are in memory a second time, unless one session has more.
const WANTED_MAX: usize = 1 << 18;
/// No further piece is read while so many are not on the disk.
const PIECES_UNWRITTEN: usize = 2;
/// Bytes between two messages that are read along with them.
const GAP_BYTES: u32 = 16 << 10;

/// A message that is to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    offset: u32,
    bytes: u32,
    session: SessionKey,
    /// Where the session has it, unless something has changed since.
    index: u32,
}

/// A piece that is being read.
#[derive(Debug)]
struct Piece {
    id: u64,
    bytes: Range<u32>,
    /// Of [`Copies::wanted`], from the first that is left.
    count: usize,
}

/// See the module. Lives on: the shard, when it has a journal; empty but at a start with another number of shards.
/// Bounded by the segments of former logs, and by [`WANTED_MAX`].
#[derive(Debug, Default)]
pub(super) struct Copies {
    segments: VecDeque<Rc<Hold>>,
    /// Of the first of them, in the order in which they lie there.
    wanted: VecDeque<Wanted>,
    under_way: Option<Piece>,
}

impl Copies {
    /// Of what lies in these segments. Each has the keys of the sessions that wait for it.
    pub(super) fn begin(&mut self, segments: Vec<Rc<Hold>>) {
        self.segments = segments.into();
    }

    pub(super) fn are_under_way(&self) -> bool {
        !self.segments.is_empty()
    }

    /// The next piece, unless all is copied or the last one has not been.
    fn next_piece(&mut self, ledger: &Ledger, clients: &Clients) -> Option<(Rc<Hold>, Piece)> {
        if self.under_way.is_some() {
            return None;
        }
        loop {
            let hold = Rc::clone(self.segments.front()?);
            if self.wanted.is_empty() {
                self.wanted = next_wanted(&hold, ledger, clients);
            }
            let bytes_max = ledger.cleaning.turn_bytes;
            if let Some((bytes, count)) = first_piece(&self.wanted, bytes_max) {
                let id = 0; // the caller has numbers
                return Some((hold, Piece { id, bytes, count }));
            }
            self.segments.pop_front();
        }
    }
}

/// Messages in a segment that are in no memory, of some of its sessions, in their order; none: it has none any more.
fn next_wanted(hold: &Rc<Hold>, ledger: &Ledger, clients: &Clients) -> VecDeque<Wanted> {
    let mut all = Vec::new();
    while all.len() < WANTED_MAX {
        let Some(session) = hold.take_session().map(SessionKey) else {
            break;
        };
        let Some(kept) = ledger.sessions.get(&session) else {
            continue; // it has ended
        };
        let stored = clients.session(kept.session).session.stored_with_index();
        let there = stored.filter(|(_, stored)| Rc::ptr_eq(stored.hold(), hold));
        all.extend(there.map(|(index, stored)| {
            let Place { offset, bytes, .. } = stored.place();
            Wanted {
                offset,
                bytes,
                session,
                index: index as u32, // queues are bounded below that
            }
        }));
    }
    all.sort_unstable();
    all.dedup(); // a session may be noted twice
    all.into()
}

/// The first ones of these that one read is enough for: which bytes, and how many they are.
fn first_piece(wanted: &VecDeque<Wanted>, bytes_max: usize) -> Option<(Range<u32>, usize)> {
    let end_of = |one: &Wanted| one.offset.saturating_add(one.bytes);
    let first = wanted.front()?;
    let (start, mut end) = (first.offset, end_of(first));
    let mut count = 0;
    for one in wanted {
        let is_near = one.offset <= end.saturating_add(GAP_BYTES);
        let fits = (end_of(one).max(end) - start) as usize <= bytes_max;
        if count > 0 && !(is_near && fits) {
            break;
        }
        end = end_of(one).max(end);
        count += 1;
    }
    Some((start..end, count))
}

impl Shard {
    /// Messages that wait are still being copied from the logs of another number of shards.
    #[must_use]
    pub fn copies_former(&self) -> bool {
        let durable = self.durable.as_deref();
        durable.is_some_and(|durable| durable.copies.are_under_way())
    }

    /// The next turn writes some of what is taken over from other logs, and nothing else asks for one: its records
    /// before that are on the disk.
    #[must_use]
    pub fn goes_on_taking_over(&self) -> bool {
        self.durable.as_deref().is_some_and(|durable| {
            let is_written = durable.log.durable() == durable.log.last();
            durable.ledger.takes_over && is_written && !durable.copies.are_under_way()
        })
    }

    /// The next piece of a former log that is to be read.
    pub(super) fn poll_former(&mut self) -> Option<ReadBack> {
        let Self {
            durable, clients, ..
        } = self;
        let Durable {
            copies,
            ledger,
            loads,
            log,
            ..
        } = durable.as_deref_mut()?;
        if log.unwritten_bytes() > PIECES_UNWRITTEN * ledger.cleaning.turn_bytes {
            return None;
        }
        let (hold, mut piece) = copies.next_piece(ledger, clients)?;
        piece.id = loads.next_id();
        let read = ReadBack {
            id: piece.id,
            former: hold.former(),
            segment: SegmentNumber(hold.segment()),
            offset: piece.bytes.start,
            bytes: piece.bytes.end - piece.bytes.start,
        };
        copies.under_way = Some(piece);
        Some(read)
    }

    /// Copies what is in a piece that was read; `None`: the piece is not of a former log.
    pub(super) fn handle_former(
        &mut self,
        id: u64,
        bytes: &[u8],
    ) -> Option<Result<(), NotWritten>> {
        let Self {
            durable, clients, ..
        } = self;
        let Durable {
            copies,
            ledger,
            log,
            ..
        } = durable.as_deref_mut()?;
        let piece = copies.under_way.take_if(|piece| piece.id == id)?;
        let hold = Rc::clone(copies.segments.front().expect("a piece is of a segment"));
        let mut last = None;
        for one in copies.wanted.drain(..piece.count) {
            let Some(stored) = stored_of(&one, &hold, ledger, clients) else {
                continue; // dropped, or its session has ended
            };
            let at = match last {
                Some((offset, at)) if offset == one.offset => at, // several wait for it
                _ => {
                    let start = (one.offset - piece.bytes.start) as usize;
                    let record = bytes.get(start..start + one.bytes as usize);
                    match copy(record.unwrap_or_default(), &stored.place(), log) {
                        Some(at) => at,
                        None => return Some(Err(NotWritten::of(stored))),
                    }
                }
            };
            last = Some((one.offset, at));
            let (segment, offset) = at;
            let own = ledger.holds.of(segment).expect("it is being written");
            stored.copied_to(offset, one.session, &own);
        }
        Some(Ok(()))
    }
}

/// Where a session has it.
fn stored_of<'a>(
    one: &Wanted,
    hold: &Rc<Hold>,
    ledger: &Ledger,
    clients: &'a mut Clients,
) -> Option<&'a mut StoredDelivery> {
    let is_it = |stored: &StoredDelivery| {
        Rc::ptr_eq(stored.hold(), hold) && stored.place().offset == one.offset
    };
    let id = ledger.sessions.get(&one.session)?.session;
    let session = &mut clients.session_mut(id).session;
    let index = one.index as usize;
    match session.stored_at(index).is_some_and(|stored| is_it(stored)) {
        true => session.stored_at(index),
        false => session.stored_mut().find(|stored| is_it(stored)),
    }
}

/// Appends the record as it is, a turn of its own; its segment and where it begins there. `None`: it is not what was
/// written.
fn copy(bytes: &[u8], place: &Place, log: &mut Log) -> Option<(u32, u32)> {
    let (record, rest) = Record::split_first(bytes)?;
    let is_it = rest.is_empty() && record.kind == kind::PUBLICATION;
    let is_whole = is_it && crc32c::crc32c(record.body) == place.checksum;
    if !is_whole && !is_on(Mutant::ReadWrongPlace) {
        return None;
    }
    let flags = FIRST | LAST;
    let (_, at) = log.append(&Record { flags, ..record });
    Some((at.segment.0, at.offset))
}
