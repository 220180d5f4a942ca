//! Session state: what survives a disconnect.

use std::rc::Rc;

use bytes::Bytes;

use super::stored::{Holds, Load, StoredDelivery, Waiting};
use super::window::Entry;
use super::{Queue, Received, SensorState, SessionKey, Subscriptions, Window};
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
    /// Known where there is a log.
    pub sensor: Option<Box<SensorState>>,
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
            sensor: None,
        }
    }

    /// What another session has left, in order: it has no client, and ends when that is given to others.
    #[must_use]
    pub fn estate(name: Rc<str>, hash_seed: u64, left: Vec<Waiting>) -> Self {
        let mut session = Self::new(name, hash_seed);
        session.expiry_interval_s = u32::MAX;
        for one in left {
            session.queue.put(one);
        }
        session
    }

    /// It outlives its connection: what is acknowledged to publishers must reach it later, too.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.expiry_interval_s > 0
    }

    /// Takes what waits out of memory, as far as the log has it; without a connection also what is in flight.
    pub fn store(&mut self, key: SessionKey, holds: Holds<'_>) {
        self.queue.store(key, &mut *holds);
        if self.connection.is_none() {
            self.window.store(key, holds);
        }
    }

    /// Reads back what is next to be sent and is not in memory, until `load` has no more.
    pub fn load(&mut self, load: Load<'_>) {
        if self.window.load(&mut *load) {
            self.queue.load(load);
        }
    }

    /// Reads back whatever `load` has.
    #[cfg(test)]
    pub fn load_any(&mut self, load: Load<'_>) {
        self.window.load_any(&mut *load);
        self.queue.load_any(load);
    }

    /// Drops what lies in segments before this one, which are missing; how many messages those were. Nothing is recorded:
    /// the session must be written anew.
    pub fn drop_before(&mut self, segment: u32) -> usize {
        self.window.drop_before(segment) + self.queue.drop_before(segment)
    }

    /// The log has all that is in memory in full, and does not need what it was read from.
    pub fn release_holds(&self) {
        for delivery in self.window.publications() {
            delivery.publication.kept_at.release();
        }
    }

    /// What is not in memory, in the order in which it is to be sent.
    pub fn stored(&self) -> impl Iterator<Item = &StoredDelivery> {
        let in_flight = self.window.entries.iter().filter_map(|entry| match entry {
            Entry::Stored(stored) => Some(stored),
            _ => None,
        });
        in_flight.chain(self.queue.iter().filter_map(Waiting::stored))
    }

    /// The same, to be changed.
    pub fn stored_mut(&mut self) -> impl Iterator<Item = &mut StoredDelivery> {
        let entries = self.window.entries.iter_mut();
        let in_flight = entries.filter_map(|entry| match entry {
            Entry::Stored(stored) => Some(stored),
            _ => None,
        });
        let waiting = self.queue.waiting.iter_mut();
        in_flight.chain(waiting.filter_map(|one| match one {
            Waiting::Stored(stored) => Some(stored),
            Waiting::Here(_) => None,
        }))
    }

    /// What is in flight there, or waits, counted together from the oldest on; if it is not in memory.
    pub fn stored_at(&mut self, index: usize) -> Option<&mut StoredDelivery> {
        let in_flight = self.window.entries.len();
        let entry = self.window.entries.get_mut(index);
        match entry {
            Some(Entry::Stored(stored)) => Some(stored),
            Some(_) => None,
            None => match self.queue.waiting.get_mut(index - in_flight)? {
                Waiting::Stored(stored) => Some(stored),
                Waiting::Here(_) => None,
            },
        }
    }

    /// What is not in memory, each with its number for [`stored_at`](Self::stored_at).
    pub fn stored_with_index(&self) -> impl Iterator<Item = (usize, &StoredDelivery)> {
        let in_flight = self.window.entries.iter().map(|entry| match entry {
            Entry::Stored(stored) => Some(stored),
            _ => None,
        });
        let waiting = self.queue.iter().map(Waiting::stored);
        let all = in_flight.chain(waiting).enumerate();
        all.filter_map(|(index, stored)| Some((index, stored?)))
    }

    /// The shared subscriptions, held or given up, of which something is in flight or waits.
    #[must_use]
    pub fn shared_in_hand(&self) -> Vec<Rc<str>> {
        let in_flight = self.window.shared();
        let queued = self.queue.iter().filter_map(Waiting::shared);
        let mut names: Vec<&Rc<str>> = in_flight.chain(queued).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(Rc::clone).collect()
    }
}
