//! CONNECT, section 3.1 of all three specifications.

use super::super::frame::Frame;
use super::super::packet::{
    Connect, ConnectProperties, PublishProperties, Qos, UserProperties, Version, Will, BRIDGE,
};
use super::super::packet_type::PacketType;
use super::super::primitives::Reader;
use super::super::property::{Place, Section};
use super::super::topic;
use super::super::violation::Violation;
use super::check_length;
use super::fields::{Fields, WillFields};
use super::publish::NO_PROPERTIES;

/// Decodes a CONNECT, which names its own version.
///
/// # Errors
/// [`Violation::ProtocolLevel`] for a known protocol name with another level; otherwise as
/// [`super::packet`].
pub fn connect<'a>(frame: &Frame<'a>) -> Result<Connect<'a>, Violation> {
    let mut reader = Reader::new(frame.body);
    let Level { version, is_bridge } = level(&mut reader)?;
    check_length(version, frame)?;
    // MQTT 3.1 says of these flags that they are not used.
    if frame.first & 0x0F != 0 && version != Version::V31 {
        return Err(Violation::WrongFlags);
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

/// Maximum Packet Size of a v5 CONNECT, even if what follows does not parse: the answer to it must not
/// be larger [MQTT-3.1.2-24].
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

/// The version, by protocol name and level.
struct Level {
    version: Version,
    is_bridge: bool,
}

fn level(reader: &mut Reader<'_>) -> Result<Level, Violation> {
    let name = reader.string()?;
    if name != "MQTT" && name != "MQIsdp" {
        return Err(Violation::ProtocolName);
    }
    let byte = reader.byte()?;
    let version = match (name, byte & !BRIDGE) {
        ("MQTT", 4) => Version::V311,
        ("MQTT", 5) if byte == 5 => Version::V5,
        ("MQIsdp", 3) => Version::V31,
        _ => return Err(Violation::ProtocolLevel { level: byte }),
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
    fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, Violation> {
        let byte = reader.byte()?;
        // MQTT 3.1 says of these bits that they are unused, not that they are 0.
        let strict = version != Version::V31;
        if strict && byte & 0b1 != 0 {
            return Err(Violation::ConnectFlagReserved);
        }
        let will_qos = (byte >> 3) & 0b11;
        let retain = byte & 0b10_0000 != 0;
        let will = if byte & 0b100 != 0 {
            let qos = Qos::from_bits(will_qos).ok_or(Violation::WillQos3)?;
            Some(WillFlags { qos, retain })
        } else if strict && (will_qos != 0 || retain) {
            return Err(Violation::WillFlagsAlone);
        } else {
            None
        };
        let user_name = byte & 0b1000_0000 != 0;
        let password = byte & 0b100_0000 != 0;
        if password && !user_name && !version.is_v5() {
            return Err(Violation::PasswordAlone);
        }
        Ok(Self {
            clean_start: byte & 0b10 != 0,
            will,
            user_name,
            password,
        })
    }
}

fn connect_properties<'a>(reader: &mut Reader<'a>) -> Result<ConnectProperties<'a>, Violation> {
    let section = Section::new(reader, Place::Packet(PacketType::Connect))?;
    let mut properties = ConnectProperties {
        user_properties: UserProperties {
            raw: section.rest(),
        },
        ..ConnectProperties::default()
    };
    properties.take_all(section)?;
    // Section 3.1.2.11.10.
    if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
        return Err(Violation::AuthenticationDataAlone);
    }
    Ok(properties)
}

/// The will delay and the properties of the publication that the will may become.
fn will_properties(mut section: Section<'_>) -> Result<(u32, PublishProperties<'_>), Violation> {
    let mut properties = PublishProperties {
        raw: section.rest(),
        raw_is_forwardable: true,
        ..PublishProperties::default()
    };
    let mut fields = WillFields::default();
    while let Some(property) = section.next_property()? {
        properties.raw_is_forwardable &= property.is_forwardable();
        fields.take(property);
    }
    properties.message_expiry_interval_s = fields.message_expiry_interval_s;
    Ok((fields.delay_interval_s.unwrap_or(0), properties))
}

fn will<'a>(
    reader: &mut Reader<'a>,
    version: Version,
    flags: WillFlags,
) -> Result<Will<'a>, Violation> {
    let (delay_interval_s, properties) = if version.is_v5() {
        will_properties(Section::new(reader, Place::Will)?)?
    } else {
        (0, NO_PROPERTIES)
    };
    let topic = reader.string()?;
    let payload = reader.binary()?;
    if !topic::is_valid_name(topic) {
        return Err(Violation::WillTopicInvalid);
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
