//! Identifiers of QoS 2 publications received and not yet released: the receiver's half of exactly
//! once.

use std::collections::BTreeSet;

use crate::mqtt::PacketId;

/// At most 65,535 identifiers, and for v5 never more than the announced Receive Maximum.
#[derive(Debug, Default)]
pub struct Received {
    ids: BTreeSet<u16>,
}

impl Received {
    /// True when the identifier is new; a repeat is acknowledged but not delivered
    /// [MQTT-4.3.3-10].
    pub fn insert(&mut self, id: PacketId) -> bool {
        self.ids.insert(id.get())
    }

    #[must_use]
    pub fn contains(&self, id: PacketId) -> bool {
        self.ids.contains(&id.get())
    }

    /// PUBREL: after PUBCOMP the identifier is a new message [MQTT-4.3.3-12]. False: it was unknown.
    pub fn release(&mut self, id: PacketId) -> bool {
        self.ids.remove(&id.get())
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}
