//! Transport layers between a socket and MQTT: TLS, WebSocket, PROXY protocol.
//!
//! A layer is a value without input and output: bytes go in and come out, and it keeps nothing of them
//! but the start of a unit (a record, a frame, a header) whose end has not arrived. A [`Stack`] puts
//! layers on top of each other, a [`LayerFactory`] makes those of a listener's connections. A plain
//! connection has no stack at all.
//!
//! ```text
//! socket ── bytes ──► layer 0 (TLS) ── up ──► layer 1 (WebSocket) ── up ──► MQTT
//!           ◄─ down ──                ◄─ down ──                    ◄─ send
//! ```

mod layer_factory;
pub mod proxy;
pub mod quic;
mod stack;
pub mod tls;
mod trusted;
pub mod tunnel;
pub mod websocket;

use std::io::IoSlice;
use std::net::SocketAddr;

use crate::image::Writer;

pub use layer_factory::LayerFactory;
pub use stack::{Scratch, Stack};
pub use trusted::{Network, NetworkError, Trusted};

/// One layer. It is closed, then open (its handshake, if it has one, is done), then ended.
pub trait Layer: Send {
    /// Appends the opening bytes of the end that connects. Not called on the end that accepts.
    fn start(&mut self, _down: &mut Vec<u8>) {}

    /// Takes bytes from below, in order, cut anywhere; may change them in place. Appends bytes for the
    /// layer above to `up` and answers for the remote end to `down`.
    ///
    /// # Errors
    /// The layer has failed: no further bytes are given to it. What is in `up` came before the
    /// error, what is in `down` reports it to the remote end.
    fn receive(
        &mut self,
        bytes: &mut [u8],
        up: &mut Vec<u8>,
        down: &mut Vec<u8>,
    ) -> Result<(), LayerError>;

    /// Wraps bytes of the layer above and appends the result to `down`. Not called before it is open.
    ///
    /// # Errors
    /// Nothing more can be sent.
    fn send(&mut self, slices: &[IoSlice<'_>], down: &mut Vec<u8>) -> Result<(), LayerError>;

    /// The reason of the close, for a layer whose close message has a place for it.
    fn explain(&mut self, _why: Farewell) {}

    /// Appends the close message. Nothing is sent after it.
    fn close(&mut self, down: &mut Vec<u8>);

    /// Bytes may be sent.
    fn is_open(&self) -> bool;

    /// The remote end has sent its close message.
    fn is_ended(&self) -> bool;

    /// The stream has ended without a close message.
    ///
    /// # Errors
    /// That was in the middle of something.
    fn end_of_stream(&self) -> Result<(), LayerError> {
        Ok(())
    }

    /// Appends bytes for the layer above that have come about while its own were wrapped.
    fn owed(&mut self, _up: &mut Vec<u8>) {}

    /// How often it looks at the connection, in milliseconds; most layers never do.
    fn look_every_ms(&self) -> Option<u32> {
        None
    }

    /// Looks at the connection, as often as it wants to; appends bytes for the remote end.
    ///
    /// # Errors
    /// The connection is of no use any more.
    fn look(&mut self, _down: &mut Vec<u8>) -> Result<(), LayerError> {
        Ok(())
    }

    /// The connection has failed: the topmost layer learns of what happened in those below it, too.
    fn failed(&mut self, _error: &LayerError) {}

    /// Appends its image, by which another process continues; false: it has none, and nothing was appended.
    fn image(&self, _out: &mut Writer<'_>) -> bool {
        false
    }

    /// From now on it would only pass bytes on: the stack drops it.
    fn is_spent(&self) -> bool {
        false
    }

    /// Adds what it has learned about the client. Called once, when it is open.
    fn tell(&mut self, _learned: &mut ConnectionInfo) {}
}

/// The reason for which the broker closes a connection, as layers can express it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Farewell {
    /// Normal close.
    #[default]
    Done,
    /// The broker stops.
    GoingAway,
    /// What was carried cannot be read, or is against the rules.
    ProtocolError,
    TooLarge,
    /// It may not, or took too long.
    NotAllowed,
    /// Not now.
    TryLater,
}

/// What layers have learned about a client before its first byte of MQTT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The address a trusted proxy names in place of its own.
    pub address: Option<SocketAddr>,
    /// User name given by a verified certificate.
    pub identity: Option<Box<str>>,
    /// Whether TLS resumed a session; set only on the end that connects.
    pub resumed: Option<bool>,
}

/// Failure of a layer: one sentence for the log, without a full stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LayerError(pub String);
