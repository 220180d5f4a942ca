//! The ledger: what the journal holds of each session and retained message, and what is to be recorded at the end of
//! the turn.

use std::collections::HashMap;
use std::rc::Rc;

use super::places::{Item, Places};
use super::turn_records::TurnRecords;
use crate::ids::SessionId;
use crate::journal::SegmentNumber;
use crate::session::{Change, Recorder, Session, SessionKey, SharedChanges};
use crate::shard::clients::session_entry::SessionEntry;

/// The log may be so much larger than twice what is alive before it is cleaned.
const SLACK_BYTES: u64 = 256 << 20;
/// Bytes that one turn writes anew, unless it has more of its own.
const TURN_BYTES: usize = 256 << 10;

/// Of keys that are asked for.
const KEPT: &str = "the key is of a session that is kept";

/// When and how fast the log is cleaned.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct CleaningBounds {
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
    /// What writing it anew takes, about.
    pub(super) cost: u64,
}

/// See the module. Lives on: the shard, when it has a journal. Bounded by sessions and retained messages.
#[derive(Debug)]
pub(in crate::shard) struct Ledger {
    pub(super) changes: SharedChanges,
    /// Changes being written, empty between turns.
    pub(super) drained: Vec<(SessionKey, Change)>,
    pub(super) sessions: HashMap<SessionKey, Kept, ahash::RandomState>,
    keys: HashMap<SessionId, SessionKey, ahash::RandomState>,
    pub(super) marked: Vec<SessionKey>,
    /// Of this turn, with their lanes.
    pub(super) ended: Vec<(SessionKey, u16)>,
    pub(super) next_key: SessionKey,
    /// Where the record of each retained topic is.
    pub(super) retained: HashMap<Rc<str>, SegmentNumber, ahash::RandomState>,
    pub(super) records: TurnRecords,
    pub(super) places: Places,
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
            sessions: HashMap::with_hasher(state(1)),
            keys: HashMap::with_hasher(state(2)),
            marked: Vec::new(),
            ended: Vec::new(),
            next_key: SessionKey(1),
            retained: HashMap::with_hasher(state(3)),
            records: TurnRecords::new(hash_seed),
            places: Places::default(),
            sessions_cost: 0,
            cleaning: CleaningBounds {
                slack_bytes: SLACK_BYTES,
                turn_bytes: TURN_BYTES,
            },
        }
    }

    /// Nothing is left to be written.
    pub(super) fn is_settled(&self) -> bool {
        self.marked.is_empty() && self.ended.is_empty() && self.changes.is_empty()
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
        match self.keys.get(&id).copied() {
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
        };
        self.sessions.insert(key, kept);
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
        self.sessions_cost -= kept.cost;
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
        let cost = cost(session);
        self.sessions_cost = self.sessions_cost - kept.cost + cost;
        kept.cost = cost;
    }

    pub(super) fn image_is_in(&mut self, key: SessionKey, segment: SegmentNumber) {
        let kept = self.sessions.get_mut(&key).expect(KEPT);
        let from = kept.segment.replace(segment);
        self.places.moved(Item::Session(key), from, segment);
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

/// About what the image of a session takes.
fn cost(session: &Session) -> u64 {
    let will = session.will.as_ref();
    let will = will.map_or(0, |will| will.payload.len() + will.topic.len());
    let own = 64 + session.client_id.len() + will;
    let queued = session.queue.bytes() + session.window.bytes() + session.subscriptions.bytes();
    (own + queued) as u64
}
