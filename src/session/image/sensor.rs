//! Serial form of what a client of MQTT-SN has left with its session.

use std::rc::Rc;

use super::attributes::{put_will, take_will};
use super::delivery::decode_topic;
use crate::image::{ImageError, Reader, Writer};
use crate::session::{SensorState, StoredWill};

pub(super) fn put_sensor(out: &mut Writer<'_>, sensor: &SensorState) {
    out.list(sensor.ids().iter(), |out, (id, name)| {
        put_topic_id(out, *id, name);
    });
    out.list(sensor.predefined().iter().copied(), Writer::short);
    put_kept_will(out, sensor.will());
}

pub(super) fn take_sensor(it: &mut Reader<'_>) -> Result<SensorState, ImageError> {
    let ids = it.list(4, take_topic_id)?;
    let predefined = it.list(2, Reader::short)?;
    let will = take_kept_will(it)?;
    SensorState::of(ids, predefined, will).ok_or(ImageError::invalid("topic ids"))
}

pub(super) fn put_topic_id(out: &mut Writer<'_>, id: u16, name: &str) {
    out.short(id);
    out.text(name);
}

pub(super) fn take_topic_id(it: &mut Reader<'_>) -> Result<(u16, Rc<str>), ImageError> {
    let id = it.short()?;
    // Two are reserved, section 5.3.11.
    if id == 0 || id == u16::MAX {
        return Err(ImageError::invalid("a topic id"));
    }
    Ok((id, decode_topic(it)?))
}

pub(super) fn put_kept_will(out: &mut Writer<'_>, will: Option<&Rc<StoredWill>>) {
    out.option(will, |out, will| put_will(out, will));
}

pub(super) fn take_kept_will(it: &mut Reader<'_>) -> Result<Option<Rc<StoredWill>>, ImageError> {
    Ok(it.option(take_will)?.map(Rc::new))
}
