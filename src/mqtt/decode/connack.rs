//! CONNACK, MQTT 5.0 section 3.2.

use super::super::frame::Frame;
use super::super::packet::{ConnAck, ConnAckProperties, UserProperties, Version};
use super::super::packet_type::{PacketType, Sender};
use super::super::primitives::Reader;
use super::super::property::{Place, Section};
use super::super::reason::ReasonCode;
use super::super::violation::Violation;
use super::fields::Fields;
use super::reason_code;

pub(super) fn connack<'a>(version: Version, frame: &Frame<'a>) -> Result<ConnAck<'a>, Violation> {
    let mut reader = Reader::new(frame.body);
    let session_present = session_present(version, reader.byte()?)?;
    let (reason, properties) = if version.is_v5() {
        let reason = reason_code(&mut reader, PacketType::ConnAck, Sender::Server)?;
        (reason, connack_properties(&mut reader)?)
    } else {
        let reason = ReasonCode::from_connect_return_code(reader.byte()?)
            .ok_or(Violation::ConnAckReturnCode)?;
        (reason, ConnAckProperties::default())
    };
    reader.finish()?;
    if session_present && reason != ReasonCode::Success {
        return Err(Violation::ConnAckSessionPresent);
    }
    Ok(ConnAck {
        session_present,
        reason,
        properties,
    })
}

fn session_present(version: Version, flags: u8) -> Result<bool, Violation> {
    // MQTT 3.1 has no flags here; its byte is unused.
    match flags {
        _ if version == Version::V31 => Ok(false),
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Violation::ConnAckFlags),
    }
}

fn connack_properties<'a>(reader: &mut Reader<'a>) -> Result<ConnAckProperties<'a>, Violation> {
    let section = Section::new(reader, Place::Packet(PacketType::ConnAck))?;
    let mut properties = ConnAckProperties {
        user_properties: UserProperties {
            raw: section.rest(),
        },
        ..ConnAckProperties::default()
    };
    properties.take_all(section)?;
    Ok(properties)
}
