//! The state that a log holds, read back: a fold over its records that ends with the state of its sessions and retained
//! messages.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use super::crossing_records::KeptCrossings;
use super::holds::SegmentHolds;
use super::record::{decode, kind::is_of_log, Entry, Problem, RecordError, FIRST, LAST, READ_BACK};
use super::turn_records::place_of;
use crate::ids::ShardId;
use crate::journal::{Position, Record, SegmentNumber};
use crate::limits::QueuePolicy;
use crate::mqtt::{Hold, Publication};
use crate::mutant::{is_on, Mutant};
use crate::session::{
    ApplyError, AttributesImage, Change, QueueBounds, RulesImage, Session, SessionImage,
    SessionKey, StoredDelivery,
};
use crate::time::WallTime;

/// Everything fits that was once there.
const NO_BOUNDS: QueueBounds = QueueBounds {
    messages_max: usize::MAX,
    bytes_max: usize::MAX,
    policy: QueuePolicy::DropNewest,
};

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
                kept.missing = state.session.drop_before(first.0);
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
    retained: BTreeMap<Rc<str>, (Rc<Publication>, SegmentNumber)>,
    crossings: KeptCrossings,
    last_key: SessionKey,
    holds: SegmentHolds,
    turn: Turn,
}

/// A session while it is read back.
#[derive(Debug)]
struct State {
    session: Session,
    beside: Beside,
    segment: SegmentNumber,
}

/// Attributes that a session does not hold itself. There are as many as sessions, and few have rules of their own.
#[derive(Debug)]
struct Beside {
    owner: Option<Arc<str>>,
    rules: Option<Box<RulesImage>>,
    expires_at: Option<WallTime>,
    will_due: Option<WallTime>,
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
                        state.change(key, change, &mut self.holds)?;
                    }
                    let holds = &mut |segment| self.holds.of(segment);
                    state.session.queue.store(key, holds);
                }
            }
            Entry::Ended(key) => {
                self.last_key = self.last_key.max(key);
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

    /// The state at the end of the log.
    #[must_use]
    pub fn finish(self) -> KeptState {
        let sessions = self.sessions.into_iter();
        let kept = |(key, state): (SessionKey, Box<State>)| KeptSession {
            key,
            segment: state.segment,
            state: Kept::State(state),
            missing: 0,
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

impl State {
    fn of(image: SessionImage, segment: SegmentNumber, hash_seed: u64) -> Self {
        let beside = Beside {
            owner: image.owner.clone(),
            rules: image.rules.clone().map(Box::new),
            expires_at: image.expires_at,
            will_due: image.will_due,
        };
        let (mut session, _) = Session::restore(image, hash_seed, NO_BOUNDS, READ_BACK);
        session.forget_connection();
        Self {
            session,
            beside,
            segment,
        }
    }

    fn set(&mut self, attributes: AttributesImage) {
        self.session.expiry_interval_s = attributes.expiry_interval_s;
        self.session.will = attributes.will.map(Box::new);
        self.beside = Beside {
            owner: attributes.owner,
            rules: attributes.rules.map(Box::new),
            expires_at: attributes.expires_at,
            will_due: attributes.will_due,
        };
    }

    /// Does a change again, and keeps no publication in memory that the log has.
    fn change(
        &mut self,
        key: SessionKey,
        change: Change,
        holds: &mut SegmentHolds,
    ) -> Result<(), ApplyError> {
        let session = &mut self.session;
        match change {
            Change::QueuedStored(mut stored) => {
                keep(&mut stored, key, holds);
                session.apply(Change::QueuedStored(stored))
            }
            Change::Moved(index, publication) => {
                session.apply(Change::Moved(index, publication))?;
                (session.queue).store_one(index, key, &mut |segment| holds.of(segment));
                Ok(())
            }
            Change::MovedSent(id, publication) => {
                session.apply(Change::MovedSent(id, publication))?;
                (session.window).store_one(id, key, &mut |segment| holds.of(segment));
                Ok(())
            }
            Change::Sent(delivery) => {
                session.apply(Change::Sent(delivery))?;
                (session.window).store_last(key, &mut |segment| holds.of(segment));
                Ok(())
            }
            change => session.apply(change),
        }
    }

    fn image(&self) -> SessionImage {
        let mut image = self.session.image(READ_BACK);
        if is_on(Mutant::FoldForgetsReceived) {
            image.received = crate::session::ReceivedImage::default();
        }
        if is_on(Mutant::FoldReversesQueue) {
            image.queue.reverse();
        }
        SessionImage {
            owner: (self.beside.owner.clone()).filter(|_| !is_on(Mutant::FoldForgetsOwner)),
            rules: self.beside.rules.as_deref().cloned(),
            expires_at: self.beside.expires_at,
            will_due: self.beside.will_due,
            ..image
        }
    }
}

/// What a session names is kept for it.
fn keep(stored: &mut StoredDelivery, key: SessionKey, holds: &mut SegmentHolds) {
    if let Some(hold) = holds.of(stored.place().segment) {
        stored.keep(key, &hold);
    }
}
