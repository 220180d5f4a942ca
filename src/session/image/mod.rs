//! Image of a session: everything that must be the same on the shard that continues it.
//!
//! It is plain data in wall time, and its serial form has one encoding for each value. What is not in it: its
//! connection, which has an image of its own, decisions that were cached, and the ids that a shard gives. Each
//! image stands alone, so a publication in several queues is in several images.

mod delivery;
mod parts;
mod restore;
#[cfg(test)]
mod tests;

pub use delivery::DeliveryImage;
pub use parts::{EntryImage, ReceivedImage, WindowImage};

use std::rc::Rc;
use std::sync::Arc;

use super::{SessionSubscription, StoredWill};
use crate::image::{ImageError, Kind, Reader, Writer};
use crate::mqtt::{topic, RetainHandling, SubscriptionOptions};
use crate::time::WallTime;
use delivery::{
    check_identifier, decode_payload, decode_properties, decode_topic, put_qos, take_qos,
};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionImage {
    pub client_id: Rc<str>,
    /// Authenticated user name of its owner: no other user may take it over.
    pub owner: Option<Arc<str>>,
    pub rules: Option<RulesImage>,
    pub expiry_interval_s: u32,
    /// When it ends if its client does not come back; `None`: its client is connected.
    pub expires_at: Option<WallTime>,
    pub will: Option<StoredWill>,
    /// When the will is published; only of a client that is away.
    pub will_due: Option<WallTime>,
    /// In the order of their filters.
    pub subscriptions: Vec<(Rc<str>, SessionSubscription)>,
    pub window: WindowImage,
    /// The oldest first.
    pub queue: Vec<DeliveryImage>,
    pub received: ReceivedImage,
}

/// Rules that came with the client's login, in place of those of the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulesImage {
    /// Filters of topics that it may publish to.
    pub publish: Vec<Box<str>>,
    /// Filters of topics that it may be sent.
    pub receive: Vec<Box<str>>,
}

impl SessionImage {
    /// Appends the serial form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let out = &mut Writer::begin(out, Kind::Session);
        out.text(&self.client_id);
        out.option(self.owner.as_deref(), Writer::text);
        out.option(self.rules.as_ref(), |out, rules| {
            out.list(rules.publish.iter(), |out, filter| out.text(filter));
            out.list(rules.receive.iter(), |out, filter| out.text(filter));
        });
        out.number(self.expiry_interval_s);
        out.option(self.expires_at, Writer::time);
        out.option(self.will.as_ref(), put_will);
        out.option(self.will_due, Writer::time);
        out.list(self.subscriptions.iter(), put_subscription);
        self.window.put(out);
        out.list(self.queue.iter(), |out, delivery| delivery.put(out));
        self.received.put(out);
    }

    /// The session that these bytes are the image of.
    ///
    /// # Errors
    /// The bytes are cut, garbled, or of another format.
    pub fn decode(bytes: &[u8]) -> Result<Self, ImageError> {
        let mut it = Reader::begin(bytes, Kind::Session)?;
        let client_id = it.text("a client id")?;
        if client_id.is_empty() {
            return Err(ImageError::invalid("a client id"));
        }
        let image = Self {
            client_id: client_id.into(),
            owner: it.option(|it| it.text("a user name"))?.map(Arc::from),
            rules: it.option(take_rules)?,
            expiry_interval_s: it.number()?,
            expires_at: it.option(Reader::time)?,
            will: it.option(take_will)?,
            will_due: it.option(Reader::time)?,
            subscriptions: it.list(SUBSCRIPTION_LEAST, take_subscription)?,
            window: WindowImage::take(&mut it)?,
            queue: it.list(DeliveryImage::LEAST, DeliveryImage::take)?,
            received: ReceivedImage::take(&mut it)?,
        };
        it.end()?;
        image.check()?;
        Ok(image)
    }

    /// What no field says alone.
    fn check(&self) -> Result<(), ImageError> {
        let is_rising = |pair: &[(Rc<str>, _)]| pair[0].0 < pair[1].0;
        if !self.subscriptions.windows(2).all(is_rising) {
            return Err(ImageError::invalid("the order of subscriptions"));
        }
        let is_away = self.expires_at.is_some();
        if self.will_due.is_some() && (self.will.is_none() || !is_away) {
            return Err(ImageError::invalid("a will that is due"));
        }
        if is_away && self.window.quota_max > 0 {
            return Err(ImageError::invalid("a send quota without a connection"));
        }
        Ok(())
    }
}

fn take_rules(it: &mut Reader<'_>) -> Result<RulesImage, ImageError> {
    let filter = |it: &mut Reader<'_>| it.text("a rule").map(Box::from);
    Ok(RulesImage {
        publish: it.list(1, filter)?,
        receive: it.list(1, filter)?,
    })
}

fn put_will(out: &mut Writer<'_>, will: &StoredWill) {
    out.text(&will.topic);
    out.bytes(&will.payload);
    out.bytes(&will.properties);
    put_qos(out, will.qos);
    out.flag(will.retain);
    out.number(will.delay_interval_s);
    out.option(will.message_expiry_interval_s, Writer::number);
}

fn take_will(it: &mut Reader<'_>) -> Result<StoredWill, ImageError> {
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

/// A filter of one byte, its options, no identifier.
const SUBSCRIPTION_LEAST: usize = 4;

fn put_subscription(out: &mut Writer<'_>, (filter, record): &(Rc<str>, SessionSubscription)) {
    let options = record.options;
    out.text(filter);
    // As in a SUBSCRIBE, section 3.8.3.1.
    out.byte(
        options.qos as u8
            | u8::from(options.no_local) << 2
            | u8::from(options.retain_as_published) << 3
            | (options.retain_handling as u8) << 4,
    );
    out.option(record.identifier, Writer::number);
}

fn take_subscription(it: &mut Reader<'_>) -> Result<(Rc<str>, SessionSubscription), ImageError> {
    let filter = take_filter(it)?;
    let byte = it.byte()?;
    let invalid = ImageError::invalid("an option of a subscription");
    let options = SubscriptionOptions {
        qos: delivery::qos_of(byte & 3).ok_or(invalid)?,
        no_local: byte & 1 << 2 != 0,
        retain_as_published: byte & 1 << 3 != 0,
        retain_handling: match byte >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(invalid),
        },
    };
    let identifier = it.option(|it| check_identifier(it.number()?))?;
    Ok((
        filter,
        SessionSubscription {
            options,
            identifier,
        },
    ))
}

/// A valid filter, shared or not.
fn take_filter(it: &mut Reader<'_>) -> Result<Rc<str>, ImageError> {
    const WHAT: &str = "a filter";
    let filter = it.text(WHAT)?;
    let is_valid = topic::check_filter(filter).is_ok() && topic::share(filter).is_ok();
    is_valid
        .then(|| filter.into())
        .ok_or(ImageError::invalid(WHAT))
}
