//! CONNECT, section 3.1 of all three specifications.

use super::super::packet::{Connect, Version, Will, BRIDGE};
use super::super::primitives::{put_binary, put_string, put_with_length};
use super::super::property::Property;
use super::fields::Fields;
use super::put;

/// Appends CONNECT in its own version.
pub fn connect(out: &mut Vec<u8>, connect: &Connect<'_>) {
    let version = connect.version;
    out.push(0x10);
    put_with_length(out, |out| {
        put_string(
            out,
            if version == Version::V31 {
                "MQIsdp"
            } else {
                "MQTT"
            },
        );
        let mark = if connect.is_bridge { BRIDGE } else { 0 };
        out.extend_from_slice(&[version as u8 | mark, flags(connect)]);
        out.extend_from_slice(&connect.keep_alive_s.to_be_bytes());
        if version.is_v5() {
            put_with_length(out, |out| connect.properties.put(out));
        }
        put_string(out, connect.client_id);
        if let Some(will) = &connect.will {
            put_will(out, version, will);
        }
        if let Some(user_name) = connect.user_name {
            put_string(out, user_name);
        }
        if let Some(password) = connect.password {
            put_binary(out, password);
        }
    });
}

fn flags(connect: &Connect<'_>) -> u8 {
    let will = connect.will.as_ref().map_or(0, |will| {
        0b100 | (will.qos as u8) << 3 | u8::from(will.retain) << 5
    });
    u8::from(connect.clean_start) << 1
        | will
        | u8::from(connect.password.is_some()) << 6
        | u8::from(connect.user_name.is_some()) << 7
}

fn put_will(out: &mut Vec<u8>, version: Version, will: &Will<'_>) {
    if version.is_v5() {
        put_with_length(out, |out| {
            if will.delay_interval_s > 0 {
                Property::WillDelayInterval(will.delay_interval_s).put(out);
            }
            put(
                out,
                Property::MessageExpiryInterval,
                will.properties.message_expiry_interval_s,
            );
            will.properties.forwardable_into(out);
        });
    }
    put_string(out, will.topic);
    put_binary(out, will.payload);
}
