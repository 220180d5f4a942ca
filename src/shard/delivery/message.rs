//! A publication in transit through a shard: borrowed from the read buffer or block, owned once a queue or
//! window keeps it.

use std::rc::Rc;

use bytes::Bytes;

use crate::mqtt::{KeptAt, Publication, Publish, Qos};
use crate::routing::Route;
use crate::shard::clients::outgoing::LARGE_PAYLOAD;
use crate::shard::durable::ticket::Waiter;
use crate::time::{Span, Time};

/// Borrowed view of a publication.
#[derive(Debug)]
pub(in crate::shard) struct Message<'a> {
    pub(in crate::shard) topic: &'a str,
    /// The topic as its route has it, for those that are kept.
    pub(in crate::shard) shared_topic: Option<Rc<str>>,
    pub(in crate::shard) payload: &'a [u8],
    /// The payload by reference, made at most once.
    pub(in crate::shard) shared: Option<Bytes>,
    /// Forwardable v5 properties, encoded.
    pub(in crate::shard) properties: &'a [u8],
    pub(in crate::shard) qos: Qos,
    pub(in crate::shard) retain: bool,
    pub(in crate::shard) expires_at: Option<Time>,
    /// The publication as queues and windows keep it, made at most once.
    pub(in crate::shard) owned: Option<Rc<Publication>>,
    /// Which publication it is among those handed to peers; 0: not handed to one yet.
    pub(in crate::shard) serial: u64,
    /// Who waits for its commit.
    pub(in crate::shard) waiter: Waiter,
    /// It is retained, goes to a session that outlives its connection, or is held for another shard.
    pub(in crate::shard) needs_commit: bool,
}

impl<'a> Message<'a> {
    pub(in crate::shard) fn of(publication: &'a Rc<Publication>) -> Self {
        Self {
            topic: &publication.topic,
            shared_topic: Some(Rc::clone(&publication.topic)),
            payload: &publication.payload,
            shared: Some(publication.payload.clone()),
            properties: &publication.properties,
            qos: publication.qos,
            retain: publication.retain,
            expires_at: publication.expires_at,
            owned: Some(Rc::clone(publication)),
            serial: 0,
            waiter: Waiter::Nobody,
            needs_commit: false,
        }
    }

    /// Spares what is going to be kept a topic of its own.
    #[inline]
    pub(in crate::shard) fn share_topic(&mut self, route: &Route) {
        if self.qos > Qos::AtMostOnce && self.shared_topic.is_none() {
            self.shared_topic = Some(Rc::clone(&route.topic));
        }
    }

    /// The payload as a reference-counted segment.
    pub(in crate::shard) fn shared_payload(&mut self) -> Bytes {
        self.shared
            .get_or_insert_with(|| Bytes::copy_from_slice(self.payload))
            .clone()
    }

    /// The publication as something that can be kept.
    pub(in crate::shard) fn owned(&mut self) -> Rc<Publication> {
        if let Some(owned) = &self.owned {
            return Rc::clone(owned);
        }
        let topic = self.shared_topic.clone();
        // A second reference to a payload is an allocation: for a small one dearer than a copy.
        let payload = match &self.shared {
            None if self.payload.len() < LARGE_PAYLOAD => Bytes::copy_from_slice(self.payload),
            _ => self.shared_payload(),
        };
        let owned = Rc::new(Publication {
            topic: topic.unwrap_or_else(|| Rc::from(self.topic)),
            payload,
            properties: Bytes::copy_from_slice(self.properties),
            qos: self.qos,
            retain: self.retain,
            expires_at: self.expires_at,
            kept_at: KeptAt::default(),
        });
        self.owned = Some(Rc::clone(&owned));
        owned
    }

    pub(in crate::shard) fn is_expired(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// The same for one that has crossed from another shard. Intervals are whole seconds, so transit
    /// time is not deducted: an interval of 0 is for connected subscribers, whichever shard serves them.
    pub(in crate::shard) fn is_expired_on_arrival(&self, now: Time) -> bool {
        self.expires_at
            .is_some_and(|at| at + Span::from_secs(1) <= now)
    }
}

/// Message Expiry Interval to send: what is left, in seconds, rounded up [MQTT-3.3.2-6].
pub(in crate::shard) fn expiry_left_s(expires_at: Option<Time>, now: Time) -> Option<u32> {
    const SECOND: u64 = 1_000_000_000;
    let left = expires_at?.since(now).0.div_ceil(SECOND);
    Some(u32::try_from(left).unwrap_or(u32::MAX))
}

impl<'a> Message<'a> {
    /// A publication as its publisher sent it; `stripped` holds its properties when some are not
    /// passed on.
    pub(in crate::shard) fn of_publish(
        topic: &'a str,
        publish: &Publish<'a>,
        stripped: &'a mut Vec<u8>,
        now: Time,
    ) -> Self {
        let properties = &publish.properties;
        let expires_at = properties
            .message_expiry_interval_s
            .map(|expiry_s| now + Span::from_secs(u64::from(expiry_s)));
        let forwarded = if properties.raw_is_forwardable {
            properties.raw
        } else {
            properties.forwardable_into(stripped);
            stripped
        };
        Self {
            topic,
            shared_topic: None,
            payload: publish.payload,
            shared: None,
            properties: forwarded,
            qos: publish.qos,
            retain: publish.retain,
            expires_at,
            owned: None,
            serial: 0,
            waiter: Waiter::Nobody,
            needs_commit: false,
        }
    }
}
