//! Messages to datagrams.

use super::message::{flag, kind};
use super::message::{Message, Publish, ReturnCode, TopicName, TopicRef, WillTopic};
use crate::mqtt::Qos;

/// Length octets beyond the first of a message of 256 octets and more.
const LONG_LENGTH: usize = 2;

/// Appends a message. One of more than 65,535 octets is for the caller to avoid.
pub fn encode(message: &Message<'_>, out: &mut Vec<u8>) {
    let at = out.len();
    out.push(0);
    body(message, out);
    let length = out.len() - at;
    if let Ok(length) = u8::try_from(length) {
        out[at] = length; // the form that is preferred, section 5.2.1
        return;
    }
    debug_assert!(length + LONG_LENGTH <= usize::from(u16::MAX));
    let [high, low] = ((length + LONG_LENGTH) as u16).to_be_bytes();
    out.splice(at..=at, [1, high, low]);
}

/// Appends the frame that takes what follows to a node through its forwarder, section 5.5.
pub fn forwarded(node: &[u8], out: &mut Vec<u8>) {
    // The control octet is 0: not a broadcast, so its radius means nothing.
    match u8::try_from(3 + node.len()) {
        Ok(length) => out.extend_from_slice(&[length, kind::FORWARDED, 0]),
        Err(_) => {
            let [high, low] = ((5 + node.len()) as u16).to_be_bytes();
            out.extend_from_slice(&[1, high, low, kind::FORWARDED, 0]);
        }
    }
    out.extend_from_slice(node);
}

/// Type and variable part.
fn body(message: &Message<'_>, out: &mut Vec<u8>) {
    match *message {
        Message::Advertise {
            gateway_id,
            duration_s,
        } => {
            out.extend_from_slice(&[kind::ADVERTISE, gateway_id]);
            out.extend_from_slice(&duration_s.to_be_bytes());
        }
        Message::SearchGw { radius } => out.extend_from_slice(&[kind::SEARCHGW, radius]),
        Message::GwInfo {
            gateway_id,
            address,
        } => {
            out.extend_from_slice(&[kind::GWINFO, gateway_id]);
            out.extend_from_slice(address);
        }
        Message::Connect(connect) => {
            let will = if connect.will { flag::WILL } else { 0 };
            let clean = if connect.clean_session {
                flag::CLEAN_SESSION
            } else {
                0
            };
            out.extend_from_slice(&[kind::CONNECT, will | clean, connect.protocol_id]);
            out.extend_from_slice(&connect.duration_s.to_be_bytes());
            out.extend_from_slice(connect.client_id.as_bytes());
        }
        Message::ConnAck(code) => out.extend_from_slice(&[kind::CONNACK, code as u8]),
        Message::WillTopicReq => out.push(kind::WILLTOPICREQ),
        Message::WillTopic(will) => will_topic(kind::WILLTOPIC, will, out),
        Message::WillMsgReq => out.push(kind::WILLMSGREQ),
        Message::WillMsg(payload) => with_rest(kind::WILLMSG, payload, out),
        Message::Register {
            topic_id,
            msg_id,
            topic,
        } => {
            numbers(kind::REGISTER, &[topic_id, msg_id], out);
            out.extend_from_slice(topic.as_bytes());
        }
        Message::RegAck {
            topic_id,
            msg_id,
            code,
        } => with_code(kind::REGACK, &[topic_id, msg_id], code, out),
        Message::Publish(publish) => put_publish(&publish, out),
        Message::PubAck {
            topic_id,
            msg_id,
            code,
        } => with_code(kind::PUBACK, &[topic_id, msg_id], code, out),
        Message::PubRec(msg_id) => numbers(kind::PUBREC, &[msg_id], out),
        Message::PubRel(msg_id) => numbers(kind::PUBREL, &[msg_id], out),
        Message::PubComp(msg_id) => numbers(kind::PUBCOMP, &[msg_id], out),
        Message::Subscribe(subscribe) => {
            let dup = if subscribe.dup { flag::DUP } else { 0 };
            let flags = dup | (subscribe.qos as u8) << flag::QOS_SHIFT | name_type(subscribe.topic);
            out.extend_from_slice(&[kind::SUBSCRIBE, flags]);
            put_name(subscribe.msg_id, subscribe.topic, out);
        }
        Message::SubAck {
            qos,
            topic_id,
            msg_id,
            code,
        } => {
            out.extend_from_slice(&[kind::SUBACK, (qos as u8) << flag::QOS_SHIFT]);
            out.extend_from_slice(&topic_id.to_be_bytes());
            out.extend_from_slice(&msg_id.to_be_bytes());
            out.push(code as u8);
        }
        Message::Unsubscribe(unsubscribe) => {
            out.extend_from_slice(&[kind::UNSUBSCRIBE, name_type(unsubscribe.topic)]);
            put_name(unsubscribe.msg_id, unsubscribe.topic, out);
        }
        Message::UnsubAck(msg_id) => numbers(kind::UNSUBACK, &[msg_id], out),
        Message::PingReq(client_id) => with_rest(kind::PINGREQ, client_id.as_bytes(), out),
        Message::PingResp => out.push(kind::PINGRESP),
        Message::Disconnect(None) => out.push(kind::DISCONNECT),
        Message::Disconnect(Some(duration_s)) => numbers(kind::DISCONNECT, &[duration_s], out),
        Message::WillTopicUpd(will) => will_topic(kind::WILLTOPICUPD, will, out),
        Message::WillTopicResp(code) => out.extend_from_slice(&[kind::WILLTOPICRESP, code as u8]),
        Message::WillMsgUpd(payload) => with_rest(kind::WILLMSGUPD, payload, out),
        Message::WillMsgResp(code) => out.extend_from_slice(&[kind::WILLMSGRESP, code as u8]),
    }
}

fn put_publish(publish: &Publish<'_>, out: &mut Vec<u8>) {
    let dup = if publish.dup { flag::DUP } else { 0 };
    let qos = publish.qos.map_or(0b11, |qos: Qos| qos as u8) << flag::QOS_SHIFT;
    let retain = if publish.retain { flag::RETAIN } else { 0 };
    let id_type = match publish.topic {
        TopicRef::Normal(_) => flag::NORMAL,
        TopicRef::Predefined(_) => flag::PREDEFINED,
        TopicRef::Short(_) => flag::SHORT,
    };
    out.extend_from_slice(&[kind::PUBLISH, dup | qos | retain | id_type]);
    out.extend_from_slice(&publish.topic.field().to_be_bytes());
    out.extend_from_slice(&publish.msg_id.to_be_bytes());
    out.extend_from_slice(publish.payload);
}

fn will_topic(kind: u8, will: Option<WillTopic<'_>>, out: &mut Vec<u8>) {
    out.push(kind);
    if let Some(will) = will {
        let retain = if will.retain { flag::RETAIN } else { 0 };
        out.push((will.qos as u8) << flag::QOS_SHIFT | retain);
        out.extend_from_slice(will.topic.as_bytes());
    }
}

fn name_type(topic: TopicName<'_>) -> u8 {
    match topic {
        TopicName::Full(_) => flag::NORMAL,
        TopicName::Predefined(_) => flag::PREDEFINED,
        TopicName::Short(_) => flag::SHORT,
    }
}

fn put_name(msg_id: u16, topic: TopicName<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&msg_id.to_be_bytes());
    match topic {
        TopicName::Full(name) => out.extend_from_slice(name.as_bytes()),
        TopicName::Predefined(id) => out.extend_from_slice(&id.to_be_bytes()),
        TopicName::Short(name) => out.extend_from_slice(&name),
    }
}

fn numbers(kind: u8, numbers: &[u16], out: &mut Vec<u8>) {
    out.push(kind);
    for number in numbers {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn with_code(kind: u8, fields: &[u16], code: ReturnCode, out: &mut Vec<u8>) {
    numbers(kind, fields, out);
    out.push(code as u8);
}

fn with_rest(kind: u8, rest: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(rest);
}
