//! Images of sessions and connections: doors through which they leave a shard and are continued, by this shard or
//! another.
//!
//! A checkpoint saves, and the session stays; a hand-over saves, and another process restores; a migration restores
//! elsewhere. A session that is restored where its client id is known takes the place of the one that is there:
//! its filters enter the index before the others leave it, so no publication misses both.

mod attach;
mod attributes;
mod connection;
mod leave;
#[cfg(test)]
mod stored_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod upgrade_tests;

pub use connection::{ConnectionImage, LoginImage, MetersImage, SilenceImage};
pub use leave::{GivenClient, NotTaken};

use std::rc::Rc;
use std::sync::Arc;

use crate::auth::{Acl, Identity};
use crate::ids::{ConnectionId, ListenerId, SessionId, ShardId};
use crate::mqtt::{topic, ReasonCode};
use crate::mutant::{is_on, Mutant};
use crate::session::{subscription_cost, QueueBounds, RulesImage, Session, SessionImage};
use crate::shard::clients::heard::Deadline;
use crate::shard::clients::session_entry::SessionEntry;
use crate::shard::clients::teardown::WillFate;
use crate::shard::turn::timer_key::TimerKey;
use crate::shard::Shard;
use crate::time::{Span, Time};

/// Why a session cannot be saved now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSaved {
    #[error("there is no such session or connection")]
    Unknown,
    /// Ask again in a later turn.
    #[error("retained messages are on their way to it, its client is authenticated, replies wait for a commit, its connection ends, or what waits for it is on the disk alone")]
    Busy,
}

/// Why a session cannot be restored here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRestored {
    #[error("the home of its client id is shard {}", .0 .0)]
    Elsewhere(ShardId),
    #[error("its client is connected")]
    Connected,
    #[error("its image says that its client is away, and there is a connection")]
    Away,
    #[error("its connection is of a listener that is not there")]
    Listener,
    #[error("connections-max is reached")]
    ConnectionsMax,
    #[error("sessions-max is reached")]
    SessionsMax,
    #[error("it has more subscriptions than subscriptions-max and subscription-bytes-max allow")]
    Subscriptions,
    #[error("the rules that came with its login are not valid")]
    Rules,
}

impl NotRestored {
    /// What its client gets to know: a limit of ours, or that it may come back.
    #[must_use]
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::ConnectionsMax | Self::SessionsMax | Self::Subscriptions => {
                ReasonCode::QuotaExceeded
            }
            Self::Elsewhere(_) | Self::Connected | Self::Away | Self::Listener | Self::Rules => {
                ReasonCode::ServerShuttingDown
            }
        }
    }
}

impl Shard {
    /// The client ids of all sessions, in no order that anything may depend on.
    pub fn client_ids(&self) -> impl Iterator<Item = &Rc<str>> {
        self.clients.by_client_id.keys()
    }

    /// The connection of a session.
    #[must_use]
    pub fn connection_of_client(&self, client_id: &str) -> Option<ConnectionId> {
        let id = self.clients.by_client_id.get(client_id)?;
        self.clients.sessions.get(*id)?.session.connection
    }

    /// The image of a session, which stays here.
    ///
    /// # Errors
    /// See [`NotSaved`].
    pub fn save_session(&self, client_id: &str) -> Result<SessionImage, NotSaved> {
        let clocks = self.clocks();
        let id = self.clients.by_client_id.get(client_id);
        let entry = id.and_then(|id| self.clients.sessions.get(*id));
        let entry = entry.ok_or(NotSaved::Unknown)?;
        if !self.is_savable(entry) {
            return Err(NotSaved::Busy);
        }
        let attributes = entry.attributes(&self.turn.timers, clocks);
        Ok(entry.session.image(clocks).with(attributes))
    }

    fn is_savable(&self, entry: &SessionEntry) -> bool {
        let is_in_log = entry.session.stored().next().is_some();
        entry.walks.is_none() && !entry.is_overflowed && !is_in_log
    }

    /// A session as it is, whatever is on its way and on the disk alone.
    pub(in crate::shard) fn look_at_session(&self, client_id: &str) -> Option<SessionImage> {
        let id = self.clients.by_client_id.get(client_id)?;
        let entry = self.clients.sessions.get(*id)?;
        let attributes = entry.attributes(&self.turn.timers, self.clocks());
        Some(entry.session.image(self.clocks()).with(attributes))
    }

    /// Continues a session from its image, with its connection if that is there, too; without, a client that
    /// was connected is away from now on. A session of the same client id that is here is replaced.
    ///
    /// Peers know its filters once no barrier is open (see [`Shard::awaits_peers`]): where that matters,
    /// nothing is published before.
    ///
    /// # Errors
    /// See [`NotRestored`]; nothing has changed then.
    pub fn restore_session(
        &mut self,
        image: SessionImage,
        connection: Option<ConnectionImage>,
        now: Time,
    ) -> Result<Option<ConnectionId>, NotRestored> {
        let client_id = Rc::clone(&image.client_id);
        let connection = self.restore_here(image, connection, now)?;
        if let Some(id) = self.clients.by_client_id.get(&client_id) {
            self.journal_session(*id);
        }
        Ok(connection)
    }

    /// The same, and nothing of what is restored is recorded in the journal.
    pub(in crate::shard) fn restore_here(
        &mut self,
        image: SessionImage,
        connection: Option<ConnectionImage>,
        now: Time,
    ) -> Result<Option<ConnectionId>, NotRestored> {
        let clocks = self.clocks();
        let before = self.check_restorable(&image)?;
        if let Some(connection) = &connection {
            self.check_attachable(&image, connection)?;
        }
        let mut who = Identity {
            user: image.owner.clone(),
            ..Identity::default()
        };
        match &image.rules {
            None => {}
            Some(RulesImage::Brought { publish, receive }) => {
                who.acl = Some(Arc::new(acl_of(publish, receive)?));
            }
            Some(RulesImage::OfFile(name)) => who.acl_file = Some(Arc::clone(name)),
        }
        let (expires_at, will_due) = (image.expires_at, image.will_due);
        let terms = self.config.terms(&image.client_id);
        let (messages_max, bytes_max, policy) = terms.queue(&self.config.limits);
        let bounds = QueueBounds {
            messages_max: messages_max as usize,
            bytes_max: bytes_max as usize,
            policy,
        };
        let seed = self.config.hash_seed;
        let (session, dropped) = Session::restore(image, seed, bounds, clocks);
        let client_id = Rc::clone(&session.client_id);
        // Also of groups that it has left, while something of them is in hand.
        let is_member = !session.shared_in_hand().is_empty();
        let mut entry = SessionEntry::new(session, &self.config);
        entry.rights.set(&who);
        let id = self.clients.sessions.insert(entry);
        self.clients.by_client_id.insert(client_id, id);
        if is_member {
            self.clients.member_of(id);
        }
        self.enter_index(id, connection.is_some());
        if dropped > 0 {
            self.drop_queue_full(id, dropped, now);
        }
        let connection = connection.map(|image| self.attach_restored(id, image, now));
        match expires_at {
            _ if connection.is_some() => {}
            Some(at) => {
                let at = clocks.to_time(at);
                self.set_deadlines(id, at, will_due.map(|due| clocks.to_time(due)), now);
            }
            None => self.detach(id, WillFate::Publish, now),
        }
        if let Some(before) = before {
            self.forget_session(before);
        }
        // It was made under other rules; without an expiry and its client it has ended.
        if self.access.has_acl && self.clients.sessions.get(id).is_some() {
            self.recheck_session(id, now);
        }
        Ok(connection)
    }

    /// A barrier is not reached: a peer may not have applied what was subscribed or restored here.
    #[must_use]
    pub fn awaits_peers(&self) -> bool {
        self.mesh.barriers.is_open()
    }

    /// The session that it replaces, if it may be restored here.
    fn check_restorable(&self, image: &SessionImage) -> Result<Option<SessionId>, NotRestored> {
        let home = self.routes.placement.home(&image.client_id);
        if home != self.id {
            return Err(NotRestored::Elsewhere(home));
        }
        let before = self.clients.by_client_id.get(&image.client_id).copied();
        let entry = before.and_then(|before| self.clients.sessions.get(before));
        if entry.is_some_and(|entry| entry.session.connection.is_some()) {
            return Err(NotRestored::Connected);
        }
        let sessions_max = self.config.own_sessions_max() as usize;
        if before.is_none() && self.clients.by_client_id.len() >= sessions_max {
            return Err(NotRestored::SessionsMax);
        }
        let limits = &self.config.limits;
        let filters = image.subscriptions.iter();
        let bytes: usize = filters.map(|(filter, _)| subscription_cost(filter)).sum();
        if image.subscriptions.len() > limits.subscriptions_max as usize
            || bytes as u64 > limits.subscription_bytes_max
        {
            return Err(NotRestored::Subscriptions);
        }
        Ok(before)
    }

    fn check_attachable(
        &self,
        session: &SessionImage,
        connection: &ConnectionImage,
    ) -> Result<(), NotRestored> {
        if session.expires_at.is_some() {
            return Err(NotRestored::Away);
        }
        let listener = connection.origin.listener;
        if listener != ListenerId::BRIDGES && listener.index() >= self.config.listeners.len() {
            return Err(NotRestored::Listener);
        }
        let connections_max = self.limits().connections_max as usize;
        match self.clients.connections.len() >= connections_max {
            true => Err(NotRestored::ConnectionsMax),
            false => Ok(()),
        }
    }

    /// Its filters come to be known here and, after a barrier, everywhere.
    fn enter_index(&mut self, session: SessionId, connected: bool) {
        let entry = self.clients.session(session);
        let durable = entry.session.is_durable();
        let held = &entry.session.subscriptions;
        let mut filters: Vec<_> = held.keys().cloned().collect();
        filters.sort_unstable(); // the same order in every run of a seed
        let records: Vec<_> = filters
            .iter()
            .filter_map(|f| held.get(f).copied())
            .collect();
        for (filter, record) in filters.iter().zip(records) {
            match topic::share(filter) {
                Ok(Some(share)) => self.join_group(session, &share, (connected, durable)),
                _ => self.index_subscription(session, filter, record, durable),
            }
        }
        if !filters.is_empty() && !self.mesh.peers.is_alone() {
            self.mesh.barriers.want();
        }
    }

    /// When a session that is away ends, and when its will is published.
    fn set_deadlines(
        &mut self,
        session: SessionId,
        expires_at: Time,
        will_due: Option<Time>,
        now: Time,
    ) {
        let entry = self.clients.session_mut(session);
        let timers = &mut self.turn.timers;
        let expires_at = match is_on(Mutant::ImageRestartsExpiry) {
            true => now + Span::from_secs(u64::from(entry.session.expiry_interval_s)),
            false => expires_at,
        };
        let key = match expires_at <= now {
            true => TimerKey::OverdueExpiry(session, Deadline::of(expires_at)),
            false => TimerKey::Expiry(session),
        };
        entry.expiry_timer = Some(timers.insert(expires_at, key));
        entry.will_timer = will_due.map(|due| {
            let key = match due <= now {
                true => TimerKey::OverdueWill(session, Deadline::of(due)),
                false => TimerKey::Will(session),
            };
            timers.insert(due, key)
        });
    }

    /// A session that another has replaced ends without a word.
    fn forget_session(&mut self, session: SessionId) {
        let entry = self.clients.sessions.remove(session);
        let mut entry = entry.expect("nothing has removed the session that is replaced");
        self.journal_end(session);
        for timer in [entry.expiry_timer, entry.will_timer].into_iter().flatten() {
            self.turn.timers.cancel(timer);
        }
        let filters = entry.session.subscriptions.take_filters();
        self.leave(session, entry.member, filters);
        if let Some(member) = entry.member {
            self.clients.members.remove(member);
        }
        self.drop_queue(entry.session);
    }
}

fn acl_of(publish: &[Box<str>], receive: &[Box<str>]) -> Result<Acl, NotRestored> {
    let publish = publish.iter().map(|filter| &**filter);
    let receive = receive.iter().map(|filter| &**filter);
    Acl::of_filters(publish, receive).map_err(|_| NotRestored::Rules)
}
