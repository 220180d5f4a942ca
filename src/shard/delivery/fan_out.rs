//! From an accepted publication to the connections, queues and peers it goes to.

use std::ops::Range;

use crate::ids::{SessionId, ShardId};
use crate::mqtt::{encode, PublishOut, Qos, Version};
use crate::mutant::{is_on, Mutant};
use crate::routing::{Destination, Grant, Route, Target, Targets};
use crate::session::Delivery;
use crate::shard::clients::outgoing::LARGE_PAYLOAD;
use crate::shard::clients::view::Presence;
use crate::shard::delivery::message::{expiry_left_s, Message};
use crate::shard::delivery::send::plain_delivery;
use crate::shard::durable::ticket::Waiter;
use crate::shard::mesh::block_op::BlockOp;
use crate::shard::turn::budget::{DELIVERY, DISPATCH};
use crate::shard::Shard;
use crate::time::Time;

/// One publication encoded at QoS 0 for each kind of receiver: v3 or v5, RETAIN or not. Made at most
/// once per publication and kind.
#[derive(Debug, Default)]
pub(in crate::shard) struct EncodedPublishes {
    bytes: Vec<u8>,
    ranges: [Option<Range<usize>>; 4],
}

impl EncodedPublishes {
    fn start(&mut self) {
        self.bytes.clear();
        self.ranges = [const { None }; 4];
    }

    /// The packet, or only its header when the payload is large.
    #[inline]
    fn get(&mut self, version: Version, retain: bool, message: &Message<'_>, now: Time) -> &[u8] {
        let slot = usize::from(version.is_v5()) * 2 + usize::from(retain);
        let range = match &self.ranges[slot] {
            Some(range) => range.clone(),
            None => {
                let start = self.bytes.len();
                let packet = PublishOut {
                    retain,
                    message_expiry_interval_s: expiry_left_s(message.expires_at, now),
                    ..plain_publish(message)
                };
                if message.payload.len() >= LARGE_PAYLOAD {
                    encode::publish_header(&mut self.bytes, version, &packet);
                } else {
                    encode::publish(&mut self.bytes, version, &packet);
                }
                let range = start..self.bytes.len();
                self.ranges[slot] = Some(range.clone());
                range
            }
        };
        &self.bytes[range]
    }
}

/// A QoS 0 PUBLISH of a message without anything of its receiver.
fn plain_publish<'a>(message: &Message<'a>) -> PublishOut<'a> {
    PublishOut {
        dup: false,
        qos: Qos::AtMostOnce,
        retain: false,
        topic: message.topic,
        packet_id: None,
        topic_alias: None,
        message_expiry_interval_s: None,
        subscription_identifiers: &[],
        properties: message.properties,
        payload_len: message.payload.len(),
        payload: message.payload,
    }
}

impl Shard {
    /// Takes over responsibility for a publication: every shard with subscribers has it when this returns.
    /// `publisher` is the session it came from. False: there is no subscriber.
    #[inline]
    pub(in crate::shard) fn accept(
        &mut self,
        message: &mut Message<'_>,
        publisher: Option<SessionId>,
        now: Time,
    ) -> bool {
        if self.concerns_sparkplug(message.topic) {
            return self.accept_sparkplug(message, publisher, now);
        }
        self.accept_any(message, publisher, now)
    }

    /// The same, whatever its topic.
    #[inline]
    pub(in crate::shard) fn accept_any(
        &mut self,
        message: &mut Message<'_>,
        publisher: Option<SessionId>,
        now: Time,
    ) -> bool {
        let route = match message.qos {
            Qos::AtMostOnce => self.routes.route(message.topic, &mut self.turn.budget), // mostly came as a burst, which asks once
            Qos::AtLeastOnce | Qos::ExactlyOnce => self
                .routes
                .route_again(message.topic, &mut self.turn.budget),
        };
        message.share_topic(&route);
        if self.outbox.captures.is_some() {
            self.capture_publication(publisher, message, now);
        }
        message.needs_commit = message.retain || !route.durable.is_empty();
        let mut retain_at = None;
        if message.retain {
            let home = self.routes.placement.home(message.topic);
            if home == self.id {
                self.retain(message, now); // [MQTT-3.3.1-5]
            } else {
                retain_at = Some(home);
            }
        }
        self.fan_out(message, &route, publisher, now);
        self.forward(message, &route, retain_at, now);
        !(route.targets.is_empty() && route.remote.is_empty() && route.groups.is_empty())
    }

    /// Hands a publication to other destinations and shared groups; `retain_at` is the other shard that
    /// is to keep it.
    pub(in crate::shard) fn forward(
        &mut self,
        message: &mut Message<'_>,
        route: &Route,
        retain_at: Option<ShardId>,
        now: Time,
    ) {
        let retains = message.retain && self.mesh.cluster.is_some();
        let retain_at = retain_at.map(Destination::from);
        if !route.remote.is_empty() {
            for destination in route.remote.iter() {
                let Destination::Shard(shard) = destination;
                let also_retain =
                    retain_at == Some(destination) || (retains && self.mesh.is_exchange(shard));
                let op = if also_retain {
                    BlockOp::FanOutAndRetain
                } else {
                    BlockOp::FanOut
                };
                let is_kept = also_retain || route.durable.contains(destination);
                self.publish_to(destination, message, &op, is_kept);
            }
        }
        if let Some(home) = retain_at.filter(|home| !route.remote.contains(*home)) {
            self.publish_to(home, message, &BlockOp::Retain, true);
        }
        if retains {
            let is_exchange =
                |Destination::Shard(shard): &Destination| self.mesh.is_exchange(*shard);
            let is_interested = route.remote.iter().any(|one| is_exchange(&one));
            self.retain_elsewhere(message, is_interested);
        }
        self.turn.budget.add(DISPATCH * route.groups.len());
        for group in &route.groups {
            self.dispatch_to_group(*group, message, None, 0, now);
        }
    }

    /// Appends a publication to what is on its way to a destination. `is_kept`: there it is to outlive the
    /// process.
    pub(in crate::shard) fn publish_to(
        &mut self,
        to: Destination,
        message: &mut Message<'_>,
        op: &BlockOp<'_>,
        is_kept: bool,
    ) {
        let Destination::Shard(to) = to;
        self.turn.budget.add(DELIVERY);
        let is_exchange = self.mesh.is_exchange(to);
        if !is_exchange && self.hold_for(to, message, op, is_kept) {
            return;
        }
        let waiter = match is_kept {
            true if is_exchange => self.await_nodes(message),
            true => self.await_peer(message),
            false => Waiter::Nobody,
        };
        if self.mesh.peers.publish(to, message, op, waiter) {
            self.turn.budget.stop();
        }
    }

    /// Delivers to this shard's own subscribers.
    #[inline]
    pub(in crate::shard) fn fan_out(
        &mut self,
        message: &mut Message<'_>,
        route: &Route,
        publisher: Option<SessionId>,
        now: Time,
    ) {
        if route.targets.is_empty() {
            return;
        }
        if message.retain {
            self.saw_retained(message);
        }
        self.turn.budget.add(DELIVERY * route.targets.len());
        self.encoded.start();
        for target in route.targets.iter() {
            self.deliver_to_target(message, &route.targets, target, publisher, now);
        }
    }

    /// Delivers to the targets of a route named by index.
    pub(in crate::shard) fn deliver_to_some(
        &mut self,
        message: &mut Message<'_>,
        route: &Route,
        indexes: &[usize],
        publisher: Option<SessionId>,
        now: Time,
    ) {
        self.turn.budget.add(DELIVERY * indexes.len());
        self.encoded.start();
        for target in indexes.iter().filter_map(|index| route.targets.get(*index)) {
            self.deliver_to_target(message, &route.targets, target, publisher, now);
        }
    }

    #[inline]
    fn deliver_to_target(
        &mut self,
        message: &mut Message<'_>,
        targets: &Targets,
        target: &Target,
        publisher: Option<SessionId>,
        now: Time,
    ) {
        let own = publisher == Some(target.session) && !is_on(Mutant::ForgetNoLocal);
        let Some(grant) = targets.grant(target, own) else {
            return; // [MQTT-3.8.3-3] No Local
        };
        if !self.may_receive(target.session, message.topic) {
            return;
        }
        let retain = message.retain && grant.retain_as_published;
        if message.qos.min(grant.qos) == Qos::AtMostOnce && grant.identifiers.is_empty() {
            self.deliver_plain(message, target.session, retain, now);
        } else {
            self.deliver_granted(message, target.session, grant, retain, now);
        }
    }

    /// QoS 0 without identifiers: the shared image is copied to the connection.
    #[inline]
    fn deliver_plain(
        &mut self,
        message: &mut Message<'_>,
        session: SessionId,
        retain: bool,
        now: Time,
    ) {
        let client = match self.clients.presence(session) {
            Presence::Ended => return,
            Presence::Away(_) => return self.deliver_away(message, session, retain, now),
            Presence::Connected(client) => client,
        };
        let connection = client.connection;
        let queue = &client.entry.session.queue;
        let rare = connection.rare.get();
        let is_special = rare.aliases_out.is_some() || rare.meters.is_some();
        if is_special || client.entry.walks.is_some() || queue.may_hold_qos0() {
            let delivery = plain_delivery(message, Qos::AtMostOnce, retain);
            self.deliver(session, delivery, now);
            return;
        }
        if connection.outgoing.len() > self.config.limits.outgoing_bytes_max as usize {
            self.drop_slow_reader(session, 1, now);
            return;
        }
        let large = message.payload.len() >= LARGE_PAYLOAD;
        let image = self.encoded.get(connection.version, retain, message, now);
        let size = image.len() + if large { message.payload.len() } else { 0 };
        if size > connection.packet_size_max as usize {
            self.drop_too_large(session, 1, now);
            return;
        }
        client.pool.lend_to(&mut connection.outgoing);
        connection.outgoing.extend(image);
        if large {
            connection.outgoing.extend_shared(message.shared_payload());
        }
        connection.activity.deliveries += 1;
        let stats = &mut self.outbox.stats;
        stats.count_delivery(Qos::AtMostOnce, message.payload.len());
        if self.outbox.latency.wants_delivery() {
            let position = connection.outgoing.len();
            self.outbox.latency.watch(client.id, position, now);
        }
        connection.mark_dirty(client.id, client.dirty);
    }

    /// QoS 0 for a session without a connection: dropped unless `queue-qos0` is set.
    #[cold]
    fn deliver_away(
        &mut self,
        message: &mut Message<'_>,
        session: SessionId,
        retain: bool,
        now: Time,
    ) {
        if self.limits().queue_qos0 && !self.is_disk_full() {
            let delivery = plain_delivery(message, Qos::AtMostOnce, retain);
            self.deliver(session, delivery, now);
        } else {
            self.outbox.stats.dropped_away += 1;
        }
    }

    pub(in crate::shard) fn deliver_granted(
        &mut self,
        message: &mut Message<'_>,
        session: SessionId,
        grant: &Grant,
        retain: bool,
        now: Time,
    ) {
        let identifiers = (!grant.identifiers.is_empty()).then(|| grant.identifiers.clone());
        let qos = message.qos.min(grant.qos); // [MQTT-3.8.4-8]
        let delivery = Delivery {
            identifiers,
            ..plain_delivery(message, qos, retain)
        };
        self.deliver(session, delivery, now);
    }
}
