//! Serial form of a delivery whose publication is at another place of the log.

use super::delivery::{check_identifier, qos_of};
use super::take_filter;
use crate::image::{ImageError, Reader, Writer};
use crate::mqtt::{Hold, Identifiers};
use crate::session::stored::{Origin, Terms};
use crate::session::StoredDelivery;

pub(super) fn put_stored(out: &mut Writer<'_>, stored: &StoredDelivery) {
    out.byte(
        stored.qos() as u8
            | u8::from(stored.retain()) << 2
            | u8::from(stored.shared().is_some()) << 3,
    );
    let place = stored.place();
    for number in [place.segment, place.offset, place.bytes, place.checksum] {
        out.number(number);
    }
    out.number(stored.terms.cost());
    let identifiers = stored.identifiers().map_or(&[][..], |all| all);
    out.list(identifiers.iter().copied(), Writer::number);
    if let Some(name) = stored.shared() {
        out.text(name);
    }
}

pub(super) fn take_stored(it: &mut Reader<'_>) -> Result<StoredDelivery, ImageError> {
    let flags = it.byte()?;
    let invalid = ImageError::invalid("flags of a message");
    if flags >> 4 != 0 {
        return Err(invalid);
    }
    let segment = it.number()?;
    if segment == 0 {
        return Err(ImageError::invalid("the place of a message"));
    }
    let (offset, bytes, checksum, cost) = (it.number()?, it.number()?, it.number()?, it.number()?);
    let qos = qos_of(flags & 3).ok_or(invalid)?;
    let terms = Terms::new(cost as usize, qos, flags & 1 << 2 != 0);
    let identifiers = it.list(4, |it| check_identifier(it.number()?))?;
    let identifiers: Option<Identifiers> = (!identifiers.is_empty()).then(|| identifiers.into());
    let shared = (flags & 1 << 3 != 0).then(|| take_filter(it)).transpose()?;
    Ok(StoredDelivery {
        hold: Hold::new(segment),
        offset,
        bytes,
        checksum,
        terms: terms.ok_or(invalid)?,
        origin: Origin::of(identifiers.as_ref(), shared.as_ref(), &mut None),
    })
}
