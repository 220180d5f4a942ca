//! Orders of operators: what changes a shard.

use std::sync::Arc;

use bytes::Bytes;

use crate::auth::OperatorBans;
use crate::mqtt::{Qos, ReasonCode};
use crate::shard::delivery::message::Message;
use crate::shard::durable::ticket::Waiter;
use crate::shard::queries::captures::CaptureTerms;
use crate::shard::Shard;
use crate::time::{Span, Time};

/// What an operator wants done. Those that name a client or topic go to its home shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Its session stays as long as it would.
    Disconnect(Box<str>),
    /// Disconnects it, too.
    EndSession(Box<str>),
    Publish(Box<OrderedMessage>),
    /// Without a message to subscribers.
    ClearRetained(Box<str>),
    /// Who is not let in from now on.
    Bans(Arc<OperatorBans>),
    /// Takes what [`Query::CaptureRecords`](super::Query::CaptureRecords) asks for.
    BeginCapture {
        id: u64,
        terms: CaptureTerms,
        lasts: Span,
    },
    EndCapture(u64),
    /// Whether connections that open from now on are reported one by one.
    TellConnections(bool),
}

/// A publication without a publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderedMessage {
    /// A valid topic name.
    pub topic: Box<str>,
    pub payload: Bytes,
    pub qos: Qos,
    pub retain: bool,
    pub expiry: Option<Span>,
}

impl Shard {
    /// Carries an order out; false when what it names is not here.
    pub(super) fn handle_order(&mut self, order: &Order, now: Time) -> bool {
        match order {
            Order::Disconnect(client_id) => self.disconnect_client(client_id, now),
            Order::EndSession(client_id) => self.end_client(client_id, now),
            Order::Publish(message) => self.publish_ordered(message, now),
            Order::ClearRetained(topic) => self.routes.retained.clear(topic),
            Order::Bans(bans) => {
                let bans = Some(Arc::clone(bans));
                self.access.bans = bans.filter(|bans| !bans.is_empty());
                true
            }
            Order::BeginCapture { id, terms, lasts } => {
                self.begin_capture(*id, terms.clone(), *lasts, now)
            }
            Order::TellConnections(tells) => {
                self.outbox.traces = *tells;
                true
            }
            Order::EndCapture(id) => self.end_capture(*id),
        }
    }

    fn disconnect_client(&mut self, client_id: &str, now: Time) -> bool {
        let Some(connection) = self.connection_of_client(client_id) else {
            return false;
        };
        let reason = ReasonCode::AdministrativeAction;
        self.end_connection(connection, Some(reason), "disconnected by an operator", now);
        true
    }

    fn end_client(&mut self, client_id: &str, now: Time) -> bool {
        let was_connected = self.disconnect_client(client_id, now);
        let session = self.clients.by_client_id.get(client_id).copied();
        if let Some(session) = session {
            self.end_session(session, now);
        }
        was_connected || session.is_some()
    }

    /// True when there was a subscriber.
    fn publish_ordered(&mut self, ordered: &OrderedMessage, now: Time) -> bool {
        let OrderedMessage {
            topic,
            payload,
            qos,
            retain,
            expiry,
        } = ordered;
        let mut message = Message {
            topic,
            shared_topic: None,
            payload,
            shared: Some(payload.clone()),
            properties: &[],
            qos: *qos,
            retain: *retain,
            expires_at: expiry.map(|expiry| now + expiry),
            owned: None,
            serial: 0,
            waiter: Waiter::Nobody,
            needs_commit: false,
        };
        self.accept(&mut message, None, now)
    }
}
