//! Snapshots of a shard: its counters and gauges at one moment, and what its sessions keep.

use super::sparkplug::Sparkplug;
use super::{Shard, Stats};
use crate::histogram::Histogram;
use crate::sparkplug::Counts;

/// Places of sessions that are looked at for one answer, and subscriptions in groups from which on it ends:
/// some tens of microseconds.
const PLACES_EACH: u32 = 1_024;
const SUBSCRIPTIONS_EACH: u64 = 4_096;
/// What the filter of a shared subscription begins with.
const SHARE: &str = "$share/";

/// Counters, gauges and histograms of a shard. Lives on: the service that asked.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub stats: Stats,
    pub half_open: u64,
    pub sessions: u64,
    /// Whose client is connected.
    pub connected: u64,
    /// Among them, those who speak 3.1, 3.1.1 and 5.0.
    pub connected_by_version: [u64; 3],
    pub retained: u64,
    pub retained_bytes: u64,
    pub route_misses: u64,
    pub sparkplug: Counts,
    /// Waiting for room in the rings to other shards.
    pub outbox_bytes: u64,
    pub overload_memory: bool,
    pub overload_turns: bool,
    /// Of its own log.
    pub overload_disk: bool,
    /// From the read of a PUBLISH to its last byte handed to the kernel: one delivery per turn.
    pub delivery: Histogram,
    /// From the read of a QoS 1 or 2 PUBLISH to its PUBACK or PUBREC handed to the kernel: once per turn.
    pub publish_ack: Histogram,
    /// From a client's last packet before it to its CONNACK.
    pub connack: Histogram,
    /// Messages that wait for a client when one more is queued: once per turn.
    pub queue_depth: Histogram,
}

/// What a part of a shard's sessions keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub queued: u64,
    pub queued_bytes: u64,
    pub in_flight: u64,
    pub subscriptions: u64,
    pub shared_subscriptions: u64,
    /// Where the next part begins; `None`: this was the last.
    pub next: Option<u32>,
}

impl Kept {
    pub fn add(&mut self, other: &Self) {
        self.queued += other.queued;
        self.queued_bytes += other.queued_bytes;
        self.in_flight += other.in_flight;
        self.subscriptions += other.subscriptions;
        self.shared_subscriptions += other.shared_subscriptions;
        self.next = other.next;
    }
}

impl Shard {
    /// Everything but what sessions keep.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let connections = self.clients.connections.len() as u64;
        let half_open = u64::from(self.admission.half_open.count());
        let latency = &self.outbox.latency;
        Snapshot {
            stats: self.outbox.stats,
            half_open,
            connected: connections.saturating_sub(half_open),
            connected_by_version: self.clients.live.counts(),
            sessions: self.clients.by_client_id.len() as u64,
            retained: self.routes.retained.len() as u64,
            retained_bytes: self.routes.retained.bytes(),
            route_misses: self.routes.index.misses(),
            sparkplug: Sparkplug::counts(self.routes.sparkplug.as_deref()),
            outbox_bytes: self.mesh.peers.data_bytes() as u64,
            overload_memory: self.admission.pressure.memory,
            overload_turns: self.admission.pressure.turns,
            overload_disk: self
                .durable
                .as_deref()
                .is_some_and(|durable| durable.full.own),
            delivery: latency.delivery.clone(),
            publish_ack: latency.publish_ack.clone(),
            connack: latency.connack.clone(),
            queue_depth: latency.queue_depth.clone(),
        }
    }

    /// What the sessions keep from a place on, as far as one answer goes.
    #[must_use]
    pub fn kept(&self, from: u32) -> Kept {
        let mut kept = Kept::default();
        let mut looked = 0;
        let end = self.clients.sessions.end();
        let last = end.min(from.saturating_add(PLACES_EACH));
        for place in from..last {
            let Some(entry) = self.clients.sessions.at(place) else {
                continue; // a session has ended there
            };
            let session = &entry.session;
            kept.queued += session.queue.len() as u64;
            kept.queued_bytes += session.queue.bytes() as u64;
            kept.in_flight += session.window.len() as u64;
            kept.subscriptions += session.subscriptions.len() as u64;
            if entry.member.is_some() {
                let filters = session.subscriptions.keys();
                let shared = filters.filter(|filter| filter.starts_with(SHARE));
                kept.shared_subscriptions += shared.count() as u64;
                looked += session.subscriptions.len() as u64;
            }
            if looked > SUBSCRIPTIONS_EACH {
                kept.next = (place + 1 < end).then_some(place + 1);
                return kept;
            }
        }
        kept.next = (last < end).then_some(last);
        kept
    }
}
