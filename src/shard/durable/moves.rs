//! Publications that are not in memory are moved out of the oldest segment, so that it can be used again.
//!
//! Each is read back, a piece at a time, and written anew as a publication of the turn, with a change of its session that
//! says so; it is not put into the session's queue for that. What was read back for its client is written anew as well: the
//! log still names the former place for it.
//!
//! A queue may have millions of entries, most of which lie elsewhere. A turn looks at some of them only, and a session's
//! next visit begins where the last one has ended: what waits together lies together, too.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::loads::{publication_of, record_of, NotWritten, ReadBack};
use super::pieces::put_begins;
use super::seal::Source;
use super::visits::{Message, Piece, Seen, Taken, Visit, LOOKED_AT, PIECE_BYTES};
use super::Durable;
use crate::image::Writer;
use crate::journal::SegmentNumber;
use crate::mqtt::Publication;
use crate::session::{put_change, Change, Session, SessionKey};
use crate::shard::clients::Clients;
use crate::shard::durable::kind;
use crate::shard::durable::ledger::Ledger;
use crate::shard::durable::record::put_key;
use crate::shard::Shard;
use crate::time::Clocks;

/// Changes of one record.
const CHANGES_EACH: usize = 512;
/// Sessions whose next visit begins where the last one has ended; that of others begins at the front.
const REMEMBERED: usize = 64;

/// What is being moved. Lives on: the shard, when it has a journal. Bounded by the bytes of a piece.
#[derive(Debug, Default)]
pub(super) struct Moves {
    visit: Option<Visit>,
    /// Where in the queues of those visited last something was found, as they count; the newest at the end.
    found: VecDeque<(SessionKey, u32)>,
    /// To be read.
    piece: Option<Piece>,
    /// Read, to be written.
    loaded: Vec<(Message, Rc<Publication>)>,
    /// Written in this turn.
    written: Vec<(Message, Rc<Publication>)>,
    /// Read of sessions that the log does not have, since they end with their connections: they stay in memory.
    unrecorded: Vec<(Message, Rc<Publication>)>,
}

impl Moves {
    fn found_at(&self, key: SessionKey) -> Option<u32> {
        let mut found = self.found.iter();
        found
            .find(|(session, _)| *session == key)
            .map(|(_, number)| *number)
    }

    fn remember(&mut self, key: SessionKey, number: u32) {
        self.found.retain(|(session, _)| *session != key);
        if self.found.len() == REMEMBERED {
            self.found.pop_front();
        }
        self.found.push_back((key, number));
    }

    /// Something has been read and is to be written.
    pub(super) fn has_loaded(&self) -> bool {
        !self.loaded.is_empty()
    }

    pub(super) fn is_reading(&self) -> bool {
        self.piece.is_some()
    }

    /// Of the piece that is to be read next; 0: none is, or it is being read.
    pub(super) fn bytes_to_read(&self) -> u32 {
        let piece = self.piece.as_ref().filter(|piece| piece.id.is_none());
        piece.map_or(0, |piece| piece.bytes.end - piece.bytes.start)
    }

    /// Something is left to be looked at, or leaves the log with the end of the turn.
    pub(super) fn is_under_way(&self) -> bool {
        self.visit.is_some() || !self.unrecorded.is_empty()
    }
}

impl Durable {
    /// Moves what lies in the oldest segment and in no memory, until the turn has so many bytes, has looked at enough, or
    /// has to wait for the disk. A piece that is read has no more bytes than there is room for, unless it is one message.
    pub(super) fn move_from(
        &mut self,
        oldest: SegmentNumber,
        (bytes_max, room): (usize, u64),
        source: &Source<'_>,
    ) {
        let piece_bytes = u32::try_from(room).map_or(PIECE_BYTES, |room| room.min(PIECE_BYTES));
        if self.moves.is_reading() {
            return;
        }
        let mut looks = LOOKED_AT;
        let mut piece = None;
        while looks > 0 && self.ledger.records.bytes() < bytes_max {
            if !self.begins_visit(oldest, source)
                || !self.look(source, &mut looks, piece_bytes, &mut piece)
            {
                break;
            }
        }
        self.moves.piece = piece;
    }

    /// There is a session that may have something in the segment.
    fn begins_visit(&mut self, segment: SegmentNumber, source: &Source<'_>) -> bool {
        let Self { moves, ledger, .. } = self;
        let visit = moves.visit.take_if(|visit| visit.segment == segment);
        moves.visit = visit.filter(|visit| ledger.sessions.contains_key(&visit.session));
        let Some(hold) = ledger.holds.used(segment) else {
            moves.visit = None;
            return false;
        };
        while moves.visit.is_none() {
            let Some(key) = hold.take_session().map(SessionKey) else {
                return false;
            };
            let Some(kept) = ledger.sessions.get(&key) else {
                continue; // it has ended
            };
            let session = &source.clients.session(kept.session).session;
            moves.visit = Some(Visit::new(segment, key, session, moves.found_at(key)));
        }
        true
    }

    /// Looks at some of what a session has. False: the piece is full.
    fn look(
        &mut self,
        source: &Source<'_>,
        looks: &mut u32,
        bytes_max: u32,
        piece: &mut Option<Piece>,
    ) -> bool {
        let Self { moves, ledger, .. } = self;
        let visit = moves.visit.as_mut().expect("a session is visited");
        let key = visit.session;
        let kept = ledger.sessions.get(&key).expect("it is kept");
        let session = &source.clients.session(kept.session).session;
        let mut taken = Taken {
            key,
            session,
            piece,
            bytes_max,
            changes: Vec::new(),
            bytes: 0,
        };
        let seen = visit.see(&mut taken, looks);
        let (changes, lane) = (taken.changes, kept.lane);
        match seen {
            Seen::Nothing => moves.visit = None,
            Seen::Some { last, .. } => last.into_iter().for_each(|last| moves.remember(key, last)),
        }
        if !changes.is_empty() {
            ledger.put_changes(key, lane, &changes, source.turn.clocks);
            self.forget_pieces(key);
        }
        !matches!(seen, Seen::Some { fits: false, .. })
    }

    /// Writes what was read, of those that are where they were.
    pub(super) fn put_loaded(&mut self, source: &Source<'_>) {
        let Self {
            moves,
            ledger,
            long_image,
            ..
        } = self;
        for one in moves
            .loaded
            .chunk_by(|(one, _), (other, _)| one.session == other.session)
        {
            let key = one[0].0.session;
            let Some(kept) = ledger.sessions.get(&key) else {
                continue; // it has ended
            };
            let lane = kept.lane;
            let session = &source.clients.session(kept.session).session;
            if !session.is_recorded() {
                moves.unrecorded.extend(one.iter().cloned());
                continue;
            }
            let mut changes = Vec::new();
            for (message, publication) in one {
                let Message { spot, place, .. } = message;
                if session.stored_at_spot(*spot, place).is_none() {
                    continue;
                }
                changes.extend(session.moved_change(*spot, Rc::clone(publication)));
                moves.written.push((*message, Rc::clone(publication)));
            }
            ledger.put_changes(key, lane, &changes, source.turn.clocks);
            long_image.take_if(|image| image.is_of(key));
        }
        moves.loaded.clear();
    }

    /// What was written in this turn is kept where it is now.
    pub(super) fn finish_moves(&mut self, clients: &mut Clients) {
        let Self { moves, ledger, .. } = self;
        for (message, publication) in moves.unrecorded.drain(..) {
            if let Some(kept) = ledger.sessions.get(&message.session) {
                let session = &mut clients.session_mut(kept.session).session;
                session.load_at_spot(message.spot, &message.place, publication);
                ledger.count_here(message.session, session);
            }
        }
        for (message, publication) in moves.written.drain(..) {
            let place = publication.kept_at.place().expect("it was written");
            let hold = ledger.holds.of(place.segment).expect("the log needs it");
            let kept = ledger
                .sessions
                .get(&message.session)
                .expect("it was written");
            let session = &mut clients.session_mut(kept.session).session;
            let stored = session.stored_at_spot_mut(message.spot, &message.place);
            let stored = stored.expect("nothing has changed since it was written");
            stored.written_anew(&place, message.session, &hold);
        }
    }

    /// The log is not cleaned now: what was read stays where it is, and is found again.
    pub(super) fn give_up_moves(&mut self) {
        let Self { moves, ledger, .. } = self;
        let loaded = moves.loaded.drain(..);
        let all =
            loaded.map(|(message, _)| (SegmentNumber(message.place.segment), message.session));
        let visited = moves.visit.take();
        let piece = moves.piece.take_if(|piece| piece.id.is_none());
        let unread = piece.map_or_else(Vec::new, |piece| piece.messages);
        let unread = unread.into_iter();
        let unread = unread.map(|message| (SegmentNumber(message.place.segment), message.session));
        let all = all.chain(unread);
        for (segment, key) in all.chain(visited.map(|visit| (visit.segment, visit.session))) {
            if let Some(hold) = ledger.holds.used(segment) {
                hold.note(key.0);
            }
        }
    }
}

impl Shard {
    /// The next piece of the oldest segment that is to be read.
    pub(super) fn poll_move(&mut self) -> Option<ReadBack> {
        let Durable {
            moves, loads, log, ..
        } = self.durable.as_deref_mut()?;
        let piece = moves.piece.as_mut().filter(|piece| piece.id.is_none())?;
        let end = piece.end();
        if !log.has_written(end) {
            return None;
        }
        let id = loads.next_id();
        piece.id = Some(id);
        Some(ReadBack {
            id,
            former: None,
            segment: end.segment,
            offset: piece.bytes.start,
            bytes: end.offset - piece.bytes.start,
        })
    }

    /// What is in a piece that was read; `None`: the piece is not of the oldest segment.
    pub(super) fn handle_move(&mut self, id: u64, bytes: &[u8]) -> Option<Result<(), NotWritten>> {
        let clocks = self.turn.clocks;
        let Durable { moves, ledger, .. } = self.durable.as_deref_mut()?;
        let mut piece = moves.piece.take_if(|piece| piece.id == Some(id))?;
        let it = |message: &Message| (message.session, message.spot);
        piece.messages.sort_unstable_by_key(it);
        piece.messages.dedup_by_key(|message| it(message)); // a session may have been visited twice
                                                            // By where they lie: what several sessions wait for is written once.
        let mut found: HashMap<u32, Rc<Publication>> = HashMap::new();
        for message in piece.messages {
            let Some(kept) = ledger.sessions.get(&message.session) else {
                continue; // it has ended
            };
            let session = &self.clients.session(kept.session).session;
            let Some(stored) = session.stored_at_spot(message.spot, &message.place) else {
                continue; // it was taken meanwhile
            };
            let place = &message.place;
            if let Some(publication) = found.get(&place.offset) {
                moves.loaded.push((message, Rc::clone(publication)));
                continue;
            }
            let record = record_of(bytes, piece.bytes.start, place);
            let Some(publication) = record.and_then(|it| publication_of(it, place, clocks)) else {
                return Some(Err(NotWritten::of(stored)));
            };
            let publication = Rc::new(publication);
            found.insert(place.offset, Rc::clone(&publication));
            moves.loaded.push((message, publication));
        }
        Some(Ok(()))
    }
}

impl Ledger {
    /// What waits in a queue from there on, behind the image of its session.
    pub(super) fn put_queue(
        &mut self,
        key: SessionKey,
        session: &Session,
        from: usize,
        clocks: Clocks,
    ) {
        let changes = session.queue.as_changes(from..session.queue.len());
        let lane = self.sessions[&key].lane;
        self.put_changes(key, lane, &changes, clocks);
    }

    /// Some of what waits in a queue, for the image that is to come.
    pub(super) fn put_piece(
        &mut self,
        key: SessionKey,
        begins: bool,
        changes: &[Change],
        clocks: Clocks,
    ) {
        let lane = self.sessions[&key].lane;
        for (index, some) in changes.chunks(CHANGES_EACH).enumerate() {
            let records = &mut self.records;
            records.add(kind::PIECE, lane, clocks, |out, number_of| {
                put_key(out, key);
                put_begins(out, begins && index == 0);
                for change in some {
                    put_change(out, change, number_of);
                }
            });
        }
    }

    fn put_changes(&mut self, key: SessionKey, lane: u16, changes: &[Change], clocks: Clocks) {
        for some in changes.chunks(CHANGES_EACH) {
            self.records.add(
                kind::CHANGES,
                lane,
                clocks,
                |out: &mut Writer<'_>, number_of| {
                    put_key(out, key);
                    for change in some {
                        put_change(out, change, number_of);
                    }
                },
            );
        }
    }
}
