//! TLS 1.2 and 1.3 as a layer, by rustls without its buffers.
//!
//! [`Context`] is what the connections of a listener share: certificates, authorities, keys of
//! session tickets. A new one replaces it at a reload; connections keep the one they began with.

mod client;
mod context;
mod day;
mod error_text;
mod hello;
mod identity;
mod layer;
mod remote;
mod resolver;
#[cfg(test)]
mod tests;
mod tickets;
mod validity;

pub use client::{ClientMaterial, TlsClient};
pub use context::{ClientCertificate, Context, Material, Named, Problem, Settings, VersionMin};
pub use identity::IdentitySource;
pub use layer::Tls;
pub use remote::{AnyCertificate, RemoteWords};
pub use tickets::Tickets;
pub use validity::{ends_s, incomplete_chains, warnings};

/// The protocol name of MQTT in ALPN.
pub const ALPN_MQTT: &[u8] = b"mqtt";
/// The protocol name that browsers send for WebSocket.
pub const ALPN_HTTP: &[u8] = b"http/1.1";
