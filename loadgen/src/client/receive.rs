//! The receiving side of a client: packets are skimmed, not copied, and large ones need not be whole
//! in memory.

use std::num::NonZeroU16;

use ringmq::mqtt::encode::{self, AckKind};
use ringmq::mqtt::frame::{needed, next_frame, Frame, PACKET_SIZE_MAX};
use ringmq::mqtt::{
    decode, Ack, ConnAck, Disconnect, Packet, PacketId, PacketType, Qos, ReasonCode, Sender,
    UserProperties, Version,
};

use super::{agreement, exchange, Client, ConnectionError, Context, State};
use crate::meter::{Count, Timing};
use crate::payload::{Header, HEADER_BYTES};

/// Packets longer than this are skimmed as they come.
const LARGE: usize = 32 << 10;

/// A large PUBLISH whose end has not come.
pub(super) struct Pending {
    left: usize,
    first: u8,
    skimmed: Skimmed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Skimmed {
    packet_id: u16,
    header: Option<Header>,
}

/// Finds packet identifier and payload header of a PUBLISH of which `body` is the beginning and
/// `length` the whole. `None`: the beginning is too short.
#[inline]
fn skim(version: Version, first: u8, body: &[u8], length: usize) -> Option<Skimmed> {
    let topic = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    let mut at = 2 + topic;
    let mut packet_id = 0;
    if first & 0b110 != 0 {
        packet_id = u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]);
        at += 2;
    }
    if version.is_v5() {
        let mut properties = 0;
        for shift in [0, 7, 14, 21] {
            let byte = *body.get(at)?;
            at += 1;
            properties |= usize::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                break;
            }
        }
        at += properties;
    }
    let whole = length.min(at + HEADER_BYTES);
    let payload = body.get(at.min(length)..whole)?;
    Some(Skimmed {
        packet_id,
        header: Header::read(payload),
    })
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
        let version = cx.plan.connection.version;
        while used < bytes.len() {
            let rest = &bytes[used..];
            let frame = next_frame(rest, PACKET_SIZE_MAX).map_err(|error| {
                ConnectionError(format!("the broker sent bytes that are not MQTT: {error}"))
            })?;
            let Some(frame) = frame else {
                return Ok(used + self.begin_large(rest, version));
            };
            used += frame.length;
            if frame.first >> 4 == PacketType::Publish as u8 {
                let skimmed = skim(version, frame.first, frame.body, frame.body.len());
                let skimmed = skimmed
                    .ok_or_else(|| ConnectionError("the broker sent a malformed PUBLISH".into()))?;
                if self.exchanges {
                    self.check_exchange(&frame, cx)?;
                }
                self.handle_publish(frame.first, skimmed, cx);
                continue;
            }
            let packet = decode::packet(version, Sender::Server, &frame)
                .map_err(|error| ConnectionError(format!("the broker sent a {error}")))?;
            self.handle_packet(&packet, cx)?;
        }
        Ok(used)
    }

    /// Looks whether the broker has handed on what belongs to a request or an answer.
    fn check_exchange(
        &mut self,
        frame: &Frame<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), ConnectionError> {
        let packet = decode::packet(cx.plan.connection.version, Sender::Server, frame)
            .map_err(|error| ConnectionError(format!("the broker sent a {error}")))?;
        if let Packet::Publish(publish) = &packet {
            let damage = exchange::damage(cx.plan, self.group.into(), self.index, publish);
            if let Some(sentence) = damage {
                cx.meter.error(sentence.to_string());
            }
        }
        Ok(())
    }

    /// Skips the rest of a large PUBLISH.
    fn skip(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> usize {
        let Some(pending) = &mut self.pending else {
            return 0;
        };
        let used = pending.left.min(bytes.len());
        pending.left -= used;
        if pending.left == 0 {
            let (first, skimmed) = (pending.first, pending.skimmed);
            self.pending = None;
            self.handle_publish(first, skimmed, cx);
        }
        used
    }

    /// Takes the beginning of a large PUBLISH; the bytes used, all or none.
    fn begin_large(&mut self, rest: &[u8], version: Version) -> usize {
        let length = match needed(rest) {
            Some(length) if length > LARGE && rest[0] >> 4 == PacketType::Publish as u8 => length,
            _ => return 0,
        };
        let fixed = 1 + rest[1..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
        let Some(skimmed) = skim(version, rest[0], &rest[fixed..], length - fixed) else {
            return 0;
        };
        self.pending = Some(Box::new(Pending {
            left: length - rest.len(),
            first: rest[0],
            skimmed,
        }));
        rest.len()
    }

    #[inline]
    fn handle_publish(&mut self, first: u8, skimmed: Skimmed, cx: &mut Context<'_>) {
        let id = skimmed.packet_id;
        match Qos::from_bits(first >> 1 & 0b11) {
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
        let Some(header) = skimmed.header else {
            return;
        };
        if self.own(cx.plan).answers_to.is_some() {
            self.flows.record(header.publisher, header.sequence);
            self.answer(header, cx);
            return;
        }
        let timing = if header.publisher == self.number {
            Timing::RoundTrip
        } else {
            Timing::EndToEnd
        };
        if header.is_timed() && !self.own(cx.plan).untimed {
            cx.meter.time(timing, header.latency_ns(cx.now_ns));
        }
        self.flows.record(header.publisher, header.sequence);
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
        encode::ack(&mut self.out, cx.plan.connection.version, kind, &ack);
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
                    publisher.in_flight.received(id);
                }
                self.acknowledge(AckKind::PubRel, id, cx);
            }
            Packet::PubRel(ack) => {
                let id = ack.packet_id.get();
                self.unreleased.retain(|other| *other != id);
                self.acknowledge(AckKind::PubComp, id, cx);
            }
            Packet::SubAck(suback) => {
                for code in suback.codes.iter().filter(|code| **code >= 0x80) {
                    cx.meter.count(Count::SubscribeRefused);
                    cx.meter
                        .error(format!("a subscription was refused with code {code:#04x}"));
                }
                self.is_subscribed = true;
                self.settle(Count::Subscribed, Timing::Subscribe, cx);
            }
            Packet::UnsubAck(_) => self.settle(Count::Unsubscribed, Timing::Subscribe, cx),
            Packet::PingResp => {}
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

    fn handle_connack(
        &mut self,
        connack: &ConnAck<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), ConnectionError> {
        if self.state != State::AwaitsConnAck {
            return Err(ConnectionError("the broker sent a second CONNACK".into()));
        }
        if connack.reason != ReasonCode::Success {
            return Err(ConnectionError(format!(
                "the broker refused CONNECT: {}",
                connack.reason.description()
            )));
        }
        let (plan, properties) = (cx.plan, &connack.properties);
        let more = exchange::properties(plan, self.group.into(), self.index).len();
        let refusal = agreement::refusal(self.own(plan), self.index, plan.seed, more, properties);
        if let Some(sentence) = refusal {
            return Err(ConnectionError(sentence));
        }
        self.state = State::Ready;
        let own = self.own(plan);
        // MQTT 3.1 does not tell: the session is there unless it was not wanted.
        self.has_session = connack.session_present
            || plan.connection.version == Version::V31 && !own.session.clean_start;
        if !self.has_session {
            self.unreleased = Vec::new();
            self.is_subscribed = false;
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
        let ended = self
            .publisher
            .as_mut()
            .and_then(|publisher| publisher.in_flight.end(ack.packet_id.get()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skims_without_the_whole_payload() {
        let header = Header::new(7, 8, 9);
        let mut body = vec![0, 1, b't', 0, 5, 2, 1, 1];
        body.extend(header.to_bytes());
        let skimmed = skim(Version::V5, 0x32, &body, 100_000);
        assert_eq!(
            skimmed,
            Some(Skimmed {
                packet_id: 5,
                header: Some(header)
            })
        );
        for short in 0..body.len() {
            assert_eq!(skim(Version::V5, 0x32, &body[..short], 100_000), None);
        }
        assert_eq!(
            skim(Version::V311, 0x30, &[0, 1, b't'], 3).unwrap().header,
            None
        );
    }
}
