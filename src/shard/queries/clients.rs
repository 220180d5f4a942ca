//! Clients, listed in the order of their places in the shard's sessions, or the first of an order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::ids::SessionId;
use crate::shard::action::CloseCause;
use crate::shard::clients::activity::Ending;
use crate::shard::clients::connection::Connection;
use crate::shard::clients::session_entry::SessionEntry;
use crate::shard::queries::rows::{
    ActivityRow, Answer, ClientFilter, ClientRow, ClientSort, SensorRow, ROWS_MAX,
};
use crate::shard::Shard;

/// Places that one piece looks at: each is a line of memory or two that lies anywhere.
const PLACES: usize = 1_024;

impl ClientFilter {
    fn takes(&self, entry: &SessionEntry, connection: Option<&Connection>) -> bool {
        let session = &entry.session;
        let prefix = self.prefix.as_deref();
        let user = self.user.as_deref();
        prefix.is_none_or(|prefix| session.client_id.starts_with(prefix))
            && user.is_none_or(|user| entry.rights.user.as_deref() == Some(user))
            && self.connected.is_none_or(|is| is == connection.is_some())
            && self.sensor.is_none_or(|is| is == is_sensor(entry))
            && session.queue.len() >= self.queue_min
            && self.address.is_none_or(|address| {
                connection.and_then(|connection| connection.origin.peer.ip()) == Some(address)
            })
    }
}

fn sorted_by(sort: ClientSort, entry: &SessionEntry, connection: Option<&Connection>) -> u64 {
    let activity = connection.map(|connection| connection.activity);
    let activity = activity.unwrap_or_default();
    match sort {
        ClientSort::Queue => entry.session.queue.len() as u64,
        ClientSort::Dropped => entry.dropped,
        ClientSort::Publications => activity.publications,
        ClientSort::Deliveries => activity.deliveries,
        ClientSort::Bytes => activity.bytes_in + activity.bytes_out,
    }
}

/// It is a client of MQTT-SN, or was one when it left, in this process or before.
fn is_sensor(entry: &SessionEntry) -> bool {
    let is_new = entry.session.connection.is_none() && entry.last_ending.is_none();
    entry.is_sensor || (is_new && entry.session.sensor.is_some())
}

/// What the shard has of a client of MQTT-SN: the gateway adds to it.
fn sensor(entry: &SessionEntry) -> SensorRow {
    let is_lost = matches!(
        entry.last_ending,
        Some((Ending::Closed(CloseCause::Lost), _))
    );
    let kept = entry.session.sensor.as_deref();
    SensorRow {
        state: match entry.session.connection {
            Some(_) => "active",
            None if is_lost => "lost",
            None => "disconnected",
        },
        topic_ids: kept.map_or(0, |kept| kept.ids().len()),
        predefined_ids: kept.map_or(0, |kept| kept.predefined().len()),
        ..SensorRow::default()
    }
}

impl Shard {
    pub(super) fn list_clients(
        &self,
        from: u32,
        filter: &ClientFilter,
        (sort, max): (Option<ClientSort>, usize),
    ) -> Answer {
        let max = max.clamp(1, ROWS_MAX);
        let mut next = from;
        // The least of those kept is on top.
        let mut kept = BinaryHeap::new();
        for (place, found) in self.clients.sessions.places(from).take(PLACES) {
            if sort.is_none() && kept.len() == max {
                break;
            }
            next = place + 1;
            let Some((id, entry)) = found else { continue };
            let connection = self.connection_of_entry(entry);
            if entry.is_estate() || !filter.takes(entry, connection) {
                continue;
            }
            let key = sort.map_or(0, |sort| sorted_by(sort, entry, connection));
            // Of equals the first stay.
            kept.push((Reverse(key), Reverse(Reverse(id))));
            if kept.len() > max {
                kept.pop();
            }
        }
        let rows = kept.into_sorted_vec().into_iter();
        let rows = rows.map(|(Reverse(key), Reverse(Reverse(id)))| self.row(id, key));
        let is_last = next as usize >= self.clients.sessions.places_len();
        Answer::Clients {
            rows: rows.collect(),
            next: (!is_last).then_some(next),
        }
    }

    pub(super) fn list_activity(&self, from: u32) -> Answer {
        let mut rows = Vec::new();
        let mut next = from;
        for (place, found) in self.clients.sessions.places(from).take(PLACES) {
            next = place + 1;
            let connection =
                found.and_then(|(id, entry)| Some((id, self.connection_of_entry(entry)?)));
            if let Some((place, connection)) = connection {
                rows.push(ActivityRow {
                    place,
                    activity: connection.activity,
                });
            }
        }
        let is_last = next as usize >= self.clients.sessions.places_len();
        Answer::Activity {
            rows,
            next: (!is_last).then_some(next),
        }
    }

    pub(super) fn rows_at(&self, places: &[SessionId]) -> Answer {
        let places = places.iter().take(ROWS_MAX);
        // Those asked for were listed before, and may have ended since.
        let here = places.filter(|id| self.clients.sessions.get(**id).is_some());
        Answer::Clients {
            rows: here.map(|id| self.row(*id, 0)).collect(),
            next: None,
        }
    }

    pub(super) fn connection_of_entry(&self, entry: &SessionEntry) -> Option<&Connection> {
        let id = entry.session.connection?;
        Some(self.clients.connection(id))
    }

    pub(super) fn row(&self, place: SessionId, sorted_by: u64) -> ClientRow {
        let entry = self.clients.session(place);
        let session = &entry.session;
        let connection = self.connection_of_entry(entry);
        ClientRow {
            place,
            client_id: (*session.client_id).into(),
            user: entry.rights.user.clone(),
            peer: connection.map(|connection| connection.origin.peer),
            listener: connection.map(|connection| connection.origin.listener),
            version: connection.map(|connection| connection.version),
            sensor: is_sensor(entry).then(|| Box::new(sensor(entry))),
            activity: connection.map(|connection| connection.activity),
            subscriptions: session.subscriptions.len(),
            queue_messages: session.queue.len(),
            queue_bytes: session.queue.bytes(),
            inflight: session.window.len(),
            dropped: entry.dropped,
            sorted_by,
        }
    }
}
