//! The receiving side of a client: packets are skimmed, not copied, and large ones need not be whole
//! in memory.

use std::num::NonZeroU16;

use ringmq::mqtt::encode::{self, AckKind};
use ringmq::mqtt::frame::{needed, next_frame, Frame, PACKET_SIZE_MAX};
use ringmq::mqtt::{
    decode, Ack, ConnAck, Disconnect, Packet, PacketId, PacketType, Qos, ReasonCode, Sender,
    UserProperties, Version,
};

use super::inspect::{self, skim, Delivery, Promised, Skimmed};
use super::{agreement, exchange, Client, ConnectionError, Context, State, Stored};
use crate::meter::{Count, Timing};
use crate::payload::{Header, Reading, HEADER_BYTES};
use crate::proof::Proof;

const NO_V5: &str =
    "the broker does not speak MQTT 5: give --protocol 3.1.1 (in a file, connection.protocol)";
/// Packets longer than this are skimmed as they come.
const LARGE: usize = 32 << 10;
/// Packets whose payload may have its proof within are shorter: 128 KB, topic and properties.
const PROVED_PACKET_MAX: usize = 200 << 10;

/// A large PUBLISH whose end has not come.
pub(super) struct Pending {
    left: usize,
    /// Bytes behind the header that have come.
    body_bytes: usize,
    delivery: Delivery,
}

impl Client {
    /// Takes bytes from the broker. Returns how many were used; the rest is the beginning of a
    /// packet and must come again, with more behind it.
    pub fn handle_bytes(
        &mut self,
        bytes: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<usize, ConnectionError> {
        let mut used = self.skip(bytes, cx);
        let version = self.version;
        while used < bytes.len() {
            let rest = &bytes[used..];
            let frame = next_frame(rest, PACKET_SIZE_MAX).map_err(|error| {
                ConnectionError(format!("the broker sent bytes that are not MQTT: {error}"))
            })?;
            let Some(frame) = frame else {
                return Ok(used + self.begin_large(rest, cx));
            };
            used += frame.length;
            if frame.first >> 4 == PacketType::Publish as u8 {
                let skimmed = skim(version, frame.first, frame.body, frame.body.len());
                let skimmed = skimmed
                    .ok_or_else(|| ConnectionError("the broker sent a malformed PUBLISH".into()))?;
                if self.exchanges {
                    self.check_exchange(&frame, cx)?;
                }
                let delivery = self.inspect(frame.first, &skimmed, cx);
                self.handle_publish(&delivery, cx);
                continue;
            }
            if self.is_refusal_of_version(version, &frame) {
                return Err(ConnectionError(NO_V5.into()));
            }
            let packet = decode::packet(version, Sender::Server, &frame)
                .map_err(|error| ConnectionError(format!("the broker sent a {error}")))?;
            self.handle_packet(&packet, cx)?;
        }
        Ok(used)
    }

    /// A broker without MQTT 5 answers in its own version: CONNACK with return code 1, of two bytes.
    fn is_refusal_of_version(&self, version: Version, frame: &Frame<'_>) -> bool {
        let is_connack = frame.first >> 4 == PacketType::ConnAck as u8;
        version.is_v5()
            && self.state == State::AwaitsConnAck
            && is_connack
            && matches!(frame.body, [_, 1])
    }

    /// Looks whether the broker has handed on what belongs to a request or an answer.
    fn check_exchange(
        &mut self,
        frame: &Frame<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), ConnectionError> {
        let packet = decode::packet(self.version, Sender::Server, frame)
            .map_err(|error| ConnectionError(format!("the broker sent a {error}")))?;
        if let Packet::Publish(publish) = &packet {
            let damage = exchange::damage(cx.plan, self.group.into(), self.index, publish);
            if let Some(sentence) = damage {
                cx.meter.error(sentence.to_string());
            }
        }
        Ok(())
    }

    /// Takes the rest of a large PUBLISH.
    fn skip(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> usize {
        let Some(pending) = &mut self.pending else {
            return 0;
        };
        let used = pending.left.min(bytes.len());
        let sample = cx.plan.connection.sample;
        if let Some((proof, hash)) = &mut pending.delivery.proof {
            hash.add(&bytes[..used]);
            pending.delivery.is_altered = used == pending.left && !proof.is_of(*hash);
        } else if let Some((_, place)) = pending.delivery.compared(sample) {
            let sound = cx
                .pattern
                .matches(place, pending.body_bytes, &bytes[..used]);
            pending.delivery.is_altered |= !sound;
        }
        pending.body_bytes += used;
        pending.left -= used;
        if pending.left == 0 {
            let delivery = pending.delivery;
            self.pending = None;
            self.handle_publish(&delivery, cx);
        }
        used
    }

    /// Takes the beginning of a large PUBLISH; the bytes used, all or none.
    fn begin_large(&mut self, rest: &[u8], cx: &Context<'_>) -> usize {
        let length = match needed(rest) {
            Some(length) if length > LARGE && rest[0] >> 4 == PacketType::Publish as u8 => length,
            _ => return 0,
        };
        let version = self.version;
        let fixed = 1 + rest[1..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
        let Some(skimmed) = skim(version, rest[0], &rest[fixed..], length - fixed) else {
            return 0;
        };
        // A proof within may be anywhere: all of the payload is needed.
        let may_have_proof = cx.own_payloads.have_proofs && length < PROVED_PACKET_MAX;
        if may_have_proof && Proof::beside(skimmed.properties).is_none() {
            return 0;
        }
        self.pending = Some(Box::new(Pending {
            left: length - rest.len(),
            body_bytes: skimmed.payload.len().saturating_sub(HEADER_BYTES),
            delivery: self.inspect(rest[0], &skimmed, cx),
        }));
        rest.len()
    }

    /// Looks at a PUBLISH as far as it has come.
    #[inline]
    fn inspect(&self, first: u8, skimmed: &Skimmed<'_>, cx: &Context<'_>) -> Delivery {
        let sample = cx.plan.connection.sample;
        let mut delivery = Delivery::of(first, skimmed, cx.pattern, (cx.own_payloads, sample));
        if self.version.is_v5() && !self.exchanges {
            if let Some((header, _)) = delivery.compared(sample) {
                delivery.breach = property_breach(skimmed.properties, header.publisher, cx);
            }
        }
        delivery
    }

    #[inline]
    fn handle_publish(&mut self, delivery: &Delivery, cx: &mut Context<'_>) {
        let id = delivery.packet_id;
        match delivery.qos() {
            Some(Qos::AtLeastOnce) => self.acknowledge(AckKind::PubAck, id, cx),
            Some(Qos::ExactlyOnce) => {
                self.acknowledge(AckKind::PubRec, id, cx);
                // Sent again before PUBREL it is the same message [MQTT-4.3.3-10].
                if self.unreleased.contains(&id) {
                    return;
                }
                self.unreleased.push(id);
            }
            _ => {}
        }
        cx.meter.count(Count::Received);
        if delivery.is_altered {
            cx.meter.count(Count::Altered);
        }
        match delivery.reading {
            Reading::Short => self.unproven += 1,
            Reading::Altered => self.altered += 1,
            Reading::Foreign => cx.meter.count(Count::Foreign),
            Reading::Sound(header, _) => self.handle_message(header, delivery, cx),
        }
    }

    /// A message whose header is sound has come.
    #[inline]
    fn handle_message(&mut self, header: Header, delivery: &Delivery, cx: &mut Context<'_>) {
        let (plan, number) = (cx.plan, self.number);
        let own = self.own(plan);
        let promised = Promised {
            granted: self.granted,
            is_only: own.subscriptions.len() == 1,
            gets_retained: own.gets_retained,
            may_repeat: self.has_session || self.was_lost,
        };
        let publisher = header.publisher;
        let flow = self
            .flows
            .of(publisher, || inspect::expected(plan, number, publisher));
        let topic = flow.topic_of(header.sequence);
        let arrival = flow.record(header.sequence);
        for count in inspect::breaches(delivery, &flow.expected, topic, promised, arrival) {
            cx.meter.count(count);
        }
        if own.answers_to.is_some() {
            self.answer(header, cx);
            return;
        }
        let timing = if publisher == number {
            Timing::RoundTrip
        } else {
            Timing::EndToEnd
        };
        if own.gets_stored {
            return self.time_stored(cx);
        }
        if header.is_timed() && !own.untimed {
            cx.meter.time(timing, header.latency_ns(cx.now_ns));
        }
    }

    /// A message that has waited in the broker has come.
    fn time_stored(&mut self, cx: &mut Context<'_>) {
        let (asked_ns, last_ns) = (self.asked_ns, cx.now_ns);
        let stored = self.stored.get_or_insert_with(|| {
            cx.meter
                .time(Timing::FirstStored, last_ns.saturating_sub(asked_ns));
            Box::new(Stored { asked_ns, last_ns })
        });
        stored.last_ns = last_ns;
    }

    fn acknowledge(&mut self, kind: AckKind, id: u16, cx: &mut Context<'_>) {
        let Some(packet_id) = PacketId::new(id) else {
            return cx
                .meter
                .error("the broker sent packet identifier 0".to_string());
        };
        let ack = Ack {
            packet_id,
            reason: ReasonCode::Success,
            reason_string: None,
            user_properties: UserProperties::default(),
        };
        encode::ack(&mut self.out, self.version, kind, &ack);
    }

    fn handle_packet(
        &mut self,
        packet: &Packet<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), ConnectionError> {
        match packet {
            Packet::ConnAck(connack) => return self.handle_connack(connack, cx),
            Packet::PubAck(ack) | Packet::PubComp(ack) => self.handle_end(ack, cx),
            Packet::PubRec(ack) if ack.reason.is_error() => self.handle_end(ack, cx),
            Packet::PubRec(ack) => {
                let id = ack.packet_id.get();
                if let Some(publisher) = &mut self.publisher {
                    publisher.in_flight.received(id, cx.now_ns);
                }
                self.acknowledge(AckKind::PubRel, id, cx);
            }
            Packet::PubRel(ack) => {
                let id = ack.packet_id.get();
                self.unreleased.retain(|other| *other != id);
                self.acknowledge(AckKind::PubComp, id, cx);
            }
            Packet::SubAck(suback) => {
                self.handle_suback(suback.codes, cx);
            }
            Packet::UnsubAck(_) => {
                self.awaits_unsuback = false;
                self.settle(Count::Unsubscribed, Timing::Unsubscribe, cx);
            }
            Packet::PingResp => self.handle_pingresp(cx),
            Packet::Disconnect(Disconnect { reason, .. }) => {
                return Err(ConnectionError(format!(
                    "the broker disconnected a client: {}",
                    reason.description()
                )))
            }
            _ => {
                return Err(ConnectionError(
                    "the broker sent a packet that only clients send".into(),
                ))
            }
        }
        Ok(())
    }

    fn handle_suback(&mut self, codes: &[u8], cx: &mut Context<'_>) {
        for code in codes.iter().filter(|code| **code >= 0x80) {
            cx.meter.count(Count::SubscribeRefused);
            cx.meter
                .error(format!("a subscription was refused with code {code:#04x}"));
        }
        let granted = codes.iter().filter_map(|code| Qos::from_bits(*code));
        self.granted = granted.max();
        self.awaits_suback = false;
        self.is_subscribed = codes.iter().all(|code| *code < 0x80);
        self.settle(Count::Subscribed, Timing::Subscribe, cx);
    }

    /// The round trip is over when all PINGREQ are answered: keep alive may have sent one before.
    fn handle_pingresp(&mut self, cx: &mut Context<'_>) {
        self.pings = self.pings.saturating_sub(1);
        self.pinged_ns = cx.now_ns;
        if self.pings == 0 && self.awaits_pingresp {
            self.awaits_pingresp = false;
            self.settle(Count::Pinged, Timing::Ping, cx);
        }
    }

    fn handle_connack(
        &mut self,
        connack: &ConnAck<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), ConnectionError> {
        if self.state != State::AwaitsConnAck {
            return Err(ConnectionError("the broker sent a second CONNACK".into()));
        }
        if connack.reason == ReasonCode::UnsupportedProtocolVersion && self.version.is_v5() {
            return Err(ConnectionError(NO_V5.into()));
        }
        if connack.reason != ReasonCode::Success {
            return Err(ConnectionError(format!(
                "the broker refused CONNECT: {}",
                connack.reason.description()
            )));
        }
        let (plan, properties) = (cx.plan, &connack.properties);
        let more = exchange::properties(plan, self.group.into(), self.index).len()
            + self.own(plan).proof_bytes();
        let refusal = agreement::refusal(self.own(plan), self.index, plan.seed, more, properties);
        if let Some(sentence) = refusal {
            return Err(ConnectionError(sentence));
        }
        self.state = State::Ready;
        let own = self.own(plan);
        if connack.session_present && own.session.clean_start {
            cx.meter.count(Count::WrongSession); // [MQTT-3.2.2-2]
        }
        // MQTT 3.1 does not tell: the session is there unless it was not wanted.
        self.has_session =
            connack.session_present || self.version == Version::V31 && !own.session.clean_start;
        if !self.has_session {
            self.unreleased = Vec::new();
            self.is_subscribed = false;
            self.granted = None;
        }
        if let Some(publisher) = &mut self.publisher {
            publisher.connected(self.has_session);
        }
        if self.was_lost && !own.session.clean_start && !self.has_session {
            cx.meter.count(Count::SessionLost);
        }
        self.keep_alive_s = properties
            .server_keep_alive_s
            .unwrap_or(plan.connection.keep_alive_s);
        self.receive_maximum = properties.receive_maximum.map_or(u16::MAX, NonZeroU16::get);
        self.settle(Count::Connected, Timing::Connect, cx);
        Ok(())
    }

    /// A PUBLISH of QoS 1 or 2 is done with.
    fn handle_end(&mut self, ack: &Ack<'_>, cx: &mut Context<'_>) {
        let publisher = self.publisher.as_mut();
        let ended = publisher.and_then(|publisher| {
            let intended_ns = publisher.in_flight.end(ack.packet_id.get())?;
            publisher.refused += u64::from(ack.reason.is_error());
            Some(intended_ns)
        });
        let Some(intended_ns) = ended else {
            return cx
                .meter
                .error("the broker acknowledged what was not in flight".to_string());
        };
        // A PUBREL sent again after its PUBCOMP was lost: the broker is done with it [MQTT 5, 3.7.2.1].
        let is_known_end = self.was_lost && ack.reason == ReasonCode::PacketIdentifierNotFound;
        if ack.reason.is_error() && !is_known_end {
            cx.meter.error(format!(
                "the broker refused a PUBLISH: {}",
                ack.reason.description()
            ));
        }
        cx.meter.count(Count::Acknowledged);
        cx.meter
            .time(Timing::PublishAck, cx.now_ns.saturating_sub(intended_ns));
    }
}

/// What is wrong with the properties of a publisher's message.
fn property_breach(found: &[u8], publisher: u32, cx: &Context<'_>) -> Option<Count> {
    let (group, index) = cx.plan.place_of(publisher)?;
    if !cx.plan.version(group, index).is_v5() {
        return inspect::damage(found, &[], false); // it cannot give its messages any
    }
    let own = cx.properties.get(group)?;
    inspect::damage(found, &own.encoded, own.expire)
}
