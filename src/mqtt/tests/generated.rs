//! Generated packets: what is encoded decodes to the same, what is decoded encodes to the same,
//! and no bytes make the decoder panic.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::frame::{needed, Frame};
use super::values::values;
use super::*;

/// A packet without the raw bytes whose order is free, and what those bytes say: user properties,
/// forwardable properties, subscription identifiers.
type Parts<'a> = (Packet<'a>, Vec<(&'a str, &'a str)>, Vec<u8>, Vec<u32>);

fn parts<'a>(packet: &Packet<'a>) -> Parts<'a> {
    let mut packet = packet.clone();
    let mut forwardable = Vec::new();
    let mut identifiers = Vec::new();
    let mut take = |properties: &mut PublishProperties<'a>| {
        properties.forwardable_into(&mut forwardable);
        identifiers.extend(properties.subscription_identifiers());
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
        Packet::ConnAck(p) => Some(&mut p.properties.user_properties),
        Packet::Publish(p) => {
            take(&mut p.properties);
            None
        }
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
    let pairs = users.map_or(Vec::new(), |users| {
        let pairs = users.iter().collect();
        users.raw = &[];
        pairs
    });
    (packet, pairs, forwardable, identifiers)
}

const SENDERS: [Sender; 2] = [Sender::Client, Sender::Server];
const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// Every decoder over one frame; what decodes must survive being encoded, unless the frame is one
/// that `next_frame` does not let through.
fn decode_all(frame: &Frame<'_>) {
    let first_is_valid = next_frame(&[frame.first], PACKET_SIZE_MAX).is_ok();
    for version in VERSIONS {
        for sender in SENDERS {
            let packet = decode::packet(version, sender, frame);
            if let (Ok(packet), true) = (packet, first_is_valid) {
                let bytes = encode(version, &packet);
                let again = decode(version, sender, &bytes).expect("own encoding");
                assert_eq!(parts(&packet), parts(&again));
                assert_eq!(encode(version, &again), bytes);
            }
        }
        let _ = decode::publish(version, frame);
    }
    let _ = decode::connect(frame);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn decode_restores_what_was_encoded(values in values()) {
        let encoded = values.encoded();
        if let Some(packet) = values.build(&encoded) {
            let bytes = encode(values.version, &packet);
            prop_assert_eq!(needed(&bytes), Some(bytes.len()));
            let decoded = decode(values.version, values.sender, &bytes).unwrap();
            prop_assert_eq!(parts(&decoded), parts(&packet));
            prop_assert_eq!(encode(values.version, &decoded), bytes);
        }
    }

    #[test]
    fn mutations_never_panic(
        values in values(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let encoded = values.encoded();
        if let Some(packet) = values.build(&encoded) {
            let mut bytes = encode(values.version, &packet);
            let header = bytes.len() - next_frame(&bytes, PACKET_SIZE_MAX).unwrap().unwrap().body.len();
            let first = bytes[0];
            // Cut the body but leave the lengths inside as they are.
            let body = &bytes[header..];
            let body = &body[..cut.index(body.len() + 1)];
            decode_all(&Frame { first, body, length: 2 + body.len() });
            for (index, byte) in changes {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            let body = &bytes[header..];
            decode_all(&Frame { first: bytes[0], body, length: bytes.len() });
            decode_all(&Frame { first, body, length: bytes.len() });
            let _ = next_frame(&bytes, PACKET_SIZE_MAX);
        }
    }

    #[test]
    fn any_bytes_never_panic(first in any::<u8>(), body in vec(any::<u8>(), 0..64)) {
        decode_all(&Frame { first, body: &body, length: 2 + body.len() });
        let _ = next_frame(&body, 50);
        let _ = needed(&body);
        let raw = &body[..];
        let _ = UserProperties { raw }.iter().count();
        let _ = UnsubscribeFilters { raw }.iter().count();
        for version in VERSIONS {
            let _ = SubscribeFilters { raw, version }.iter().count();
        }
        let mut out = Vec::new();
        PublishProperties { raw, ..PublishProperties::default() }.forwardable_into(&mut out);
        prop_assert!(out.len() <= raw.len());
    }

    /// The same packets and the same error at the same place, however the stream is cut.
    #[test]
    fn chunks_do_not_matter(
        packets in vec(values(), 1..5),
        tail in vec(any::<u8>(), 0..8),
        chunks in vec(1..40usize, 1..40),
    ) {
        let mut stream = Vec::new();
        for values in &packets {
            let encoded = values.encoded();
            if let Some(packet) = values.build(&encoded) {
                stream.extend(encode(values.version, &packet));
            }
        }
        stream.extend(tail);
        let whole = frames(&stream, &[stream.len().max(1)]);
        prop_assert_eq!(&frames(&stream, &chunks), &whole);
        prop_assert_eq!(&frames(&stream, &[1]), &whole);
    }
}

/// Frames of a stream that arrives in chunks of the given sizes (repeated), the error if one comes,
/// and where.
fn frames(stream: &[u8], chunks: &[usize]) -> (Vec<Vec<u8>>, Option<Violation>, usize) {
    let mut frames = Vec::new();
    let (mut start, mut end) = (0, 0);
    for &chunk in chunks.iter().cycle() {
        loop {
            match next_frame(&stream[start..end], 600) {
                Ok(Some(frame)) => {
                    frames.push(stream[start..start + frame.length].to_vec());
                    start += frame.length;
                }
                Ok(None) => break,
                Err(error) => return (frames, Some(error), start),
            }
        }
        if end == stream.len() {
            break;
        }
        end = (end + chunk).min(stream.len());
    }
    (frames, None, start)
}
