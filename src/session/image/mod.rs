//! Image of a session: everything that must be the same on the shard that continues it.
//!
//! It is plain data in wall time, and its serial form has one encoding for each value. What is not in it: its
//! connection, which has an image of its own, decisions that were cached, and the ids that a shard gives. Each
//! image stands alone, so a publication in several queues is in several images.

mod attributes;
mod change;
mod delivery;
mod parts;
mod publication;
mod restore;
mod sensor;
mod stored;
#[cfg(test)]
mod tests;

pub use attributes::AttributesImage;
pub use change::{put_change, take_change};
pub use delivery::DeliveryImage;
pub use parts::{EntryImage, ReceivedImage, WaitingImage, WindowImage};
pub use publication::{put_publication, take_publication};

use std::rc::Rc;
use std::sync::Arc;

use super::{SensorState, Session, SessionSubscription, StoredWill};
use crate::image::{ImageError, Kind, Reader, Writer};
use crate::mqtt::{topic, RetainHandling, SubscriptionOptions};
use crate::time::{Clocks, WallTime};
use attributes::AttributesRef;
use delivery::check_identifier;
use sensor::{put_sensor, take_sensor};

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
    pub queue: Vec<WaitingImage>,
    pub received: ReceivedImage,
    /// Of a client of MQTT-SN: then the image is of a kind of its own.
    pub sensor: Option<SensorState>,
}

/// Rules in place of those of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesImage {
    /// They came with the client's login.
    Brought {
        /// Filters of topics that it may publish to.
        publish: Vec<Box<str>>,
        /// Filters of topics that it may be sent.
        receive: Vec<Box<str>>,
    },
    /// Those of the ACL file of the listener that it came by, whatever is in that file when it is read.
    OfFile(Arc<str>),
}

impl SessionImage {
    /// Of a new session without anything.
    #[must_use]
    pub fn empty(client_id: Rc<str>) -> Self {
        Session::new(client_id, 0).image(Clocks::default())
    }

    /// With what its shard keeps beside it.
    #[must_use]
    pub fn with(self, attributes: AttributesImage) -> Self {
        let AttributesImage {
            owner,
            rules,
            expiry_interval_s,
            expires_at,
            will,
            will_due,
        } = attributes;
        Self {
            owner,
            rules,
            expiry_interval_s,
            expires_at,
            will,
            will_due,
            ..self
        }
    }

    /// Appends the serial form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let kind = match &self.sensor {
            Some(_) => Kind::SensorSession,
            None => Kind::Session,
        };
        let out = &mut Writer::begin(out, kind);
        out.text(&self.client_id);
        AttributesRef {
            owner: self.owner.as_deref(),
            rules: self.rules.as_ref(),
            expiry_interval_s: self.expiry_interval_s,
            expires_at: self.expires_at,
            will: self.will.as_ref(),
            will_due: self.will_due,
        }
        .put(out);
        out.list(self.subscriptions.iter(), put_subscription);
        self.window.put(out);
        out.list(self.queue.iter(), |out, delivery| delivery.put(out));
        self.received.put(out);
        if let Some(sensor) = &self.sensor {
            put_sensor(out, sensor);
        }
    }

    /// The session that these bytes are the image of.
    ///
    /// # Errors
    /// The bytes are cut, garbled, or of another format.
    pub fn decode(bytes: &[u8]) -> Result<Self, ImageError> {
        let is_sensors = bytes.get(1) == Some(&(Kind::SensorSession as u8));
        let kind = [Kind::Session, Kind::SensorSession][usize::from(is_sensors)];
        let mut it = Reader::begin(bytes, kind)?;
        let client_id = it.text("a client id")?;
        if client_id.is_empty() {
            return Err(ImageError::invalid("a client id"));
        }
        let AttributesImage {
            owner,
            rules,
            expiry_interval_s,
            expires_at,
            will,
            will_due,
        } = AttributesImage::take(&mut it)?;
        let image = Self {
            client_id: client_id.into(),
            owner,
            rules,
            expiry_interval_s,
            expires_at,
            will,
            will_due,
            subscriptions: it.list(SUBSCRIPTION_LEAST, take_subscription)?,
            window: WindowImage::take(&mut it)?,
            queue: it.list(DeliveryImage::LEAST, WaitingImage::take)?,
            received: ReceivedImage::take(&mut it)?,
            sensor: is_sensors.then(|| take_sensor(&mut it)).transpose()?,
        };
        it.end()?;
        image.check()?;
        Ok(image)
    }

    /// Whose image these bytes are, without reading the rest.
    ///
    /// # Errors
    /// They do not begin as an image of a session does.
    pub fn client_id_in(bytes: &[u8]) -> Result<&str, ImageError> {
        let is_sensors = bytes.get(1) == Some(&(Kind::SensorSession as u8));
        let kind = [Kind::Session, Kind::SensorSession][usize::from(is_sensors)];
        Reader::begin(bytes, kind)?.text("a client id")
    }

    /// What no field says alone.
    fn check(&self) -> Result<(), ImageError> {
        let is_rising = |pair: &[(Rc<str>, _)]| pair[0].0 < pair[1].0;
        if !self.subscriptions.windows(2).all(is_rising) {
            return Err(ImageError::invalid("the order of subscriptions"));
        }
        let is_away = self.expires_at.is_some();
        if is_away && self.window.quota_max > 0 {
            return Err(ImageError::invalid("a send quota without a connection"));
        }
        Ok(())
    }
}

/// A filter of one byte, its options, no identifier.
const SUBSCRIPTION_LEAST: usize = 4;

fn put_subscription(out: &mut Writer<'_>, (filter, record): &(Rc<str>, SessionSubscription)) {
    let options = record.options;
    out.text(filter);
    // As in a SUBSCRIBE, section 3.8.3.1, and a bit that is reserved there.
    out.byte(
        options.qos as u8
            | u8::from(options.no_local) << 2
            | u8::from(options.retain_as_published) << 3
            | (options.retain_handling as u8) << 4
            | u8::from(record.owes_retained) << 6,
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
        retain_handling: match byte >> 4 & 0b1011 {
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
            owes_retained: byte & 1 << 6 != 0,
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
