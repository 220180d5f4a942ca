//! Image of a publication on its way to one client.

use std::rc::Rc;

use bytes::Bytes;

use super::take_filter;
use crate::image::{ImageError, Reader, Writer};
use crate::mqtt::{decode, topic, KeptAt, Publication, Qos};
use crate::session::{Delivery, Subscriptions};
use crate::time::{Clocks, WallTime};

/// Largest subscription identifier, MQTT 5.0 section 3.8.2.1.2.
const IDENTIFIER_MAX: u32 = 268_435_455;

/// A [`Delivery`] and the publication in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryImage {
    pub topic: Rc<str>,
    pub payload: Bytes,
    pub properties: Bytes,
    pub published_qos: Qos,
    pub published_retain: bool,
    pub expires_at: Option<WallTime>,
    pub qos: Qos,
    pub retain: bool,
    pub identifiers: Vec<u32>,
    /// `$share/{name}/{filter}` when it came by a shared subscription.
    pub shared: Option<Rc<str>>,
}

impl DeliveryImage {
    /// Bytes of the smallest.
    pub(super) const LEAST: usize = 7;

    pub(super) fn of(delivery: &Delivery, clocks: Clocks) -> Self {
        let publication = &*delivery.publication;
        Self {
            topic: Rc::clone(&publication.topic),
            payload: publication.payload.clone(),
            properties: publication.properties.clone(),
            published_qos: publication.qos,
            published_retain: publication.retain,
            expires_at: publication.expires_at.map(|at| clocks.to_wall(at)),
            qos: delivery.qos,
            retain: delivery.retain,
            identifiers: delivery.identifiers().to_vec(),
            shared: delivery.shared.clone(),
        }
    }

    /// `held`: the session's subscriptions, whose texts it shares.
    pub(super) fn restore(self, held: &Subscriptions, clocks: Clocks) -> Delivery {
        let shared = self.shared.map(|name| {
            let known = held.get_key_value(&name);
            known.map_or(name, |(filter, _)| Rc::clone(filter))
        });
        Delivery {
            publication: Rc::new(Publication {
                topic: self.topic,
                payload: self.payload,
                properties: self.properties,
                qos: self.published_qos,
                retain: self.published_retain,
                expires_at: self.expires_at.map(|at| clocks.to_time(at)),
                kept_at: KeptAt::default(),
            }),
            qos: self.qos,
            retain: self.retain,
            identifiers: (!self.identifiers.is_empty()).then(|| self.identifiers.into()),
            shared,
        }
    }

    pub(super) fn put(&self, out: &mut Writer<'_>) {
        out.byte(
            self.qos as u8
                | (self.published_qos as u8) << 2
                | u8::from(self.retain) << 4
                | u8::from(self.published_retain) << 5,
        );
        out.text(&self.topic);
        out.bytes(&self.payload);
        out.bytes(&self.properties);
        out.option(self.expires_at, Writer::time);
        out.list(self.identifiers.iter().copied(), Writer::number);
        out.option(self.shared.as_deref(), Writer::text);
    }

    pub(super) fn take(it: &mut Reader<'_>) -> Result<Self, ImageError> {
        let flags = it.byte()?;
        let invalid = ImageError::invalid("flags of a message");
        if flags >> 6 != 0 {
            return Err(invalid);
        }
        Ok(Self {
            qos: qos_of(flags & 3).ok_or(invalid)?,
            published_qos: qos_of(flags >> 2 & 3).ok_or(invalid)?,
            retain: flags & 1 << 4 != 0,
            published_retain: flags & 1 << 5 != 0,
            topic: decode_topic(it)?,
            payload: decode_payload(it)?,
            properties: decode_properties(it)?,
            expires_at: it.option(Reader::time)?,
            identifiers: it.list(4, |it| check_identifier(it.number()?))?,
            shared: it.option(take_filter)?,
        })
    }
}

pub(super) fn qos_of(byte: u8) -> Option<Qos> {
    match byte {
        0 => Some(Qos::AtMostOnce),
        1 => Some(Qos::AtLeastOnce),
        2 => Some(Qos::ExactlyOnce),
        _ => None,
    }
}

pub(super) fn put_qos(out: &mut Writer<'_>, qos: Qos) {
    out.byte(qos as u8);
}

pub(super) fn take_qos(it: &mut Reader<'_>) -> Result<Qos, ImageError> {
    qos_of(it.byte()?).ok_or(ImageError::invalid("a QoS"))
}

/// A subscription identifier as a client may give it.
pub(super) fn check_identifier(identifier: u32) -> Result<u32, ImageError> {
    let is_valid = (1..=IDENTIFIER_MAX).contains(&identifier);
    let invalid = ImageError::invalid("a subscription identifier");
    is_valid.then_some(identifier).ok_or(invalid)
}

pub(super) fn decode_topic(it: &mut Reader<'_>) -> Result<Rc<str>, ImageError> {
    const WHAT: &str = "a topic";
    let topic = it.text(WHAT)?;
    let is_valid = topic::is_valid_name(topic);
    is_valid
        .then(|| topic.into())
        .ok_or(ImageError::invalid(WHAT))
}

/// Copied: a message that waits for long must not keep the whole image.
pub(super) fn decode_payload(it: &mut Reader<'_>) -> Result<Bytes, ImageError> {
    it.bytes().map(Bytes::copy_from_slice)
}

/// Properties go out as they are, so they must be what a publisher may send.
pub(super) fn decode_properties(it: &mut Reader<'_>) -> Result<Bytes, ImageError> {
    let properties = it.bytes()?;
    let checked = decode::forwardable_properties(properties);
    checked.map_err(|_| ImageError::invalid("properties of a message"))?;
    Ok(Bytes::copy_from_slice(properties))
}
