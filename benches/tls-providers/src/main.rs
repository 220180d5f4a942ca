//! What ring and aws-lc-rs cost a server: handshakes by key, resumed ones, and records, in memory and in turn.
//!
//! Each row is timed in rounds that alternate between the two, and told is the median of each, and of their ratio in a
//! round: other work on the machine falls on both. Handshakes count what the server does alone; records one direction from plain bytes to
//! plain bytes, both ends.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};
use rustls::crypto::{aws_lc_rs, ring, CryptoProvider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

const ROUNDS: usize = 15;
const HANDSHAKES: u32 = 60;
const RECORD_BYTES: usize = 16 << 20;

/// The time that something takes with a library.
type Measured<'a> = dyn Fn(&CryptoProvider) -> Duration + 'a;

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Identity {
    fn new(algorithm: &'static SignatureAlgorithm) -> Self {
        let key = match algorithm == &rcgen::PKCS_RSA_SHA256 {
            true => KeyPair::generate_rsa_for(algorithm, rcgen::RsaKeySize::_2048),
            false => KeyPair::generate_for(algorithm),
        };
        let key = key.expect("a key");
        let parameters = CertificateParams::new(vec!["localhost".into()]).expect("a name");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        Self {
            chain: vec![certificate.der().clone()],
            key: key.serialize_der(),
        }
    }

    /// Both ends. The client has always the same library: only the server is measured.
    fn configs(
        &self,
        provider: &CryptoProvider,
        client_provider: &CryptoProvider,
    ) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let mut server = ServerConfig::builder_with_provider(Arc::new(provider.clone()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), key)
            .expect("a pair");
        server.ticketer = match is_ring(provider) {
            true => ring::Ticketer::new().expect("keys"),
            false => aws_lc_rs::Ticketer::new().expect("keys"),
        };
        server.send_tls13_tickets = 1;
        let mut roots = RootCertStore::empty();
        roots.add(self.chain[0].clone()).expect("a root");
        let client = ClientConfig::builder_with_provider(Arc::new(client_provider.clone()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        (Arc::new(server), Arc::new(client))
    }
}

fn is_ring(provider: &CryptoProvider) -> bool {
    format!("{:?}", provider.key_provider) == "Ring"
}

/// With X25519 alone, which both have.
fn with_x25519(mut provider: CryptoProvider) -> CryptoProvider {
    provider
        .kx_groups
        .retain(|group| group.name() == rustls::NamedGroup::X25519);
    provider
}

struct Pair {
    server: ServerConnection,
    client: ClientConnection,
    /// What the server took.
    server_time: Duration,
}

impl Pair {
    fn new((server, client): &(Arc<ServerConfig>, Arc<ClientConfig>)) -> Self {
        let name = ServerName::try_from("localhost").expect("a name");
        let client = ClientConnection::new(client.clone(), name).expect("a client");
        let begun = Instant::now();
        let server = ServerConnection::new(server.clone()).expect("a server");
        let mut it = Self {
            server,
            client,
            server_time: begun.elapsed(),
        };
        while it.server.is_handshaking() || it.client.is_handshaking() || it.server.wants_write() {
            it.pass();
        }
        it
    }

    fn pass(&mut self) {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).expect("memory");
        }
        let begun = Instant::now();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            self.server.read_tls(&mut rest).expect("memory");
            self.server.process_new_packets().expect("TLS");
        }
        let mut answer = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut answer).expect("memory");
        }
        self.server_time += begun.elapsed();
        let mut rest = answer.as_slice();
        while !rest.is_empty() {
            self.client.read_tls(&mut rest).expect("memory");
            self.client.process_new_packets().expect("TLS");
        }
    }
}

fn handshakes(configs: &(Arc<ServerConfig>, Arc<ClientConfig>)) -> Duration {
    let taken: Duration = (0..HANDSHAKES)
        .map(|_| Pair::new(configs).server_time)
        .sum();
    taken / HANDSHAKES
}

/// Time for each record that carries so many bytes, sealed by one end and opened by the other.
fn records(configs: &(Arc<ServerConfig>, Arc<ClientConfig>), size: usize) -> Duration {
    let mut pair = Pair::new(configs);
    let plain = vec![7; size];
    let mut sealed = Vec::with_capacity(size + 64);
    let mut opened = vec![0; size];
    let count = (RECORD_BYTES / size) as u32;
    let begun = Instant::now();
    for _ in 0..count {
        pair.server.writer().write_all(&plain).expect("room");
        sealed.clear();
        while pair.server.wants_write() {
            pair.server.write_tls(&mut sealed).expect("memory");
        }
        let mut rest = sealed.as_slice();
        while !rest.is_empty() {
            pair.client.read_tls(&mut rest).expect("memory");
            pair.client.process_new_packets().expect("TLS");
        }
        pair.client
            .reader()
            .read_exact(&mut opened)
            .expect("all of it");
    }
    begun.elapsed() / count
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn compare(what: &str, first: &CryptoProvider, second: &CryptoProvider, measure: &Measured<'_>) {
    let mut times = (Vec::new(), Vec::new());
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let one = measure(first).as_secs_f64() * 1e6;
        let other = measure(second).as_secs_f64() * 1e6;
        times.0.push(one);
        times.1.push(other);
        ratios.push(other / one);
    }
    let (one, other) = (median(times.0), median(times.1));
    println!(
        "{what:<44} {one:>9.2} {other:>11.2} {:>7.2}",
        median(ratios)
    );
}

fn main() {
    let (ring, aws) = (
        with_x25519(ring::default_provider()),
        with_x25519(aws_lc_rs::default_provider()),
    );
    println!(
        "{:<44} {:>9} {:>11} {:>7}",
        "us", "ring", "aws-lc-rs", "times"
    );
    let keys: [(&str, &'static SignatureAlgorithm); 3] = [
        ("ECDSA P-256", &rcgen::PKCS_ECDSA_P256_SHA256),
        ("RSA 2048", &rcgen::PKCS_RSA_SHA256),
        ("Ed25519", &rcgen::PKCS_ED25519),
    ];
    for (name, algorithm) in keys {
        let identity = Identity::new(algorithm);
        let full = |provider: &CryptoProvider| {
            let (server, client) = identity.configs(provider, &ring);
            let mut client = ClientConfig::clone(&client);
            client.resumption = rustls::client::Resumption::disabled();
            handshakes(&(server, Arc::new(client)))
        };
        compare(&format!("handshake, {name}"), &ring, &aws, &full);
    }
    let identity = Identity::new(&rcgen::PKCS_ECDSA_P256_SHA256);
    let resumed = |provider: &CryptoProvider| {
        let configs = identity.configs(provider, &ring);
        let _ = Pair::new(&configs); // its ticket
        handshakes(&configs)
    };
    compare("handshake, resumed", &ring, &aws, &resumed);
    for size in [16, 1 << 10, 16 << 10] {
        let both = |provider: &CryptoProvider| records(&identity.configs(provider, provider), size);
        compare(
            &format!("record of {size} bytes, both ends"),
            &ring,
            &aws,
            &both,
        );
    }
    let hybrid = aws_lc_rs::default_provider(); // X25519MLKEM768 first
    let full = |provider: &CryptoProvider| {
        let (server, client) = identity.configs(provider, provider);
        let mut client = ClientConfig::clone(&client);
        client.resumption = rustls::client::Resumption::disabled();
        handshakes(&(server, Arc::new(client)))
    };
    compare(
        "aws-lc-rs: X25519, and with ML-KEM 768",
        &aws,
        &hybrid,
        &full,
    );
}
