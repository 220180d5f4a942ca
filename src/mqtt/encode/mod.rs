//! Packets to bytes, appended to a `Vec<u8>`.
//!
//! The values given are trusted to obey the protocol (a decoded packet does). Strings and binary
//! data over 65,535 bytes are cut; a packet over [`PACKET_SIZE_MAX`](super::frame::PACKET_SIZE_MAX)
//! is for the caller to avoid, as is one over the receiver's maximum packet size.

mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod fields;
mod publish;
mod suback;
mod subscribe;

pub use ack::{ack, AckKind};
pub use auth::auth;
pub use connack::connack;
pub use connect::connect;
pub use disconnect::disconnect;
pub use publish::{publish, publish_header, publish_size, PublishOut};
pub use suback::{suback, suback_size, unsuback};
pub use subscribe::{subscribe, unsubscribe, SubscribeOut, UnsubscribeOut};

use super::packet::UserProperties;
use super::property::Property;

/// Appends PINGREQ.
pub fn pingreq(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xC0, 0]);
}

/// Appends PINGRESP.
pub fn pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xD0, 0]);
}

/// User properties (or any properties, encoded) to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserPropertiesBuf {
    bytes: Vec<u8>,
}

impl UserPropertiesBuf {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pair after the others.
    pub fn push(&mut self, name: &str, value: &str) -> &mut Self {
        Property::UserProperty(name, value).put(&mut self.bytes);
        self
    }

    #[must_use]
    pub fn as_properties(&self) -> UserProperties<'_> {
        UserProperties { raw: &self.bytes }
    }

    /// The encoded pairs: fit for [`PublishOut::properties`].
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Appends `make(value)` if there is a value.
fn put<'a, T>(out: &mut Vec<u8>, make: impl FnOnce(T) -> Property<'a>, value: Option<T>) {
    if let Some(value) = value {
        make(value).put(out);
    }
}
