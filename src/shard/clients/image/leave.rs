//! Everything that a shard has is given to another process as bytes, and stays here until that one has it; and how
//! such a process takes it.

use std::rc::Rc;

use super::{ConnectionImage, NotRestored};
use crate::ids::{ConnectionId, ListenerId, ShardId};
use crate::image::{ImageError, Reader, Writer};
use crate::mqtt::{encode, Disconnect, ReasonCode, Version};
use crate::mutant::{is_on, Mutant};
use crate::session::{put_publication, take_publication, SessionImage};
use crate::shard::clients::connection::Connection;
use crate::shard::clients::origin::Origin;
use crate::shard::clients::phase::Phase;
use crate::shard::durable::ledger::outlives_crash;
use crate::shard::mesh::placement::Homes;
use crate::shard::Shard;
use crate::time::Time;

/// Images of a client that is connected.
#[derive(Debug)]
pub struct GivenClient {
    pub client_id: Rc<str>,
    pub session: Vec<u8>,
    pub connection: Vec<u8>,
}

/// Why something of another process is not here.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("{client_id:?}: {why}")]
    Unfit {
        client_id: Rc<str>,
        /// For its connection, if it understands a DISCONNECT.
        last_words: Vec<u8>,
        why: NotRestored,
    },
}

impl Shard {
    /// While nothing is read and no timer fires: nothing is on its way in this shard, to a peer or to the disk. What
    /// comes of a peer may end that.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let replay = &self.replay;
        self.outbox.actions.is_empty()
            && self.mesh.peers.is_drained()
            && !self.mesh.barriers.is_open()
            && !self.turn.budget.is_left()
            && !replay.walks.has_ready()
            && !self.has_leaving()
            && !self.access.has_rechecks()
            && !self.has_unsealed()
            && self.is_committed()
    }

    /// Homes of all names in this process.
    #[must_use]
    pub fn homes(&self) -> Homes {
        Homes::new(&self.routes.placement)
    }

    /// All connections there are.
    #[must_use]
    pub fn connection_ids(&self) -> Vec<ConnectionId> {
        self.clients.connections.ids()
    }

    /// Whether a connection has an image now.
    #[must_use]
    pub fn can_give(&self, id: ConnectionId) -> bool {
        self.opening(id).is_some() || self.savable(id).is_ok()
    }

    /// A client with its connection; `None`: it has no image now.
    #[must_use]
    pub fn give_client(&self, id: ConnectionId) -> Option<GivenClient> {
        let (session, connection) = self.save_connection(id).ok()?;
        let mut client = GivenClient {
            client_id: Rc::clone(&session.client_id),
            session: Vec::new(),
            connection: Vec::new(),
        };
        session.encode(&mut client.session);
        connection.encode(&mut client.connection);
        Some(client)
    }

    fn opening(&self, id: ConnectionId) -> Option<&Connection> {
        let connection = self.clients.connections.get(id)?;
        let is_opening = connection.phase == Phase::AwaitConnect
            && connection.gone.is_none()
            && connection.outgoing.is_empty();
        is_opening.then_some(connection)
    }

    /// Of a connection that has not sent its CONNECT, or not all of it: its origin, and what was read.
    #[must_use]
    pub fn give_opening(&self, id: ConnectionId) -> Option<(Vec<u8>, Vec<u8>)> {
        let connection = self.opening(id)?;
        let mut origin = Vec::new();
        connection.origin.put(&mut Writer::fields(&mut origin));
        Some((origin, connection.partial.clone()))
    }

    /// Sessions that do not go with their connections: of those that `is_carried` says no to, and that no log has. What
    /// is on its way to one begins again.
    pub fn give_others<'a>(
        &'a self,
        is_carried: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = Vec<u8>> + 'a {
        let has_log = self.durable.is_some();
        let ids = self.client_ids().filter(move |id| !is_carried(id));
        ids.filter_map(move |client_id| {
            let id = self.clients.by_client_id.get(client_id)?;
            let session = &self.clients.sessions.get(*id)?.session;
            if has_log && outlives_crash(session) || is_on(Mutant::UpgradeForgetsAway) {
                return None;
            }
            let mut bytes = Vec::new();
            self.owing_image(client_id)?.encode(&mut bytes);
            Some(bytes)
        })
    }

    /// A session as it is; retained messages on their way to it are to be sent from the first one on.
    fn owing_image(&self, client_id: &str) -> Option<SessionImage> {
        let mut image = self.look_at_session(client_id)?;
        let id = self.clients.by_client_id.get(client_id)?;
        let walks = self.clients.sessions.get(*id)?.walks.iter();
        let walks = walks.filter(|_| !is_on(Mutant::UpgradeForgetsWalks));
        for walk in walks.flat_map(|walks| &walks.queue) {
            let subscriptions = &mut image.subscriptions;
            let place = subscriptions.binary_search_by(|(filter, _)| filter.cmp(&walk.filter));
            if let Ok(place) = place {
                subscriptions[place].1.owes_retained = true;
            }
        }
        Some(image)
    }

    /// Retained messages with their topics, of which no log has any.
    pub fn give_retained(&self) -> impl Iterator<Item = (Rc<str>, Vec<u8>)> + '_ {
        let clocks = self.clocks();
        let all = self.routes.retained.of_clients();
        let is_given = self.durable.is_none() && !is_on(Mutant::UpgradeForgetsRetained);
        let all = all.filter(move |_| is_given);
        all.map(move |publication| {
            let mut bytes = Vec::new();
            put_publication(&mut Writer::fields(&mut bytes), publication, clocks);
            (Rc::clone(&publication.topic), bytes)
        })
    }

    /// Keeps a retained message of another process, and sends it to no subscriber. False: it does not fit, or has expired.
    ///
    /// # Errors
    /// The bytes are cut or garbled.
    pub fn take_retained(&mut self, bytes: &[u8], now: Time) -> Result<bool, ImageError> {
        let mut it = Reader::fields(bytes);
        let publication = take_publication(&mut it, self.clocks())?;
        it.end()?;
        let has_expired = publication.expires_at.is_some_and(|at| at <= now);
        Ok(!has_expired && self.routes.retained.set(publication).is_ok())
    }

    /// Continues a session of another process without its connection.
    ///
    /// # Errors
    /// See [`NotTaken`].
    pub fn take_other(&mut self, bytes: &[u8], now: Time) -> Result<(), NotTaken> {
        let image = SessionImage::decode(bytes)?;
        let client_id = Rc::clone(&image.client_id);
        let restored = self.restore_session(image, None, now);
        if let Some(id) = self.clients.by_client_id.get(&client_id).copied() {
            self.resume_walks(id);
        }
        restored.map(drop).map_err(|why| NotTaken::Unfit {
            client_id,
            last_words: Vec::new(),
            why,
        })
    }

    /// Continues a client of another process. `listener_here`: its listener by the number it had; none if there is none,
    /// or no room for another connection.
    ///
    /// # Errors
    /// See [`NotTaken`]; of one that does not fit the session is here, if it may be.
    pub fn take_client(
        &mut self,
        (session, connection): (&[u8], &[u8]),
        listener_here: impl FnOnce(ListenerId) -> Result<ListenerId, NotRestored>,
        now: Time,
    ) -> Result<(ConnectionId, ListenerId), NotTaken> {
        let image = SessionImage::decode(session)?;
        let mut connection = ConnectionImage::decode(connection)?;
        let (version, unsent) = (connection.version, connection.unsent.clone());
        let client_id = Rc::clone(&image.client_id);
        let restored = listener_here(connection.origin.listener).and_then(|listener| {
            connection.origin.listener = listener;
            let restored = match is_on(Mutant::UpgradeUnrecorded) {
                true => self.restore_here(image, Some(connection), now)?,
                false => self.restore_session(image, Some(connection), now)?,
            };
            restored.map(|id| (id, listener)).ok_or(NotRestored::Away)
        });
        restored.map_err(|why| {
            // Why it does not fit is the reason that counts.
            let _ = self.take_other(session, now);
            NotTaken::Unfit {
                client_id,
                last_words: last_words(version, &unsent, why.reason()),
                why,
            }
        })
    }

    /// For a client whose connection does not go on in the new process, when that serves: what it was not sent, and a
    /// DISCONNECT. Empty for one that understands none.
    pub fn last_words(&mut self, id: ConnectionId) -> Vec<u8> {
        let connection = self.clients.connections.get_mut(id);
        let is_connected =
            |it: &&mut Connection| matches!(it.phase, Phase::Live(_)) && !it.owes_connack;
        let Some(connection) = connection.filter(is_connected) else {
            return Vec::new();
        };
        connection.outgoing.drop_held(); // it was not promised
        let unsent = connection.outgoing.to_bytes();
        last_words(connection.version, &unsent, ReasonCode::ServerShuttingDown)
    }

    /// Its connection cannot last: it may come back by another one at once.
    pub fn send_away(&mut self, id: ConnectionId, now: Time) {
        let is_live = |it: &Connection| it.session().is_some();
        if self.clients.connections.get(id).is_some_and(is_live) {
            let reason = Some(ReasonCode::ServerShuttingDown);
            self.end_connection(id, reason, "sent away after an upgrade", now);
        }
    }

    /// Everything of another process has been restored here.
    pub fn all_taken(&mut self, now: Time) {
        if self.durable.is_none() {
            self.recall_sparkplug(now); // with a log that has happened
        }
        if !self.mesh.peers.is_alone() {
            self.mesh.barriers.want();
        }
    }
}

/// What was not sent begins within a packet maybe, so it goes first.
fn last_words(version: Version, unsent: &[u8], reason: ReasonCode) -> Vec<u8> {
    if !version.is_v5() {
        return Vec::new();
    }
    let mut words = unsent.to_vec();
    let disconnect = Disconnect {
        reason,
        ..Disconnect::default()
    };
    encode::disconnect(&mut words, version, &disconnect);
    words
}

impl Origin {
    /// From the bytes of [`Shard::give_opening`].
    ///
    /// # Errors
    /// The bytes are cut or garbled.
    pub fn given(bytes: &[u8]) -> Result<Self, ImageError> {
        let mut it = Reader::fields(bytes);
        let origin = Self::take(&mut it)?;
        it.end()?;
        Ok(origin)
    }
}

impl Homes {
    /// Home of a session by its image.
    ///
    /// # Errors
    /// The bytes do not begin as one does.
    pub fn of_session(&self, bytes: &[u8]) -> Result<ShardId, ImageError> {
        Ok(self.home(SessionImage::client_id_in(bytes)?))
    }

    /// Where a connection waits for its CONNECT, after which it moves.
    ///
    /// # Errors
    /// The bytes are no origin.
    pub fn of_opening(&self, origin: &[u8]) -> Result<ShardId, ImageError> {
        Ok(self.home(&Origin::given(origin)?.peer.to_string()))
    }
}
