//! Serial form of one change of a session. Publications are named by numbers.

use std::rc::Rc;

use super::delivery::{check_identifier, qos_of};
use super::sensor::{put_kept_will, put_topic_id, take_kept_will, take_topic_id};
use super::stored::{put_stored, take_stored};
use super::{put_subscription, take_filter, take_subscription};
use crate::image::{ImageError, Reader, Writer};
use crate::mqtt::{PacketId, Publication, Qos};
use crate::session::{Change, Delivery};

const UNKNOWN: ImageError = ImageError::invalid("the number of a message");

/// Appends the serial form; `number_of` names a publication.
pub fn put_change(
    out: &mut Writer<'_>,
    change: &Change,
    number_of: &mut dyn FnMut(&Rc<Publication>) -> u32,
) {
    match change {
        Change::Queued(delivery) => {
            out.byte(0);
            put_delivery(out, delivery, number_of(&delivery.publication));
        }
        Change::QueuedStored(stored) => {
            out.byte(12);
            put_stored(out, stored);
        }
        Change::Moved(index, publication) => {
            out.byte(13);
            out.number(*index);
            out.number(number_of(publication));
        }
        Change::MovedSent(id, publication) => {
            put_id(out, 14, *id);
            out.number(number_of(publication));
        }
        Change::Unqueued => out.byte(1),
        Change::SentOldest => out.byte(2),
        Change::Sent(delivery) => {
            out.byte(3);
            put_delivery(out, delivery, number_of(&delivery.publication));
        }
        Change::Finished(id) => put_id(out, 4, *id),
        Change::Released(id) => put_id(out, 5, *id),
        Change::HandedOn(name) => {
            out.byte(6);
            out.text(name);
        }
        Change::Received(id) => put_id(out, 7, *id),
        Change::ReceivedReleased(id) => put_id(out, 8, *id),
        Change::Subscribed(filter, record) => {
            out.byte(9);
            put_subscription(out, &(Rc::clone(filter), *record));
        }
        Change::Unsubscribed(filter) => {
            out.byte(10);
            out.text(filter);
        }
        Change::SentRetained(filter) => {
            out.byte(11);
            out.text(filter);
        }
        Change::TopicId(id, name) => {
            out.byte(15);
            put_topic_id(out, *id, name);
        }
        Change::PredefinedId(id) => {
            out.byte(16);
            out.short(*id);
        }
        Change::KeptWill(will) => {
            out.byte(17);
            put_kept_will(out, will.as_ref());
        }
    }
}

/// `publication` finds one by its number.
///
/// # Errors
/// The bytes are cut or garbled, or name a publication that is not known.
pub fn take_change(
    it: &mut Reader<'_>,
    publication: &dyn Fn(u32) -> Option<Rc<Publication>>,
) -> Result<Change, ImageError> {
    Ok(match it.byte()? {
        0 => Change::Queued(take_delivery(it, publication)?),
        1 => Change::Unqueued,
        2 => Change::SentOldest,
        3 => {
            let delivery = take_delivery(it, publication)?;
            if delivery.qos == Qos::AtMostOnce {
                return Err(ImageError::invalid("a QoS in flight"));
            }
            Change::Sent(delivery)
        }
        4 => Change::Finished(take_id(it)?),
        5 => Change::Released(take_id(it)?),
        6 => Change::HandedOn(take_filter(it)?),
        7 => Change::Received(take_id(it)?),
        8 => Change::ReceivedReleased(take_id(it)?),
        9 => {
            let (filter, record) = take_subscription(it)?;
            Change::Subscribed(filter, record)
        }
        10 => Change::Unsubscribed(take_filter(it)?),
        11 => Change::SentRetained(take_filter(it)?),
        12 => Change::QueuedStored(take_stored(it)?),
        13 => Change::Moved(it.number()?, publication(it.number()?).ok_or(UNKNOWN)?),
        14 => Change::MovedSent(take_id(it)?, publication(it.number()?).ok_or(UNKNOWN)?),
        15 => {
            let (id, name) = take_topic_id(it)?;
            Change::TopicId(id, name)
        }
        16 => Change::PredefinedId(it.short()?),
        17 => Change::KeptWill(take_kept_will(it)?),
        _ => return Err(ImageError::invalid("a change")),
    })
}

fn put_id(out: &mut Writer<'_>, kind: u8, id: PacketId) {
    out.byte(kind);
    out.short(id.get());
}

fn take_id(it: &mut Reader<'_>) -> Result<PacketId, ImageError> {
    let invalid = ImageError::invalid("a packet identifier");
    PacketId::new(it.short()?).ok_or(invalid)
}

fn put_delivery(out: &mut Writer<'_>, delivery: &Delivery, number: u32) {
    let identifiers = delivery.identifiers();
    out.byte(
        delivery.qos as u8
            | u8::from(delivery.retain) << 2
            | u8::from(!identifiers.is_empty()) << 3
            | u8::from(delivery.shared.is_some()) << 4,
    );
    out.number(number);
    if !identifiers.is_empty() {
        out.list(identifiers.iter().copied(), Writer::number);
    }
    if let Some(name) = &delivery.shared {
        out.text(name);
    }
}

fn take_delivery(
    it: &mut Reader<'_>,
    publication: &dyn Fn(u32) -> Option<Rc<Publication>>,
) -> Result<Delivery, ImageError> {
    let flags = it.byte()?;
    let invalid = ImageError::invalid("flags of a message");
    if flags >> 5 != 0 {
        return Err(invalid);
    }
    let mut delivery = Delivery {
        qos: qos_of(flags & 3).ok_or(invalid)?,
        retain: flags & 1 << 2 != 0,
        publication: publication(it.number()?).ok_or(UNKNOWN)?,
        identifiers: None,
        shared: None,
    };
    if flags & 1 << 3 != 0 {
        let identifiers = it.list(4, |it| check_identifier(it.number()?))?;
        delivery.identifiers = Some(identifiers.into());
    }
    if flags & 1 << 4 != 0 {
        delivery.shared = Some(take_filter(it)?);
    }
    Ok(delivery)
}
