//! Doors for connections without a socket: what a gateway that speaks for its clients has to know of them.

use std::rc::Rc;

use crate::ids::{ConnectionId, SessionId, ShardId};
use crate::mqtt::{frame, topic, PacketType, Will};
use crate::session::SensorState;
use crate::shard::access::pending_connect::store_will;
use crate::shard::Shard;

/// What became of something that a client leaves with its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Left {
    /// It is as safe as it gets here.
    Kept,
    /// It will be: the answer to a PINGREQ that is given from now on comes no earlier than that.
    Pending,
    Refused,
    /// There is no room for it on the disk now.
    NoRoom,
}

impl Shard {
    /// The home of a client id.
    #[must_use]
    pub fn home_of(&self, client_id: &str) -> ShardId {
        self.routes.placement.home(client_id)
    }

    /// A client has a session here, connected or not.
    #[must_use]
    pub fn has_session(&self, client_id: &str) -> bool {
        self.clients.by_client_id.contains_key(client_id)
    }

    /// A client id, as its session has it.
    #[must_use]
    pub fn name_of_client(&self, client_id: &str) -> Option<Rc<str>> {
        let found = self.clients.by_client_id.get_key_value(client_id);
        found.map(|(name, _)| Rc::clone(name))
    }

    /// A filter that a client has subscribed to, as its session has it.
    #[must_use]
    pub fn filter_of_client(&self, client_id: &str, filter: &str) -> Option<Rc<str>> {
        let session = self.clients.by_client_id.get(client_id).copied()?;
        let subscriptions = &self.clients.session(session).session.subscriptions;
        let found = subscriptions.get_key_value(filter);
        found.map(|(filter, _)| Rc::clone(filter))
    }

    /// Something is to be sent on a connection, or will be once there is room: its client is not up to date.
    #[must_use]
    pub fn has_output(&self, connection: ConnectionId) -> bool {
        let Some(state) = self.clients.connections.get(connection) else {
            return false; // it was closed
        };
        let waits = |session| self.clients.session(session).has_waiting();
        !state.outgoing.is_empty() || state.session().is_some_and(waits)
    }

    /// The client of a connection sleeps: memory that its messages took is given back, which one that is awake would
    /// soon want again.
    pub fn handle_rest(&mut self, connection: ConnectionId) {
        let Some(state) = self.clients.connections.get_mut(connection) else {
            return; // it was closed
        };
        state.partial.shrink_to_fit();
        if let Some(session) = state.session() {
            self.clients.session_mut(session).session.window.rest();
        }
    }

    /// Messages that wait on a connection to be taken.
    #[must_use]
    pub fn messages_on(&self, connection: ConnectionId) -> usize {
        let Some(state) = self.clients.connections.get(connection) else {
            return 0; // it was closed
        };
        let bytes = state.outgoing.to_bytes();
        let mut rest = &bytes[..];
        let mut count = 0;
        while let Some(length) = frame::needed(rest) {
            let is_message = PacketType::from_bits(rest[0] >> 4) == Some(PacketType::Publish);
            count += usize::from(is_message);
            rest = rest.get(length..).unwrap_or_default();
        }
        count
    }

    /// What a client of MQTT-SN has left with its session, if there is a log.
    #[must_use]
    pub fn sensor_state(&self, client_id: &str) -> Option<&SensorState> {
        let session = self.clients.by_client_id.get(client_id).copied()?;
        self.clients.session(session).session.sensor.as_deref()
    }

    /// A client is about to learn that a topic id stands for this name.
    pub fn handle_topic_id(&mut self, connection: ConnectionId, id: u16, name: &Rc<str>) -> Left {
        let Some(session) = self.session_that_is_kept(connection) else {
            return Left::Kept;
        };
        if self.is_disk_full() {
            return Left::NoRoom;
        }
        let entry = self.clients.session_mut(session);
        entry.session.give_topic_id(id, name);
        self.hold_answer_if_durable(connection, session);
        Left::Pending
    }

    /// A client has used a predefined topic id.
    pub fn handle_predefined_id(&mut self, connection: ConnectionId, id: u16) {
        if let Some(session) = self.session_that_is_kept(connection) {
            self.clients
                .session_mut(session)
                .session
                .use_predefined_id(id);
        }
    }

    /// The session of a connection, if it is in the log.
    fn session_that_is_kept(&self, connection: ConnectionId) -> Option<SessionId> {
        self.durable.as_ref()?;
        let state = self.clients.connections.get(connection)?;
        let is_durable = |id: &SessionId| self.clients.session(*id).session.is_durable();
        state.session().filter(is_durable)
    }

    /// A connected client has another will from now on, or none.
    pub fn handle_will(&mut self, connection: ConnectionId, will: Option<Will<'_>>) -> Left {
        let Some(state) = self.clients.connections.get(connection) else {
            return Left::Refused; // it was closed
        };
        let Some(session) = state.session() else {
            return Left::Refused;
        };
        let keeps_will = state.origin.keeps_will;
        let policy = self.config.policy(state.origin.listener);
        let limits = &self.config.limits;
        let entry = self.clients.session_mut(session);
        if let Some(will) = &will {
            let is_allowed = will.qos <= policy.qos_max
                && (!will.retain || limits.retains())
                && topic::levels(will.topic) <= usize::from(limits.topic_levels_max)
                && !topic::is_reserved(will.topic)
                && self.access.may_publish(entry, will.topic);
            if !is_allowed {
                return Left::Refused;
            }
        }
        let will = will.as_ref().map(store_will);
        entry.session.will = will.clone().map(Box::new);
        self.journal_session(session);
        if !keeps_will || self.session_that_is_kept(connection).is_none() {
            return Left::Kept;
        }
        self.clients.session_mut(session).session.keep_will(will);
        self.hold_answer_if_durable(connection, session);
        Left::Pending
    }
}
