//! CONNACK, MQTT 5.0 section 3.2.

use super::super::error::DecodeError;
use super::super::frame::Frame;
use super::super::packet::{ConnAck, ConnAckProperties, UserProperties, Version};
use super::super::packet_type::{PacketType, Sender};
use super::super::primitives::Reader;
use super::super::property::{Place, Property, Section};
use super::super::reason::ReasonCode;
use super::reason_code;

pub(super) fn connack<'a>(version: Version, frame: &Frame<'a>) -> Result<ConnAck<'a>, DecodeError> {
    let mut reader = Reader::new(frame.body);
    let session_present = session_present(version, reader.byte()?)?;
    let (reason, properties) = if version.is_v5() {
        let reason = reason_code(&mut reader, PacketType::ConnAck, Sender::Server)?;
        (reason, connack_properties(&mut reader)?)
    } else {
        let reason = ReasonCode::from_connect_return_code(reader.byte()?)
            .ok_or(DecodeError::Protocol("CONNACK with a reserved return code"))?;
        (reason, ConnAckProperties::default())
    };
    reader.finish()?;
    if session_present && reason != ReasonCode::Success {
        return Err(DecodeError::Protocol(
            "session present in a refusal [MQTT-3.2.2-6]",
        ));
    }
    Ok(ConnAck {
        session_present,
        reason,
        properties,
    })
}

fn session_present(version: Version, flags: u8) -> Result<bool, DecodeError> {
    // MQTT 3.1 has no flags here; its byte is unused.
    match flags {
        _ if version == Version::V31 => Ok(false),
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Malformed(
            "reserved CONNACK flags are set [MQTT-3.2.2-1]",
        )),
    }
}

fn connack_properties<'a>(reader: &mut Reader<'a>) -> Result<ConnAckProperties<'a>, DecodeError> {
    let mut section = Section::new(reader, Place::Packet(PacketType::ConnAck))?;
    let mut properties = ConnAckProperties {
        user_properties: UserProperties {
            raw: section.rest(),
        },
        ..ConnAckProperties::default()
    };
    let p = &mut properties;
    while let Some(property) = section.next_property()? {
        match property {
            Property::SessionExpiryInterval(v) => p.session_expiry_interval_s = Some(v),
            Property::ReceiveMaximum(v) => p.receive_maximum = Some(v),
            Property::MaximumQos(v) => p.maximum_qos = Some(v),
            Property::RetainAvailable(v) => p.retain_available = Some(v),
            Property::MaximumPacketSize(v) => p.maximum_packet_size = Some(v),
            Property::AssignedClientIdentifier(v) => p.assigned_client_identifier = Some(v),
            Property::TopicAliasMaximum(v) => p.topic_alias_maximum = Some(v),
            Property::ReasonString(v) => p.reason_string = Some(v),
            Property::WildcardSubscriptionAvailable(v) => {
                p.wildcard_subscription_available = Some(v);
            }
            Property::SubscriptionIdentifierAvailable(v) => {
                p.subscription_identifiers_available = Some(v);
            }
            Property::SharedSubscriptionAvailable(v) => p.shared_subscription_available = Some(v),
            Property::ServerKeepAlive(v) => p.server_keep_alive_s = Some(v),
            Property::ResponseInformation(v) => p.response_information = Some(v),
            Property::ServerReference(v) => p.server_reference = Some(v),
            Property::AuthenticationMethod(v) => p.authentication_method = Some(v),
            Property::AuthenticationData(v) => p.authentication_data = Some(v),
            _ => {}
        }
    }
    Ok(properties)
}
