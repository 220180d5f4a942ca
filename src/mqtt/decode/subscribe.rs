//! SUBSCRIBE and UNSUBSCRIBE, MQTT 5.0 sections 3.8 and 3.10.
//!
//! A filter with a misplaced wildcard or a bad share name is let through: the answer is 0x8F for
//! that filter alone, which is the caller's to give (see [`super::super::topic::check_filter`]).

use super::super::error::DecodeError;
use super::super::frame::Frame;
use super::super::packet::{
    Subscribe, SubscribeFilters, SubscriptionOptions, Unsubscribe, UnsubscribeFilters,
    UserProperties, Version,
};
use super::super::packet_type::PacketType;
use super::super::primitives::Reader;
use super::super::property::{Place, Section};
use super::super::topic;
use super::check_dup;
use super::fields::{Fields, SubscribeFields, UnsubscribeFields};

pub(super) fn subscribe<'a>(
    version: Version,
    frame: &Frame<'a>,
) -> Result<Subscribe<'a>, DecodeError> {
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
            return Err(DecodeError::Protocol(
                "No Local on a shared subscription [MQTT-3.8.3-4]",
            ));
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

pub(super) fn unsubscribe<'a>(
    version: Version,
    frame: &Frame<'a>,
) -> Result<Unsubscribe<'a>, DecodeError> {
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
    rest: impl Fn(&str, &mut Reader<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    if reader.is_empty() {
        return Err(DecodeError::Protocol(
            "no topic filter [MQTT-3.8.3-2] [MQTT-3.10.3-2]",
        ));
    }
    while !reader.is_empty() {
        let filter = reader.string()?;
        if filter.is_empty() {
            return Err(DecodeError::Protocol(
                "topic filter is empty [MQTT-4.7.3-1]",
            ));
        }
        rest(filter, reader)?;
    }
    Ok(())
}
