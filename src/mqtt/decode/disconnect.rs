//! DISCONNECT, MQTT 5.0 section 3.14.

use super::super::frame::Frame;
use super::super::packet::{Disconnect, UserProperties, Version};
use super::super::packet_type::{PacketType, Sender};
use super::super::primitives::Reader;
use super::super::property::{Place, Section};
use super::super::violation::Violation;
use super::fields::Fields;
use super::{check_length, reason_code};

/// Decodes DISCONNECT.
///
/// # Errors
/// As [`super::packet`].
pub fn disconnect<'a>(
    version: Version,
    sender: Sender,
    frame: &Frame<'a>,
) -> Result<Disconnect<'a>, Violation> {
    check_length(version, frame)?;
    let mut reader = Reader::new(frame.body);
    let mut disconnect = Disconnect::default();
    if version.is_v5() && !reader.is_empty() {
        disconnect.reason = reason_code(&mut reader, PacketType::Disconnect, sender)?;
        // Section 3.14.2.2.1: a remaining length below 2 means there is no property length.
        if !reader.is_empty() {
            properties(&mut reader, sender, &mut disconnect)?;
        }
    }
    reader.finish()?;
    Ok(disconnect)
}

fn properties<'a>(
    reader: &mut Reader<'a>,
    sender: Sender,
    disconnect: &mut Disconnect<'a>,
) -> Result<(), Violation> {
    let section = Section::new(reader, Place::Packet(PacketType::Disconnect))?;
    disconnect.user_properties = UserProperties {
        raw: section.rest(),
    };
    disconnect.take_all(section)?;
    if sender == Sender::Server && disconnect.session_expiry_interval_s.is_some() {
        return Err(Violation::ExpiryFromServer);
    }
    Ok(())
}
