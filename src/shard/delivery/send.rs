//! Sending: a delivery to its connection, its queue or its window, and the PUBLISH of it.

use std::num::NonZeroU16;

use crate::ids::SessionId;
use crate::limits::{Limits, QueuePolicy};
use crate::mqtt::{encode, PacketId, PublishOut, Qos, Version};
use crate::mutant::{is_on, Mutant};
use crate::session::{AliasesOut, Delivery, OutgoingTopic, QueueBounds, QueueOffer};
use crate::shard::clients::meters::Metering;
use crate::shard::clients::outgoing::{Outgoing, LARGE_PAYLOAD};
use crate::shard::clients::view::{Client, Presence};
use crate::shard::delivery::message::{expiry_left_s, Message};
use crate::shard::durable::Durable;
use crate::shard::{Shard, Stats};
use crate::time::Time;

/// What becomes of a delivery to a client that is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Send,
    Queue,
    /// Its rate is used up until then.
    QueueUntil(Time),
    /// QoS 0 is dropped, and not queued, for a client that is slow or over its rate.
    DropSlow,
    DropOverRate,
}

impl Client<'_> {
    /// What keeps the order and the limits.
    #[inline]
    fn course(
        &self,
        delivery: &Delivery,
        limits: &Limits,
        metering: Option<&Metering>,
        now: Time,
    ) -> Course {
        let session = &self.entry.session;
        let has_room = self.connection.outgoing.len() <= limits.outgoing_bytes_max as usize;
        let waits = self.connection.output_waits_until(metering, now);
        if delivery.qos == Qos::AtMostOnce {
            return match waits {
                // Those queued while the client was disconnected are sent first [MQTT-4.6.0-6].
                _ if session.queue.may_hold_qos0() => Course::Queue,
                _ if !has_room => Course::DropSlow,
                Some(_) => Course::DropOverRate,
                None => Course::Send,
            };
        }
        let is_next = session.queue.is_empty() && has_room && waits.is_none();
        if (is_next || is_on(Mutant::OvertakeQueue))
            && self.window_takes(delivery.cost_bytes(), limits)
        {
            return Course::Send;
        }
        waits.map_or(Course::Queue, Course::QueueUntil)
    }

    /// The window has room for a delivery; an empty one takes a message of any size.
    #[inline]
    pub(in crate::shard) fn window_takes(&self, cost_bytes: usize, limits: &Limits) -> bool {
        let window = &self.entry.session.window;
        let bytes = window.bytes();
        let fits = bytes == 0 || bytes + cost_bytes <= limits.queue_bytes_max as usize;
        window.has_room() && fits
    }

    /// Encodes a delivery for its connection. QoS 1 and 2 take an identifier of the window, which
    /// must have room. False: it is larger than the client takes.
    #[inline]
    pub(in crate::shard) fn send(
        &mut self,
        delivery: Delivery,
        durable: Option<&mut Durable>,
        metering: Option<&mut Metering>,
        stats: &mut Stats,
        now: Time,
    ) -> bool {
        let (version, size_max) = (self.connection.version, self.connection.packet_size_max);
        let Some(fit) = fit(&delivery, version, size_max, now) else {
            return false;
        };
        if delivery.qos == Qos::ExactlyOnce {
            self.hold_if_durable(durable); // after a restart its identifier is the same [MQTT-4.4.0-1]
        }
        let connection = &mut *self.connection;
        let acked = delivery.qos > Qos::AtMostOnce;
        let packet_id = acked.then(|| self.entry.session.window.next_id());
        self.pool.lend_to(&mut connection.outgoing);
        connection.activity.deliveries += 1;
        stats.count_delivery(delivery.qos, delivery.publication.payload.len());
        let aliases = connection.rare.aliases_out_mut();
        let aliases = aliases.filter(|_| fit == Fit::WithAlias);
        let outgoing = &mut connection.outgoing;
        let unsent = outgoing.len();
        write_publish(outgoing, version, aliases, &delivery, packet_id, false, now);
        if let (Some(meters), Some(metering)) = (connection.rare.meters_mut(), metering) {
            let size = connection.outgoing.len() - unsent;
            metering.count_output((connection.origin.listener, meters), size, now);
        }
        connection.mark_dirty(self.id, self.dirty);
        if acked {
            self.entry.session.window.push(delivery);
        }
        true
    }
}

impl Shard {
    /// Sends a delivery now if that keeps the order and the limits, else queues it.
    pub(in crate::shard) fn deliver(&mut self, session: SessionId, delivery: Delivery, now: Time) {
        let mut presence = self.clients.presence(session);
        let walks = match &mut presence {
            Presence::Ended => return,
            Presence::Away(entry) => entry.walks.as_mut(),
            Presence::Connected(client) => client.entry.walks.as_mut(),
        };
        if let Some(walks) = walks {
            // A group's message may be one that another member had long before.
            if delivery.publication.retain && delivery.shared.is_none() {
                let topic_hash = self.routes.placement.hash(&delivery.publication.topic);
                walks.saw_live(topic_hash, self.mesh.peers.origin());
            }
        }
        let Presence::Connected(mut client) = presence else {
            let queues_qos0 = self.config.limits.queue_qos0 && !self.is_disk_full();
            if delivery.qos > Qos::AtMostOnce || queues_qos0 {
                self.enqueue(session, delivery, now);
            } else {
                self.outbox.stats.dropped_away += 1;
            }
            return;
        };
        let metering = self.admission.metering.as_deref_mut();
        let limits = &self.config.limits;
        match client.course(&delivery, limits, metering.as_deref(), now) {
            Course::Send => {
                let durable = self.durable.as_deref_mut();
                if !client.send(delivery, durable, metering, &mut self.outbox.stats, now) {
                    self.drop_too_large(session, 1, now);
                } else if self.outbox.latency.wants_delivery() {
                    let position = client.connection.outgoing.len();
                    self.outbox.latency.watch(client.id, position, now);
                }
            }
            Course::Queue => self.enqueue(session, delivery, now),
            Course::QueueUntil(until) => {
                let id = client.id;
                self.pause_output(id, until);
                if !is_on(Mutant::LoseWhilePaused) {
                    self.enqueue(session, delivery, now);
                }
            }
            Course::DropSlow => self.drop_slow_reader(session, 1, now),
            Course::DropOverRate => self.drop_over_rate(session, now),
        }
    }

    /// Queues a delivery, or applies the policy of a full queue. Bytes in flight count against its bound.
    fn enqueue(&mut self, session: SessionId, delivery: Delivery, now: Time) {
        let limits = &self.config.limits;
        let entry = self.clients.session(session);
        let in_flight = entry.session.window.bytes();
        let terms = self.config.terms_of(entry);
        let (messages_max, bytes_max, policy) = terms.queue(limits);
        let mut bounds = QueueBounds {
            messages_max: messages_max as usize,
            bytes_max: (bytes_max as usize).saturating_sub(in_flight),
            policy,
        };
        if is_on(Mutant::UnboundedQueue) {
            bounds.messages_max = usize::MAX;
        }
        let bounds = self
            .admission
            .bounds_under_pressure(&entry.session.queue, bounds);
        let entry = self.clients.session_mut(session);
        if self.outbox.latency.wants_depth() {
            let depth = entry.session.queue.len();
            self.outbox.latency.saw_queue(depth);
        }
        let offer = entry.session.queue.offer(delivery, &bounds);
        if terms.has_lag && matches!(offer, QueueOffer::Queued | QueueOffer::DroppedOldest(_)) {
            let session = &entry.session;
            let lags = &mut self.admission.lags;
            lags.came(&session.client_id, session.queue.len(), now);
        }
        if policy == QueuePolicy::Block {
            self.check_full_queue(session, now);
        }
        match offer {
            QueueOffer::Queued => self.outbox.stats.deliveries_queued += 1,
            QueueOffer::DroppedOldest(count) => {
                self.outbox.stats.deliveries_queued += 1;
                self.drop_queue_full(session, count as u64, now);
            }
            QueueOffer::DroppedNewest => self.drop_queue_full(session, 1, now),
            QueueOffer::Overflow => {
                self.drop_queue_full(session, 1, now);
                self.clients.overflowed(session);
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
