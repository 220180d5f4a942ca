//! Doors for connections without a socket: what a gateway that speaks for its clients has to know of them.

use crate::ids::{ConnectionId, ShardId};
use crate::mqtt::{topic, Will};
use crate::shard::access::pending_connect::store_will;
use crate::shard::Shard;

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

    /// Something is to be sent on a connection, or will be once there is room: its client is not up to date.
    #[must_use]
    pub fn has_output(&self, connection: ConnectionId) -> bool {
        let Some(state) = self.clients.connections.get(connection) else {
            return false; // it was closed
        };
        let waits = |session| self.clients.session(session).has_waiting();
        !state.outgoing.is_empty() || state.session().is_some_and(waits)
    }

    /// A connected client has another will from now on, or none. False: it may not leave it.
    pub fn handle_will(&mut self, connection: ConnectionId, will: Option<Will<'_>>) -> bool {
        let Some(state) = self.clients.connections.get(connection) else {
            return false; // it was closed
        };
        let Some(session) = state.session() else {
            return false;
        };
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
                return false;
            }
        }
        entry.session.will = will.as_ref().map(|will| Box::new(store_will(will)));
        self.journal_session(session);
        true
    }
}
