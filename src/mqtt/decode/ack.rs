//! PUBACK, PUBREC, PUBREL and PUBCOMP, MQTT 5.0 sections 3.4 to 3.7.

use super::super::frame::Frame;
use super::super::packet::{Ack, UserProperties, Version};
use super::super::packet_type::{PacketType, Sender};
use super::super::primitives::Reader;
use super::super::reason::ReasonCode;
use super::super::violation::Violation;
use super::{check_dup, check_length, reason_code, ReasonProperties};

/// Decodes the four acknowledgements of publications; the frame's first byte says which it is.
///
/// # Errors
/// As [`super::packet`].
#[inline]
pub fn ack<'a>(version: Version, frame: &Frame<'a>) -> Result<Ack<'a>, Violation> {
    check_length(version, frame)?;
    check_dup(version, frame)?;
    let mut reader = Reader::new(frame.body);
    let packet_id = reader.packet_id()?;
    if version.is_v5() && !reader.is_empty() {
        return long_ack(frame, packet_id, reader);
    }
    reader.finish()?;
    Ok(Ack {
        packet_id,
        reason: ReasonCode::Success,
        reason_string: None,
        user_properties: UserProperties::default(),
    })
}

fn long_ack<'a>(
    frame: &Frame<'a>,
    packet_id: super::super::packet::PacketId,
    mut reader: Reader<'a>,
) -> Result<Ack<'a>, Violation> {
    let packet_type = frame.packet_type().ok_or(Violation::PacketTypeReserved)?;
    debug_assert!(matches!(
        packet_type,
        PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp
    ));
    // The codes are the same for both senders.
    let reason = reason_code(&mut reader, packet_type, Sender::Client)?;
    // Section 3.4.2.2.1: a remaining length below 4 means there is no property length.
    let properties = if reader.is_empty() {
        ReasonProperties::default()
    } else {
        ReasonProperties::read(&mut reader, packet_type)?
    };
    reader.finish()?;
    Ok(Ack {
        packet_id,
        reason,
        reason_string: properties.reason_string,
        user_properties: properties.user_properties,
    })
}
