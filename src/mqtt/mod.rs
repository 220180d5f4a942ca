//! Bytes to control packets and back, MQTT 3.1, 3.1.1 and 5.0. Pure: no clock, no socket, no state
//! beyond the bytes given. Shared with `mqload`.
//!
//! Receiving: [`frame::next_frame`] cuts one packet off a byte stream, [`decode::packet`] (or the
//! fast paths [`decode::publish`] and [`decode::ack`]) takes it apart without copying. Sending:
//! the functions of [`encode`] append to a `Vec<u8>`.

pub mod decode;
pub mod encode;
mod filters;
pub mod frame;
mod identifiers;
mod kept_at;
pub mod packet;
pub mod packet_type;
mod primitives;
pub mod property;
mod property_table;
mod property_value;
pub mod publication;
mod publish_properties;
pub mod reason;
pub mod topic;
mod user_properties;
pub mod violation;

pub use encode::{AckKind, PublishOut};
pub use filters::{SubscribeFiltersIter, UnsubscribeFiltersIter};
pub use frame::Frame;
pub use identifiers::Identifiers;
pub use kept_at::{Hold, KeptAt, Place};
pub use packet::*;
pub use packet_type::{PacketType, Sender};
pub use publication::Publication;
pub use publish_properties::SubscriptionIdentifiersIter;
pub use reason::ReasonCode;
pub use user_properties::UserPropertiesIter;
pub use violation::{Violation, Violations};

#[cfg(test)]
mod tests;
