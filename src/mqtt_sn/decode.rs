//! Datagrams to messages.

use super::message::{flag, kind};
use super::message::{
    Connect, Message, Publish, ReturnCode, Subscribe, TopicName, TopicRef, Unsubscribe, WillTopic,
};
use crate::mqtt::Qos;

/// Why a datagram is no message. It is never answered: its source may be forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("its length is not that of the datagram")]
    Length,
    #[error("it is shorter than its type needs, or longer than it may be")]
    Fields,
    #[error("its type is reserved")]
    Type,
    #[error("its kind of topic id is reserved")]
    TopicIdType,
    #[error("its QoS is not one of 0, 1 and 2")]
    Qos,
    #[error("a name in it is not UTF-8")]
    Text,
}

/// A message of a wireless node that a forwarder has passed on, section 5.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded<'a> {
    pub node: &'a [u8],
    pub message: &'a [u8],
}

/// The frame of a forwarder, if there is one.
///
/// # Errors
/// There is one, and it is cut, empty, or holds another one.
pub fn unwrap_forwarded(datagram: &[u8]) -> Result<Option<Forwarded<'_>>, Malformed> {
    let (length, header) = length_of(datagram)?;
    if datagram.get(header) != Some(&kind::FORWARDED) {
        return Ok(None);
    }
    // Type, control octet, node.
    if length > datagram.len() || length < header + 3 {
        return Err(Malformed::Length);
    }
    let (frame, message) = datagram.split_at(length);
    let (_, inner_header) = length_of(message)?;
    if message.get(inner_header) == Some(&kind::FORWARDED) {
        return Err(Malformed::Type); // nested at most once
    }
    Ok(Some(Forwarded {
        node: &frame[header + 2..],
        message,
    }))
}

/// The length that a message claims, and how many octets it is written in: both forms are valid for any
/// length, section 5.2.1.
fn length_of(bytes: &[u8]) -> Result<(usize, usize), Malformed> {
    match *bytes {
        [1, high, low, ..] => {
            let length = usize::from(u16::from_be_bytes([high, low]));
            (length >= 4)
                .then_some((length, 3))
                .ok_or(Malformed::Length)
        }
        [length, ..] if length >= 2 => Ok((usize::from(length), 1)),
        _ => Err(Malformed::Length),
    }
}

/// The message in a datagram.
///
/// # Errors
/// It is none of MQTT-SN 1.2.
pub fn decode(datagram: &[u8]) -> Result<Message<'_>, Malformed> {
    let (length, header) = length_of(datagram)?;
    if length != datagram.len() {
        return Err(Malformed::Length);
    }
    let (kind, body) = datagram[header..].split_first().ok_or(Malformed::Length)?;
    let mut fields = Fields(body);
    let message = message(*kind, &mut fields)?;
    if fields.0.is_empty() {
        Ok(message)
    } else {
        Err(Malformed::Fields)
    }
}

fn message<'a>(kind: u8, fields: &mut Fields<'a>) -> Result<Message<'a>, Malformed> {
    Ok(match kind {
        kind::ADVERTISE => Message::Advertise {
            gateway_id: fields.byte()?,
            duration_s: fields.number()?,
        },
        kind::SEARCHGW => Message::SearchGw {
            radius: fields.byte()?,
        },
        kind::GWINFO => Message::GwInfo {
            gateway_id: fields.byte()?,
            address: fields.rest(),
        },
        kind::CONNECT => connect(fields)?,
        kind::CONNACK => Message::ConnAck(fields.code()?),
        kind::WILLTOPICREQ => Message::WillTopicReq,
        kind::WILLTOPIC => Message::WillTopic(will_topic(fields)?),
        kind::WILLMSGREQ => Message::WillMsgReq,
        kind::WILLMSG => Message::WillMsg(fields.rest()),
        kind::REGISTER => Message::Register {
            topic_id: fields.number()?,
            msg_id: fields.number()?,
            topic: fields.text()?,
        },
        kind::REGACK => Message::RegAck {
            topic_id: fields.number()?,
            msg_id: fields.number()?,
            code: fields.code()?,
        },
        kind::PUBLISH => publish(fields)?,
        kind::PUBACK => Message::PubAck {
            topic_id: fields.number()?,
            msg_id: fields.number()?,
            code: fields.code()?,
        },
        kind::PUBREC => Message::PubRec(fields.number()?),
        kind::PUBREL => Message::PubRel(fields.number()?),
        kind::PUBCOMP => Message::PubComp(fields.number()?),
        kind::SUBSCRIBE => {
            let flags = fields.byte()?;
            Message::Subscribe(Subscribe {
                dup: flags & flag::DUP != 0,
                qos: qos(flags)?,
                msg_id: fields.number()?,
                topic: topic_name(flags, fields)?,
            })
        }
        kind::SUBACK => Message::SubAck {
            qos: qos(fields.byte()?)?,
            topic_id: fields.number()?,
            msg_id: fields.number()?,
            code: fields.code()?,
        },
        kind::UNSUBSCRIBE => {
            let flags = fields.byte()?;
            Message::Unsubscribe(Unsubscribe {
                msg_id: fields.number()?,
                topic: topic_name(flags, fields)?,
            })
        }
        kind::UNSUBACK => Message::UnsubAck(fields.number()?),
        kind::PINGREQ => Message::PingReq(text(fields.rest())?),
        kind::PINGRESP => Message::PingResp,
        kind::DISCONNECT if fields.0.is_empty() => Message::Disconnect(None),
        kind::DISCONNECT => Message::Disconnect(Some(fields.number()?)),
        kind::WILLTOPICUPD => Message::WillTopicUpd(will_topic(fields)?),
        kind::WILLTOPICRESP => Message::WillTopicResp(fields.code()?),
        kind::WILLMSGUPD => Message::WillMsgUpd(fields.rest()),
        kind::WILLMSGRESP => Message::WillMsgResp(fields.code()?),
        _ => return Err(Malformed::Type),
    })
}

fn connect<'a>(fields: &mut Fields<'a>) -> Result<Message<'a>, Malformed> {
    let flags = fields.byte()?;
    Ok(Message::Connect(Connect {
        will: flags & flag::WILL != 0,
        clean_session: flags & flag::CLEAN_SESSION != 0,
        protocol_id: fields.byte()?,
        duration_s: fields.number()?,
        client_id: text(fields.rest())?,
    }))
}

fn will_topic<'a>(fields: &mut Fields<'a>) -> Result<Option<WillTopic<'a>>, Malformed> {
    if fields.0.is_empty() {
        return Ok(None);
    }
    let flags = fields.byte()?;
    Ok(Some(WillTopic {
        qos: qos(flags)?,
        retain: flags & flag::RETAIN != 0,
        topic: fields.text()?,
    }))
}

fn publish<'a>(fields: &mut Fields<'a>) -> Result<Message<'a>, Malformed> {
    let flags = fields.byte()?;
    let topic = fields.number()?;
    Ok(Message::Publish(Publish {
        dup: flags & flag::DUP != 0,
        qos: qos(flags).ok(), // 3 is -1
        retain: flags & flag::RETAIN != 0,
        topic: match flags & flag::TOPIC_ID_TYPE {
            flag::NORMAL => TopicRef::Normal(topic),
            flag::PREDEFINED => TopicRef::Predefined(topic),
            flag::SHORT => TopicRef::Short(topic.to_be_bytes()),
            _ => return Err(Malformed::TopicIdType),
        },
        msg_id: fields.number()?,
        payload: fields.rest(),
    }))
}

fn topic_name<'a>(flags: u8, fields: &mut Fields<'a>) -> Result<TopicName<'a>, Malformed> {
    Ok(match flags & flag::TOPIC_ID_TYPE {
        flag::NORMAL => TopicName::Full(fields.text()?),
        flag::PREDEFINED => TopicName::Predefined(fields.number()?),
        flag::SHORT => TopicName::Short(fields.number()?.to_be_bytes()),
        _ => return Err(Malformed::TopicIdType),
    })
}

fn qos(flags: u8) -> Result<Qos, Malformed> {
    Qos::from_bits(flags >> flag::QOS_SHIFT & 0b11).ok_or(Malformed::Qos)
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed::Text)
}

/// What is not read yet of a message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed::Fields)?;
        self.0 = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    fn code(&mut self) -> Result<ReturnCode, Malformed> {
        self.byte().map(ReturnCode::from_byte)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// A name, which is never empty.
    fn text(&mut self) -> Result<&'a str, Malformed> {
        let name = text(self.rest())?;
        (!name.is_empty()).then_some(name).ok_or(Malformed::Fields)
    }
}
