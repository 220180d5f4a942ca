//! CONNACK, MQTT 5.0 section 3.2.

use super::super::packet::{ConnAck, Version};
use super::super::primitives::put_with_length;
use super::fields::Fields;

/// Appends CONNACK. v3 gets the return code nearest to the reason and no properties; MQTT 3.1 has
/// no session present flag either.
pub fn connack(out: &mut Vec<u8>, version: Version, connack: &ConnAck<'_>) {
    let session_present = u8::from(connack.session_present && version != Version::V31);
    if !version.is_v5() {
        let code = connack.reason.connect_return_code();
        out.extend_from_slice(&[0x20, 2, session_present, code]);
        return;
    }
    out.push(0x20);
    put_with_length(out, |out| {
        out.extend_from_slice(&[session_present, connack.reason as u8]);
        put_with_length(out, |out| connack.properties.put(out));
    });
}
