//! Full queues of the policy `block`: who publishes what such a queue would take waits until it has room.
//!
//! The session of a full queue says so to all shards, with its filters, when these change, and when a part of it is free. Each shard
//! holds the publications of its own clients by that, as it does on a full disk: they stay where they are, unacknowledged,
//! and their connections are not read. What is under way by then is taken beyond the bound.

use crate::ids::{ConnectionId, SessionId};
use crate::limits::QueuePolicy;
use crate::mqtt::{topic, Publish};
use crate::mutant::{is_on, Mutant};
use crate::shard::clients::flow::Flow;
use crate::shard::clients::hold::Hold;
use crate::shard::durable::full::{NoRoom, WAITING_SLACK};
use crate::shard::mesh::block::Control;
use crate::shard::notices::About;
use crate::shard::{ListenerId, Shard};
use crate::time::Time;

/// Lives on: the shard. Bounded by the bridges that are configured so, and by connections.
#[derive(Debug, Default)]
pub(in crate::shard) struct FullQueues {
    /// Of sessions of this shard.
    own: Vec<(SessionId, Box<str>)>,
    /// Of all shards.
    all: Vec<FullQueue>,
    /// Connections with a publication that waits; some have ended.
    waiting: Vec<ConnectionId>,
}

#[derive(Debug)]
struct FullQueue {
    client_id: Box<str>,
    /// By which messages come to it.
    filters: Box<[Box<str>]>,
}

impl FullQueues {
    fn take(&self, topic: &str) -> bool {
        let mut filters = self.all.iter().flat_map(|queue| &queue.filters);
        filters.any(|filter| topic::matches(filter, topic))
    }

    #[cfg(any(test, feature = "testing"))]
    pub(in crate::shard) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

impl Shard {
    /// A message was offered to the queue of a session with the policy `block`.
    #[cold]
    pub(in crate::shard) fn check_full_queue(&mut self, id: SessionId, now: Time) {
        let session = &self.clients.session(id).session;
        let client_id: Box<str> = (&*session.client_id).into();
        let mut own = self.admission.full_queues.own.iter();
        // Of an earlier session of the client, until the turn ends.
        if own.any(|(_, of)| *of == client_id) || !self.is_filled(id, (1, 1)) {
            return;
        }
        let about = About::loss("full queue", Some(&client_id), 1);
        self.notice(&about, now, || {
            "its queue is full: who publishes to its topics waits".to_owned()
        });
        self.announce_full(id, &client_id, now);
        self.admission.full_queues.own.push((id, client_id));
    }

    /// All shards learn which topics wait.
    fn announce_full(&mut self, id: SessionId, client_id: &str, now: Time) {
        let subscriptions = &self.clients.session(id).session.subscriptions;
        let filters = subscriptions.keys().map(|filter| unshared(filter).into());
        let filters: Box<[Box<str>]> = filters.collect();
        (self.mesh.peers).broadcast(|| Control::QueueFull {
            client_id: client_id.into(),
            filters: filters.clone(),
        });
        self.on_queue_full(client_id.into(), filters, now);
    }

    /// It has subscribed or unsubscribed while it is full: other publishers wait than before.
    fn follow_filters(&mut self, id: SessionId, client_id: &str, now: Time) {
        let subscriptions = &self.clients.session(id).session.subscriptions;
        let is_this = |queue: &&FullQueue| *queue.client_id == *client_id;
        let announced = self.admission.full_queues.all.iter().find(is_this);
        let filters = subscriptions.keys().map(|filter| unshared(filter));
        let is_same =
            announced.is_some_and(|queue| filters.eq(queue.filters.iter().map(|it| &**it)));
        if !is_same {
            self.announce_full(id, client_id, now);
        }
    }

    /// What waits fills this part of the queue's bounds.
    fn is_filled(&self, id: SessionId, (part, of): (usize, usize)) -> bool {
        let Some(entry) = self.clients.sessions.get(id) else {
            return false; // it has ended
        };
        let terms = self.config.terms_of(entry);
        let (messages_max, bytes_max, policy) = terms.queue(&self.config.limits);
        let (queue, in_flight) = (&entry.session.queue, entry.session.window.bytes());
        policy == QueuePolicy::Block
            && (queue.len() >= (messages_max as usize * part).div_ceil(of)
                || queue.bytes() + in_flight >= (bytes_max as usize / of).saturating_mul(part))
    }

    /// Queues of this shard's sessions that have room again, have ended, or have another policy now.
    #[inline]
    pub(in crate::shard) fn review_full_queues(&mut self, now: Time) {
        if !self.admission.full_queues.own.is_empty() {
            self.release_full_queues(now);
        }
    }

    #[cold]
    fn release_full_queues(&mut self, now: Time) {
        let own = std::mem::take(&mut self.admission.full_queues.own);
        for (id, client_id) in own {
            // Not at each message that leaves: all who wait are woken.
            if self.is_filled(id, (3, 4)) {
                self.follow_filters(id, &client_id, now);
                self.admission.full_queues.own.push((id, client_id));
                continue;
            }
            (self.mesh.peers).broadcast(|| Control::QueueRoom {
                client_id: client_id.clone(),
            });
            self.on_queue_room(&client_id, now);
        }
    }

    /// A queue is full, or has other filters than when it was.
    pub(in crate::shard) fn on_queue_full(
        &mut self,
        client_id: Box<str>,
        filters: Box<[Box<str>]>,
        now: Time,
    ) {
        let all = &mut self.admission.full_queues.all;
        let (before, queue) = (all.len(), FullQueue { client_id, filters });
        all.retain(|other| other.client_id != queue.client_id);
        let had_others = all.len() < before;
        all.push(queue);
        if had_others {
            self.read_waiting(now);
        }
    }

    /// A queue has room again.
    pub(in crate::shard) fn on_queue_room(&mut self, client_id: &str, now: Time) {
        let full = &mut self.admission.full_queues;
        full.all.retain(|queue| *queue.client_id != *client_id);
        if !is_on(Mutant::KeepWaitingForQueue) {
            self.read_waiting(now);
        }
    }

    /// Those that wait are read again. Another queue, or the same, may hold them then.
    pub(in crate::shard) fn read_waiting(&mut self, now: Time) {
        let full = &mut self.admission.full_queues;
        for id in std::mem::take(&mut full.waiting) {
            let Some(connection) = self.clients.connections.get_mut(id) else {
                continue; // closed meanwhile
            };
            if connection.holds.remove(Hold::Queue) {
                connection.last_packet = now; // it was not read because of us
                self.resume_if_decided(id);
            }
        }
    }

    /// `None`: no full queue would take this publication, of QoS 1 or 2, and this node has its lease.
    #[inline]
    pub(in crate::shard) fn awaits_queue(
        &mut self,
        (id, session): (ConnectionId, SessionId),
        topic: &str,
        publish: &Publish<'_>,
        now: Time,
    ) -> Option<NoRoom> {
        let full = &self.admission.full_queues;
        let must_wait = !full.all.is_empty() && full.take(topic);
        if !must_wait && !self.lacks_lease(now) {
            return None;
        }
        self.hold_for_queue((id, session), publish)
    }

    #[cold]
    fn hold_for_queue(
        &mut self,
        (id, session): (ConnectionId, SessionId),
        publish: &Publish<'_>,
    ) -> Option<NoRoom> {
        let is_repeated = self.clients.session(session).is_repeated(publish);
        let connection = self.clients.connection_mut(id);
        // A bridge brings the acknowledgements that empty its queue by the same connection.
        if is_repeated || connection.origin.listener == ListenerId::BRIDGES {
            return None;
        }
        if connection.gone.is_some() {
            return Some(NoRoom::Dropped);
        }
        connection.holds.insert(Hold::Queue);
        self.outbox.stats.publications_waited += 1;
        self.outbox.stats.count_later(publish);
        let (full, connections) = (&mut self.admission.full_queues, &self.clients.connections);
        full.waiting.push(id);
        if full.waiting.len() > 2 * connections.len() + WAITING_SLACK {
            let waits = |id| {
                let connection = connections.get(id);
                connection.is_some_and(|it| it.holds.contains(Hold::Queue))
            };
            full.waiting.retain(|id| waits(*id));
        }
        Some(NoRoom::Waits(Flow::Wait))
    }
}

/// Of a filter, the part that topics are compared with.
fn unshared(filter: &str) -> &str {
    match topic::share(filter) {
        Ok(Some(share)) => share.filter,
        _ => filter,
    }
}
