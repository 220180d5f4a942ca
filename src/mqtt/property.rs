//! Properties: which exist, what they hold, where they may stand and how often, MQTT 5.0
//! section 2.2.2. The one table that decoders and encoders share.

use std::num::NonZeroU16;

use super::error::DecodeError;
use super::packet::Qos;
use super::packet_type::PacketType;
use super::primitives::{put_binary, put_string, put_variable, Reader};

/// Where a property section stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Packet(PacketType),
    /// The will properties in a CONNECT's payload.
    Will,
}

impl Place {
    const fn bit(self) -> u16 {
        match self {
            // Type 0 is reserved, so its bit is free.
            Self::Will => 1,
            Self::Packet(packet_type) => 1 << packet_type as u16,
        }
    }
}

/// A property with its value, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property<'a> {
    /// True: the payload is UTF-8 text (not checked here).
    PayloadFormatIndicator(bool),
    /// Seconds.
    MessageExpiryInterval(u32),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    /// 1 to 268,435,455.
    SubscriptionIdentifier(u32),
    /// Seconds; `u32::MAX` means for ever.
    SessionExpiryInterval(u32),
    AssignedClientIdentifier(&'a str),
    /// Seconds.
    ServerKeepAlive(u16),
    AuthenticationMethod(&'a str),
    AuthenticationData(&'a [u8]),
    RequestProblemInformation(bool),
    /// Seconds.
    WillDelayInterval(u32),
    RequestResponseInformation(bool),
    ResponseInformation(&'a str),
    ServerReference(&'a str),
    ReasonString(&'a str),
    ReceiveMaximum(NonZeroU16),
    TopicAliasMaximum(u16),
    TopicAlias(NonZeroU16),
    /// QoS 0 or 1: with 2 the property is absent.
    MaximumQos(Qos),
    RetainAvailable(bool),
    UserProperty(&'a str, &'a str),
    /// Bytes, not 0.
    MaximumPacketSize(u32),
    WildcardSubscriptionAvailable(bool),
    SubscriptionIdentifierAvailable(bool),
    SharedSubscriptionAvailable(bool),
}

const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
const SERVER_KEEP_ALIVE: u8 = 0x13;
const AUTHENTICATION_METHOD: u8 = 0x15;
const AUTHENTICATION_DATA: u8 = 0x16;
const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
const WILL_DELAY_INTERVAL: u8 = 0x18;
const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
const RESPONSE_INFORMATION: u8 = 0x1A;
const SERVER_REFERENCE: u8 = 0x1C;
const REASON_STRING: u8 = 0x1F;
const RECEIVE_MAXIMUM: u8 = 0x21;
const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
const TOPIC_ALIAS: u8 = 0x23;
const MAXIMUM_QOS: u8 = 0x24;
const RETAIN_AVAILABLE: u8 = 0x25;
const USER_PROPERTY: u8 = 0x26;
const MAXIMUM_PACKET_SIZE: u8 = 0x27;
const WILDCARD_SUBSCRIPTION_AVAILABLE: u8 = 0x28;
const SUBSCRIPTION_IDENTIFIER_AVAILABLE: u8 = 0x29;
const SHARED_SUBSCRIPTION_AVAILABLE: u8 = 0x2A;

const fn places<const N: usize>(list: [Place; N]) -> u16 {
    let mut bits = 0;
    let mut index = 0;
    while index < N {
        bits |= list[index].bit();
        index += 1;
    }
    bits
}

/// Places where a property may stand, as bits; 0 for an unknown identifier. Table 2-4.
const fn allowed_places(id: u8) -> u16 {
    use PacketType as T;
    use Place::{Packet as P, Will};
    match id {
        PAYLOAD_FORMAT_INDICATOR
        | MESSAGE_EXPIRY_INTERVAL
        | CONTENT_TYPE
        | RESPONSE_TOPIC
        | CORRELATION_DATA => places([P(T::Publish), Will]),
        SUBSCRIPTION_IDENTIFIER => places([P(T::Publish), P(T::Subscribe)]),
        SESSION_EXPIRY_INTERVAL => places([P(T::Connect), P(T::ConnAck), P(T::Disconnect)]),
        AUTHENTICATION_METHOD | AUTHENTICATION_DATA => {
            places([P(T::Connect), P(T::ConnAck), P(T::Auth)])
        }
        REQUEST_PROBLEM_INFORMATION | REQUEST_RESPONSE_INFORMATION => places([P(T::Connect)]),
        WILL_DELAY_INTERVAL => places([Will]),
        RECEIVE_MAXIMUM | TOPIC_ALIAS_MAXIMUM | MAXIMUM_PACKET_SIZE => {
            places([P(T::Connect), P(T::ConnAck)])
        }
        TOPIC_ALIAS => places([P(T::Publish)]),
        ASSIGNED_CLIENT_IDENTIFIER
        | SERVER_KEEP_ALIVE
        | RESPONSE_INFORMATION
        | MAXIMUM_QOS
        | RETAIN_AVAILABLE
        | WILDCARD_SUBSCRIPTION_AVAILABLE
        | SUBSCRIPTION_IDENTIFIER_AVAILABLE
        | SHARED_SUBSCRIPTION_AVAILABLE => places([P(T::ConnAck)]),
        SERVER_REFERENCE => places([P(T::ConnAck), P(T::Disconnect)]),
        REASON_STRING => {
            places([
                P(T::ConnAck),
                P(T::SubAck),
                P(T::UnsubAck),
                P(T::Disconnect),
                P(T::Auth),
            ]) | places([P(T::PubAck), P(T::PubRec), P(T::PubRel), P(T::PubComp)])
        }
        USER_PROPERTY => {
            places([P(T::Connect), P(T::ConnAck), P(T::Publish), Will])
                | places([P(T::PubAck), P(T::PubRec), P(T::PubRel), P(T::PubComp)])
                | places([
                    P(T::Subscribe),
                    P(T::SubAck),
                    P(T::Unsubscribe),
                    P(T::UnsubAck),
                ])
                | places([P(T::Disconnect), P(T::Auth)])
        }
        _ => 0,
    }
}

const IDS: usize = SHARED_SUBSCRIPTION_AVAILABLE as usize + 1;

static ALLOWED_PLACES: [u16; IDS] = {
    let mut table = [0; IDS];
    let mut id = 0;
    while id < IDS {
        table[id] = allowed_places(id as u8);
        id += 1;
    }
    table
};

/// User properties may always be repeated; a server's PUBLISH has one subscription identifier for
/// each subscription that matched (section 3.3.2.3.8).
const fn may_repeat(id: u8, place: Place) -> bool {
    id == USER_PROPERTY
        || (id == SUBSCRIPTION_IDENTIFIER && matches!(place, Place::Packet(PacketType::Publish)))
}

fn boolean(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Protocol("property is neither 0 nor 1")),
    }
}

impl<'a> Property<'a> {
    /// Reads one property; identifiers that do not exist are malformed (section 2.2.2.2).
    fn read(reader: &mut Reader<'a>) -> Result<(u8, Self), DecodeError> {
        // Formally a variable byte integer, but every identifier takes one byte.
        let id = reader.byte()?;
        let property = match id {
            PAYLOAD_FORMAT_INDICATOR => Self::PayloadFormatIndicator(boolean(reader)?),
            MESSAGE_EXPIRY_INTERVAL => Self::MessageExpiryInterval(reader.four_bytes()?),
            CONTENT_TYPE => Self::ContentType(reader.string()?),
            RESPONSE_TOPIC => Self::ResponseTopic(response_topic(reader)?),
            CORRELATION_DATA => Self::CorrelationData(reader.binary()?),
            SUBSCRIPTION_IDENTIFIER => {
                Self::SubscriptionIdentifier(subscription_identifier(reader)?)
            }
            SESSION_EXPIRY_INTERVAL => Self::SessionExpiryInterval(reader.four_bytes()?),
            ASSIGNED_CLIENT_IDENTIFIER => Self::AssignedClientIdentifier(reader.string()?),
            SERVER_KEEP_ALIVE => Self::ServerKeepAlive(reader.two_bytes()?),
            AUTHENTICATION_METHOD => Self::AuthenticationMethod(reader.string()?),
            AUTHENTICATION_DATA => Self::AuthenticationData(reader.binary()?),
            REQUEST_PROBLEM_INFORMATION => Self::RequestProblemInformation(boolean(reader)?),
            WILL_DELAY_INTERVAL => Self::WillDelayInterval(reader.four_bytes()?),
            REQUEST_RESPONSE_INFORMATION => Self::RequestResponseInformation(boolean(reader)?),
            RESPONSE_INFORMATION => Self::ResponseInformation(reader.string()?),
            SERVER_REFERENCE => Self::ServerReference(reader.string()?),
            REASON_STRING => Self::ReasonString(reader.string()?),
            RECEIVE_MAXIMUM => Self::ReceiveMaximum(receive_maximum(reader)?),
            TOPIC_ALIAS_MAXIMUM => Self::TopicAliasMaximum(reader.two_bytes()?),
            TOPIC_ALIAS => Self::TopicAlias(topic_alias(reader)?),
            MAXIMUM_QOS => Self::MaximumQos(if boolean(reader)? {
                Qos::AtLeastOnce
            } else {
                Qos::AtMostOnce
            }),
            RETAIN_AVAILABLE => Self::RetainAvailable(boolean(reader)?),
            USER_PROPERTY => Self::UserProperty(reader.string()?, reader.string()?),
            MAXIMUM_PACKET_SIZE => Self::MaximumPacketSize(maximum_packet_size(reader)?),
            WILDCARD_SUBSCRIPTION_AVAILABLE => {
                Self::WildcardSubscriptionAvailable(boolean(reader)?)
            }
            SUBSCRIPTION_IDENTIFIER_AVAILABLE => {
                Self::SubscriptionIdentifierAvailable(boolean(reader)?)
            }
            SHARED_SUBSCRIPTION_AVAILABLE => Self::SharedSubscriptionAvailable(boolean(reader)?),
            _ => return Err(DecodeError::Malformed("unknown property identifier")),
        };
        Ok((id, property))
    }

    /// Appends identifier and value.
    pub fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::PayloadFormatIndicator(v) => put_bool(out, PAYLOAD_FORMAT_INDICATOR, v),
            Self::MessageExpiryInterval(v) => put_u32(out, MESSAGE_EXPIRY_INTERVAL, v),
            Self::ContentType(v) => put_text(out, CONTENT_TYPE, v),
            Self::ResponseTopic(v) => put_text(out, RESPONSE_TOPIC, v),
            Self::CorrelationData(v) => put_data(out, CORRELATION_DATA, v),
            Self::SubscriptionIdentifier(v) => {
                out.push(SUBSCRIPTION_IDENTIFIER);
                put_variable(out, v);
            }
            Self::SessionExpiryInterval(v) => put_u32(out, SESSION_EXPIRY_INTERVAL, v),
            Self::AssignedClientIdentifier(v) => put_text(out, ASSIGNED_CLIENT_IDENTIFIER, v),
            Self::ServerKeepAlive(v) => put_u16(out, SERVER_KEEP_ALIVE, v),
            Self::AuthenticationMethod(v) => put_text(out, AUTHENTICATION_METHOD, v),
            Self::AuthenticationData(v) => put_data(out, AUTHENTICATION_DATA, v),
            Self::RequestProblemInformation(v) => put_bool(out, REQUEST_PROBLEM_INFORMATION, v),
            Self::WillDelayInterval(v) => put_u32(out, WILL_DELAY_INTERVAL, v),
            Self::RequestResponseInformation(v) => put_bool(out, REQUEST_RESPONSE_INFORMATION, v),
            Self::ResponseInformation(v) => put_text(out, RESPONSE_INFORMATION, v),
            Self::ServerReference(v) => put_text(out, SERVER_REFERENCE, v),
            Self::ReasonString(v) => put_text(out, REASON_STRING, v),
            Self::ReceiveMaximum(v) => put_u16(out, RECEIVE_MAXIMUM, v.get()),
            Self::TopicAliasMaximum(v) => put_u16(out, TOPIC_ALIAS_MAXIMUM, v),
            Self::TopicAlias(v) => put_u16(out, TOPIC_ALIAS, v.get()),
            Self::MaximumQos(v) => put_bool(out, MAXIMUM_QOS, v != Qos::AtMostOnce),
            Self::RetainAvailable(v) => put_bool(out, RETAIN_AVAILABLE, v),
            Self::UserProperty(name, value) => {
                out.push(USER_PROPERTY);
                put_string(out, name);
                put_string(out, value);
            }
            Self::MaximumPacketSize(v) => put_u32(out, MAXIMUM_PACKET_SIZE, v),
            Self::WildcardSubscriptionAvailable(v) => {
                put_bool(out, WILDCARD_SUBSCRIPTION_AVAILABLE, v);
            }
            Self::SubscriptionIdentifierAvailable(v) => {
                put_bool(out, SUBSCRIPTION_IDENTIFIER_AVAILABLE, v);
            }
            Self::SharedSubscriptionAvailable(v) => put_bool(out, SHARED_SUBSCRIPTION_AVAILABLE, v),
        }
    }

    /// Whether a server passes this property of a PUBLISH or will on unchanged (section 3.3.2.3).
    #[must_use]
    pub fn is_forwardable(&self) -> bool {
        matches!(
            self,
            Self::PayloadFormatIndicator(_)
                | Self::ContentType(_)
                | Self::ResponseTopic(_)
                | Self::CorrelationData(_)
                | Self::UserProperty(..)
        )
    }
}

fn subscription_identifier(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    match reader.variable()? {
        0 => Err(DecodeError::Protocol("subscription identifier is 0")),
        identifier => Ok(identifier),
    }
}

fn receive_maximum(reader: &mut Reader<'_>) -> Result<NonZeroU16, DecodeError> {
    NonZeroU16::new(reader.two_bytes()?).ok_or(DecodeError::Protocol("receive maximum is 0"))
}

fn maximum_packet_size(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    match reader.four_bytes()? {
        0 => Err(DecodeError::Protocol("maximum packet size is 0")),
        size => Ok(size),
    }
}

fn topic_alias(reader: &mut Reader<'_>) -> Result<NonZeroU16, DecodeError> {
    NonZeroU16::new(reader.two_bytes()?).ok_or(DecodeError::Refused(
        super::reason::ReasonCode::TopicAliasInvalid,
        "topic alias is 0 [MQTT-3.3.2-8]",
    ))
}

fn response_topic<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let topic = reader.string()?;
    if super::topic::is_valid_name(topic) {
        Ok(topic)
    } else {
        Err(DecodeError::Protocol(
            "response topic is empty or has a wildcard [MQTT-3.3.2-14]",
        ))
    }
}

fn put_bool(out: &mut Vec<u8>, id: u8, value: bool) {
    out.extend_from_slice(&[id, u8::from(value)]);
}

fn put_u16(out: &mut Vec<u8>, id: u8, value: u16) {
    out.push(id);
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u32(out: &mut Vec<u8>, id: u8, value: u32) {
    out.push(id);
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_text(out: &mut Vec<u8>, id: u8, value: &str) {
    out.push(id);
    put_string(out, value);
}

fn put_data(out: &mut Vec<u8>, id: u8, value: &[u8]) {
    out.push(id);
    put_binary(out, value);
}

/// The properties of one place, checked one after the other.
pub(crate) struct Section<'a> {
    reader: Reader<'a>,
    place: Place,
    /// One bit for each identifier met.
    seen: u64,
}

impl<'a> Section<'a> {
    /// Reads the property length and takes that many bytes from `reader`.
    #[inline]
    pub(crate) fn new(reader: &mut Reader<'a>, place: Place) -> Result<Self, DecodeError> {
        let length = reader.variable()?;
        let bytes = reader.take(length as usize)?;
        Ok(Self {
            reader: Reader::new(bytes),
            place,
            seen: 0,
        })
    }

    /// What has not been read yet; at first the whole section.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.reader.rest()
    }

    /// The next property, known, allowed in this place and not a forbidden repetition.
    pub(crate) fn next_property(&mut self) -> Result<Option<Property<'a>>, DecodeError> {
        let Some(&id) = self.reader.rest().first() else {
            return Ok(None);
        };
        let allowed = ALLOWED_PLACES.get(usize::from(id)).copied().unwrap_or(0);
        if allowed & self.place.bit() == 0 {
            // Section 2.2.2.2: "not valid for its packet type" is malformed, like an unknown one.
            return Err(DecodeError::Malformed(
                "property identifier is not valid in this packet",
            ));
        }
        if self.seen & (1 << id) != 0 && !may_repeat(id, self.place) {
            return Err(DecodeError::Protocol("property appears twice"));
        }
        self.seen |= 1 << id;
        let (_, property) = Property::read(&mut self.reader)?;
        Ok(Some(property))
    }
}

/// Walks properties that were checked when they were decoded; ends at the first byte that is not
/// a property.
#[derive(Clone, Debug)]
pub struct Properties<'a> {
    reader: Reader<'a>,
}

impl<'a> Properties<'a> {
    /// `raw`: a property section without its length.
    #[must_use]
    pub fn new(raw: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(raw),
        }
    }

    /// The next property together with its encoded bytes.
    pub(crate) fn next_encoded(&mut self) -> Option<(Property<'a>, &'a [u8])> {
        let before = self.reader.rest();
        let (_, property) = Property::read(&mut self.reader).ok()?;
        let length = before.len() - self.reader.rest().len();
        Some((property, &before[..length]))
    }
}

impl<'a> Iterator for Properties<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        self.next_encoded().map(|(property, _)| property)
    }
}
