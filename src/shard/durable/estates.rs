//! Estates: what a member of a shared group leaves to the others and is not in memory, until it is read back and handed
//! on.
//!
//! To the log an estate is a session, with a queue and nothing else: so it is written, read, moved and restored as what
//! waits for a client is. No client comes for it, since its name begins with what no client id may have in it. All
//! that was left at once is one estate; they are handed on one after the other, a piece each turn.

use std::collections::VecDeque;
use std::rc::Rc;

use super::fold::KeptSession;
use super::ledger::Mark;
use super::Durable;
use crate::ids::SessionId;
use crate::mutant::{is_on, Mutant};
use crate::session::{QueueBounds, Session, Waiting};
use crate::shard::clients::session_entry::SessionEntry;
use crate::shard::Shard;
use crate::time::Time;

/// Messages of estates that are handed on in one turn.
const TURN_MESSAGES: usize = 256;

/// Before the client id of who has left it; no client has it in its own [MQTT-1.5.4-2].
const MARK: char = '\0';

/// Those of a shard, the oldest first. Lives on: the shard, when it has a journal.
#[derive(Debug, Default)]
pub(in crate::shard) struct Estates(VecDeque<SessionId>);

impl Estates {
    #[cfg(any(test, feature = "testing"))]
    pub(in crate::shard) fn len(&self) -> usize {
        self.0.len()
    }
}

impl SessionEntry {
    /// What a member of shared groups has left, and not the session of a client.
    pub(in crate::shard) fn is_estate(&self) -> bool {
        is_estate(&self.session.client_id)
    }
}

fn is_estate(name: &str) -> bool {
    name.starts_with(MARK)
}

impl Durable {
    /// What is handed on may go to other shards, whose members must be known, and is written for them. On a full disk
    /// half a file is left for acknowledgements.
    fn keeps_estates(&self) -> bool {
        let is_short = self.full.own && self.log.room() < u64::from(self.log.segment_bytes()) / 2;
        !self.announcements.are_complete()
            || self.ledger.takes_over
            || self.pressure.is_high()
            || is_short
    }
}

impl Shard {
    /// Keeps what is to be handed on until it has been read back; it is what `of` has given up, in order.
    pub(in crate::shard) fn leave_estate(&mut self, of: SessionId, left: Vec<Waiting>) {
        let left = match is_on(Mutant::ForgetEstates) {
            true => Vec::new(),
            false => left,
        };
        let client_id = &self.clients.session(of).session.client_id;
        let lane = self.routes.placement.lane_number(client_id);
        let name = Rc::from(format!("{MARK}{client_id}"));
        let session = Session::estate(name, self.config.hash_seed, left);
        let id = self
            .clients
            .sessions
            .insert(SessionEntry::new(session, &self.config));
        let durable = self.durable.as_deref_mut();
        let durable = durable.expect("what is in no memory is in a log");
        let entry = self.clients.session_mut(id);
        durable.ledger.session_changed(id, entry, lane);
        durable.estates.0.push_back(id);
    }

    /// One that the log has kept.
    pub(super) fn restore_estate(&mut self, kept: &KeptSession, goes_on: bool) {
        /// It has what was kept, whatever the limits are now.
        const NO_BOUNDS: QueueBounds = QueueBounds {
            messages_max: usize::MAX,
            bytes_max: usize::MAX,
            policy: crate::limits::QueuePolicy::DropNewest,
        };
        let image = kept.image();
        let client_id = image.client_id.trim_start_matches(MARK);
        let lane = self.routes.placement.lane_number(client_id);
        let (seed, clocks) = (self.config.hash_seed, self.clocks());
        let (session, _) = Session::restore(image, seed, NO_BOUNDS, clocks);
        let id = self
            .clients
            .sessions
            .insert(SessionEntry::new(session, &self.config));
        let durable = self.durable.as_deref_mut().expect("a journal");
        let entry = self.clients.session_mut(id);
        durable.estates.0.push_back(id);
        if !goes_on {
            durable.ledger.session_changed(id, entry, lane);
            return;
        }
        let (session, segment) = (&mut entry.session, Some(kept.segment));
        durable.ledger.keep(id, session, kept.key, (lane, segment));
        if kept.missing > 0 {
            durable.ledger.mark(kept.key, Mark::Image);
        }
    }

    /// The estate from which something can be handed on, or that is over, or that must be read.
    fn next_estate(&self) -> Option<SessionId> {
        let durable = self.durable.as_deref()?;
        let id = *durable.estates.0.front()?;
        if durable.keeps_estates() || self.mesh.peers.data_is_full() {
            return None;
        }
        let is_asked_for = durable.loads.is_wanted(id);
        let front = self.clients.session(id).session.queue.front();
        let must_read = front.is_some_and(|one| one.stored().is_some());
        (!(must_read && is_asked_for)).then_some(id)
    }

    /// True while a further turn would hand something on.
    #[inline]
    pub(in crate::shard) fn has_estate_ready(&self) -> bool {
        self.next_estate().is_some()
    }

    /// Hands on some of what was left.
    pub(in crate::shard) fn advance_estates(&mut self, now: Time) {
        for _ in 0..TURN_MESSAGES {
            let Some(id) = self.next_estate() else {
                return;
            };
            let queue = &mut self.clients.session_mut(id).session.queue;
            if let Some(delivery) = queue.pop() {
                self.hand_on(&delivery, None, now);
                continue;
            }
            let durable = self.durable.as_deref_mut().expect("it has estates");
            if !queue.is_empty() {
                durable.loads.want(id);
                return; // it continues when that is read back
            }
            durable.estates.0.pop_front();
            durable.ledger.session_ended(id);
            self.clients.sessions.remove(id);
        }
    }
}

/// Whether a session of the log is that of a client.
pub(super) fn is_kept_estate(kept: &KeptSession) -> bool {
    is_estate(kept.client_id())
}
