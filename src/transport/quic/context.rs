//! Context of a listener: certificates and windows, which all its connections share, and secrets of a shard.

use std::sync::Arc;
use std::time::Duration;

use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::crypto::HandshakeTokenKey;
use quinn_proto::{
    EndpointConfig, ServerConfig, TimeSource, TransportConfig, ValidationTokenConfig, VarInt,
};
use ring::{hkdf, hmac};

use super::cid::Ids;
use super::clock::TokenClock;
use crate::transport::tls::{Context as Tls, IdentitySource};

/// Bytes that a client may send on its stream before they are taken. Larger windows than these fill buffers on a network that
/// loses packets, and latency with them; with the defaults of libraries it has been measured at 17 times that of TCP.
const STREAM_WINDOW: u32 = 256 << 10;
/// Bytes that were given to a connection and are not acknowledged: what is beyond them waits in the session's queue.
const SEND_WINDOW: u64 = 256 << 10;
/// A Retry is answered at once.
const RETRY_LIFETIME: Duration = Duration::from_secs(10);
/// Bytes of packets kept for one handshake until it is decided whether it is taken, which is at once, and for all.
const INCOMING_BUFFER: u64 = 16 << 10;
const INCOMING_BUFFERS: u64 = 1 << 20;
/// Bytes of handshake messages that may come out of order: long chains of certificates.
const CRYPTO_BUFFER: usize = 64 << 10;

/// See the module.
pub struct Context {
    server: ServerConfig,
    pub(super) identity: Option<IdentitySource>,
}

/// The part of one shard. All that it has issued comes back to it, so each has secrets of its own.
pub(super) struct Own {
    token: Arc<hkdf::Prk>,
    clock: Arc<TokenClock>,
}

impl Context {
    /// `tls`: of the same files and options as a listener of TLS; of its versions TLS 1.3 is the one that QUIC has.
    ///
    /// # Panics
    /// The cryptography lacks what QUIC needs: that does not depend on files.
    #[must_use]
    pub fn new(tls: &Tls) -> Self {
        let crypto = QuicServerConfig::try_from(tls.config())
            .expect("ring has the suite that every connection begins with");
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(1))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
            .receive_window(VarInt::from_u32(STREAM_WINDOW))
            .send_window(SEND_WINDOW)
            .crypto_buffer_size(CRYPTO_BUFFER)
            // The keep alive of MQTT says when a client is lost, and a client that sleeps is not woken.
            .max_idle_timeout(None)
            .keep_alive_interval(None)
            .enable_segmentation_offload(false);
        // Tokens of Retry alone: those for a next connection would have to be remembered as used.
        let mut tokens = ValidationTokenConfig::default();
        tokens.sent(0);
        // Another key follows for each shard.
        let none = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&[]);
        let mut server = ServerConfig::new(Arc::new(crypto), Arc::new(none));
        server
            .transport_config(Arc::new(transport))
            .retry_token_lifetime(RETRY_LIFETIME)
            .validation_token_config(tokens)
            .incoming_buffer_size(INCOMING_BUFFER)
            .incoming_buffer_size_total(INCOMING_BUFFERS)
            .migration(true);
        Self {
            server,
            identity: tls.identity(),
        }
    }

    pub(super) fn server(&self, own: &Own) -> Arc<ServerConfig> {
        let mut server = self.server.clone();
        server.token_key(Arc::clone(&own.token) as Arc<dyn HandshakeTokenKey>);
        server.time_source(Arc::clone(&own.clock) as Arc<dyn TimeSource>);
        Arc::new(server)
    }
}

impl Own {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        let token = derived(seed, b"token");
        Self {
            token: Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&token)),
            clock: Arc::new(TokenClock::new()),
        }
    }

    pub(super) fn clock(&self) -> &TokenClock {
        &self.clock
    }
}

/// For one shard.
pub(super) fn endpoint_config(seed: &[u8; 32], shard: u16, shards: u16) -> EndpointConfig {
    let reset = hmac::Key::new(hmac::HMAC_SHA256, &derived(seed, b"reset"));
    let mut config = EndpointConfig::new(Arc::new(reset));
    let ids = derived(seed, b"ids");
    config.rng_seed(Some(derived(seed, b"rng")));
    config.cid_generator(move || Box::new(Ids::new(&ids, shard, shards)));
    config
}

/// A secret for one purpose.
fn derived(seed: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, seed);
    let mut secret = [0; 32];
    secret.copy_from_slice(hmac::sign(&key, purpose).as_ref());
    secret
}
