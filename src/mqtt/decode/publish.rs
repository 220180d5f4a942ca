//! PUBLISH, MQTT 5.0 section 3.3: the hot path of decoding.

use super::super::frame::Frame;
use super::super::packet::{Publish, PublishProperties, Qos, Version};
use super::super::packet_type::{PacketType, Sender};
use super::super::primitives::{checked_string, plain_text, Reader};
use super::super::property::{Place, Section};
use super::super::violation::Violation;
use super::check_length;
use super::fields::Fields;

/// Of a v3 packet, and of most v5 packets.
pub(super) const NO_PROPERTIES: PublishProperties<'static> = PublishProperties {
    topic_alias: None,
    message_expiry_interval_s: None,
    subscription_identifier: None,
    raw: &[],
    raw_is_forwardable: true,
};

/// Decodes a PUBLISH from either side. A server has to refuse one with a subscription identifier,
/// or calls [`publish_from`].
///
/// # Errors
/// As [`super::packet`].
#[inline]
pub fn publish<'a>(version: Version, frame: &Frame<'a>) -> Result<Publish<'a>, Violation> {
    check_length(version, frame)?;
    let mut reader = Reader::new(frame.body);
    let topic = topic_name(reader.binary()?)?;
    let qos = Qos::from_bits((frame.first >> 1) & 0b11).ok_or(Violation::Qos3)?;
    let packet_id = match qos {
        Qos::AtMostOnce => None,
        Qos::AtLeastOnce | Qos::ExactlyOnce => Some(reader.packet_id()?),
    };
    let properties = if version.is_v5() {
        publish_properties(&mut reader)?
    } else {
        NO_PROPERTIES
    };
    // Section 3.3.2.1; v3 has no aliases, so there an empty topic is never allowed.
    if topic.is_empty() && properties.topic_alias.is_none() {
        return Err(Violation::TopicMissing);
    }
    Ok(Publish {
        dup: frame.first & 0b1000 != 0,
        qos,
        retain: frame.first & 0b1 != 0,
        topic,
        packet_id,
        properties,
        payload: reader.rest(),
    })
}

/// [`publish`], refusing what `sender` may not send.
///
/// # Errors
/// As [`super::packet`].
#[inline]
pub fn publish_from<'a>(
    version: Version,
    sender: Sender,
    frame: &Frame<'a>,
) -> Result<Publish<'a>, Violation> {
    let publish = publish(version, frame)?;
    if sender == Sender::Client && publish.properties.subscription_identifier.is_some() {
        return Err(Violation::IdentifierFromClient);
    }
    Ok(publish)
}

/// The topic of a PUBLISH, of which nothing is checked but that it is text; `None` for other packets and
/// when a topic alias stands for it.
#[must_use]
pub fn topic_of_publish<'a>(frame: &Frame<'a>) -> Option<&'a str> {
    if frame.packet_type() != Some(PacketType::Publish) {
        return None;
    }
    let topic = Reader::new(frame.body).binary().ok()?;
    let topic = std::str::from_utf8(topic).ok()?;
    Some(topic).filter(|topic| !topic.is_empty())
}

/// Checks a topic name that may be empty (with an alias).
#[inline]
fn topic_name(bytes: &[u8]) -> Result<&str, Violation> {
    plain_text(bytes).map_or_else(|| any_topic_name(bytes), Ok)
}

#[cold]
fn any_topic_name(bytes: &[u8]) -> Result<&str, Violation> {
    let topic = checked_string(bytes)?;
    if topic.contains(['+', '#']) {
        return Err(Violation::TopicWithWildcard);
    }
    Ok(topic)
}

#[inline]
fn publish_properties<'a>(reader: &mut Reader<'a>) -> Result<PublishProperties<'a>, Violation> {
    let section = Section::new(reader, Place::Packet(PacketType::Publish))?;
    if section.rest().is_empty() {
        return Ok(NO_PROPERTIES);
    }
    application_properties(section)
}

/// Checks properties that were kept without their length: all of them may stand in a PUBLISH, and a server
/// passes all of them on.
pub fn forwardable_properties(raw: &[u8]) -> Result<(), Violation> {
    let mut section = Section::of(raw, Place::Packet(PacketType::Publish));
    while let Some(property) = section.next_property()? {
        if !property.is_forwardable() {
            return Err(Violation::PropertyMisplaced);
        }
    }
    Ok(())
}

fn application_properties(mut section: Section<'_>) -> Result<PublishProperties<'_>, Violation> {
    let mut properties = PublishProperties {
        raw: section.rest(),
        raw_is_forwardable: true,
        ..PublishProperties::default()
    };
    while let Some(property) = section.next_property()? {
        properties.raw_is_forwardable &= property.is_forwardable();
        properties.take(property);
    }
    Ok(properties)
}
