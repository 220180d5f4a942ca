//! CONNECT, section 3.1 of all three specifications.

use super::super::error::DecodeError;
use super::super::frame::{Frame, PacketType};
use super::super::packet::{
    Connect, ConnectProperties, Qos, UserProperties, Version, Will, BRIDGE,
};
use super::super::primitives::Reader;
use super::super::property::{Place, Property, Section};
use super::super::reason::ReasonCode;
use super::super::topic;
use super::check_length;
use super::publish::{application_properties, NO_PROPERTIES};

/// Decodes a CONNECT, which names its own version.
///
/// # Errors
/// [`DecodeError::UnsupportedVersion`] for a known protocol name with another level; otherwise as
/// [`super::packet`].
pub fn connect<'a>(frame: &Frame<'a>) -> Result<Connect<'a>, DecodeError> {
    let mut reader = Reader::new(frame.body);
    let Level { version, is_bridge } = level(&mut reader)?;
    check_length(version, frame)?;
    // MQTT 3.1 says of these flags that they are not used.
    if frame.first & 0x0F != 0 && version != Version::V31 {
        return Err(DecodeError::Malformed(
            "wrong flags in the fixed header of CONNECT [MQTT-2.1.3-1]",
        ));
    }
    let flags = ConnectFlags::read(&mut reader, version)?;
    let keep_alive_s = reader.two_bytes()?;
    let properties = if version.is_v5() {
        connect_properties(&mut reader)?
    } else {
        ConnectProperties::default()
    };
    // Payload in the order of [MQTT-3.1.3-1].
    let client_id = reader.string()?;
    let will = match flags.will {
        Some(flags) => Some(will(&mut reader, version, flags)?),
        None => None,
    };
    let user_name = if flags.user_name && !is_left_out(&reader, version) {
        Some(reader.string()?)
    } else {
        None
    };
    let password = if flags.password && !is_left_out(&reader, version) {
        Some(reader.binary()?)
    } else {
        None
    };
    reader.finish()?;
    Ok(Connect {
        version,
        is_bridge,
        clean_start: flags.clean_start,
        keep_alive_s,
        client_id,
        will,
        user_name,
        password,
        properties,
    })
}

/// What a v5 CONNECT says about the packets its client takes, even if what follows does not parse:
/// the answer to it must not be larger [MQTT-3.1.2-24].
pub fn connect_maximum_packet_size(body: &[u8]) -> Option<u32> {
    let mut reader = Reader::new(body);
    if !level(&mut reader).ok()?.version.is_v5() {
        return None;
    }
    reader.byte().ok()?; // connect flags
    reader.two_bytes().ok()?; // keep alive
    connect_properties(&mut reader).ok()?.maximum_packet_size
}

/// In MQTT 3.1 the remaining length takes precedence over the user name and password flags: a
/// flag may be set and its field missing at the packet's end (3.1, section 3.1).
fn is_left_out(reader: &Reader<'_>, version: Version) -> bool {
    version == Version::V31 && reader.is_empty()
}

/// What protocol name and level say.
struct Level {
    version: Version,
    is_bridge: bool,
}

fn level(reader: &mut Reader<'_>) -> Result<Level, DecodeError> {
    let name = reader.string()?;
    if name != "MQTT" && name != "MQIsdp" {
        return Err(DecodeError::Refused(
            ReasonCode::UnsupportedProtocolVersion,
            "protocol name is not MQTT [MQTT-3.1.2-1]",
        ));
    }
    let byte = reader.byte()?;
    let version = match (name, byte & !BRIDGE) {
        ("MQTT", 4) => Version::V311,
        ("MQTT", 5) if byte == 5 => Version::V5,
        ("MQIsdp", 3) => Version::V31,
        _ => return Err(DecodeError::UnsupportedVersion(byte)),
    };
    Ok(Level {
        version,
        is_bridge: byte & BRIDGE != 0,
    })
}

struct ConnectFlags {
    clean_start: bool,
    will: Option<WillFlags>,
    user_name: bool,
    password: bool,
}

#[derive(Clone, Copy)]
struct WillFlags {
    qos: Qos,
    retain: bool,
}

impl ConnectFlags {
    fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let byte = reader.byte()?;
        // MQTT 3.1 says of these bits that they are unused, not that they are 0.
        let strict = version != Version::V31;
        if strict && byte & 0b1 != 0 {
            return Err(DecodeError::Malformed(
                "reserved connect flag is set [MQTT-3.1.2-3]",
            ));
        }
        let will_qos = (byte >> 3) & 0b11;
        let retain = byte & 0b10_0000 != 0;
        let will = if byte & 0b100 != 0 {
            let qos = Qos::from_bits(will_qos)
                .ok_or(DecodeError::Malformed("will QoS 3 [MQTT-3.1.2-12]"))?;
            Some(WillFlags { qos, retain })
        } else if strict && (will_qos != 0 || retain) {
            return Err(DecodeError::Malformed(
                "will QoS or will retain without a will [MQTT-3.1.2-11] [MQTT-3.1.2-13]",
            ));
        } else {
            None
        };
        let user_name = byte & 0b1000_0000 != 0;
        let password = byte & 0b100_0000 != 0;
        if password && !user_name && !version.is_v5() {
            return Err(DecodeError::Malformed(
                "password without user name (3.1.1 [MQTT-3.1.2-22])",
            ));
        }
        Ok(Self {
            clean_start: byte & 0b10 != 0,
            will,
            user_name,
            password,
        })
    }
}

fn connect_properties<'a>(reader: &mut Reader<'a>) -> Result<ConnectProperties<'a>, DecodeError> {
    let mut section = Section::new(reader, Place::Packet(PacketType::Connect))?;
    let mut properties = ConnectProperties {
        user_properties: UserProperties {
            raw: section.rest(),
        },
        ..ConnectProperties::default()
    };
    let p = &mut properties;
    while let Some(property) = section.next_property()? {
        match property {
            Property::SessionExpiryInterval(v) => p.session_expiry_interval_s = Some(v),
            Property::ReceiveMaximum(v) => p.receive_maximum = Some(v),
            Property::MaximumPacketSize(v) => p.maximum_packet_size = Some(v),
            Property::TopicAliasMaximum(v) => p.topic_alias_maximum = Some(v),
            Property::RequestResponseInformation(v) => p.request_response_information = Some(v),
            Property::RequestProblemInformation(v) => p.request_problem_information = Some(v),
            Property::AuthenticationMethod(v) => p.authentication_method = Some(v),
            Property::AuthenticationData(v) => p.authentication_data = Some(v),
            _ => {}
        }
    }
    // Section 3.1.2.11.10.
    if p.authentication_data.is_some() && p.authentication_method.is_none() {
        return Err(DecodeError::Protocol(
            "authentication data without authentication method",
        ));
    }
    Ok(properties)
}

fn will<'a>(
    reader: &mut Reader<'a>,
    version: Version,
    flags: WillFlags,
) -> Result<Will<'a>, DecodeError> {
    let (delay_interval_s, properties) = if version.is_v5() {
        let section = Section::new(reader, Place::Will)?;
        application_properties(section)?
    } else {
        (0, NO_PROPERTIES)
    };
    let topic = reader.string()?;
    let payload = reader.binary()?;
    if !topic::is_valid_name(topic) {
        return Err(DecodeError::Refused(
            ReasonCode::TopicNameInvalid,
            "will topic is empty or has a wildcard [MQTT-4.7.0-1] [MQTT-4.7.3-1]",
        ));
    }
    Ok(Will {
        topic,
        payload,
        qos: flags.qos,
        retain: flags.retain,
        delay_interval_s,
        properties,
    })
}
