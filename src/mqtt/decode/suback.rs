//! SUBACK and UNSUBACK, MQTT 5.0 sections 3.9 and 3.11.

use super::super::frame::Frame;
use super::super::packet::{SubAck, Version};
use super::super::packet_type::{PacketType, Sender};
use super::super::primitives::Reader;
use super::super::reason::ReasonCode;
use super::super::violation::Violation;
use super::ReasonProperties;

pub(super) fn suback<'a>(version: Version, frame: &Frame<'a>) -> Result<SubAck<'a>, Violation> {
    let suback = read(version, frame, PacketType::SubAck)?;
    let listed = |&code: &u8| {
        if version.is_v5() {
            is_listed(code, PacketType::SubAck)
        } else {
            // 3.1.1 [MQTT-3.9.3-2]
            matches!(code, 0 | 1 | 2 | 0x80)
        }
    };
    check_codes(suback.codes, listed)?;
    Ok(suback)
}

pub(super) fn unsuback<'a>(version: Version, frame: &Frame<'a>) -> Result<SubAck<'a>, Violation> {
    let unsuback = read(version, frame, PacketType::UnsubAck)?;
    if version.is_v5() {
        check_codes(unsuback.codes, |&code| {
            is_listed(code, PacketType::UnsubAck)
        })?;
    } else if !unsuback.codes.is_empty() {
        return Err(Violation::UnsubAckPayload);
    }
    Ok(unsuback)
}

fn read<'a>(
    version: Version,
    frame: &Frame<'a>,
    packet_type: PacketType,
) -> Result<SubAck<'a>, Violation> {
    let mut reader = Reader::new(frame.body);
    let packet_id = reader.packet_id()?;
    let properties = if version.is_v5() {
        ReasonProperties::read(&mut reader, packet_type)?
    } else {
        ReasonProperties::default()
    };
    Ok(SubAck {
        packet_id,
        reason_string: properties.reason_string,
        user_properties: properties.user_properties,
        codes: reader.rest(),
    })
}

fn is_listed(code: u8, packet_type: PacketType) -> bool {
    ReasonCode::try_from(code).is_ok_and(|reason| reason.is_listed(packet_type, Sender::Server))
}

/// One code for each filter, and there is at least one filter [MQTT-3.8.3-2] [MQTT-3.10.3-2].
fn check_codes(codes: &[u8], is_listed: impl Fn(&u8) -> bool) -> Result<(), Violation> {
    if codes.is_empty() {
        return Err(Violation::AckWithoutCodes);
    }
    if codes.iter().all(is_listed) {
        Ok(())
    } else {
        Err(Violation::ReasonCodeNotListed)
    }
}
