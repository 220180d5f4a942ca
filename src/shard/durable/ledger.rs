//! The ledger: what the journal holds of each session and retained message, and what is to be recorded at the end of
//! the turn.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::holds::SegmentHolds;
use super::places::{Item, Places};
use super::turn_records::TurnRecords;
use crate::ids::SessionId;
use crate::journal::SegmentNumber;
use crate::mqtt::Publication;
use crate::mutant::{is_on, Mutant};
use crate::session::{Change, Recorder, Session, SessionKey, SharedChanges};
use crate::shard::clients::session_entry::SessionEntry;
use crate::shard::clients::Clients;

/// Bytes that one turn writes anew, unless it has more of its own.
const TURN_BYTES: usize = 256 << 10;

/// Of keys that are asked for.
const KEPT: &str = "the key is of a session that is kept";

/// When and how fast the log is cleaned.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct CleaningBounds {
    /// The log may be so much larger than twice what is alive before it is cleaned.
    pub(in crate::shard) slack_bytes: u64,
    pub(in crate::shard) turn_bytes: usize,
}

/// What the end of the turn has to write of a session, besides its changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    #[default]
    Nothing,
    Attributes,
    /// All of it: then its changes are in it.
    Image,
}

/// A session that the journal keeps.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) session: SessionId,
    pub(super) lane: u16,
    pub(super) mark: Mark,
    /// Where its last image is; `None`: the log does not know it yet.
    pub(super) segment: Option<SegmentNumber>,
    /// What writing it anew takes, about. Here and below: in 32 bits, since there are as many as sessions; what is more
    /// counts as that.
    cost: u32,
    /// Bytes of what waits for it in memory, and what was left of them when all was taken out that could be.
    here: u32,
    stuck: u32,
    /// Among those whose publications are taken out of memory next.
    is_listed: bool,
}

const _: () = assert!(size_of::<Kept>() <= 32);

/// See the module. Lives on: the shard, when it has a journal. Bounded by sessions and retained messages.
#[derive(Debug)]
pub(in crate::shard) struct Ledger {
    pub(super) changes: SharedChanges,
    /// Changes being written, empty between turns.
    pub(super) drained: Vec<(SessionKey, Change)>,
    /// In the order of their sessions, by their numbers; empty between turns.
    pub(super) order: Vec<(SessionKey, usize)>,
    pub(super) sessions: HashMap<SessionKey, Kept, ahash::RandomState>,
    keys: HashMap<SessionId, SessionKey, ahash::RandomState>,
    pub(super) marked: Vec<SessionKey>,
    /// They are of other logs, which count until all of them are written: each turn writes some.
    pub(super) takes_over: bool,
    /// Of this turn, with their lanes.
    pub(super) ended: Vec<(SessionKey, u16)>,
    pub(super) next_key: SessionKey,
    /// Where the record of each retained topic is.
    pub(super) retained: HashMap<Rc<str>, SegmentNumber, ahash::RandomState>,
    pub(super) records: TurnRecords,
    pub(super) places: Places,
    pub(super) holds: SegmentHolds,
    /// Bytes of what waits for sessions in memory.
    here_bytes: usize,
    /// Sessions with something of that, the longest known first.
    listed: VecDeque<SessionKey>,
    /// What waits for it is taken out of memory at the end of the turn.
    to_store: Option<SessionKey>,
    /// What writing all sessions anew would take, about.
    pub(super) sessions_cost: u64,
    pub(in crate::shard) cleaning: CleaningBounds,
}

impl Ledger {
    pub(super) fn new(hash_seed: u64) -> Self {
        let state = |n| ahash::RandomState::with_seeds(hash_seed, 24, 25, n);
        Self {
            changes: SharedChanges::default(),
            drained: Vec::new(),
            order: Vec::new(),
            sessions: HashMap::with_hasher(state(1)),
            keys: HashMap::with_hasher(state(2)),
            marked: Vec::new(),
            takes_over: false,
            ended: Vec::new(),
            next_key: SessionKey(1),
            retained: HashMap::with_hasher(state(3)),
            records: TurnRecords::new(hash_seed),
            places: Places::default(),
            holds: SegmentHolds::default(),
            here_bytes: 0,
            listed: VecDeque::new(),
            to_store: None,
            sessions_cost: 0,
            cleaning: CleaningBounds {
                slack_bytes: 0,
                turn_bytes: TURN_BYTES,
            },
        }
    }

    /// Nothing is left to be written.
    pub(super) fn is_settled(&self) -> bool {
        self.marked.is_empty() && self.ended.is_empty() && self.changes.is_empty()
    }

    /// The same, but for sessions that are marked.
    pub(super) fn has_images_only(&self) -> bool {
        self.ended.is_empty() && self.changes.is_empty()
    }

    /// There will be so many more sessions.
    pub(super) fn reserve(&mut self, sessions: usize) {
        self.sessions.reserve(sessions);
        self.keys.reserve(sessions);
    }

    fn key_of(&self, id: SessionId) -> Option<SessionKey> {
        self.keys.get(&id).copied()
    }

    /// A session was made, or something beside its state has changed: its connection, its expiry, its will.
    pub(super) fn session_changed(&mut self, id: SessionId, entry: &mut SessionEntry, lane: u16) {
        let session = &mut entry.session;
        if !outlives_crash(session) {
            session.record_by(None);
            self.session_ended(id);
            return;
        }
        let is_recorded = session.expiry_interval_s > 0;
        match self.key_of(id) {
            Some(key) if session.is_recorded() == is_recorded => self.mark(key, Mark::Attributes),
            Some(key) => {
                session.record_by(is_recorded.then(|| Recorder::new(key, &self.changes)));
                self.mark(key, Mark::Image);
            }
            None => {
                let key = self.next_key;
                self.next_key = SessionKey(key.0 + 1);
                self.keep(id, session, key, (lane, None));
                self.mark(key, Mark::Image);
            }
        }
    }

    /// The journal keeps a session from here on.
    pub(super) fn keep(
        &mut self,
        id: SessionId,
        session: &mut Session,
        key: SessionKey,
        (lane, segment): (u16, Option<SegmentNumber>),
    ) {
        let is_recorded = session.expiry_interval_s > 0;
        session.record_by(is_recorded.then(|| Recorder::new(key, &self.changes)));
        self.keys.insert(id, key);
        let kept = Kept {
            session: id,
            lane,
            mark: Mark::Nothing,
            segment,
            cost: 0,
            here: 0,
            stuck: 0,
            is_listed: false,
        };
        self.sessions.insert(key, kept);
        for stored in session.stored_mut() {
            if stored.lies_in_former() {
                stored.note(key); // until it is copied
            } else if let Some(hold) = self.holds.of(stored.place().segment) {
                stored.keep(key, &hold);
            }
        }
        if let Some(segment) = segment {
            self.places.moved(Item::Session(key), None, segment);
            self.count_cost(key, session);
        }
    }

    pub(super) fn mark(&mut self, key: SessionKey, mark: Mark) {
        let kept = self.sessions.get_mut(&key).expect(KEPT);
        if kept.mark == Mark::Nothing {
            self.marked.push(key);
        }
        kept.mark = kept.mark.max(mark);
    }

    pub(super) fn mark_written(&mut self, key: SessionKey) {
        self.sessions.get_mut(&key).expect(KEPT).mark = Mark::Nothing;
    }

    /// A session has ended, or need not outlive the process any more.
    pub(super) fn session_ended(&mut self, id: SessionId) {
        let Some(key) = self.keys.remove(&id) else {
            return;
        };
        let kept = self.sessions.remove(&key);
        let kept = kept.expect(KEPT);
        self.sessions_cost -= u64::from(kept.cost);
        self.here_bytes -= kept.here as usize;
        if kept.segment.is_some() {
            self.places.left(kept.segment);
            self.ended.push((key, kept.lane));
        }
    }

    /// A session that the log holds is not continued.
    pub(super) fn forget_kept(&mut self, key: SessionKey, lane: u16) {
        self.ended.push((key, lane));
    }

    /// A record of a session is written: it may take more or less than before.
    pub(super) fn count_cost(&mut self, key: SessionKey, session: &Session) {
        let kept = self.sessions.get_mut(&key).expect(KEPT);
        let cost = in_32_bits(cost(session));
        self.sessions_cost = self.sessions_cost - u64::from(kept.cost) + u64::from(cost);
        kept.cost = cost;
        self.count_here(key, session);
    }

    /// Something of a session was taken out of memory, or was read back.
    pub(super) fn count_here(&mut self, key: SessionKey, session: &Session) {
        let kept = self.sessions.get_mut(&key).expect(KEPT);
        let here = in_32_bits(here_bytes(session));
        self.here_bytes = self.here_bytes - kept.here as usize + here as usize;
        kept.here = here;
        kept.stuck = kept.stuck.min(here);
        // What could not be taken out is not looked at again for each that comes.
        if here / 2 > kept.stuck && !std::mem::replace(&mut kept.is_listed, true) {
            self.listed.push_back(key);
        }
    }

    /// The same, of a session that may not be kept any more.
    pub(super) fn count_here_of(&mut self, id: SessionId, session: &Session) {
        if let Some(key) = self.key_of(id) {
            self.count_here(key, session);
        }
    }

    /// Its image would be larger than what a turn writes, and names places when what waits for it is out of memory,
    /// which is done first.
    pub(super) fn stores_first(&mut self, key: SessionKey, bytes_max: usize) -> bool {
        let Some(kept) = self.sessions.get(&key) else {
            return false; // it has ended, or is not kept any more
        };
        let is_large = kept.here as usize > bytes_max && kept.here / 2 > kept.stuck;
        if is_large {
            self.to_store = Some(key);
        }
        is_large
    }

    /// See [`stores_first`](Self::stores_first).
    pub(super) fn stores_soon(&self) -> bool {
        self.to_store.is_some()
    }

    /// See [`stores_first`](Self::stores_first).
    pub(super) fn store_large(&mut self, clients: &mut Clients) {
        if let Some(key) = self.to_store.take() {
            self.store_session(key, clients);
        }
    }

    fn store_session(&mut self, key: SessionKey, clients: &mut Clients) {
        let Some(kept) = self.sessions.get_mut(&key) else {
            return; // it has ended
        };
        let session = &mut clients.session_mut(kept.session).session;
        session.store(key, &mut |segment| self.holds.of(segment));
        let here = in_32_bits(here_bytes(session));
        self.here_bytes = self.here_bytes - kept.here as usize + here as usize;
        (kept.here, kept.stuck) = (here, here);
    }

    /// Takes out of memory what waits for clients, those that are away first, until it is no more than so many bytes.
    pub(super) fn store_excess(&mut self, clients: &mut Clients, bytes_max: usize) {
        for takes_connected in [false, true] {
            for _ in 0..self.listed.len() {
                if self.here_bytes <= bytes_max {
                    return;
                }
                let Some(key) = self.listed.pop_front() else {
                    return;
                };
                let Some(kept) = self.sessions.get_mut(&key) else {
                    continue; // it has ended
                };
                let session = &mut clients.session_mut(kept.session).session;
                if session.connection.is_some() && !takes_connected {
                    self.listed.push_back(key);
                    continue;
                }
                kept.is_listed = false;
                self.store_session(key, clients);
            }
        }
    }

    /// From which segment on the log is needed.
    pub(super) fn oldest_needed(&mut self, current: SegmentNumber) -> SegmentNumber {
        let by_items = self.places.oldest_needed(current);
        if is_on(Mutant::ReuseSegmentEarly) {
            return by_items;
        }
        by_items.min(self.holds.oldest_needed(current))
    }

    pub(super) fn image_is_in(&mut self, key: SessionKey, segment: SegmentNumber) -> SessionId {
        let kept = self.sessions.get_mut(&key).expect(KEPT);
        let from = kept.segment.replace(segment);
        let session = kept.session;
        self.places.moved(Item::Session(key), from, segment);
        session
    }

    pub(super) fn retained_is_in(&mut self, topic: &Rc<str>, segment: SegmentNumber) {
        let from = self.retained.insert(Rc::clone(topic), segment);
        self.places
            .moved(Item::Retained(Rc::clone(topic)), from, segment);
    }
}

/// One that ends with its connection does not, except that its will is published.
pub(in crate::shard) fn outlives_crash(session: &Session) -> bool {
    session.expiry_interval_s > 0 || session.will.is_some()
}

pub(super) fn in_32_bits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Bytes of what waits for a session in memory.
fn here_bytes(session: &Session) -> usize {
    let in_flight = match session.connection {
        None => session.window.here_bytes(),
        Some(_) => 0, // its client is about to acknowledge it
    };
    session.queue.here_bytes() + in_flight
}

/// About what a session takes in the log, with what waits for it.
fn cost(session: &Session) -> usize {
    /// Beyond topic, properties and payload a message has so much more in memory than in the log.
    const LESS: usize = size_of::<Publication>() - 64;
    let will = session.will.as_ref();
    let will = will.map_or(0, |will| will.payload.len() + will.topic.len());
    let sensor = session.sensor.as_ref().map_or(0, |sensor| sensor.cost());
    let own = 64 + session.client_id.len() + will + sensor + session.subscriptions.bytes();
    let messages = session.queue.len() + session.window.len();
    let queued = session.queue.bytes() + session.window.bytes();
    own + queued.saturating_sub(messages * LESS)
}
