//! SUBACK and UNSUBACK, MQTT 5.0 sections 3.9 and 3.11.

use super::super::packet::{SubAck, Version};
use super::super::primitives::put_with_length;
use super::super::property::Property;
use super::super::reason::ReasonCode;
use super::{put, put_user_properties};

/// Appends SUBACK. In v3 every failure becomes 0x80 (3.1.1 [MQTT-3.9.3-2]).
pub fn suback(out: &mut Vec<u8>, version: Version, suback: &SubAck<'_>) {
    out.push(0x90);
    put_with_length(out, |out| {
        put_fields(out, version, suback);
        if version.is_v5() {
            out.extend_from_slice(suback.codes);
        } else {
            let failure = ReasonCode::UnspecifiedError as u8;
            out.extend(suback.codes.iter().map(|&code| code.min(failure)));
        }
    });
}

/// Appends UNSUBACK, which has no codes in v3.
pub fn unsuback(out: &mut Vec<u8>, version: Version, unsuback: &SubAck<'_>) {
    out.push(0xB0);
    put_with_length(out, |out| {
        put_fields(out, version, unsuback);
        if version.is_v5() {
            out.extend_from_slice(unsuback.codes);
        }
    });
}

fn put_fields(out: &mut Vec<u8>, version: Version, suback: &SubAck<'_>) {
    out.extend_from_slice(&suback.packet_id.get().to_be_bytes());
    if version.is_v5() {
        put_with_length(out, |out| {
            put(out, Property::ReasonString, suback.reason_string);
            put_user_properties(out, suback.user_properties);
        });
    }
}
