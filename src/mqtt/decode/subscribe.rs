//! SUBSCRIBE and UNSUBSCRIBE, MQTT 5.0 sections 3.8 and 3.10.
//!
//! A filter with a misplaced wildcard or a bad share name is let through: the answer is 0x8F for
//! that filter alone, which is the caller's to give (see [`super::super::topic::check_filter`]).

use super::super::frame::Frame;
use super::super::packet::{
    Subscribe, SubscribeFilters, SubscriptionOptions, Unsubscribe, UnsubscribeFilters,
    UserProperties, Version,
};
use super::super::packet_type::PacketType;
use super::super::primitives::Reader;
use super::super::property::{Place, Section};
use super::super::topic;
use super::super::violation::Violation;
use super::fields::{Fields, SubscribeFields, UnsubscribeFields};
use super::{check_dup, check_length};

/// Decodes SUBSCRIBE.
///
/// # Errors
/// As [`super::packet`].
pub fn subscribe<'a>(version: Version, frame: &Frame<'a>) -> Result<Subscribe<'a>, Violation> {
    check_length(version, frame)?;
    check_dup(version, frame)?;
    let mut reader = Reader::new(frame.body);
    let packet_id = reader.packet_id()?;
    let mut fields = SubscribeFields::default();
    let mut user_properties = UserProperties::default();
    if version.is_v5() {
        let section = Section::new(&mut reader, Place::Packet(PacketType::Subscribe))?;
        user_properties.raw = section.rest();
        fields.take_all(section)?;
    }
    let filters = SubscribeFilters {
        raw: reader.rest(),
        version,
    };
    check_filters(&mut reader, |filter, reader| {
        let options = SubscriptionOptions::from_byte(reader.byte()?, version)?;
        if options.no_local && topic::is_shared(filter) {
            return Err(Violation::NoLocalShared);
        }
        Ok(())
    })?;
    Ok(Subscribe {
        packet_id,
        subscription_identifier: fields.subscription_identifier,
        user_properties,
        filters,
    })
}

/// Decodes UNSUBSCRIBE.
///
/// # Errors
/// As [`super::packet`].
pub fn unsubscribe<'a>(version: Version, frame: &Frame<'a>) -> Result<Unsubscribe<'a>, Violation> {
    check_length(version, frame)?;
    check_dup(version, frame)?;
    let mut reader = Reader::new(frame.body);
    let packet_id = reader.packet_id()?;
    let mut user_properties = UserProperties::default();
    if version.is_v5() {
        let section = Section::new(&mut reader, Place::Packet(PacketType::Unsubscribe))?;
        user_properties.raw = section.rest();
        UnsubscribeFields.take_all(section)?;
    }
    let filters = UnsubscribeFilters { raw: reader.rest() };
    check_filters(&mut reader, |_, _| Ok(()))?;
    Ok(Unsubscribe {
        packet_id,
        user_properties,
        filters,
    })
}

/// Reads filters up to the packet's end; `rest` reads what follows each of them.
fn check_filters<'a>(
    reader: &mut Reader<'a>,
    rest: impl Fn(&str, &mut Reader<'a>) -> Result<(), Violation>,
) -> Result<(), Violation> {
    if reader.is_empty() {
        return Err(Violation::FiltersMissing);
    }
    while !reader.is_empty() {
        let filter = reader.string()?;
        if filter.is_empty() {
            return Err(Violation::FilterEmpty);
        }
        rest(filter, reader)?;
    }
    Ok(())
}
