//! A shard continues from the state that its log has kept.
//!
//! A client that was connected when the process ended has lost its connection at the start of this one: the delay
//! of its will and the expiry of its session begin then.

use std::rc::Rc;

use super::crossing_records::KeptCrossings;
use super::crossings::Announcements;
use super::estates::is_kept_estate;
use super::fold::{KeptSession, KeptState, StateFold};
use super::record::READ_BACK;
use super::restore_held::LogsOfClients;
use crate::ids::{SessionId, ShardId};
use crate::journal::SegmentNumber;
use crate::mqtt::{KeptAt, Publication};
use crate::mutant::{is_on, Mutant};
use crate::session::SessionImage;
use crate::shard::durable::ledger::Mark;
use crate::shard::notices::About;
use crate::shard::Shard;
use crate::time::{Span, Time};

impl Shard {
    /// Begins to read back a log, as far as this shard owns what it says. The state is for
    /// [`restore`](Self::restore).
    #[must_use]
    pub fn begin_fold(&self) -> StateFold {
        let lanes = self.routes.placement.lanes_of(self.id);
        StateFold::new(lanes, self.config.hash_seed, None)
    }

    /// The same, of the log that a shard had when there was another number of them.
    #[must_use]
    pub fn begin_fold_of_former(&self, log: ShardId) -> StateFold {
        let lanes = self.routes.placement.lanes_of(self.id);
        StateFold::new(lanes, self.config.hash_seed, Some(log))
    }

    /// Continues from what was kept. The journal has begun, the clocks are set and the rules are known before,
    /// and there is no client yet.
    ///
    /// # Panics
    /// There is no journal.
    pub fn restore(&mut self, state: KeptState, now: Time) {
        let goes_on = state.goes_on;
        // Tables that grow are in memory twice at that moment.
        self.clients.by_client_id.reserve(state.sessions.len());
        let ledger = &mut self.durable.as_deref_mut().expect("a journal").ledger;
        ledger.reserve(state.sessions.len());
        ledger.next_key = ledger.next_key.max(state.next_key);
        let of_clients = match goes_on {
            true => LogsOfClients::default(),
            false => logs_of_clients(&state, self.config.hash_seed),
        };
        if goes_on {
            state.holds.forget_sessions(); // each is noted again
            ledger.holds = state.holds;
        }
        self.restore_retained(state.retained, goes_on, now);
        self.recall_sparkplug(now);
        for kept in state.sessions {
            self.restore_kept(kept, goes_on, now);
        }
        if let Some(durable) = self.durable.as_deref_mut() {
            durable.ledger.takes_over = !goes_on && !durable.ledger.marked.is_empty();
            durable.copies.begin(state.former);
        }
        let mut logs: Vec<KeptCrossings> = state.logs.into_iter().map(|(log, _)| log).collect();
        match logs.pop() {
            Some(own) if goes_on => self.restore_crossings(own),
            last => {
                logs.extend(last);
                self.deliver_crossings(&logs, &of_clients, now);
            }
        }
        if !self.mesh.peers.is_alone() {
            let barrier = self.mesh.want_barrier();
            if let Some(durable) = self.durable.as_deref_mut() {
                durable.announcements = Announcements {
                    barrier,
                    is_to_announce: true,
                    awaited: self.mesh.peers.count() - 1,
                };
            }
        }
    }

    /// Every other shard has the subscriptions that were restored here: clients may be let in when that is
    /// so on all shards.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        let durable = self.durable.as_deref();
        durable.is_none_or(|durable| {
            self.mesh.peers.barrier_reached() >= durable.announcements.barrier
        })
    }

    /// What has expired, or does not fit, is removed from the journal, too.
    fn restore_retained(
        &mut self,
        kept: Vec<(Rc<Publication>, SegmentNumber)>,
        goes_on: bool,
        now: Time,
    ) {
        let clocks = self.turn.clocks;
        let retained = &mut self.routes.retained;
        let mut gone = Vec::new();
        for (publication, segment) in kept {
            let expires_at = publication.expires_at;
            let expires_at = expires_at.map(|at| clocks.to_time(READ_BACK.to_wall(at)));
            let publication = Rc::new(Publication {
                expires_at,
                kept_at: KeptAt::default(),
                ..Rc::unwrap_or_clone(publication)
            });
            let topic = Rc::clone(&publication.topic);
            let has_expired = expires_at.is_some_and(|at| at <= now);
            if has_expired || retained.set(publication).is_err() {
                gone.push(Rc::clone(&topic));
            }
            if let Some(durable) = self.durable.as_deref_mut().filter(|_| goes_on) {
                durable.ledger.retained_is_in(&topic, segment);
            }
        }
        if goes_on {
            retained.take_changed(); // the log has them
            for topic in &gone {
                retained.note_changed(topic);
            }
        }
    }

    pub(super) fn restore_kept(&mut self, kept: KeptSession, goes_on: bool, now: Time) {
        if is_kept_estate(&kept) {
            self.restore_estate(&kept, goes_on);
            return;
        }
        let (key, segment) = (kept.key, kept.segment);
        let image = kept.image();
        let client_id = Rc::clone(&image.client_id);
        let (subscriptions, queued) = (image.subscriptions.len(), image.queue.len());
        let was_connected = image.expires_at.is_none();
        let image = match was_connected {
            true => self.away_from(image, now),
            false => image,
        };
        let lane = self.routes.placement.lane_number(&client_id);
        let restored = self.restore_here(image, None, now);
        let Some(durable) = self.durable.as_deref_mut() else {
            return;
        };
        if let Err(error) = restored {
            if goes_on {
                durable.ledger.forget_kept(key, lane);
            }
            let about = About::loss("session not restored", Some(&client_id), 1);
            self.notice(&about, now, || format!("its session is lost: {error}"));
            return;
        }
        let id = self.clients.by_client_id[&client_id];
        let entry = self.clients.session_mut(id);
        if !goes_on {
            durable.ledger.session_changed(id, entry, lane);
            self.resume_walks(id);
            return;
        }
        let session = &mut entry.session;
        durable.ledger.keep(id, session, key, (lane, Some(segment)));
        let is_same = session.subscriptions.len() == subscriptions
            && session.queue.len() == queued
            && kept.missing == 0;
        if !is_same {
            // Limits and rules are others than they were, or messages are not in the log any more.
            durable.ledger.mark(key, Mark::Image);
        } else if was_connected {
            durable.ledger.mark(key, Mark::Attributes);
        }
        self.resume_walks(id);
    }

    /// Retained messages that were on their way to a subscription are sent from the first one on: those that were
    /// sent before come again.
    pub(in crate::shard) fn resume_walks(&mut self, id: SessionId) {
        let subscriptions = &self.clients.session(id).session.subscriptions;
        let keys = subscriptions.keys();
        let is_owing = |key: &&Rc<str>| subscriptions.get(key).is_some_and(|it| it.owes_retained);
        let mut owing: Vec<Rc<str>> = keys.filter(is_owing).map(Rc::clone).collect();
        if owing.is_empty() || is_on(Mutant::ForgetWalks) {
            return;
        }
        owing.sort_unstable();
        for filter in owing {
            self.start_walk(id, filter);
        }
        if self.mesh.peers.is_alone() {
            self.replay.release_walks(&mut self.clients, id, None);
        }
    }

    /// A client that was connected is away from now on.
    fn away_from(&self, image: SessionImage, now: Time) -> SessionImage {
        let clocks = self.turn.clocks;
        let after = |seconds: u32| clocks.to_wall(now + Span::from_secs(u64::from(seconds)));
        let delay_s = image.will.as_ref().map(|will| will.delay_interval_s);
        SessionImage {
            expires_at: Some(after(image.expiry_interval_s)),
            will_due: delay_s.map(after),
            ..image
        }
    }
}

/// Which log each session was in, if anything was on its way between shards.
pub(super) fn logs_of_clients(state: &KeptState, hash_seed: u64) -> LogsOfClients {
    let hasher = ahash::RandomState::with_seeds(hash_seed, 34, 35, 36);
    let mut of_clients = LogsOfClients::with_hasher(hasher);
    if state.logs.iter().all(|(log, _)| log.held.is_empty()) {
        return of_clients;
    }
    let mut sessions = state.sessions.iter();
    for (log, (_, count)) in state.logs.iter().enumerate() {
        let its = sessions.by_ref().take(*count);
        of_clients.extend(its.map(|kept| (Rc::clone(kept.client_id()), log)));
    }
    of_clients
}
