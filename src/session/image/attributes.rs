//! Image of what a shard keeps beside the state of a session: whose it is, when it ends, its will.

use std::sync::Arc;

use super::delivery::{decode_payload, decode_properties, decode_topic, put_qos, take_qos};
use super::RulesImage;
use crate::image::{ImageError, Reader, Writer};
use crate::session::StoredWill;
use crate::time::WallTime;

/// The fields of a [`SessionImage`](super::SessionImage) with the same names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributesImage {
    pub owner: Option<Arc<str>>,
    pub rules: Option<RulesImage>,
    pub expiry_interval_s: u32,
    pub expires_at: Option<WallTime>,
    pub will: Option<StoredWill>,
    pub will_due: Option<WallTime>,
}

/// The same, borrowed.
pub(super) struct AttributesRef<'a> {
    pub(super) owner: Option<&'a str>,
    pub(super) rules: Option<&'a RulesImage>,
    pub(super) expiry_interval_s: u32,
    pub(super) expires_at: Option<WallTime>,
    pub(super) will: Option<&'a StoredWill>,
    pub(super) will_due: Option<WallTime>,
}

impl AttributesImage {
    /// Appends the serial form.
    pub fn put(&self, out: &mut Writer<'_>) {
        let attributes = AttributesRef {
            owner: self.owner.as_deref(),
            rules: self.rules.as_ref(),
            expiry_interval_s: self.expiry_interval_s,
            expires_at: self.expires_at,
            will: self.will.as_ref(),
            will_due: self.will_due,
        };
        attributes.put(out);
    }

    /// # Errors
    /// The bytes are cut or garbled.
    pub fn take(it: &mut Reader<'_>) -> Result<Self, ImageError> {
        let image = Self {
            owner: it.option(|it| it.text("a user name"))?.map(Arc::from),
            rules: take_rules(it)?,
            expiry_interval_s: it.number()?,
            expires_at: it.option(Reader::time)?,
            will: it.option(take_will)?,
            will_due: it.option(Reader::time)?,
        };
        if image.will_due.is_some() && (image.will.is_none() || image.expires_at.is_none()) {
            return Err(ImageError::invalid("a will that is due"));
        }
        Ok(image)
    }
}

impl AttributesRef<'_> {
    pub(super) fn put(&self, out: &mut Writer<'_>) {
        out.option(self.owner, Writer::text);
        put_rules(out, self.rules);
        out.number(self.expiry_interval_s);
        out.option(self.expires_at, Writer::time);
        out.option(self.will, put_will);
        out.option(self.will_due, Writer::time);
    }
}

/// As an option with another kind of value: images without rules of a file are as they were before there were any.
const NO_RULES: u8 = 0;
const BROUGHT: u8 = 1;
const OF_FILE: u8 = 2;

fn put_rules(out: &mut Writer<'_>, rules: Option<&RulesImage>) {
    match rules {
        None => out.byte(NO_RULES),
        Some(RulesImage::Brought { publish, receive }) => {
            out.byte(BROUGHT);
            out.list(publish.iter(), |out, filter| out.text(filter));
            out.list(receive.iter(), |out, filter| out.text(filter));
        }
        Some(RulesImage::OfFile(name)) => {
            out.byte(OF_FILE);
            out.text(name);
        }
    }
}

fn take_rules(it: &mut Reader<'_>) -> Result<Option<RulesImage>, ImageError> {
    let filter = |it: &mut Reader<'_>| it.text("a rule").map(Box::from);
    Ok(match it.byte()? {
        NO_RULES => None,
        BROUGHT => Some(RulesImage::Brought {
            publish: it.list(1, filter)?,
            receive: it.list(1, filter)?,
        }),
        OF_FILE => Some(RulesImage::OfFile(it.text("a file of rules")?.into())),
        _ => return Err(ImageError::invalid("a kind of rules")),
    })
}

pub(super) fn put_will(out: &mut Writer<'_>, will: &StoredWill) {
    out.text(&will.topic);
    out.bytes(&will.payload);
    out.bytes(&will.properties);
    put_qos(out, will.qos);
    out.flag(will.retain);
    out.number(will.delay_interval_s);
    out.option(will.message_expiry_interval_s, Writer::number);
}

pub(super) fn take_will(it: &mut Reader<'_>) -> Result<StoredWill, ImageError> {
    Ok(StoredWill {
        topic: decode_topic(it)?,
        payload: decode_payload(it)?,
        properties: decode_properties(it)?,
        qos: take_qos(it)?,
        retain: it.flag()?,
        delay_interval_s: it.number()?,
        message_expiry_interval_s: it.option(Reader::number)?,
    })
}
