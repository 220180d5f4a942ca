//! A publication: an application message accepted by the broker, owned and immutable.

use std::rc::Rc;

use bytes::Bytes;

use super::kept_at::KeptAt;
use super::packet::Qos;
use crate::time::Time;

/// An accepted application message. Lives on one shard, shared there by `Rc` among queues,
/// in-flight windows and the retained store; crosses shards encoded in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    pub topic: Rc<str>,
    /// Crosses shards without a copy when large.
    pub payload: Bytes,
    /// Forwardable properties, encoded, without topic alias, message expiry and subscription
    /// identifiers (`raw_is_forwardable` holds for these bytes).
    pub properties: Bytes,
    /// QoS it was published with; each subscriber gets the lower of this and its grant.
    pub qos: Qos,
    /// RETAIN flag it was published with.
    pub retain: bool,
    /// When the message expires, from the publisher's Message Expiry Interval.
    pub expires_at: Option<Time>,
    /// Where the shard's log has it.
    pub kept_at: KeptAt,
}

impl Publication {
    /// Bytes this publication is charged with in queues: payload, topic, properties and overhead.
    #[must_use]
    pub fn cost_bytes(&self) -> usize {
        self.payload.len() + self.topic.len() + self.properties.len() + size_of::<Self>()
    }
}
