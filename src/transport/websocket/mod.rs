//! WebSocket, RFC 6455: MQTT for browsers, and through proxies that support HTTP only.
//!
//! [`Server`] and [`Client`] are the two ends. Both begin with an upgrade of HTTP, then frames; where a
//! packet of MQTT begins has nothing to do with where a frame does [MQTT-6.0.0-2]. permessage-deflate
//! is not offered: a compressor per connection is a hundred times the memory of the rest of it.

mod endpoint;
mod frame;
mod mask;
mod request;
mod response;
#[cfg(test)]
mod tests;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use sha1::{Digest, Sha1};

pub use endpoint::{Client, Server};
pub use frame::{encode, Decoder, Opcode, Piece};
pub use response::Target;

use super::Trusted;

/// Bytes of a handshake's header, in either direction.
pub const HEADER_BYTES_MAX: usize = 8 << 10;
/// Fields of a handshake's header.
const HEADERS_MAX: usize = 64;
/// What MQTT calls itself [MQTT-6.0.0-3]; before 3.1.1 it was `mqttv3.1`.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// Requirements of a listener on the upgrade request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Where it is spoken; empty or `*`: at any path.
    pub path: String,
    /// Pages of these origins may connect, like `https://example.com`; empty: of any.
    pub origins: Vec<String>,
    /// Proxies whose X-Forwarded-For is trusted.
    pub trusted: Trusted,
}

impl Policy {
    fn is_spoken_at(&self, path: &str) -> bool {
        matches!(self.path.as_str(), "" | "*") || self.path == path
    }

    /// Schemes and hosts have no case.
    fn allows(&self, origin: &str) -> bool {
        let mut origins = self.origins.iter();
        self.origins.is_empty() || origins.any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }
}

/// Sec-WebSocket-Accept: the proof that an endpoint of WebSocket has read the key [4.2.2].
#[must_use]
pub fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}
