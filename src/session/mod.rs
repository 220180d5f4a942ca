//! The session: one client's state, with or without a connection. Pure; independent of routing and shards.
//!
//! Lives on: the home shard of its client id. Written by: that shard only.

mod alias;
mod changes;
#[cfg(test)]
mod changes_tests;
mod chunks;
mod image;
mod queue;
mod received;
mod replay;
mod sensor;
mod spots;
mod state;
mod stored;
mod subscriptions;
mod window;

pub use alias::{AliasBounds, AliasInError, AliasesIn, AliasesOut, OutgoingTopic};
pub use changes::{Change, Recorder, SessionKey, SharedChanges};
pub use image::{put_change, put_publication, take_change, take_publication};
pub use image::{
    AttributesImage, DeliveryImage, EntryImage, ReceivedImage, RulesImage, SessionImage,
    WaitingImage, WindowImage,
};
pub use queue::{Queue, QueueBounds, QueueOffer};
pub use received::{Received, Released};
pub use replay::ApplyError;
pub use sensor::SensorState;
pub use spots::{Lying, Spot};
pub use state::{Session, StoredWill};
pub use stored::{Holds, Load, StoredDelivery, Waiting};
pub use subscriptions::{subscription_cost, SessionSubscription, Subscriptions};
pub use window::{AckError, Resend, Window};

use std::rc::Rc;

use crate::mqtt::{Identifiers, Publication, Qos};

/// One publication on its way to one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub publication: Rc<Publication>,
    /// The lower of the published and the granted QoS [MQTT-3.8.4-8].
    pub qos: Qos,
    /// RETAIN flag as this client is to see it.
    pub retain: bool,
    /// Subscription identifiers of the matching subscriptions; `None` when there are none.
    pub identifiers: Option<Identifiers>,
    /// `$share/{name}/{filter}` when it came by a shared subscription, so that it can be dispatched
    /// again to another member.
    pub shared: Option<Rc<str>>,
}

impl Delivery {
    /// Bytes it takes while it waits or is in flight. What it shares with others is counted for each:
    /// the others may be removed before it.
    #[must_use]
    #[inline]
    pub fn cost_bytes(&self) -> usize {
        let shared = self.shared.as_ref().map_or(0, |name| name.len());
        self.publication.cost_bytes() + size_of_val(self.identifiers()) + shared
    }

    /// Subscription identifiers as a slice.
    #[must_use]
    pub fn identifiers(&self) -> &[u32] {
        self.identifiers.as_deref().unwrap_or(&[])
    }
}
