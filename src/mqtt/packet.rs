//! Control packets as values. Decoded packets borrow from the bytes they came from.

use std::num::NonZeroU16;

use super::reason::ReasonCode;

/// Protocol version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3.
    V31 = 3,
    /// MQTT 3.1.1: protocol name `MQTT`, level 4.
    V311 = 4,
    /// MQTT 5.0: protocol name `MQTT`, level 5.
    V5 = 5,
}

impl Version {
    #[must_use]
    pub fn is_v5(self) -> bool {
        self == Self::V5
    }
}

/// Quality of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Qos {
    #[default]
    AtMostOnce = 0,
    AtLeastOnce = 1,
    ExactlyOnce = 2,
}

impl Qos {
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// Packet identifier, never zero [MQTT-2.2.1-3].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub NonZeroU16);

impl PacketId {
    #[must_use]
    pub fn new(id: u16) -> Option<Self> {
        NonZeroU16::new(id).map(Self)
    }
    #[must_use]
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

/// Any control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    Connect(Box<Connect<'a>>),
    ConnAck(Box<ConnAck<'a>>),
    Publish(Publish<'a>),
    PubAck(Ack<'a>),
    PubRec(Ack<'a>),
    PubRel(Ack<'a>),
    PubComp(Ack<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(SubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

/// Bit of the protocol level by which brokers that bridge mark themselves in 3.1 and 3.1.1. No
/// specification has it; a bridge of 5.0 says by its subscriptions' options what it means.
pub(super) const BRIDGE: u8 = 0x80;

/// CONNECT, MQTT 5.0 section 3.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    pub version: Version,
    /// The level has the mark of a bridge: another broker, which wants none of its own publications
    /// back and RETAIN as it was published (3.1 and 3.1.1 have no other words for this).
    pub is_bridge: bool,
    pub clean_start: bool,
    pub keep_alive_s: u16,
    /// May be empty: the server assigns one.
    pub client_id: &'a str,
    pub will: Option<Will<'a>>,
    pub user_name: Option<&'a str>,
    pub password: Option<&'a [u8]>,
    pub properties: ConnectProperties<'a>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectProperties<'a> {
    pub session_expiry_interval_s: Option<u32>,
    /// Absent means 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// Bytes; absent means no limit of the client's own.
    pub maximum_packet_size: Option<u32>,
    /// Absent means 0: no aliases towards the client.
    pub topic_alias_maximum: Option<u16>,
    pub request_response_information: Option<bool>,
    /// Absent means true.
    pub request_problem_information: Option<bool>,
    pub user_properties: UserProperties<'a>,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
}

/// The will fields of a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub qos: Qos,
    pub retain: bool,
    /// v5 Will Delay Interval; 0 when absent.
    pub delay_interval_s: u32,
    /// The application properties of the will, as in [`Publish::properties`].
    pub properties: PublishProperties<'a>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnAck<'a> {
    pub session_present: bool,
    /// For v3 the code is mapped with [`ReasonCode::connect_return_code`].
    pub reason: ReasonCode,
    pub properties: ConnAckProperties<'a>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnAckProperties<'a> {
    pub session_expiry_interval_s: Option<u32>,
    pub receive_maximum: Option<NonZeroU16>,
    pub maximum_qos: Option<Qos>,
    pub retain_available: Option<bool>,
    pub maximum_packet_size: Option<u32>,
    pub assigned_client_identifier: Option<&'a str>,
    pub topic_alias_maximum: Option<u16>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    pub wildcard_subscription_available: Option<bool>,
    pub subscription_identifiers_available: Option<bool>,
    pub shared_subscription_available: Option<bool>,
    pub server_keep_alive_s: Option<u16>,
    pub response_information: Option<&'a str>,
    pub server_reference: Option<&'a str>,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
}

/// PUBLISH, MQTT 5.0 section 3.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    pub dup: bool,
    pub qos: Qos,
    pub retain: bool,
    /// Empty only with a topic alias.
    pub topic: &'a str,
    /// Present exactly when `qos` is above 0 [MQTT-2.2.1-2].
    pub packet_id: Option<PacketId>,
    pub properties: PublishProperties<'a>,
    pub payload: &'a [u8],
}

/// Properties of a publication. What a server passes on unchanged stays encoded, validated and in
/// order; what it acts on is taken apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishProperties<'a> {
    pub topic_alias: Option<NonZeroU16>,
    pub message_expiry_interval_s: Option<u32>,
    /// First subscription identifier (only from a server); the others are in `raw`.
    pub subscription_identifier: Option<u32>,
    /// All properties as they came, without the length prefix; validated.
    pub raw: &'a [u8],
    /// True when `raw` has only properties that are passed on unchanged (payload format, content
    /// type, response topic, correlation data, user properties), so that it can be copied whole.
    pub raw_is_forwardable: bool,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    pub packet_id: PacketId,
    pub reason: ReasonCode,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    pub packet_id: PacketId,
    pub subscription_identifier: Option<u32>,
    pub user_properties: UserProperties<'a>,
    /// Validated list of filters with options; at least one.
    pub filters: SubscribeFilters<'a>,
}

/// Options of one subscription, MQTT 5.0 section 3.8.3.1. v3 has `qos` alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    pub qos: Qos,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub retain_handling: RetainHandling,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RetainHandling {
    #[default]
    Send = 0,
    SendIfNew = 1,
    DoNotSend = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    pub packet_id: PacketId,
    pub user_properties: UserProperties<'a>,
    /// Validated list; at least one.
    pub filters: UnsubscribeFilters<'a>,
}

/// SUBACK or UNSUBACK. A v3 UNSUBACK has no codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubAck<'a> {
    pub packet_id: PacketId,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    /// One byte per filter; v3 SUBACK has 0, 1, 2 or 0x80.
    pub codes: &'a [u8],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disconnect<'a> {
    pub reason: ReasonCode,
    pub session_expiry_interval_s: Option<u32>,
    pub reason_string: Option<&'a str>,
    pub server_reference: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Auth<'a> {
    pub reason: ReasonCode,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

/// User properties, still encoded and in order: an iterator of pairs. The bytes are a whole property
/// section in which other properties are skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserProperties<'a> {
    pub raw: &'a [u8],
}

/// The filters of a SUBSCRIBE, still encoded (validated): an iterator of `(filter, options)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeFilters<'a> {
    pub raw: &'a [u8],
    pub version: Version,
}

/// The filters of an UNSUBSCRIBE, still encoded (validated): an iterator of filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsubscribeFilters<'a> {
    pub raw: &'a [u8],
}
