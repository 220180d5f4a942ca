//! One client, with all that its shard has of it.

use crate::shard::queries::rows::ClientDetail;
use crate::shard::Shard;
use crate::time::{Span, Time};

impl Shard {
    pub(super) fn describe_client(&self, client_id: &str, now: Time) -> Option<Box<ClientDetail>> {
        let id = *self.clients.by_client_id.get(client_id)?;
        let entry = self.clients.session(id);
        let session = &entry.session;
        let connection = self.connection_of_entry(entry);
        let will_topic = session.will.as_ref().map(|will| Box::from(&*will.topic));
        let last_ending = entry.last_ending;
        Some(Box::new(ClientDetail {
            row: self.row(id, 0),
            certificate: connection
                .and_then(|connection| connection.origin.identity.as_deref())
                .map(|name| name.as_str().into()),
            is_bridge: connection.is_some_and(|connection| connection.is_bridge),
            connected_for: connection.map(|connection| now.since(connection.activity.opened_at)),
            silent_for: connection.map(|connection| now.since(connection.last_packet)),
            keep_alive: connection.map(|connection| Span(connection.silence_max.0 / 3 * 2)),
            session_expiry_s: session.expiry_interval_s,
            oldest_waits: self.lag_of(&session.client_id, session.queue.len(), now),
            subscription_bytes: session.subscriptions.bytes(),
            inflight_bytes: session.window.bytes(),
            received_qos2: session.received.len(),
            outgoing_bytes: connection.map_or(0, |connection| connection.outgoing.len()),
            packet_size_max: connection.map(|connection| connection.packet_size_max),
            will_topic,
            last_ending: last_ending.map(|(ending, at)| (ending, now.since(at))),
        }))
    }

    fn lag_of(&self, client_id: &str, waiting: usize, now: Time) -> Option<Span> {
        let has_lag = self.config.terms(client_id).has_lag;
        has_lag.then(|| self.admission.lags.oldest(client_id, waiting, now))
    }
}
