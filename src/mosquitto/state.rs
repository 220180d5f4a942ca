//! Sessions and retained messages of a `mosquitto.db`, as ours.

use std::rc::Rc;

use bytes::Bytes;

use super::db::{Database, Message, SessionThere};
use crate::mqtt::{
    decode, topic, Frame, KeptAt, Publication, Qos, RetainHandling, SubscriptionOptions, Version,
};
use crate::session::{DeliveryImage, SessionImage, SessionSubscription};
use crate::time::WallTime;

/// Session expiry without an end.
const NEVER_S: u32 = u32::MAX;

/// What is carried over, and what of the file could not be.
#[derive(Debug, Default)]
pub struct State {
    pub sessions: Vec<SessionImage>,
    /// Each with the time at which it expires.
    pub retained: Vec<(Publication, Option<WallTime>)>,
    /// Sentences.
    pub lost: Vec<String>,
}

impl State {
    /// `now` is when sessions whose end is not written down begin to wait for their clients.
    #[must_use]
    pub fn of(database: &Database, now: WallTime) -> Self {
        let mut state = Self::default();
        for number in &database.retained {
            let message = &database.messages[number]; // checked when it was read
            match publication(message, true) {
                Some(publication) => {
                    let expires_at = expires_at(message.expires_s);
                    state.retained.push((publication, expires_at));
                }
                None => state.lost.push(format!(
                    "retained message of \"{}\": not valid",
                    message.topic
                )),
            }
        }
        for (client_id, there) in &database.sessions {
            let image = state.session(client_id, there, database, now);
            state.sessions.push(image);
        }
        if database.incoming > 0 {
            let count = database.incoming;
            state.lost.push(format!(
                "{count} QoS 2 messages on their way from clients, which send them again"
            ));
        }
        state
    }

    fn session(
        &mut self,
        client_id: &str,
        there: &SessionThere,
        database: &Database,
        now: WallTime,
    ) -> SessionImage {
        let mut image = SessionImage::empty(client_id.into());
        image.owner = there.user.as_deref().map(Into::into);
        image.expiry_interval_s = there.expiry_interval_s;
        image.expires_at = Some(match (there.expiry_interval_s, there.expires_s) {
            (NEVER_S, _) => WallTime::FAR,
            (interval_s, 0) => WallTime(now.0 + u64::from(interval_s) * 1_000),
            (_, expires_s) => WallTime(expires_s.saturating_mul(1_000)),
        });
        for (filter, options, identifier) in &there.subscriptions {
            match subscription(filter, *options, *identifier) {
                Some(subscription) => image
                    .subscriptions
                    .push((filter.as_str().into(), subscription)),
                None => self.lost.push(format!(
                    "subscription of \"{client_id}\" to \"{filter}\": not valid"
                )),
            }
        }
        image.subscriptions.sort_by(|a, b| a.0.cmp(&b.0));
        image.subscriptions.dedup_by(|a, b| a.0 == b.0);
        for (number, qos, retain) in &there.queue {
            let message = &database.messages[number];
            match delivery(message, *qos, *retain) {
                Some(delivery) => image.queue.push(delivery.into()),
                None => self.lost.push(format!(
                    "message of \"{}\" for \"{client_id}\": not valid",
                    message.topic
                )),
            }
        }
        image
    }
}

fn expires_at(expires_s: u64) -> Option<WallTime> {
    (expires_s > 0).then(|| WallTime(expires_s.saturating_mul(1_000)))
}

fn subscription(filter: &str, options: u8, identifier: u32) -> Option<SessionSubscription> {
    topic::share(filter).ok()?;
    Some(SessionSubscription {
        options: SubscriptionOptions {
            qos: Qos::from_bits(options & 3)?,
            no_local: options & 4 != 0,
            retain_as_published: options & 8 != 0,
            retain_handling: match options >> 4 & 3 {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                _ => RetainHandling::DoNotSend,
            },
        },
        identifier: (identifier > 0).then_some(identifier),
        owes_retained: false,
    })
}

fn delivery(message: &Message, qos: u8, retain: bool) -> Option<DeliveryImage> {
    let publication = publication(message, message.retain)?;
    Some(DeliveryImage {
        topic: publication.topic,
        payload: publication.payload,
        properties: publication.properties,
        published_qos: publication.qos,
        published_retain: publication.retain,
        expires_at: expires_at(message.expires_s),
        qos: Qos::from_bits(qos)?,
        retain,
        identifiers: Vec::new(),
        shared: None,
    })
}

/// As if it had just been published: what no client could have sent is not taken. Its expiry comes beside it.
fn publication(message: &Message, retain: bool) -> Option<Publication> {
    let mut body = Vec::with_capacity(message.topic.len() + message.payload.len() + 8);
    body.extend(u16::try_from(message.topic.len()).ok()?.to_be_bytes());
    body.extend(message.topic.as_bytes());
    match message.properties.is_empty() {
        true => body.push(0),
        false => body.extend(&message.properties),
    }
    body.extend(&message.payload);
    let remaining_length_bytes = match body.len() {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    };
    let frame = Frame {
        first: 0x30,
        body: &body,
        length: 1 + remaining_length_bytes + body.len(),
    };
    let publish = decode::publish(Version::V5, &frame).ok()?;
    let mut properties = Vec::new();
    publish.properties.forwardable_into(&mut properties);
    Some(Publication {
        topic: Rc::from(publish.topic),
        payload: Bytes::copy_from_slice(publish.payload),
        properties: properties.into(),
        qos: Qos::from_bits(message.qos)?,
        retain,
        expires_at: None,
        kept_at: KeptAt::default(),
    })
}
