//! AUTH, MQTT 5.0 section 3.15.

use super::super::packet::Auth;
use super::super::primitives::put_with_length;
use super::super::property::Property;
use super::super::reason::ReasonCode;
use super::{put, put_user_properties};

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
        put_with_length(out, |out| {
            put(
                out,
                Property::AuthenticationMethod,
                auth.authentication_method,
            );
            put(out, Property::AuthenticationData, auth.authentication_data);
            put(out, Property::ReasonString, auth.reason_string);
            put_user_properties(out, auth.user_properties);
        });
    });
}
