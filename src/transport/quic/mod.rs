//! QUIC (RFC 9000), as a value: datagrams and time in, datagrams and events out.
//!
//! A shard has one [`Quic`] for each listener of QUIC. It holds the shard's connections: their handshakes, their streams and
//! what waits to be sent. The first bidirectional stream that a client opens carries its MQTT; what its bytes mean is not
//! known here. `quinn-proto` does the protocol; what is ours is what a broker wants of it: no state for an address that has
//! not been shown (Retry, section 8.1.2), a bound for what has not opened its stream, ids that name their shard.

mod cid;
mod clock;
mod connection;
mod context;
mod endpoint;
mod stats;
mod stream;
#[cfg(test)]
mod tests;
mod timing;

pub use cid::{shard_of_datagram, SHARD_AT};
pub use clock::Moment;
pub use connection::{Key, Read};
pub use context::Context;
pub use endpoint::{Admit, Event, Outgoing, Quic};
pub use stats::QuicStats;
