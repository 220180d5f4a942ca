//! SUBSCRIBE and UNSUBSCRIBE, MQTT 5.0 sections 3.8 and 3.10.

use super::super::packet::{PacketId, SubscriptionOptions, UserProperties, Version};
use super::super::primitives::{put_string, put_with_length};
use super::fields::Fields;

/// A SUBSCRIBE to send. v3 takes only the QoS of the options, no identifier and no properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeOut<'a> {
    pub packet_id: PacketId,
    pub subscription_identifier: Option<u32>,
    pub user_properties: UserProperties<'a>,
    /// At least one.
    pub filters: &'a [(&'a str, SubscriptionOptions)],
}

/// An UNSUBSCRIBE to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsubscribeOut<'a> {
    pub packet_id: PacketId,
    pub user_properties: UserProperties<'a>,
    /// At least one.
    pub filters: &'a [&'a str],
}

/// Appends SUBSCRIBE.
pub fn subscribe(out: &mut Vec<u8>, version: Version, subscribe: &SubscribeOut<'_>) {
    out.push(0x82);
    put_with_length(out, |out| {
        out.extend_from_slice(&subscribe.packet_id.get().to_be_bytes());
        if version.is_v5() {
            put_with_length(out, |out| subscribe.put(out));
        }
        for (filter, options) in subscribe.filters {
            put_string(out, filter);
            out.push(options.to_byte(version));
        }
    });
}

/// Appends UNSUBSCRIBE.
pub fn unsubscribe(out: &mut Vec<u8>, version: Version, unsubscribe: &UnsubscribeOut<'_>) {
    out.push(0xA2);
    put_with_length(out, |out| {
        out.extend_from_slice(&unsubscribe.packet_id.get().to_be_bytes());
        if version.is_v5() {
            put_with_length(out, |out| unsubscribe.put(out));
        }
        for filter in unsubscribe.filters {
            put_string(out, filter);
        }
    });
}
