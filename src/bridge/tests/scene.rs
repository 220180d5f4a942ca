//! A relay between two scripted brokers.

use std::io::IoSlice;
use std::sync::Arc;

use crate::bridge::relay::{put_ack, Ended, Link, LocalLimits, Relay};
use crate::bridge::Bridge;
use crate::mqtt::frame::{next_frame, PACKET_SIZE_MAX};
use crate::mqtt::packet::{ConnAckProperties, SubAck};
use crate::mqtt::{decode, encode, AckKind, ConnAck, Packet, PacketId, PublishOut, Qos};
use crate::mqtt::{ReasonCode, Sender, UserProperties, Version};

/// A relay, and what it has sent to each side.
pub(super) struct Scene {
    pub(super) relay: Relay,
    pub(super) up: Vec<u8>,
    pub(super) down: Vec<u8>,
}

impl Scene {
    pub(super) fn of(bridge: Bridge, version: Version) -> Self {
        let link = Link {
            bridge: Arc::new(bridge),
            version,
            mark: true,
            password: None,
            broker: 0xAB,
            limits: LocalLimits {
                receive_maximum: 3,
                packet_size_max: 1_000,
            },
            has_subscribed: false,
            given_up: Vec::new(),
        };
        let mut scene = Self {
            relay: Relay::new(link),
            up: Vec::new(),
            down: Vec::new(),
        };
        scene.relay.start(&mut scene.down);
        scene
    }

    pub(super) fn remote(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.relay
            .handle_remote(bytes, &mut self.up, &mut self.down)
    }

    pub(super) fn local(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let result = (self.relay).handle_local(&[IoSlice::new(bytes)], &mut self.down);
        self.relay.take_owed(&mut self.up);
        result
    }

    /// Both sides have answered CONNECT, and have kept a session or not.
    pub(super) fn joined(bridge: Bridge, version: Version, [remote, local]: [bool; 2]) -> Self {
        Self::joined_with(
            bridge,
            version,
            [remote, local],
            ConnAckProperties::default(),
        )
    }

    pub(super) fn joined_with(
        bridge: Bridge,
        version: Version,
        [remote, local]: [bool; 2],
        properties: ConnAckProperties<'_>,
    ) -> Self {
        let mut scene = Self::of(bridge, version);
        scene.remote(&connack(version, remote, properties)).unwrap();
        let own = connack(Version::V5, local, ConnAckProperties::default());
        scene.local(&own).unwrap();
        scene
    }

    pub(super) fn grant_all(&mut self) {
        let version = self.relay.link.version;
        let here = suback(Version::V5, 65_535, 1);
        self.local(&here).unwrap();
        self.remote(&suback(version, 65_535, 1)).unwrap();
        self.up.clear();
        self.down.clear();
    }

    pub(super) fn sent_up(&mut self) -> Vec<String> {
        shown(Version::V5, &std::mem::take(&mut self.up))
    }

    pub(super) fn sent_down(&mut self) -> Vec<String> {
        shown(self.relay.link.version, &std::mem::take(&mut self.down))
    }
}

/// Packets of a client, in short.
pub(super) fn shown(version: Version, bytes: &[u8]) -> Vec<String> {
    let mut rest = bytes;
    let mut texts = Vec::new();
    while let Some(frame) = next_frame(rest, PACKET_SIZE_MAX).unwrap() {
        rest = &rest[frame.length..];
        let acked = |name: &str, id: PacketId, reason: ReasonCode| match reason {
            ReasonCode::Success => format!("{name} {}", id.get()),
            reason => format!("{name} {} 0x{:02X}", id.get(), reason as u8),
        };
        texts.push(
            match decode::packet(version, Sender::Client, &frame).unwrap() {
                Packet::Connect(connect) => format!(
                    "CONNECT {} {}{}",
                    connect.client_id,
                    if connect.clean_start {
                        "clean"
                    } else {
                        "resumed"
                    },
                    if connect.is_bridge { " marked" } else { "" },
                ),
                Packet::Publish(publish) => format!(
                    "PUBLISH {} {}{}{}",
                    publish.topic,
                    publish.packet_id.map_or(0, PacketId::get),
                    ["", " qos1", " qos2"][publish.qos as usize],
                    if publish.retain { " retain" } else { "" },
                ),
                Packet::PubAck(ack) => acked("PUBACK", ack.packet_id, ack.reason),
                Packet::PubRec(ack) => acked("PUBREC", ack.packet_id, ack.reason),
                Packet::PubRel(ack) => acked("PUBREL", ack.packet_id, ack.reason),
                Packet::PubComp(ack) => acked("PUBCOMP", ack.packet_id, ack.reason),
                Packet::Subscribe(subscribe) => {
                    let filters = subscribe.filters.into_iter().map(|(f, o)| {
                        format!(
                            "{f}/{}{}",
                            o.qos as u8,
                            if o.no_local { " no-local" } else { "" }
                        )
                    });
                    format!("SUBSCRIBE {}", filters.collect::<Vec<_>>().join(", "))
                }
                Packet::Unsubscribe(unsubscribe) => {
                    let filters: Vec<_> = unsubscribe.filters.into_iter().collect();
                    format!("UNSUBSCRIBE {}", filters.join(", "))
                }
                Packet::PingReq => "PINGREQ".into(),
                Packet::Disconnect(_) => "DISCONNECT".into(),
                other => format!("{other:?}"),
            },
        );
    }
    assert!(rest.is_empty());
    texts
}

pub(super) fn connack(
    version: Version,
    session_present: bool,
    properties: ConnAckProperties<'_>,
) -> Vec<u8> {
    let mut out = Vec::new();
    let connack = ConnAck {
        session_present,
        reason: ReasonCode::Success,
        properties,
    };
    encode::connack(&mut out, version, &connack);
    out
}

pub(super) fn suback(version: Version, id: u16, codes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let suback = SubAck {
        packet_id: PacketId::new(id).unwrap(),
        reason_string: None,
        user_properties: UserProperties { raw: &[] },
        codes: &vec![0; codes],
    };
    encode::suback(&mut out, version, &suback);
    out
}

pub(super) fn ack(version: Version, kind: AckKind, id: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let id = PacketId::new(id).unwrap();
    put_ack(&mut out, version, kind, id, ReasonCode::Success);
    out
}

pub(super) fn publish(version: Version, topic: &str, id: u16, qos: Qos) -> Vec<u8> {
    publish_with(version, topic, id, qos, &[])
}

pub(super) fn publish_with(
    version: Version,
    topic: &str,
    id: u16,
    qos: Qos,
    properties: &[u8],
) -> Vec<u8> {
    let mut out = Vec::new();
    let publish = PublishOut {
        qos,
        topic,
        packet_id: PacketId::new(id),
        properties,
        payload_len: 1,
        payload: b"x",
        retain: true,
        ..PublishOut::default()
    };
    encode::publish(&mut out, version, &publish);
    out
}
