//! One connection of the sink: bytes in, answers and messages out.

use std::ops::Range;
use std::os::fd::OwnedFd;

use ringmq::mqtt::encode::{self, AckKind, PublishOut};
use ringmq::mqtt::frame::{needed, next_frame, PacketType, PACKET_SIZE_MAX};
use ringmq::mqtt::{
    decode, Ack, ConnAck, ConnAckProperties, Packet, PacketId, Qos, ReasonCode, Sender, SubAck,
    UserProperties, Version,
};

/// Largest PUBLISH that need not be whole in memory.
const LARGE: usize = 64 << 10;

/// What subscribers get.
pub(super) enum Message {
    /// Packets of QoS 0, as they stand in the buffer.
    Run(Range<usize>),
    /// A packet made anew.
    Owned(Vec<u8>),
}

/// The bytes are not MQTT, or the client says that it goes.
pub(super) struct Ended;

pub(super) struct Peer {
    pub(super) socket: OwnedFd,
    pub(super) generation: u32,
    pub(super) out: Vec<u8>,
    pub(super) sent: usize,
    pub(super) partial: Vec<u8>,
    pub(super) listed: bool,
    pub(super) blocked: bool,
    pub(super) subscribed: bool,
    version: Option<Version>,
    /// Bytes left of a large PUBLISH that is discarded as it comes, and what acknowledges it.
    skipping: usize,
    answer: Option<(AckKind, PacketId)>,
}

impl Peer {
    pub(super) fn new(socket: OwnedFd, generation: u32) -> Self {
        Self {
            socket,
            generation,
            out: Vec::new(),
            sent: 0,
            partial: Vec::new(),
            listed: false,
            blocked: false,
            subscribed: false,
            version: None,
            skipping: 0,
            answer: None,
        }
    }

    /// Takes bytes; returns how many were used. Messages are for the subscribers when `fan_back`.
    pub(super) fn handle_bytes(
        &mut self,
        bytes: &[u8],
        fan_back: bool,
        messages: &mut Vec<Message>,
    ) -> Result<usize, Ended> {
        let mut used = self.skipping.min(bytes.len());
        self.skipping -= used;
        if self.skipping == 0 {
            if let Some((kind, id)) = self.answer.take() {
                self.acknowledge(kind, id);
            }
        }
        while used < bytes.len() {
            let rest = &bytes[used..];
            let Some(frame) = next_frame(rest, PACKET_SIZE_MAX).map_err(|_| Ended)? else {
                return Ok(used + self.begin_large(rest));
            };
            let start = used;
            used += frame.length;
            if frame.first & 0xF6 == 0x30 {
                // PUBLISH of QoS 0: the most frequent by far, and nothing to answer.
                match messages.last_mut() {
                    Some(Message::Run(run)) if run.end == start => run.end = used,
                    _ if fan_back => messages.push(Message::Run(start..used)),
                    _ => {}
                }
                continue;
            }
            let version = self.version.unwrap_or(Version::V311);
            let packet = decode::packet(version, Sender::Client, &frame).map_err(|_| Ended)?;
            self.handle_packet(&packet, fan_back, messages)?;
        }
        Ok(used)
    }

    /// Discards a large PUBLISH as it comes; the bytes used, all or none.
    fn begin_large(&mut self, rest: &[u8]) -> usize {
        let length = match needed(rest) {
            Some(length) if length > LARGE && rest[0] >> 4 == PacketType::Publish as u8 => length,
            _ => return 0,
        };
        let fixed = 2 + rest[1..].iter().take_while(|byte| **byte >= 0x80).count();
        let id = || {
            let topic = usize::from(u16::from_be_bytes([
                *rest.get(fixed)?,
                *rest.get(fixed + 1)?,
            ]));
            let at = fixed + 2 + topic;
            PacketId::new(u16::from_be_bytes([*rest.get(at)?, *rest.get(at + 1)?]))
        };
        self.answer = match Qos::from_bits(rest[0] >> 1 & 0b11) {
            Some(Qos::AtMostOnce) | None => None,
            Some(qos) => {
                let Some(id) = id() else {
                    return 0;
                };
                Some((ack_of(qos), id))
            }
        };
        self.skipping = length - rest.len();
        rest.len()
    }

    fn acknowledge(&mut self, kind: AckKind, packet_id: PacketId) {
        let version = self.version.unwrap_or(Version::V311);
        let ack = Ack {
            packet_id,
            reason: ReasonCode::Success,
            reason_string: None,
            user_properties: UserProperties::default(),
        };
        encode::ack(&mut self.out, version, kind, &ack);
    }

    fn handle_packet(
        &mut self,
        packet: &Packet<'_>,
        fan_back: bool,
        messages: &mut Vec<Message>,
    ) -> Result<(), Ended> {
        let version = match packet {
            Packet::Connect(connect) => connect.version,
            _ => self.version.ok_or(Ended)?,
        };
        match packet {
            Packet::Connect(_) => {
                self.version = Some(version);
                let connack = ConnAck {
                    session_present: false,
                    reason: ReasonCode::Success,
                    properties: ConnAckProperties::default(),
                };
                encode::connack(&mut self.out, version, &connack);
            }
            Packet::Publish(publish) => {
                if let Some(id) = publish.packet_id {
                    self.acknowledge(ack_of(publish.qos), id);
                }
                if fan_back {
                    let mut bytes = Vec::new();
                    let out = PublishOut {
                        topic: publish.topic,
                        payload_len: publish.payload.len(),
                        ..PublishOut::default()
                    };
                    encode::publish_header(&mut bytes, version, &out);
                    bytes.extend_from_slice(publish.payload);
                    messages.push(Message::Owned(bytes));
                }
            }
            Packet::PubRel(ack) => self.acknowledge(AckKind::PubComp, ack.packet_id),
            Packet::Subscribe(subscribe) => {
                self.subscribed = true;
                let codes = vec![0; subscribe.filters.iter().count()];
                encode::suback(&mut self.out, version, &answer(subscribe.packet_id, &codes));
            }
            Packet::Unsubscribe(unsubscribe) => {
                let codes = vec![0; unsubscribe.filters.iter().count()];
                encode::unsuback(
                    &mut self.out,
                    version,
                    &answer(unsubscribe.packet_id, &codes),
                );
            }
            Packet::PingReq => encode::pingresp(&mut self.out),
            Packet::Disconnect(_) => return Err(Ended),
            _ => {}
        }
        Ok(())
    }
}

fn ack_of(qos: Qos) -> AckKind {
    if qos == Qos::ExactlyOnce {
        AckKind::PubRec
    } else {
        AckKind::PubAck
    }
}

fn answer(packet_id: PacketId, codes: &[u8]) -> SubAck<'_> {
    SubAck {
        packet_id,
        reason_string: None,
        user_properties: UserProperties::default(),
        codes,
    }
}
