//! A publication by itself, for those that share it.

use std::rc::Rc;

use super::delivery::{decode_payload, decode_properties, decode_topic, put_qos, take_qos};
use crate::image::{ImageError, Reader, Writer};
use crate::mqtt::{KeptAt, Publication};
use crate::time::Clocks;

/// Appends the serial form.
pub fn put_publication(out: &mut Writer<'_>, publication: &Publication, clocks: Clocks) {
    put_qos(out, publication.qos);
    out.flag(publication.retain);
    out.text(&publication.topic);
    out.bytes(&publication.payload);
    out.bytes(&publication.properties);
    let expires_at = publication.expires_at;
    out.option(expires_at.map(|at| clocks.to_wall(at)), Writer::time);
}

/// # Errors
/// The bytes are cut or garbled.
pub fn take_publication(
    it: &mut Reader<'_>,
    clocks: Clocks,
) -> Result<Rc<Publication>, ImageError> {
    let publication = Publication {
        qos: take_qos(it)?,
        retain: it.flag()?,
        topic: decode_topic(it)?,
        payload: decode_payload(it)?,
        properties: decode_properties(it)?,
        expires_at: it.option(Reader::time)?.map(|at| clocks.to_time(at)),
        kept_at: KeptAt::default(),
    };
    Ok(Rc::new(publication))
}
