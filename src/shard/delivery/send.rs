//! Sending: a delivery to its connection, its queue or its window, and the PUBLISH of it.

use std::num::NonZeroU16;

use crate::ids::SessionId;
use crate::mqtt::{encode, PacketId, PublishOut, Qos, Version};
use crate::mutant::{is_on, Mutant};
use crate::session::{AliasesOut, Delivery, OutgoingTopic, QueueBounds, QueueOffer};
use crate::shard::clients::outgoing::{Outgoing, LARGE_PAYLOAD};
use crate::shard::delivery::message::{expiry_left_s, Message};
use crate::shard::Shard;
use crate::time::Time;

impl Shard {
    /// Sends a delivery now if that keeps the order and the limits, else queues it.
    pub(in crate::shard) fn deliver(&mut self, session: SessionId, delivery: Delivery, now: Time) {
        let Some(entry) = self.clients.sessions.get_mut(session) else {
            return;
        };
        if let Some(walks) = entry.walks.as_mut() {
            // A group's message may be one that another member had long before.
            if delivery.publication.retain && delivery.shared.is_none() {
                let topic_hash = self.routes.placement.hash(&delivery.publication.topic);
                walks.saw_live(topic_hash, self.mesh.peers.origin());
            }
        }
        if delivery.qos == Qos::AtMostOnce {
            self.deliver_qos0(session, delivery, now);
            return;
        }
        let cost = delivery.cost_bytes();
        let bytes_max = self.config.limits.queue_bytes_max as usize;
        let window = &entry.session.window;
        let fits = window.bytes() == 0 || window.bytes() + cost <= bytes_max;
        let outgoing_max = self.config.limits.outgoing_bytes_max as usize;
        if let Some(id) = entry.session.connection {
            let connection = self.clients.connections.get(id);
            let waits = connection
                .and_then(|c| c.output_waits_until(self.admission.metering.as_deref(), now));
            let ready =
                waits.is_none() && connection.is_some_and(|c| c.outgoing.len() <= outgoing_max);
            let is_next = entry.session.queue.is_empty() && ready;
            if (is_next || is_on(Mutant::OvertakeQueue)) && window.has_room() && fits {
                self.send(session, delivery, now);
                return;
            }
            if let Some(until) = waits {
                self.pause_output(id, until);
                if is_on(Mutant::LoseWhilePaused) {
                    return;
                }
            }
        }
        self.enqueue(session, delivery, now);
    }

    /// QoS 0 is dropped, and not queued, for a client that is slow or over its rate.
    fn deliver_qos0(&mut self, session: SessionId, delivery: Delivery, now: Time) {
        let outgoing_max = self.config.limits.outgoing_bytes_max as usize;
        let queue_qos0 = self.config.limits.queue_qos0;
        let Some(entry) = self.clients.sessions.get_mut(session) else {
            return;
        };
        let id = entry.session.connection;
        match id.and_then(|id| self.clients.connections.get(id)) {
            // Those queued while the client was disconnected are sent first [MQTT-4.6.0-6].
            Some(_) if entry.session.queue.may_hold_qos0() => self.enqueue(session, delivery, now),
            Some(connection) if connection.outgoing.len() > outgoing_max => {
                self.drop_slow_reader(session, 1, now);
            }
            Some(connection)
                if connection
                    .output_waits_until(self.admission.metering.as_deref(), now)
                    .is_some() =>
            {
                self.drop_over_rate(session, now);
            }
            Some(_) => self.send(session, delivery, now),
            None if queue_qos0 => self.enqueue(session, delivery, now),
            None => self.outbox.stats.dropped_away += 1,
        }
    }

    /// Encodes a delivery for its connection. QoS 1 and 2 take an identifier of the window, which
    /// must have room.
    pub(in crate::shard) fn send(&mut self, session: SessionId, delivery: Delivery, now: Time) {
        let Some(entry) = self.clients.sessions.get_mut(session) else {
            return;
        };
        let Some(id) = entry.session.connection else {
            return;
        };
        let Some(connection) = self.clients.connections.get_mut(id) else {
            return;
        };
        let Some(fit) = fit(
            &delivery,
            connection.version,
            connection.packet_size_max,
            now,
        ) else {
            self.drop_too_large(session, 1, now);
            return;
        };
        let acked = delivery.qos > Qos::AtMostOnce;
        let packet_id = acked.then(|| entry.session.window.next_id());
        self.clients.pool.lend_to(&mut connection.outgoing);
        self.outbox.stats.deliveries_sent += 1;
        let aliases = connection
            .aliases_out
            .as_deref_mut()
            .filter(|_| fit == Fit::WithAlias);
        let version = connection.version;
        let unsent = connection.outgoing.len();
        write_publish(
            &mut connection.outgoing,
            version,
            aliases,
            &delivery,
            packet_id,
            false,
            now,
        );
        if let (Some(meters), Some(metering)) =
            (&mut connection.meters, &mut self.admission.metering)
        {
            let size = connection.outgoing.len() - unsent;
            metering.count_output((connection.origin.listener, meters), size, now);
        }
        Self::mark_dirty(connection, id, &mut self.clients.dirty);
        if acked {
            entry.session.window.push(delivery);
        }
    }

    /// Queues a delivery, or applies the policy of a full queue. Bytes in flight count against its bound.
    fn enqueue(&mut self, session: SessionId, delivery: Delivery, now: Time) {
        let limits = &self.config.limits;
        let Some(entry) = self.clients.sessions.get(session) else {
            return;
        };
        let in_flight = entry.session.window.bytes();
        let mut bounds = QueueBounds {
            messages_max: limits.queue_messages_max as usize,
            bytes_max: (limits.queue_bytes_max as usize).saturating_sub(in_flight),
            policy: limits.queue_policy,
        };
        if is_on(Mutant::UnboundedQueue) {
            bounds.messages_max = usize::MAX;
        }
        let bounds = self.bounds_under_pressure(&entry.session.queue, bounds);
        let Some(entry) = self.clients.sessions.get_mut(session) else {
            return;
        };
        match entry.session.queue.offer(delivery, &bounds) {
            QueueOffer::Queued => self.outbox.stats.deliveries_queued += 1,
            QueueOffer::DroppedOldest(count) => {
                self.outbox.stats.deliveries_queued += 1;
                self.drop_queue_full(session, count as u64, now);
            }
            QueueOffer::DroppedNewest => self.drop_queue_full(session, 1, now),
            QueueOffer::Overflow => {
                self.drop_queue_full(session, 1, now);
                self.overflowed(session);
            }
        }
    }
}

/// What a session keeps of a message; no identifiers, not shared.
pub(in crate::shard) fn plain_delivery(
    message: &mut Message<'_>,
    qos: Qos,
    retain: bool,
) -> Delivery {
    Delivery {
        publication: message.owned(),
        qos,
        retain,
        identifiers: None,
        shared: None,
    }
}

/// A PUBLISH of a delivery, the topic in full.
fn publish_of<'a>(
    delivery: &'a Delivery,
    packet_id: Option<PacketId>,
    now: Time,
) -> PublishOut<'a> {
    let publication = &*delivery.publication;
    PublishOut {
        dup: false,
        qos: delivery.qos,
        retain: delivery.retain,
        topic: &publication.topic,
        packet_id,
        topic_alias: None,
        message_expiry_interval_s: expiry_left_s(publication.expires_at, now),
        subscription_identifiers: delivery.identifiers(),
        properties: &publication.properties,
        payload_len: publication.payload.len(),
        payload: &publication.payload,
    }
}

/// How a packet fits the client's Maximum Packet Size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Fit {
    WithAlias,
    /// There is no room for a topic alias beside the full topic.
    Bare,
}

/// `None`: the packet is larger than the client takes [MQTT-3.1.2-24].
pub(in crate::shard) fn fit(
    delivery: &Delivery,
    version: Version,
    packet_size_max: u32,
    now: Time,
) -> Option<Fit> {
    /// A topic alias takes 3 bytes and may make two length fields longer.
    const ALIAS_BYTES: usize = 5;
    if packet_size_max == u32::MAX {
        return Some(Fit::WithAlias);
    }
    let any_id = (delivery.qos > Qos::AtMostOnce).then_some(PacketId(NonZeroU16::MIN));
    let size = encode::publish_size(version, &publish_of(delivery, any_id, now));
    if size + ALIAS_BYTES <= packet_size_max as usize {
        return Some(Fit::WithAlias);
    }
    (size <= packet_size_max as usize).then_some(Fit::Bare)
}

/// Appends the PUBLISH of a delivery, its payload by reference when it is large.
pub(in crate::shard) fn write_publish(
    outgoing: &mut Outgoing,
    version: Version,
    aliases: Option<&mut AliasesOut>,
    delivery: &Delivery,
    packet_id: Option<PacketId>,
    dup: bool,
    now: Time,
) {
    let mut packet = PublishOut {
        dup,
        ..publish_of(delivery, packet_id, now)
    };
    if let Some(aliases) = aliases {
        match aliases.assign(&delivery.publication.topic) {
            OutgoingTopic::Full => {}
            OutgoingTopic::Introduce(alias) => packet.topic_alias = Some(alias),
            OutgoingTopic::Alias(alias) => {
                packet.topic_alias = Some(alias);
                packet.topic = "";
            }
        }
    }
    if packet.payload_len >= LARGE_PAYLOAD {
        outgoing.write(|out| encode::publish_header(out, version, &packet));
        outgoing.extend_shared(delivery.publication.payload.clone());
    } else {
        outgoing.write(|out| encode::publish(out, version, &packet));
    }
}
