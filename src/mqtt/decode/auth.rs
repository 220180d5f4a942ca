//! AUTH, MQTT 5.0 section 3.15.

use super::super::frame::Frame;
use super::super::packet::{Auth, UserProperties, Version};
use super::super::packet_type::{PacketType, Sender};
use super::super::primitives::Reader;
use super::super::property::{Place, Section};
use super::super::reason::ReasonCode;
use super::super::violation::Violation;
use super::fields::Fields;
use super::{check_length, reason_code};

/// Decodes AUTH.
///
/// # Errors
/// As [`super::packet`].
pub fn auth<'a>(
    version: Version,
    sender: Sender,
    frame: &Frame<'a>,
) -> Result<Auth<'a>, Violation> {
    check_length(version, frame)?;
    let mut reader = Reader::new(frame.body);
    if reader.is_empty() {
        // Section 3.15.2.1: reason Success and no properties, which a client does not send.
        return if ReasonCode::Success.is_listed(PacketType::Auth, sender) {
            Ok(Auth::default())
        } else {
            Err(Violation::AuthSuccess)
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
        return Err(Violation::AuthWithoutMethod);
    }
    Ok(auth)
}
