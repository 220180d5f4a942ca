//! Any bytes, as any version and direction: nothing panics, and what decodes can be encoded and
//! decodes to the same.

use ringmq::mqtt::frame::{needed, next_frame, Frame, PACKET_SIZE_MAX};
use ringmq::mqtt::{
    decode, topic, Packet, PublishProperties, SubscribeFilters, UnsubscribeFilters, UserProperties,
};

use crate::features::note;
use crate::packets::{decode_one, encode, parts, SENDERS, VERSIONS};

/// Packets of one input that are looked at.
const PACKETS_MAX: usize = 8;

/// See the module.
pub fn body(input: &[u8]) {
    let mut at = 0;
    for _ in 0..PACKETS_MAX {
        let rest = &input[at..];
        match next_frame(rest, PACKET_SIZE_MAX) {
            Ok(Some(frame)) => {
                assert_eq!(needed(rest), Some(frame.length));
                assert!(frame.length <= rest.len() && frame.length >= 2 + frame.body.len());
                all_ways(&frame, true);
                at += frame.length;
            }
            Ok(None) => break,
            Err(error) => {
                note(("frame", error.to_string().len(), error.reason() as u8));
                break;
            }
        }
    }
    if let Some((&first, body)) = input[at..].split_first() {
        // Without the fixed header in the way: what is left as a body that claims to be whole.
        let length = body.len() + 2;
        let first_is_valid = next_frame(&[first], PACKET_SIZE_MAX).is_ok();
        let frame = Frame {
            first,
            body,
            length,
        };
        all_ways(&frame, first_is_valid);
        raw(body);
    }
}

/// Every decoder over one frame. What decodes is encoded again if its first byte is one that
/// `next_frame` lets through.
fn all_ways(frame: &Frame<'_>, first_is_valid: bool) {
    for version in VERSIONS {
        for sender in SENDERS {
            match decode::packet(version, sender, frame) {
                Ok(packet) => {
                    note((version, sender as u8, frame.first, shape(&packet)));
                    if first_is_valid {
                        again(version, sender, frame, &packet);
                    }
                }
                Err(error) => {
                    let rule = std::mem::discriminant(&error);
                    note((version, frame.first >> 4, rule));
                }
            }
        }
        // The way of the broker's hot path gives what the general way gives.
        let publish = decode::publish(version, frame);
        if frame.first >> 4 == 3 {
            let general = decode::packet(version, ringmq::mqtt::Sender::Server, frame);
            match (publish, general) {
                (Ok(publish), Ok(Packet::Publish(general))) => assert_eq!(publish, general),
                (Err(error), Err(general)) => assert_eq!(error.reason(), general.reason()),
                (Ok(_), Err(_)) | (Err(_), Ok(_)) | (Ok(_), Ok(_)) => {
                    panic!("decode::publish and decode::packet disagree")
                }
            }
        }
    }
    let _ = decode::connect(frame);
    let _ = decode::connect_maximum_packet_size(frame.body);
}

fn again(
    version: ringmq::mqtt::Version,
    sender: ringmq::mqtt::Sender,
    frame: &Frame<'_>,
    packet: &Packet<'_>,
) {
    holds(packet);
    let mut bytes = Vec::with_capacity(frame.length);
    encode(&mut bytes, version, packet);
    // Padded lengths shrink, reason codes that need not be said are left out.
    assert!(bytes.len() <= frame.length + 8, "encoding grows");
    let decoded = decode_one(version, sender, &bytes);
    assert_eq!(parts(&decoded), parts(packet));
    let mut twice = Vec::with_capacity(bytes.len());
    encode(&mut twice, version, &decoded);
    assert_eq!(twice, bytes, "the encoding is not its own");
}

/// What every decoded packet promises about its fields, said a second time.
fn holds(packet: &Packet<'_>) {
    let text = |text: &str| {
        assert!(std::str::from_utf8(text.as_bytes()).is_ok(), "UTF-8");
        assert!(!text.contains('\0'), "U+0000 in a string");
    };
    match packet {
        Packet::Publish(p) => {
            text(p.topic);
            assert!(!p.topic.contains(['+', '#']), "wildcard in a topic name");
            assert!(!p.topic.is_empty() || p.properties.topic_alias.is_some());
            assert_eq!(p.packet_id.is_some(), p.qos as u8 > 0);
            for (name, value) in p.properties.user_properties() {
                text(name);
                text(value);
            }
        }
        Packet::Connect(p) => {
            text(p.client_id);
            p.user_name.map(text);
            if let Some(will) = &p.will {
                text(will.topic);
                assert!(!will.topic.is_empty() && !will.topic.contains(['+', '#']));
            }
        }
        Packet::Subscribe(p) => {
            assert!(p.filters.iter().count() > 0, "no filters");
            for (filter, _) in p.filters.iter() {
                text(filter);
            }
        }
        Packet::Unsubscribe(p) => {
            assert!(p.filters.iter().count() > 0, "no filters");
            p.filters.iter().for_each(text);
        }
        _ => {}
    }
}

/// Which optional fields are there, coarsely.
fn shape(packet: &Packet<'_>) -> u64 {
    let bits = |fields: &[bool]| {
        let bit = |(index, present): (usize, &bool)| u64::from(*present) << index;
        fields.iter().enumerate().map(bit).sum()
    };
    match packet {
        Packet::Connect(p) => bits(&[
            p.will.is_some(),
            p.user_name.is_some(),
            p.password.is_some(),
            p.properties != ringmq::mqtt::ConnectProperties::default(),
            p.client_id.is_empty(),
        ]),
        Packet::Publish(p) => bits(&[
            p.properties.topic_alias.is_some(),
            p.properties.message_expiry_interval_s.is_some(),
            p.properties.subscription_identifier.is_some(),
            p.properties.raw_is_forwardable,
            p.properties.raw.is_empty(),
            p.topic.is_empty(),
            p.payload.is_empty(),
            p.topic.is_ascii(),
        ]),
        Packet::Subscribe(p) => {
            bits(&[p.subscription_identifier.is_some()]) + 2 * p.filters.len().min(4) as u64
        }
        Packet::PubAck(p) | Packet::PubRec(p) | Packet::PubRel(p) | Packet::PubComp(p) => {
            p.reason as u64 * 2 + u64::from(p.reason_string.is_some())
        }
        Packet::SubAck(p) | Packet::UnsubAck(p) => p.codes.len().min(4) as u64,
        Packet::Disconnect(p) => p.reason as u64,
        Packet::Auth(p) => p.reason as u64,
        _ => 0,
    }
}

/// The readers that walk bytes they take for validated: they stop, and give no more than is there.
fn raw(raw: &[u8]) {
    assert!(UserProperties { raw }.iter().count() <= raw.len());
    assert!(UnsubscribeFilters { raw }.iter().count() <= raw.len());
    for version in VERSIONS {
        assert!(SubscribeFilters { raw, version }.iter().count() <= raw.len());
    }
    let properties = PublishProperties {
        raw,
        ..PublishProperties::default()
    };
    let mut out = Vec::new();
    properties.forwardable_into(&mut out);
    assert!(out.len() <= raw.len());
    if let Ok(text) = std::str::from_utf8(raw) {
        let _ = (topic::is_valid_name(text), topic::check_filter(text));
        let _ = topic::share(text);
    }
}
