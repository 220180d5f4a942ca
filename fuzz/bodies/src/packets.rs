//! Comparing and encoding whole packets.

use ringmq::mqtt::encode::{self, SubscribeOut, UnsubscribeOut};
use ringmq::mqtt::frame::{next_frame, PACKET_SIZE_MAX};
use ringmq::mqtt::{
    decode, AckKind, Packet, Publish, PublishOut, PublishProperties, Sender, Version,
};

pub(crate) const SENDERS: [Sender; 2] = [Sender::Client, Sender::Server];
pub(crate) const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// A packet without its raw bytes, whose order is free, and what those bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    packet: Packet<'a>,
    user_properties: Vec<(&'a str, &'a str)>,
    forwardable: Vec<u8>,
    subscription_identifiers: Vec<u32>,
}

pub(crate) fn parts<'a>(packet: &Packet<'a>) -> Parts<'a> {
    let mut packet = packet.clone();
    let mut forwardable = Vec::new();
    let mut subscription_identifiers = Vec::new();
    let mut take = |properties: &mut PublishProperties<'a>| {
        properties.forwardable_into(&mut forwardable);
        subscription_identifiers.extend(properties.subscription_identifiers());
        properties.raw = &[];
        properties.raw_is_forwardable = false;
        properties.subscription_identifier = None;
    };
    let users = match &mut packet {
        Packet::Connect(p) => {
            if let Some(will) = &mut p.will {
                take(&mut will.properties);
            }
            Some(&mut p.properties.user_properties)
        }
        Packet::Publish(p) => {
            take(&mut p.properties);
            None
        }
        Packet::ConnAck(p) => Some(&mut p.properties.user_properties),
        Packet::PubAck(p) | Packet::PubRec(p) | Packet::PubRel(p) | Packet::PubComp(p) => {
            Some(&mut p.user_properties)
        }
        Packet::Subscribe(p) => Some(&mut p.user_properties),
        Packet::Unsubscribe(p) => Some(&mut p.user_properties),
        Packet::SubAck(p) | Packet::UnsubAck(p) => Some(&mut p.user_properties),
        Packet::Disconnect(p) => Some(&mut p.user_properties),
        Packet::Auth(p) => Some(&mut p.user_properties),
        Packet::PingReq | Packet::PingResp => None,
    };
    let user_properties = users.map_or(Vec::new(), |users| {
        let pairs = users.iter().collect();
        users.raw = &[];
        pairs
    });
    Parts {
        packet,
        user_properties,
        forwardable,
        subscription_identifiers,
    }
}

/// The only packet in `bytes`.
pub(crate) fn decode_one(version: Version, sender: Sender, bytes: &[u8]) -> Packet<'_> {
    let frame = next_frame(bytes, PACKET_SIZE_MAX)
        .expect("own encoding has a valid fixed header")
        .expect("own encoding is whole");
    assert_eq!(frame.length, bytes.len(), "the remaining length is wrong");
    assert!(!frame.is_padded(), "the remaining length is padded");
    decode::packet(version, sender, &frame).expect("own encoding decodes")
}

/// Appends any packet through the encoder meant for it; lengths that can be predicted are compared.
pub(crate) fn encode(out: &mut Vec<u8>, version: Version, packet: &Packet<'_>) {
    match packet {
        Packet::Connect(p) => encode::connect(out, p),
        Packet::ConnAck(p) => encode::connack(out, version, p),
        Packet::Publish(p) => encode_publish(out, version, p),
        Packet::PubAck(p) => encode::ack(out, version, AckKind::PubAck, p),
        Packet::PubRec(p) => encode::ack(out, version, AckKind::PubRec, p),
        Packet::PubRel(p) => encode::ack(out, version, AckKind::PubRel, p),
        Packet::PubComp(p) => encode::ack(out, version, AckKind::PubComp, p),
        Packet::Subscribe(p) => {
            let filters: Vec<_> = p.filters.iter().collect();
            assert_eq!(filters.len(), p.filters.len());
            let subscribe = SubscribeOut {
                packet_id: p.packet_id,
                subscription_identifier: p.subscription_identifier,
                user_properties: p.user_properties,
                filters: &filters,
            };
            encode::subscribe(out, version, &subscribe);
        }
        Packet::SubAck(p) => {
            let start = out.len();
            encode::suback(out, version, p);
            if version.is_v5() && p.reason_string.is_none() && p.user_properties.is_empty() {
                assert_eq!(
                    encode::suback_size(p.codes.len()),
                    out.len() - start,
                    "size of SUBACK"
                );
            }
        }
        Packet::Unsubscribe(p) => {
            let filters: Vec<_> = p.filters.iter().collect();
            assert_eq!(filters.len(), p.filters.len());
            let unsubscribe = UnsubscribeOut {
                packet_id: p.packet_id,
                user_properties: p.user_properties,
                filters: &filters,
            };
            encode::unsubscribe(out, version, &unsubscribe);
        }
        Packet::UnsubAck(p) => encode::unsuback(out, version, p),
        Packet::PingReq => encode::pingreq(out),
        Packet::PingResp => encode::pingresp(out),
        Packet::Disconnect(p) => encode::disconnect(out, version, p),
        Packet::Auth(p) => encode::auth(out, p),
    }
}

fn encode_publish(out: &mut Vec<u8>, version: Version, publish: &Publish<'_>) {
    let identifiers: Vec<u32> = publish.properties.subscription_identifiers().collect();
    let mut properties = Vec::new();
    publish.properties.forwardable_into(&mut properties);
    let publish = PublishOut {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic: publish.topic,
        packet_id: publish.packet_id,
        topic_alias: publish.properties.topic_alias,
        message_expiry_interval_s: publish.properties.message_expiry_interval_s,
        subscription_identifiers: &identifiers,
        properties: &properties,
        payload_len: publish.payload.len(),
        payload: publish.payload,
    };
    let start = out.len();
    encode::publish(out, version, &publish);
    let size = encode::publish_size(version, &publish);
    assert_eq!(out.len() - start, size, "size of PUBLISH");
}
