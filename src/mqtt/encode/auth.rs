//! AUTH, MQTT 5.0 section 3.15.

use super::super::packet::Auth;
use super::super::primitives::put_with_length;
use super::super::reason::ReasonCode;
use super::fields::Fields;

/// Appends AUTH (v5 only).
pub fn auth(out: &mut Vec<u8>, auth: &Auth<'_>) {
    out.push(0xF0);
    put_with_length(out, |out| {
        let plain = Auth {
            user_properties: auth.user_properties,
            ..Auth::default()
        };
        // Section 3.15.2.1: success without properties is an empty packet.
        if auth.reason == ReasonCode::Success && *auth == plain && auth.user_properties.is_empty() {
            return;
        }
        out.push(auth.reason as u8);
        put_with_length(out, |out| auth.put(out));
    });
}
