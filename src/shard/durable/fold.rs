//! The state that a log holds, read back: a fold over its records that ends with the state of its sessions and retained
//! messages.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::crossing_records::KeptCrossings;
use super::holds::SegmentHolds;
use super::ledger::in_32_bits;
use super::pieces::PiecesOfQueue;
use super::read_pieces::ReadPieces;
use super::read_session::{keep, State};
use super::record::{decode, kind::is_of_log, Entry, Problem, RecordError, FIRST, LAST, READ_BACK};
use super::turn_records::place_of;
use crate::ids::ShardId;
use crate::journal::{Position, Record, SegmentNumber};
use crate::mqtt::{Hold, Publication};
use crate::session::{Load, SessionImage, SessionKey};
use crate::time::WallTime;

/// The state at the end of a log, in wall time, as far as one shard owns it.
#[derive(Debug, Default)]
pub struct KeptState {
    pub sessions: Vec<KeptSession>,
    /// With the segment of each one's record. Their times are of [`READ_BACK`].
    pub(super) retained: Vec<(Rc<Publication>, SegmentNumber)>,
    /// By log: what crosses between shards, and how many of the sessions are of it.
    pub(super) logs: Vec<(KeptCrossings, usize)>,
    pub(super) next_key: SessionKey,
    /// The log is continued, and what it holds need not be written anew.
    pub(super) goes_on: bool,
    /// Of what is not in memory.
    pub(super) holds: SegmentHolds,
    /// Segments of other logs in which that lies.
    pub(super) former: Vec<Rc<Hold>>,
}

/// A session at the end of a log.
#[derive(Debug)]
pub struct KeptSession {
    pub key: SessionKey,
    /// Of its last image.
    pub segment: SegmentNumber,
    state: Kept,
    /// Messages of it that the log names and does not have.
    pub(super) missing: usize,
}

/// As it was read back, which takes the least memory, or as it came from elsewhere.
#[derive(Debug)]
enum Kept {
    State(Box<State>),
    Image(Box<SessionImage>),
}

impl KeptSession {
    #[must_use]
    pub fn client_id(&self) -> &Rc<str> {
        match &self.state {
            Kept::State(state) => &state.session.client_id,
            Kept::Image(image) => &image.client_id,
        }
    }

    /// Messages that wait or are in flight.
    #[must_use]
    pub fn messages(&self) -> usize {
        match &self.state {
            Kept::State(state) => state.session.queue.len() + state.session.window.len(),
            Kept::Image(image) => image.queue.len() + image.window.entries.len(),
        }
    }

    /// Reads back what is not in memory, until `load` has none.
    pub(super) fn load(&mut self, load: Load<'_>) {
        if let Kept::State(state) = &mut self.state {
            state.session.load(load);
        }
    }

    #[must_use]
    pub fn image(&self) -> SessionImage {
        match &self.state {
            Kept::State(state) => state.image(),
            Kept::Image(image) => SessionImage::clone(image),
        }
    }
}

impl KeptState {
    /// The state of several logs of a time when there was another number of shards, in their order; all of it is written
    /// anew. What is not in memory stays where it is until then.
    #[must_use]
    pub fn of_several(states: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for state in states {
            state.holds.forget_sessions(); // their keys are others now
            all.former.extend(state.holds.into_used());
            all.sessions.extend(state.sessions);
            all.retained.extend(state.retained);
            all.logs.extend(state.logs);
        }
        all
    }

    /// A state from elsewhere; all of it is written anew. Retained messages come with the time at which each expires.
    #[must_use]
    pub fn of(sessions: Vec<SessionImage>, retained: Vec<(Publication, Option<WallTime>)>) -> Self {
        let sessions = sessions.into_iter().zip(1..);
        let sessions = sessions.map(|(image, key)| KeptSession {
            key: SessionKey(key),
            segment: SegmentNumber(0),
            state: Kept::Image(Box::new(image)),
            missing: 0,
        });
        let retained = retained.into_iter().map(|(publication, expires_at)| {
            let expires_at = expires_at.map(|at| READ_BACK.to_time(at));
            let publication = Publication {
                expires_at,
                ..publication
            };
            (Rc::new(publication), SegmentNumber(0))
        });
        Self {
            sessions: sessions.collect(),
            retained: retained.collect(),
            ..Self::default()
        }
    }

    /// The log begins with this segment, since a repair has given up what was before it: messages that lie there are
    /// dropped. Says of which sessions, and how many.
    pub fn drop_before(&mut self, first: SegmentNumber) -> Vec<(Rc<str>, usize)> {
        let mut all = Vec::new();
        for kept in &mut self.sessions {
            if let Kept::State(state) = &mut kept.state {
                kept.missing += state.session.drop_before(first.0);
                if kept.missing > 0 {
                    all.push((Rc::clone(&state.session.client_id), kept.missing));
                }
            }
        }
        all
    }

    #[must_use]
    pub fn retained(&self) -> usize {
        self.retained.len()
    }
}

/// See the module. Made by [`Shard::begin_fold`](crate::shard::Shard::begin_fold).
#[derive(Debug)]
pub struct StateFold {
    /// By lane: the shard owns it.
    is_own: Box<[bool]>,
    hash_seed: u64,
    sessions: BTreeMap<SessionKey, Box<State>>,
    pieces: ReadPieces,
    retained: BTreeMap<Rc<str>, (Rc<Publication>, SegmentNumber)>,
    crossings: KeptCrossings,
    last_key: SessionKey,
    holds: SegmentHolds,
    turn: Turn,
}

/// The turn whose records are being read: none of them counts before the last one is there.
#[derive(Debug, Default)]
struct Turn {
    /// Where it begins; `None`: between two turns.
    begun: Option<Position>,
    publications: HashMap<u32, Rc<Publication>, ahash::RandomState>,
    entries: Vec<(Position, Entry)>,
}

impl StateFold {
    /// `former`: the log is of another number of shards.
    pub(super) fn new(is_own: Box<[bool]>, hash_seed: u64, former: Option<ShardId>) -> Self {
        let state = ahash::RandomState::with_seeds(hash_seed, 31, 32, 33);
        Self {
            is_own,
            hash_seed,
            sessions: BTreeMap::new(),
            pieces: ReadPieces::new(hash_seed),
            retained: BTreeMap::new(),
            crossings: KeptCrossings::default(),
            last_key: SessionKey(0),
            holds: SegmentHolds::in_log(former.map(|shard| shard.0)),
            turn: Turn {
                publications: HashMap::with_hasher(state),
                ..Turn::default()
            },
        }
    }

    /// Takes the next record of the log.
    ///
    /// # Errors
    /// No shard has written it, or it does not fit what came before.
    pub fn record(&mut self, at: Position, record: Record<'_>) -> Result<(), RecordError> {
        let error = |problem| RecordError { at, problem };
        if record.flags & FIRST != 0 {
            // The process may have ended in the middle of the turn before, which then does not count.
            self.turn.begun = Some(at);
            self.turn.publications.clear();
            self.turn.entries.clear();
        }
        if self.turn.begun.is_none() {
            let is_beginning = self.last_key == SessionKey(0) && self.retained.is_empty();
            // The rest of a turn whose beginning was in a segment that has been removed.
            return is_beginning.then_some(()).ok_or(error(Problem::NoTurn));
        }
        let is_own = self.is_own.get(usize::from(record.lane)) == Some(&true);
        if is_own || is_of_log(record.kind) {
            let publications = &self.turn.publications;
            let find = |number| publications.get(&number).cloned();
            match decode(record.kind, record.body, &find).map_err(error)? {
                Entry::Publication(number, publication) => {
                    publication.kept_at.set(place_of(&record, at));
                    self.turn.publications.insert(number, publication);
                }
                entry => self.turn.entries.push((at, entry)),
            }
        }
        if record.flags & LAST != 0 {
            self.end_turn()?;
        }
        Ok(())
    }

    fn end_turn(&mut self) -> Result<(), RecordError> {
        let Some(begun) = self.turn.begun.take() else {
            return Ok(());
        };
        let mut entries = std::mem::take(&mut self.turn.entries);
        for (at, entry) in entries.drain(..) {
            let problem = |problem| RecordError { at, problem };
            self.entry(entry, begun.segment).map_err(problem)?;
        }
        self.turn.entries = entries;
        self.turn.publications.clear();
        Ok(())
    }

    /// A record of a session that is not known is passed over: its image comes later, or it has ended.
    fn entry(&mut self, entry: Entry, segment: SegmentNumber) -> Result<(), Problem> {
        match entry {
            Entry::Publication(..) => {}
            Entry::Image(key, image) => {
                self.last_key = self.last_key.max(key);
                let mut state = State::of(*image, segment, self.hash_seed);
                for stored in state.session.stored_mut() {
                    keep(stored, key, &mut self.holds);
                }
                self.sessions.insert(key, Box::new(state));
            }
            Entry::Attributes(key, attributes) => {
                if let Some(state) = self.sessions.get_mut(&key) {
                    state.set(*attributes);
                }
            }
            Entry::Changes(key, changes) => {
                if let Some(state) = self.sessions.get_mut(&key) {
                    for change in changes {
                        let is_done = state.change(key, change, &mut self.holds);
                        is_done.or_else(|error| state.is_cut.then_some(()).ok_or(error))?;
                    }
                    let holds = &mut |segment| self.holds.of(segment);
                    state.session.queue.store(key, holds);
                }
            }
            Entry::Piece(key, piece) => {
                let holds = &mut |segment| self.holds.of(segment);
                self.pieces.add(key, piece, segment, holds)?;
            }
            Entry::Pieces(key, pieces) => self.begin_queue(key, pieces)?,
            Entry::Ended(key) => {
                self.last_key = self.last_key.max(key);
                self.pieces.ended(key);
                self.sessions.remove(&key);
            }
            Entry::Retained(topic, Some(publication)) => {
                self.retained.insert(topic, (publication, segment));
            }
            Entry::Retained(topic, None) => {
                self.retained.remove(&topic);
            }
            Entry::Held(number, it) => {
                self.crossings.held.insert(number, (it, segment));
            }
            Entry::Crossings(numbers) => self.crossings.set_numbers(numbers, segment),
        }
        Ok(())
    }

    /// The image that came just before begins with pieces.
    fn begin_queue(&mut self, key: SessionKey, pieces: PiecesOfQueue) -> Result<(), Problem> {
        // Its image is the record before this one.
        let Some(state) = self.sessions.get_mut(&key) else {
            return Err(Problem::Piece);
        };
        if !state.session.queue.is_empty() {
            return Err(Problem::Piece);
        }
        match self.pieces.take(key, pieces)? {
            Some((queue, segment, missing)) => {
                state.session.queue = queue;
                state.segment = segment;
                state.missing = in_32_bits(missing);
            }
            None => state.missing = in_32_bits(pieces.wait()),
        }
        state.is_cut = state.missing > 0;
        Ok(())
    }

    /// The state at the end of the log.
    #[must_use]
    pub fn finish(self) -> KeptState {
        let sessions = self.sessions.into_iter();
        let kept = |(key, state): (SessionKey, Box<State>)| KeptSession {
            key,
            segment: state.segment,
            missing: state.missing as usize,
            state: Kept::State(state),
        };
        let sessions: Vec<_> = sessions.map(kept).collect();
        KeptState {
            holds: self.holds,
            logs: vec![(self.crossings, sessions.len())],
            sessions,
            retained: self.retained.into_values().collect(),
            next_key: SessionKey(self.last_key.0.saturating_add(1)),
            goes_on: true,
            former: Vec::new(),
        }
    }
}
