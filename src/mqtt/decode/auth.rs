//! AUTH, MQTT 5.0 section 3.15.

use super::super::error::DecodeError;
use super::super::frame::Frame;
use super::super::packet::{Auth, UserProperties};
use super::super::packet_type::{PacketType, Sender};
use super::super::primitives::Reader;
use super::super::property::{Place, Section};
use super::super::reason::ReasonCode;
use super::fields::Fields;
use super::reason_code;

pub(super) fn auth<'a>(sender: Sender, frame: &Frame<'a>) -> Result<Auth<'a>, DecodeError> {
    let mut reader = Reader::new(frame.body);
    if reader.is_empty() {
        // Section 3.15.2.1: reason Success and no properties, which a client does not send.
        return if ReasonCode::Success.is_listed(PacketType::Auth, sender) {
            Ok(Auth::default())
        } else {
            Err(DecodeError::Protocol(
                "AUTH 0x00 is for servers to send [MQTT-3.15.2-1]",
            ))
        };
    }
    let reason = reason_code(&mut reader, PacketType::Auth, sender)?;
    let section = Section::new(&mut reader, Place::Packet(PacketType::Auth))?;
    let mut auth = Auth {
        reason,
        user_properties: UserProperties {
            raw: section.rest(),
        },
        ..Auth::default()
    };
    auth.take_all(section)?;
    reader.finish()?;
    // Section 3.15.2.2.2.
    if auth.authentication_method.is_none() {
        return Err(DecodeError::Protocol("AUTH without authentication method"));
    }
    Ok(auth)
}
