//! Messages of MQTT-SN 1.2 and bytes. Pure, as [`mqtt`](crate::mqtt) is: one datagram is one message.
//!
//! [`decode`] takes a message apart without copying, [`encode`] appends one. A forwarder puts a frame of its own
//! before a message ([`unwrap_forwarded`]): its length ends with the node's id, the message lies behind it.

mod clients;
mod decode;
mod encode;
mod message;
mod predefined;
mod settings;

pub use clients::ClientIds;
pub use decode::{decode, unwrap_forwarded, Forwarded, Malformed};
pub use encode::{encode, forwarded};
pub use message::{
    Connect, Message, Publish, ReturnCode, Subscribe, TopicName, TopicRef, Unsubscribe, WillTopic,
    PROTOCOL_ID,
};
pub use predefined::Predefined;
pub use settings::{AddressChange, Settings};

#[cfg(test)]
mod tests;
