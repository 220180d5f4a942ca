//! Session state: what survives a disconnect.

use std::rc::Rc;

use bytes::Bytes;

use super::{Queue, Received, Subscriptions, Window};
use crate::ids::ConnectionId;
use crate::mqtt::Qos;

/// A will kept with its session [MQTT-3.1.2-7]. Its expiry interval starts when it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredWill {
    pub topic: Rc<str>,
    pub payload: Bytes,
    pub properties: Bytes,
    pub qos: Qos,
    pub retain: bool,
    pub delay_interval_s: u32,
    pub message_expiry_interval_s: Option<u32>,
}

/// State of a client id; outlives connections until its expiry.
#[derive(Debug)]
pub struct Session {
    pub client_id: Rc<str>,
    pub connection: Option<ConnectionId>,
    /// Seconds the session is kept after its connection closes; 0 ends it with the connection.
    pub expiry_interval_s: u32,
    pub subscriptions: Subscriptions,
    pub window: Window,
    pub queue: Queue,
    pub received: Received,
    pub will: Option<Box<StoredWill>>,
}

impl Session {
    #[must_use]
    pub fn new(client_id: Rc<str>, hash_seed: u64) -> Self {
        Self {
            client_id,
            connection: None,
            expiry_interval_s: 0,
            subscriptions: Subscriptions::new(hash_seed),
            window: Window::default(),
            queue: Queue::default(),
            received: Received::default(),
            will: None,
        }
    }

    /// It outlives its connection: what is acknowledged to publishers must reach it later, too.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.expiry_interval_s > 0
    }

    /// The shared subscriptions, held or given up, of which something is in flight or waits.
    #[must_use]
    pub fn shared_in_hand(&self) -> Vec<Rc<str>> {
        let deliveries = self.window.publications().chain(self.queue.iter());
        let mut names: Vec<Rc<str>> = deliveries.filter_map(|d| d.shared.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
