//! DISCONNECT, MQTT 5.0 section 3.14.

use super::super::packet::{Disconnect, Version};
use super::super::primitives::put_with_length;
use super::super::reason::ReasonCode;
use super::fields::Fields;

/// Appends DISCONNECT. In v3 it is an empty packet that only clients send.
pub fn disconnect(out: &mut Vec<u8>, version: Version, disconnect: &Disconnect<'_>) {
    if !version.is_v5() {
        out.extend_from_slice(&[0xE0, 0]);
        return;
    }
    let without_properties = disconnect.session_expiry_interval_s.is_none()
        && disconnect.reason_string.is_none()
        && disconnect.server_reference.is_none()
        && disconnect.user_properties.is_empty();
    out.push(0xE0);
    // Section 3.14.2.1: what has its default at the end is left out.
    put_with_length(out, |out| {
        if without_properties && disconnect.reason == ReasonCode::Success {
            return;
        }
        out.push(disconnect.reason as u8);
        if without_properties {
            return;
        }
        put_with_length(out, |out| disconnect.put(out));
    });
}
