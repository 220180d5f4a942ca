//! Identifiers of QoS 2 publications received and not yet released: the receiver's half of exactly
//! once.

use std::collections::BTreeSet;

use crate::mqtt::PacketId;

/// At most 65,535 identifiers; for v5 never more of one connection than the announced Receive Maximum.
#[derive(Debug, Default)]
pub struct Received {
    /// Of PUBLISH packets of the present connection.
    ids: BTreeSet<u16>,
    /// Of earlier connections: they take none of the client's present send quota [MQTT-4.9.0-1].
    earlier: BTreeSet<u16>,
}

impl Received {
    /// A new connection: the client's send quota starts afresh.
    pub fn start(&mut self) {
        self.earlier.append(&mut self.ids);
    }

    /// True when the identifier is new; a repeat is acknowledged but not delivered
    /// [MQTT-4.3.3-10].
    pub fn insert(&mut self, id: PacketId) -> bool {
        let is_repeat = self.earlier.remove(&id.get());
        self.ids.insert(id.get()) && !is_repeat
    }

    #[must_use]
    pub fn contains(&self, id: PacketId) -> bool {
        self.is_open(id) || self.earlier.contains(&id.get())
    }

    /// Published on the present connection and not yet released.
    #[must_use]
    pub fn is_open(&self, id: PacketId) -> bool {
        self.ids.contains(&id.get())
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.ids.len()
    }

    /// PUBREL: after PUBCOMP the identifier is a new message [MQTT-4.3.3-12]. False: it was unknown.
    pub fn release(&mut self, id: PacketId) -> bool {
        self.ids.remove(&id.get()) || self.earlier.remove(&id.get())
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len() + self.earlier.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
