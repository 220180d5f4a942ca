//! Messages as values, which borrow from the datagram they came in.

use crate::mqtt::Qos;

/// The one value of ProtocolId, section 5.3.8.
pub const PROTOCOL_ID: u8 = 1;

/// A message, section 5.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    Advertise {
        gateway_id: u8,
        duration_s: u16,
    },
    SearchGw {
        radius: u8,
    },
    GwInfo {
        gateway_id: u8,
        /// Only when a client answers for a gateway.
        address: &'a [u8],
    },
    Connect(Connect<'a>),
    ConnAck(ReturnCode),
    WillTopicReq,
    /// `None`: the will is deleted.
    WillTopic(Option<WillTopic<'a>>),
    WillMsgReq,
    WillMsg(&'a [u8]),
    Register {
        /// 0 from a client.
        topic_id: u16,
        msg_id: u16,
        topic: &'a str,
    },
    RegAck {
        topic_id: u16,
        msg_id: u16,
        code: ReturnCode,
    },
    Publish(Publish<'a>),
    PubAck {
        topic_id: u16,
        msg_id: u16,
        code: ReturnCode,
    },
    PubRec(u16),
    PubRel(u16),
    PubComp(u16),
    Subscribe(Subscribe<'a>),
    SubAck {
        qos: Qos,
        topic_id: u16,
        msg_id: u16,
        code: ReturnCode,
    },
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(u16),
    /// From a sleeping client with its id.
    PingReq(&'a str),
    PingResp,
    /// With a duration the client goes to sleep.
    Disconnect(Option<u16>),
    WillTopicUpd(Option<WillTopic<'a>>),
    WillTopicResp(ReturnCode),
    WillMsgUpd(&'a [u8]),
    WillMsgResp(ReturnCode),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    pub will: bool,
    pub clean_session: bool,
    pub protocol_id: u8,
    pub duration_s: u16,
    pub client_id: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WillTopic<'a> {
    pub qos: Qos,
    pub retain: bool,
    pub topic: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    pub dup: bool,
    /// `None`: QoS -1, without a connection.
    pub qos: Option<Qos>,
    pub retain: bool,
    pub topic: TopicRef,
    pub msg_id: u16,
    pub payload: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    pub dup: bool,
    pub qos: Qos,
    pub msg_id: u16,
    pub topic: TopicName<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    pub msg_id: u16,
    pub topic: TopicName<'a>,
}

/// What stands for a topic in PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicRef {
    /// Registered by this client, or with it.
    Normal(u16),
    /// Known to both sides beforehand.
    Predefined(u16),
    /// The topic itself.
    Short([u8; 2]),
}

/// What stands for a filter in SUBSCRIBE and UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicName<'a> {
    Full(&'a str),
    Predefined(u16),
    Short([u8; 2]),
}

/// Section 5.3.10; what is reserved there is read as "not supported".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ReturnCode {
    Accepted = 0,
    Congestion = 1,
    InvalidTopicId = 2,
    NotSupported = 3,
}

impl ReturnCode {
    #[must_use]
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Accepted,
            1 => Self::Congestion,
            2 => Self::InvalidTopicId,
            _ => Self::NotSupported,
        }
    }
}

impl TopicRef {
    /// The field of two octets.
    #[must_use]
    pub fn field(self) -> u16 {
        match self {
            Self::Normal(id) | Self::Predefined(id) => id,
            Self::Short(name) => u16::from_be_bytes(name),
        }
    }
}

/// Message types, section 5.2.2.
pub(super) mod kind {
    pub(in super::super) const ADVERTISE: u8 = 0x00;
    pub(in super::super) const SEARCHGW: u8 = 0x01;
    pub(in super::super) const GWINFO: u8 = 0x02;
    pub(in super::super) const CONNECT: u8 = 0x04;
    pub(in super::super) const CONNACK: u8 = 0x05;
    pub(in super::super) const WILLTOPICREQ: u8 = 0x06;
    pub(in super::super) const WILLTOPIC: u8 = 0x07;
    pub(in super::super) const WILLMSGREQ: u8 = 0x08;
    pub(in super::super) const WILLMSG: u8 = 0x09;
    pub(in super::super) const REGISTER: u8 = 0x0A;
    pub(in super::super) const REGACK: u8 = 0x0B;
    pub(in super::super) const PUBLISH: u8 = 0x0C;
    pub(in super::super) const PUBACK: u8 = 0x0D;
    pub(in super::super) const PUBCOMP: u8 = 0x0E;
    pub(in super::super) const PUBREC: u8 = 0x0F;
    pub(in super::super) const PUBREL: u8 = 0x10;
    pub(in super::super) const SUBSCRIBE: u8 = 0x12;
    pub(in super::super) const SUBACK: u8 = 0x13;
    pub(in super::super) const UNSUBSCRIBE: u8 = 0x14;
    pub(in super::super) const UNSUBACK: u8 = 0x15;
    pub(in super::super) const PINGREQ: u8 = 0x16;
    pub(in super::super) const PINGRESP: u8 = 0x17;
    pub(in super::super) const DISCONNECT: u8 = 0x18;
    pub(in super::super) const WILLTOPICUPD: u8 = 0x1A;
    pub(in super::super) const WILLTOPICRESP: u8 = 0x1B;
    pub(in super::super) const WILLMSGUPD: u8 = 0x1C;
    pub(in super::super) const WILLMSGRESP: u8 = 0x1D;
    pub(in super::super) const FORWARDED: u8 = 0xFE;
}

/// Bits of the flags octet, section 5.3.4.
pub(super) mod flag {
    pub(in super::super) const DUP: u8 = 0x80;
    pub(in super::super) const RETAIN: u8 = 0x10;
    pub(in super::super) const WILL: u8 = 0x08;
    pub(in super::super) const CLEAN_SESSION: u8 = 0x04;
    pub(in super::super) const QOS_SHIFT: u8 = 5;
    pub(in super::super) const TOPIC_ID_TYPE: u8 = 0x03;
    pub(in super::super) const NORMAL: u8 = 0;
    pub(in super::super) const PREDEFINED: u8 = 1;
    pub(in super::super) const SHORT: u8 = 2;
}
