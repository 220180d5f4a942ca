//! Tests of the codec as a whole: rows of bytes, the property table, generated packets.

mod generated;
mod properties;
mod refused;
mod rows;
mod values;

use super::encode::{self, AckKind, PublishOut, SubscribeOut, UnsubscribeOut};
use super::frame::{next_frame, PACKET_SIZE_MAX};
use super::*;

/// Bytes from a row: hex digits, `'text'` for a string with its two-byte length, `[ ... ]` for a
/// group with its length before it as a variable byte integer. Written apart from the encoder.
fn bytes(row: &str) -> Vec<u8> {
    let mut groups = vec![Vec::new()];
    let mut rest = row;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let out = groups.last_mut().unwrap();
        match c {
            ' ' | '\n' => {}
            '[' => groups.push(Vec::new()),
            ']' => {
                let group = groups.pop().unwrap();
                let out = groups.last_mut().unwrap();
                let mut length = group.len();
                while length >= 128 {
                    out.push(128 + (length % 128) as u8);
                    length /= 128;
                }
                out.push(length as u8);
                out.extend(group);
            }
            '\'' => {
                let (text, after) = rest.split_once('\'').unwrap();
                out.extend([(text.len() / 256) as u8, (text.len() % 256) as u8]);
                out.extend(text.bytes());
                rest = after;
            }
            high => {
                let low = rest.chars().next().unwrap();
                rest = &rest[1..];
                let digit = |c: char| c.to_digit(16).unwrap_or_else(|| panic!("{row}")) as u8;
                out.push(digit(high) * 16 + digit(low));
            }
        }
    }
    assert_eq!(groups.len(), 1, "{row}");
    groups.pop().unwrap()
}

fn decode(version: Version, sender: Sender, bytes: &[u8]) -> Result<Packet<'_>, Violation> {
    let frame = next_frame(bytes, PACKET_SIZE_MAX)?.expect("a whole packet");
    assert_eq!(frame.length, bytes.len(), "one packet");
    decode::packet(version, sender, &frame)
}

fn publish_out<'a>(
    publish: &Publish<'a>,
    identifiers: &'a [u32],
    properties: &'a [u8],
) -> PublishOut<'a> {
    PublishOut {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic: publish.topic,
        packet_id: publish.packet_id,
        topic_alias: publish.properties.topic_alias,
        message_expiry_interval_s: publish.properties.message_expiry_interval_s,
        subscription_identifiers: identifiers,
        properties,
        payload_len: publish.payload.len(),
        payload: publish.payload,
    }
}

/// Any packet through the encoder meant for it.
fn encode(version: Version, packet: &Packet<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let o = &mut out;
    match packet {
        Packet::Connect(p) => encode::connect(o, p),
        Packet::ConnAck(p) => encode::connack(o, version, p),
        Packet::Publish(p) => {
            let identifiers: Vec<u32> = p.properties.subscription_identifiers().collect();
            let mut properties = Vec::new();
            p.properties.forwardable_into(&mut properties);
            let publish = publish_out(p, &identifiers, &properties);
            encode::publish(o, version, &publish);
            assert_eq!(o.len(), encode::publish_size(version, &publish));
            let mut header = Vec::new();
            encode::publish_header(&mut header, version, &publish);
            header.extend_from_slice(p.payload);
            assert_eq!(&header, o);
        }
        Packet::PubAck(p) => encode::ack(o, version, AckKind::PubAck, p),
        Packet::PubRec(p) => encode::ack(o, version, AckKind::PubRec, p),
        Packet::PubRel(p) => encode::ack(o, version, AckKind::PubRel, p),
        Packet::PubComp(p) => encode::ack(o, version, AckKind::PubComp, p),
        Packet::Subscribe(p) => {
            let filters: Vec<_> = p.filters.iter().collect();
            assert_eq!(filters.len(), p.filters.len());
            let subscribe = SubscribeOut {
                packet_id: p.packet_id,
                subscription_identifier: p.subscription_identifier,
                user_properties: p.user_properties,
                filters: &filters,
            };
            encode::subscribe(o, version, &subscribe);
        }
        Packet::SubAck(p) => encode::suback(o, version, p),
        Packet::Unsubscribe(p) => {
            let filters: Vec<_> = p.filters.iter().collect();
            assert_eq!(filters.len(), p.filters.len());
            let unsubscribe = UnsubscribeOut {
                packet_id: p.packet_id,
                user_properties: p.user_properties,
                filters: &filters,
            };
            encode::unsubscribe(o, version, &unsubscribe);
        }
        Packet::UnsubAck(p) => encode::unsuback(o, version, p),
        Packet::PingReq => encode::pingreq(o),
        Packet::PingResp => encode::pingresp(o),
        Packet::Disconnect(p) => encode::disconnect(o, version, p),
        Packet::Auth(p) => encode::auth(o, p),
    }
    out
}
