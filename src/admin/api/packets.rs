//! Packets as JSON, for a person who looks at a trace: what is in them, in words. Passwords are never shown.

use serde_json::{json, Value};

use super::payload_json;
use super::rows::version_name;
use crate::mqtt::frame::{self, Frame};
use crate::mqtt::{
    decode, Ack, ConnAck, Connect, Disconnect, Packet, Publish, ReasonCode, Sender, SubAck,
    Subscribe, Unsubscribe, Version,
};

/// The packets at the start of `bytes`, and how many bytes they took. What does not parse ends the list.
pub(super) fn all(
    version: Version,
    sender: Sender,
    bytes: &[u8],
    payload_max: Option<usize>,
) -> (Vec<Value>, usize) {
    let (mut packets, mut at) = (Vec::new(), 0);
    loop {
        match frame::next_frame(&bytes[at..], u32::MAX) {
            Ok(Some(frame)) => {
                packets.push(one(version, sender, &frame, payload_max));
                at += frame.length;
            }
            Ok(None) => return (packets, at),
            Err(violation) => {
                packets.push(json!({ "packet": "unreadable", "why": violation.to_string() }));
                return (packets, bytes.len());
            }
        }
    }
}

fn one(version: Version, sender: Sender, frame: &Frame<'_>, payload_max: Option<usize>) -> Value {
    let mut shown = match decode::packet(version, sender, frame) {
        Ok(packet) => packet_json(&packet, payload_max),
        Err(violation) => json!({ "packet": "unreadable", "why": violation.to_string() }),
    };
    shown["bytes"] = json!(frame.length);
    shown
}

fn packet_json(packet: &Packet<'_>, payload_max: Option<usize>) -> Value {
    match packet {
        Packet::Connect(connect) => connect_json(connect),
        Packet::ConnAck(connack) => connack_json(connack),
        Packet::Publish(publish) => publish_json(publish, payload_max),
        Packet::PubAck(ack) => ack_json("PUBACK", ack),
        Packet::PubRec(ack) => ack_json("PUBREC", ack),
        Packet::PubRel(ack) => ack_json("PUBREL", ack),
        Packet::PubComp(ack) => ack_json("PUBCOMP", ack),
        Packet::Subscribe(subscribe) => subscribe_json(subscribe),
        Packet::SubAck(ack) => codes_json("SUBACK", ack),
        Packet::Unsubscribe(unsubscribe) => unsubscribe_json(unsubscribe),
        Packet::UnsubAck(ack) => codes_json("UNSUBACK", ack),
        Packet::PingReq => json!({ "packet": "PINGREQ" }),
        Packet::PingResp => json!({ "packet": "PINGRESP" }),
        Packet::Disconnect(disconnect) => disconnect_json(disconnect),
        Packet::Auth(auth) => json!({
            "packet": "AUTH",
            "reason": reason_json(auth.reason),
            "method": auth.authentication_method,
        }),
    }
}

fn reason_json(reason: ReasonCode) -> Value {
    json!({ "code": reason as u8, "text": reason.description() })
}

fn connect_json(connect: &Connect<'_>) -> Value {
    let properties = &connect.properties;
    json!({
        "packet": "CONNECT",
        "version": version_name(connect.version),
        "client_id": connect.client_id,
        "clean_start": connect.clean_start,
        "keep_alive_s": connect.keep_alive_s,
        "user": connect.user_name,
        "has_password": connect.password.is_some(),
        "will_topic": connect.will.as_ref().map(|will| will.topic),
        "session_expiry_s": properties.session_expiry_interval_s,
        "receive_maximum": properties.receive_maximum,
        "packet_size_max": properties.maximum_packet_size,
        "topic_alias_max": properties.topic_alias_maximum,
        "method": properties.authentication_method,
    })
}

fn connack_json(connack: &ConnAck<'_>) -> Value {
    let properties = &connack.properties;
    json!({
        "packet": "CONNACK",
        "reason": reason_json(connack.reason),
        "session_present": connack.session_present,
        "assigned_client_id": properties.assigned_client_identifier,
        "keep_alive_s": properties.server_keep_alive_s,
        "session_expiry_s": properties.session_expiry_interval_s,
        "reason_string": properties.reason_string,
    })
}

fn publish_json(publish: &Publish<'_>, payload_max: Option<usize>) -> Value {
    let mut shown = json!({
        "packet": "PUBLISH",
        "topic": publish.topic,
        "qos": publish.qos as u8,
        "retain": publish.retain,
        "dup": publish.dup,
        "packet_id": publish.packet_id.map(|id| id.get()),
        "topic_alias": publish.properties.topic_alias,
        "expiry_s": publish.properties.message_expiry_interval_s,
        "payload_bytes": publish.payload.len(),
    });
    if let (Some(max), Some(fields)) = (payload_max, shown.as_object_mut()) {
        if let Value::Object(payload) = payload_json(publish.payload, max) {
            fields.extend(payload);
        }
    }
    shown
}

fn ack_json(name: &str, ack: &Ack<'_>) -> Value {
    json!({
        "packet": name,
        "packet_id": ack.packet_id.get(),
        "reason": reason_json(ack.reason),
        "reason_string": ack.reason_string,
    })
}

fn subscribe_json(subscribe: &Subscribe<'_>) -> Value {
    let filters = subscribe.filters.iter().map(|(filter, options)| {
        json!({ "filter": filter, "qos": options.qos as u8, "no_local": options.no_local })
    });
    json!({
        "packet": "SUBSCRIBE",
        "packet_id": subscribe.packet_id.get(),
        "filters": filters.collect::<Vec<_>>(),
        "identifier": subscribe.subscription_identifier,
    })
}

fn unsubscribe_json(unsubscribe: &Unsubscribe<'_>) -> Value {
    json!({
        "packet": "UNSUBSCRIBE",
        "packet_id": unsubscribe.packet_id.get(),
        "filters": unsubscribe.filters.iter().collect::<Vec<_>>(),
    })
}

fn codes_json(name: &str, ack: &SubAck<'_>) -> Value {
    json!({
        "packet": name,
        "packet_id": ack.packet_id.get(),
        "codes": ack.codes,
        "reason_string": ack.reason_string,
    })
}

fn disconnect_json(disconnect: &Disconnect<'_>) -> Value {
    json!({
        "packet": "DISCONNECT",
        "reason": reason_json(disconnect.reason),
        "reason_string": disconnect.reason_string,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_taken_apart_and_the_rest_waits() {
        let bytes = b"\x10\x15\x00\x04MQTT\x04\xC2\x00\x3c\x00\x01c\x00\x01u\x00\x03pwd\xC0\x00\x32\x06\x00\x01t\x00";
        let (packets, used) = all(Version::V311, Sender::Client, bytes, None);
        assert_eq!(used, bytes.len() - 6);
        let names: Vec<_> = packets
            .iter()
            .map(|p| p["packet"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["CONNECT", "PINGREQ"]);
        assert_eq!(
            (&packets[0]["user"], &packets[0]["has_password"]),
            (&json!("u"), &json!(true))
        );
        assert!(
            !packets[0].to_string().contains("pwd"),
            "a password is not shown"
        );
    }

    #[test]
    fn a_payload_is_shown_when_that_is_asked_for() {
        let bytes = b"\x30\x06\x00\x01tabc";
        let shown = |max| all(Version::V311, Sender::Server, bytes, max).0.remove(0);
        assert_eq!(shown(None)["payload_bytes"], 3);
        assert_eq!(shown(None).get("payload"), None);
        assert_eq!(shown(Some(2))["payload"], "ab");
        let (unreadable, used) = all(Version::V5, Sender::Client, &[0x00, 0x00], None);
        assert_eq!((&unreadable[0]["packet"], used), (&json!("unreadable"), 2));
    }
}
