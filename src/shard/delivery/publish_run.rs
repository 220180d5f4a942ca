//! Bursts: consecutive plain QoS 0 publications of one client on one topic, delivered as one piece.
//!
//! A publisher that writes many small messages at once is the common hot case. Their packets lie one
//! after the other in the read buffer and are, for a receiver that speaks the same version, just what
//! has to be sent. So the route is found once, and each receiver gets one copy of the whole run.
//! Measured with 64 packets per read (`benches/shard.rs`, per delivery, before and after in one session):
//! fan-in 10 to 1 137 -> 29 ns, fan-out 1 to 100 30 -> 3 ns.

use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;

use crate::ids::{ConnectionId, SessionId};
use crate::limits::TURN_WORK;
use crate::mqtt::frame::{self, Frame};
use crate::mqtt::{decode, Sender, Version, Violation};
use crate::routing::{Destination, Route};
use crate::shard::access::decisions::Authorization;
use crate::shard::clients::connection::Connection;
use crate::shard::clients::outgoing::LARGE_PAYLOAD;
use crate::shard::clients::view::Presence;
use crate::shard::delivery::message::Message;
use crate::shard::mesh::publications::Publications;
use crate::shard::mesh::publish_run::PublishRun;
use crate::shard::turn::budget::{COPIED_BYTES, DELIVERY, DISPATCH};
use crate::shard::verbs::publish::too_deep;
use crate::shard::Shard;
use crate::time::Time;

/// From so many receivers on, and from a run of so many bytes on, the run is copied once and all
/// receivers refer to it: a copy for each would fill the caches (1 to 100 with 64 KiB read at once: 31 %
/// of the broker's time went into copies, and 23 % into the kernel's reading them again).
const SHARED_RECEIVERS_MIN: usize = 4;
const SHARED_BYTES_MIN: usize = 1 << 10;

/// Bytes before the topic that say how long it is.
const TOPIC_LENGTH_BYTES: usize = 2;

/// First byte of a PUBLISH with QoS 0, no RETAIN, no DUP.
pub(in crate::shard) const PLAIN_PUBLISH: u8 = 0x30;

/// A run of the bytes being processed. Lives no longer than one call of `process`.
#[derive(Debug)]
pub(in crate::shard) struct Burst {
    /// `None` when it comes from another shard.
    publisher: Option<SessionId>,
    version: Version,
    route: Rc<Route>,
    /// Where in the bytes being processed.
    range: Range<usize>,
    /// Where the topic of its first packet is.
    topic: Range<usize>,
    count: u64,
    /// Packets after which another begins, so that its cost stays within a turn's budget.
    count_max: u64,
    /// Bytes of its largest packet, and of all payloads.
    largest: usize,
    payloads: usize,
    /// Some of its messages expire: their Message Expiry Interval changes in transit to another shard.
    expires: bool,
}

/// The publisher whose packets are being handled.
pub(in crate::shard) struct Publisher {
    pub(in crate::shard) connection: ConnectionId,
    pub(in crate::shard) session: SessionId,
    pub(in crate::shard) version: Version,
    /// In bytes, of the packets it sends.
    pub(in crate::shard) packet_size_max: u32,
}

impl Publisher {
    #[inline]
    pub(in crate::shard) fn of(
        (id, connection): (ConnectionId, &Connection),
        session: SessionId,
    ) -> Self {
        Self {
            connection: id,
            session,
            version: connection.version,
            packet_size_max: connection.announced.packet_size_max,
        }
    }
}

/// A run as its receivers get it.
enum Piece<'a> {
    Copied(&'a [u8]),
    Shared(Bytes),
}

impl Burst {
    /// One more packet of these sizes.
    #[inline]
    fn join(&mut self, length: usize, payload: usize, expires: bool) {
        self.count += 1;
        self.largest = self.largest.max(length);
        self.payloads += payload;
        self.expires |= expires;
    }

    /// Takes the packets at `at` that continue the burst: of the same topic, without properties, not
    /// large. Of these nothing is left to check. Returns where the first other one starts, if only because
    /// it has not come whole.
    #[inline]
    fn extend(&mut self, bytes: &[u8], mut at: usize, packet_size_max: u32) -> usize {
        let topic = &bytes[self.topic.start - TOPIC_LENGTH_BYTES..self.topic.end];
        let properties: &[u8] = if self.version.is_v5() { &[0] } else { &[] };
        while self.count < self.count_max && bytes.get(at) == Some(&PLAIN_PUBLISH) {
            let Ok(Some(frame)) = frame::next_frame(&bytes[at..], packet_size_max) else {
                break;
            };
            let behind_topic = frame.body.strip_prefix(topic);
            let payload = behind_topic.and_then(|behind| behind.strip_prefix(properties));
            let Some(payload) = payload.filter(|_| !frame.is_padded()) else {
                break;
            };
            if payload.len() >= LARGE_PAYLOAD {
                break;
            }
            self.join(frame.length, payload.len(), false);
            let before = at;
            at += frame.length;
            at = self.extend_alike(bytes, before..at, payload.len());
        }
        self.range.end = at;
        at
    }

    /// Takes the packets behind `packet` that begin with the same bytes up to the payload: with the same length,
    /// so of these not even that is looked at.
    #[inline]
    fn extend_alike(&mut self, bytes: &[u8], packet: Range<usize>, payload: usize) -> usize {
        let (head, behind) = (
            &bytes[packet.start..packet.end - payload],
            &bytes[packet.end..],
        );
        let count_max = (self.count_max - self.count) as usize;
        let packets = behind.chunks_exact(packet.len()).take(count_max);
        let alike = packets
            .take_while(|packet| packet.starts_with(head))
            .count();
        self.count += alike as u64;
        self.payloads += alike * payload;
        packet.end + alike * packet.len()
    }
}

impl Shard {
    /// Adds a plain PUBLISH and those behind it to the burst, or sends the burst off and begins another.
    /// `at` is where the packet starts in `bytes`.
    #[inline]
    pub(in crate::shard) fn on_plain_publish(
        &mut self,
        burst: &mut Option<Burst>,
        publisher: &Publisher,
        bytes: &[u8],
        (at, frame): (usize, &Frame<'_>),
        now: Time,
    ) -> Result<Joined, Violation> {
        let Publisher {
            connection: id,
            session,
            version,
            packet_size_max,
        } = *publisher;
        let end = at + frame.length;
        let publish = decode::publish_from(version, Sender::Client, frame)?;
        // A receiver of another version than the sender's may not take a padded length.
        let is_large = publish.payload.len() >= LARGE_PAYLOAD; // shared rather than copied
        if publish.properties.topic_alias.is_some() || frame.is_padded() || is_large {
            return Ok(Joined::No);
        }
        if self.outbox.captures.is_some() || self.concerns_sparkplug(publish.topic) {
            return Ok(Joined::No); // one by one, they are shown or read
        }
        let expires = publish.properties.message_expiry_interval_s.is_some();
        if let Some(burst) = burst {
            let is_same = bytes[burst.topic.clone()] == *publish.topic.as_bytes();
            if is_same && burst.count < burst.count_max {
                burst.join(frame.length, publish.payload.len(), expires);
                return Ok(Joined::UpTo(burst.extend(bytes, end, packet_size_max)));
            }
        }
        if let Some(error) = too_deep(publish.topic, &self.config.limits) {
            return Err(error);
        }
        self.send_burst(burst, bytes, now);
        let right = self.access.right_of_all(publish.topic);
        let right = right.unwrap_or_else(|| {
            let entry = self.clients.session_mut(session);
            self.access.right_to_publish(entry, publish.topic, now)
        });
        match right {
            Authorization::Allowed => {}
            Authorization::Pending => return Ok(Joined::No),
            Authorization::Denied => {
                self.outbox.stats.publications_received += 1;
                self.refuse_publication(id, session, publish.topic, now)?;
                return Ok(Joined::UpTo(end));
            }
            Authorization::Unavailable => {
                self.outbox.stats.publications_received += 1;
                self.drop_undecided(session, now);
                return Ok(Joined::UpTo(end));
            }
        }
        let topic_at = at + topic_offset(frame);
        let route = self.routes.route(publish.topic, &mut self.turn.budget);
        let burst = burst.insert(Burst {
            publisher: Some(session),
            version,
            count_max: count_max(&route),
            route,
            range: at..end,
            topic: topic_at..topic_at + publish.topic.len(),
            count: 1,
            largest: frame.length,
            payloads: publish.payload.len(),
            expires,
        });
        Ok(Joined::UpTo(burst.extend(bytes, end, packet_size_max)))
    }

    /// Delivers the burst, if there is one.
    #[inline]
    pub(in crate::shard) fn send_burst(
        &mut self,
        burst: &mut Option<Burst>,
        bytes: &[u8],
        now: Time,
    ) {
        if let Some(burst) = burst.take() {
            self.deliver_burst(&burst, bytes, now);
        }
    }

    fn deliver_burst(&mut self, burst: &Burst, bytes: &[u8], now: Time) {
        let run = &bytes[burst.range.clone()];
        self.outbox.stats.publications_received += burst.count;
        self.outbox.stats.payload_bytes_received += burst.payloads as u64;
        let left_over = self.copy_to_targets(burst, run, now);
        let route = &burst.route;
        // Each message goes to another member of a group, so there they go one by one.
        let crosses_whole =
            route.groups.is_empty() && !burst.expires && !self.is_topic_held(&route.topic);
        if crosses_whole && !route.remote.is_empty() {
            let crossing = PublishRun {
                version: burst.version,
                topic: burst.topic.start - burst.range.start..burst.topic.end - burst.range.start,
                count: burst.count,
                largest: burst.largest,
                payloads: burst.payloads,
                packets: run,
                has_more: false,
            };
            for Destination::Shard(shard) in route.remote.iter() {
                if self.mesh.peers.publish_run(shard, &crossing) {
                    self.turn.budget.stop();
                }
            }
        }
        let has_others = !route.remote.is_empty() || !route.groups.is_empty();
        let forwards = has_others && !crosses_whole;
        if forwards || !left_over.is_empty() {
            self.deliver_one_by_one(burst, run, &left_over, forwards, now);
        }
    }

    /// A run of another shard: the publisher's shard matched for itself, this one matches for its
    /// own subscribers.
    pub(in crate::shard) fn deliver_run(&mut self, run: &PublishRun<'_>, now: Time) {
        let burst = Burst {
            publisher: None,
            version: run.version,
            route: self.routes.route(run.topic(), &mut self.turn.budget),
            range: 0..run.packets.len(),
            topic: run.topic.clone(),
            count: run.count,
            count_max: run.count,
            largest: run.largest,
            payloads: run.payloads,
            expires: false,
        };
        let left_over = self.copy_to_targets(&burst, run.packets, now);
        if !left_over.is_empty() {
            self.deliver_one_by_one(&burst, run.packets, &left_over, false, now);
        }
    }

    /// A run that costs more than a turn's budget, in pieces between which a turn may end. What its
    /// sender could not know is how many subscribers there are here.
    pub(in crate::shard) fn pieces_of(&mut self, run: &PublishRun<'_>) -> Option<Publications> {
        let packets_max = count_max(&self.routes.route(run.topic(), &mut self.turn.budget));
        if run.count <= packets_max {
            return None;
        }
        let mut pieces = Publications::default();
        let (mut at, mut left, mut payloads) = (0, run.count, run.payloads);
        while left > 0 {
            let (start, count) = (at, left.min(packets_max));
            let mut topic = 0..0;
            for nth in 0..count {
                let frame = frame::next_frame(&run.packets[at..], u32::MAX).ok()??;
                if nth == 0 {
                    let offset = topic_offset(&frame);
                    topic = offset..offset + run.topic.len();
                }
                at += frame.length;
            }
            // In the mean: packets of a run are of one kind.
            let own = payloads * count as usize / left as usize;
            left -= count;
            payloads -= own;
            pieces.push_run(&PublishRun {
                packets: &run.packets[start..at],
                topic,
                count,
                payloads: own,
                has_more: left > 0 || run.has_more,
                ..*run
            });
        }
        Some(pieces)
    }

    /// Gives the run to the receivers that take it as it is; returns the others by index.
    #[inline]
    fn copy_to_targets(&mut self, burst: &Burst, run: &[u8], now: Time) -> Vec<usize> {
        let mut left_over = Vec::new();
        let targets = &burst.route.targets;
        let copy = DELIVERY + run.len() / COPIED_BYTES;
        self.turn.budget.add(copy * targets.len());
        let is_shared = targets.len() >= SHARED_RECEIVERS_MIN && run.len() >= SHARED_BYTES_MIN;
        let run = if is_shared {
            Piece::Shared(Bytes::copy_from_slice(run))
        } else {
            Piece::Copied(run)
        };
        for (index, target) in targets.iter().enumerate() {
            let own = burst.publisher == Some(target.session);
            let Some(grant) = targets.grant(target, own) else {
                continue; // [MQTT-3.8.3-3] No Local
            };
            if self.access.has_acl && !self.may_receive(target.session, &burst.route.topic) {
                self.outbox.stats.dropped_not_authorized += burst.count - 1; // the first is counted
                continue;
            }
            if !grant.identifiers.is_empty() || !self.copy_burst(target.session, burst, &run, now) {
                left_over.push(index);
            }
        }
        left_over
    }

    /// Copies the run to a receiver; false when its packets must be made for it one by one.
    #[inline]
    fn copy_burst(
        &mut self,
        session: SessionId,
        burst: &Burst,
        run: &Piece<'_>,
        now: Time,
    ) -> bool {
        let client = match self.clients.presence(session) {
            Presence::Ended => return true,
            Presence::Away(_) => return false,
            Presence::Connected(client) => client,
        };
        let connection = client.connection;
        let is_same = connection.version.is_v5() == burst.version.is_v5();
        let takes_all = connection.packet_size_max as usize >= burst.largest;
        let has_queued = client.entry.session.queue.may_hold_qos0();
        let rare = connection.rare.get();
        let is_special = rare.aliases_out.is_some() || rare.meters.is_some();
        if !is_same || !takes_all || is_special || has_queued {
            return false;
        }
        if connection.outgoing.len() > self.config.limits.outgoing_bytes_max as usize {
            self.drop_slow_reader(session, burst.count, now);
            return true;
        }
        match run {
            Piece::Shared(bytes) => connection.outgoing.extend_shared(bytes.clone()),
            Piece::Copied(bytes) => {
                client.pool.lend_to(&mut connection.outgoing);
                connection.outgoing.extend(bytes);
            }
        }
        self.outbox.stats.deliveries_sent += burst.count;
        connection.activity.deliveries += burst.count;
        self.outbox.stats.payload_bytes_sent += burst.payloads as u64;
        if self.outbox.latency.wants_delivery() {
            let position = connection.outgoing.len();
            self.outbox.latency.watch(client.id, position, now);
        }
        connection.mark_dirty(client.id, client.dirty);
        true
    }

    /// Packet by packet, for the receivers that need packets of their own and, when it `forwards`, for
    /// other shards and for shared groups.
    fn deliver_one_by_one(
        &mut self,
        burst: &Burst,
        run: &[u8],
        left_over: &[usize],
        forwards: bool,
        now: Time,
    ) {
        let mut at = 0;
        while let Ok(Some(frame)) = frame::next_frame(&run[at..], u32::MAX) {
            at += frame.length;
            let Ok(publish) = decode::publish_from(burst.version, Sender::Client, &frame) else {
                return; // they were decoded before
            };
            let mut stripped = Vec::new();
            let mut message = Message::of_publish(publish.topic, &publish, &mut stripped, now);
            self.deliver_to_some(&mut message, &burst.route, left_over, burst.publisher, now);
            if forwards {
                self.forward(&mut message, &burst.route, None, now);
            }
        }
    }
}

/// Packets of a burst on this route: a quarter of a turn's budget if one in eight of its receivers needs
/// packets of its own.
fn count_max(route: &Route) -> u64 {
    const OWN_PACKETS: usize = 8;
    let each = route.targets.len() * DELIVERY / OWN_PACKETS + route.groups.len() * DISPATCH;
    (TURN_WORK / 4 / each.max(1)).max(1) as u64
}

/// Whether a packet became part of a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Joined {
    /// With it, those behind it up to here.
    UpTo(usize),
    No,
}

/// Where the topic's characters are in a PUBLISH: behind header and length.
fn topic_offset(frame: &Frame<'_>) -> usize {
    frame.length - frame.body.len() + TOPIC_LENGTH_BYTES
}
