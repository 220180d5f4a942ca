//! SUBACK and UNSUBACK, MQTT 5.0 sections 3.9 and 3.11.

use super::super::packet::{SubAck, Version};
use super::super::primitives::{put_with_length, variable_len};
use super::super::reason::ReasonCode;
use super::fields::Fields;

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

/// Bytes of a v5 SUBACK or UNSUBACK without properties, for so many filters. Saturates.
pub fn suback_size(filters: usize) -> usize {
    let after_header = filters.saturating_add(3); // identifier and property length
    let remaining = u32::try_from(after_header).unwrap_or(u32::MAX);
    after_header.saturating_add(1 + variable_len(remaining))
}

fn put_fields(out: &mut Vec<u8>, version: Version, suback: &SubAck<'_>) {
    out.extend_from_slice(&suback.packet_id.get().to_be_bytes());
    if version.is_v5() {
        put_with_length(out, |out| suback.put(out));
    }
}
