//! PUBLISH, MQTT 5.0 section 3.3: the hot path of encoding.

use std::num::NonZeroU16;

use super::super::packet::{PacketId, Qos, Version};
use super::super::primitives::{put_string, put_variable, string_len, variable_len};
use super::super::property::Property;

/// A PUBLISH to send. v3 has no place for alias, expiry, identifiers and properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishOut<'a> {
    pub dup: bool,
    pub qos: Qos,
    pub retain: bool,
    /// May be empty when `topic_alias` has been sent with it before.
    pub topic: &'a str,
    /// Present exactly when `qos` is above 0.
    pub packet_id: Option<PacketId>,
    pub topic_alias: Option<NonZeroU16>,
    pub message_expiry_interval_s: Option<u32>,
    pub subscription_identifiers: &'a [u32],
    /// Forwardable properties, already encoded (see
    /// [`PublishProperties::forwardable_into`](super::super::PublishProperties::forwardable_into)).
    pub properties: &'a [u8],
    /// Bytes of the payload, also when it is sent separately.
    pub payload_len: usize,
    /// Empty when the payload is sent separately.
    pub payload: &'a [u8],
}

impl PublishOut<'_> {
    fn properties_len(&self) -> usize {
        let alias = if self.topic_alias.is_some() { 3 } else { 0 };
        let expiry = if self.message_expiry_interval_s.is_some() {
            5
        } else {
            0
        };
        let identifiers: usize = self
            .subscription_identifiers
            .iter()
            .map(|&identifier| 1 + variable_len(identifier))
            .sum();
        alias + expiry + identifiers + self.properties.len()
    }
}

/// Lengths that go before the fields they count.
#[derive(Clone, Copy)]
struct Lengths {
    remaining: u32,
    properties: u32,
}

#[inline]
fn lengths(version: Version, publish: &PublishOut<'_>) -> Lengths {
    let packet_id = if publish.packet_id.is_some() { 2 } else { 0 };
    let fields = 2 + string_len(publish.topic) + packet_id + publish.payload_len;
    if !version.is_v5() {
        return Lengths {
            remaining: saturate(fields),
            properties: 0,
        };
    }
    let properties = saturate(publish.properties_len());
    Lengths {
        remaining: saturate(fields + variable_len(properties) + properties as usize),
        properties,
    }
}

/// A length over `u32` is far over the protocol's limit anyway.
#[inline]
fn saturate(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Bytes of the whole packet, payload included, without encoding it.
#[must_use]
pub fn publish_size(version: Version, publish: &PublishOut<'_>) -> usize {
    let remaining = lengths(version, publish).remaining;
    1 + variable_len(remaining) + remaining as usize
}

/// Appends all but the payload; the lengths count `payload_len`. The packet must not be larger than
/// [`PACKET_SIZE_MAX`](super::super::frame::PACKET_SIZE_MAX), see [`publish_size`].
#[inline]
pub fn publish_header(out: &mut Vec<u8>, version: Version, publish: &PublishOut<'_>) {
    debug_assert_eq!(publish.packet_id.is_some(), publish.qos != Qos::AtMostOnce);
    let lengths = lengths(version, publish);
    out.push(first_byte(publish));
    put_variable(out, lengths.remaining);
    put_string(out, publish.topic);
    if let Some(packet_id) = publish.packet_id {
        out.extend_from_slice(&packet_id.get().to_be_bytes());
    }
    if version.is_v5() {
        put_variable(out, lengths.properties);
        if lengths.properties > 0 {
            put_properties(out, publish);
        }
    }
}

/// Appends the whole packet.
#[inline]
pub fn publish(out: &mut Vec<u8>, version: Version, publish: &PublishOut<'_>) {
    debug_assert_eq!(publish.payload.len(), publish.payload_len);
    publish_header(out, version, publish);
    out.extend_from_slice(publish.payload);
}

#[inline]
fn first_byte(publish: &PublishOut<'_>) -> u8 {
    0x30 | u8::from(publish.dup) << 3 | (publish.qos as u8) << 1 | u8::from(publish.retain)
}

fn put_properties(out: &mut Vec<u8>, publish: &PublishOut<'_>) {
    super::put(out, Property::TopicAlias, publish.topic_alias);
    super::put(
        out,
        Property::MessageExpiryInterval,
        publish.message_expiry_interval_s,
    );
    for &identifier in publish.subscription_identifiers {
        Property::SubscriptionIdentifier(identifier).put(out);
    }
    out.extend_from_slice(publish.properties);
}
