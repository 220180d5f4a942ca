//! Frames to packets. Everything decoded borrows from the frame; nothing is allocated but the box
//! of CONNECT and CONNACK.
//!
//! After an error the connection accepts no further bytes; the error's
//! [`reason`](super::Violation::reason) is the reason code that may be sent.

mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod fields;
mod publish;
mod suback;
mod subscribe;

pub use ack::ack;
pub use auth::auth;
pub use connect::{connect, connect_maximum_packet_size};
pub use disconnect::disconnect;
pub use publish::{forwardable_properties, publish, publish_from, topic_of_publish};
pub use subscribe::{subscribe, unsubscribe};

use super::frame::Frame;
use super::packet::{Packet, UserProperties, Version};
use super::packet_type::{PacketType, Sender};
use super::primitives::Reader;
use super::property::{Place, Section};
use super::reason::ReasonCode;
use super::violation::Violation;
use fields::Fields;

/// Decodes any packet that `sender` may send. `version` is the connection's; a CONNECT says its
/// own and is decoded by it (a second one is for the caller to refuse [MQTT-3.1.0-2]).
///
/// # Errors
/// The packet breaks a rule that can be seen without knowing the connection's state.
pub fn packet<'a>(
    version: Version,
    sender: Sender,
    frame: &Frame<'a>,
) -> Result<Packet<'a>, Violation> {
    check_length(version, frame)?;
    let packet_type = frame.packet_type().ok_or(Violation::PacketTypeReserved)?;
    if !may_send(version, sender, packet_type) {
        return Err(Violation::WrongDirection);
    }
    Ok(match packet_type {
        PacketType::Connect => Packet::Connect(Box::new(connect(frame)?)),
        PacketType::ConnAck => Packet::ConnAck(Box::new(connack::connack(version, frame)?)),
        PacketType::Publish => Packet::Publish(publish_from(version, sender, frame)?),
        PacketType::PubAck => Packet::PubAck(ack(version, frame)?),
        PacketType::PubRec => Packet::PubRec(ack(version, frame)?),
        PacketType::PubRel => Packet::PubRel(ack(version, frame)?),
        PacketType::PubComp => Packet::PubComp(ack(version, frame)?),
        PacketType::Subscribe => Packet::Subscribe(subscribe(version, frame)?),
        PacketType::SubAck => Packet::SubAck(suback::suback(version, frame)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(unsubscribe(version, frame)?),
        PacketType::UnsubAck => Packet::UnsubAck(suback::unsuback(version, frame)?),
        PacketType::PingReq => {
            ping(version, frame)?;
            Packet::PingReq
        }
        PacketType::PingResp => {
            ping(version, frame)?;
            Packet::PingResp
        }
        PacketType::Disconnect => Packet::Disconnect(disconnect(version, sender, frame)?),
        PacketType::Auth => Packet::Auth(auth(version, sender, frame)?),
    })
}

/// Decodes PINGREQ or PINGRESP, which have nothing in them.
///
/// # Errors
/// As [`packet`].
pub fn ping(version: Version, frame: &Frame<'_>) -> Result<(), Violation> {
    check_length(version, frame)?;
    Reader::new(frame.body).finish()
}

/// [MQTT-1.5.5-1]; 3.1 and 3.1.1 have no such rule.
#[inline]
fn check_length(version: Version, frame: &Frame<'_>) -> Result<(), Violation> {
    if frame.is_padded() && version.is_v5() {
        return Err(Violation::RemainingLengthPadded);
    }
    Ok(())
}

/// Directions of the control packets, table 2-1 of both specifications.
fn may_send(version: Version, sender: Sender, packet_type: PacketType) -> bool {
    let by_client = sender == Sender::Client;
    match packet_type {
        PacketType::Connect
        | PacketType::Subscribe
        | PacketType::Unsubscribe
        | PacketType::PingReq => by_client,
        PacketType::ConnAck | PacketType::SubAck | PacketType::UnsubAck | PacketType::PingResp => {
            !by_client
        }
        PacketType::Publish
        | PacketType::PubAck
        | PacketType::PubRec
        | PacketType::PubRel
        | PacketType::PubComp => true,
        PacketType::Disconnect => by_client || version.is_v5(),
        PacketType::Auth => version.is_v5(),
    }
}

/// DUP on PUBREL, SUBSCRIBE and UNSUBSCRIBE exists in MQTT 3.1 alone; later it is a reserved bit
/// that must be 0 [MQTT-2.1.3-1].
#[inline]
fn check_dup(version: Version, frame: &Frame<'_>) -> Result<(), Violation> {
    if frame.first & 0b1000 != 0 && version != Version::V31 {
        return Err(Violation::WrongFlags);
    }
    Ok(())
}

/// Reads a reason code and checks that it is listed for this packet. An unlisted code parses, but
/// is not allowed: a protocol error (definitions in section 1.2).
fn reason_code(
    reader: &mut Reader<'_>,
    packet_type: PacketType,
    sender: Sender,
) -> Result<ReasonCode, Violation> {
    ReasonCode::try_from(reader.byte()?)
        .ok()
        .filter(|reason| reason.is_listed(packet_type, sender))
        .ok_or(Violation::ReasonCodeNotListed)
}

/// Properties of the packets that have no others than these two.
#[derive(Default)]
struct ReasonProperties<'a> {
    reason_string: Option<&'a str>,
    user_properties: UserProperties<'a>,
}

impl<'a> ReasonProperties<'a> {
    fn read(reader: &mut Reader<'a>, packet_type: PacketType) -> Result<Self, Violation> {
        let section = Section::new(reader, Place::Packet(packet_type))?;
        let mut properties = Self {
            reason_string: None,
            user_properties: UserProperties {
                raw: section.rest(),
            },
        };
        properties.take_all(section)?;
        Ok(properties)
    }
}
