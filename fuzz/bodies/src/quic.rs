//! Datagrams into connections of QUIC: those of a real client, changed, cut, repeated and from anywhere, and any bytes.
//! Nothing panics; an address that has not been shown is never sent more than has come from there; and the client is served,
//! unless its handshake was broken.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig,
};
use ringmq::time::{Span, Time};
use ringmq::transport::quic::{Context, Event, Quic, Read};
use ringmq::transport::tls::{self, Material, Named, Settings, ALPN_MQTT};
use rustls::crypto::ring;
use rustls::RootCertStore;

use crate::choices::Choices;
use crate::features::note;

const STEPS_MAX: usize = 60;
/// The client that behaves, and everybody else.
const GOOD: u16 = 1;
const TURNS_MAX: usize = 200;

/// See the module.
pub fn body(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut world = World::new();
    let mut seen: Vec<Vec<u8>> = vec![world.client.first.clone()];
    for _ in 0..STEPS_MAX {
        if choices.is_empty() {
            break;
        }
        let datagram = datagram(&mut choices, &seen);
        let from = u16::from(choices.byte() % 4) + 2;
        let answers = world.strange(from, &datagram);
        seen.extend(answers);
        match choices.byte() {
            0..60 => world.now = world.now + Span::from_millis(u64::from(choices.short())),
            60..120 => seen.extend(world.one_turn()),
            _ => {}
        }
        seen.truncate(64);
    }
    world.is_served();
    let stats = *world.quic.stats();
    note((
        stats.retries.min(8),
        world.admitted.min(4),
        stats.opened,
        stats.failed.min(4),
        stats.moved.min(4),
    ));
}

/// Something that was seen, changed here and there, or any bytes.
fn datagram(choices: &mut Choices<'_>, seen: &[Vec<u8>]) -> Vec<u8> {
    if choices.below(4) == 0 {
        return choices.data().to_vec();
    }
    let mut bytes = seen[choices.below(seen.len())].clone();
    for _ in 0..choices.below(4) {
        if !bytes.is_empty() {
            let at = usize::from(choices.short()) % bytes.len();
            bytes[at] = choices.byte();
        }
    }
    if choices.below(6) == 0 {
        bytes.truncate(usize::from(choices.short()) % (bytes.len() + 1));
    }
    bytes
}

fn address(number: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 20_000 + number))
}

struct Client {
    endpoint: Endpoint,
    connection: Connection,
    handle: ConnectionHandle,
    first: Vec<u8>,
    has_said: bool,
    received: Vec<u8>,
}

struct World {
    quic: Quic,
    client: Client,
    now: Time,
    began: Instant,
    /// Bytes from addresses that no client is at, less those to them.
    balance: HashMap<SocketAddr, i64>,
    admitted: u64,
    /// Of the client, not delivered yet.
    waiting: Vec<Vec<u8>>,
}

impl World {
    fn new() -> Self {
        let made = made();
        let began = Instant::now();
        let quic = Quic::new(&made.context, (0, 1), &[7; 32], began);
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
        let (handle, mut connection) = endpoint
            .connect(began, made.client.clone(), address(0), "broker.example")
            .expect("an address and a name");
        let mut first = Vec::new();
        let begins = connection.poll_transmit(began, 1, &mut first);
        assert!(begins.is_some());
        let waiting = vec![first.clone()];
        Self {
            quic,
            client: Client {
                endpoint,
                connection,
                handle,
                first,
                has_said: false,
                received: Vec::new(),
            },
            now: Time::ZERO,
            began,
            balance: HashMap::new(),
            admitted: 0,
            waiting,
        }
    }

    /// A datagram that is not the client's, or not from where it is; returns what others are sent.
    fn strange(&mut self, from: u16, datagram: &[u8]) -> Vec<Vec<u8>> {
        *self.balance.entry(address(from)).or_default() += datagram.len() as i64;
        self.give(from, datagram);
        self.carry()
    }

    fn give(&mut self, from: u16, datagram: &[u8]) {
        let admitted = &mut self.admitted;
        let mut admit = |_| {
            *admitted += 1;
            true
        };
        self.quic
            .handle_datagram(address(from), datagram, &mut admit, self.now);
        if self.quic.poll_timeout().is_some_and(|due| due <= self.now) {
            self.quic.handle_timeout(self.now);
        }
    }

    /// Answers go where they are sent to.
    fn carry(&mut self) -> Vec<Vec<u8>> {
        while let Some(event) = self.quic.poll_event() {
            if let Event::Readable(key) = event {
                while let Read::Bytes(bytes) = self.quic.read(key, 100, self.now) {
                    let taken = self.quic.write(key, &bytes, self.now);
                    assert_eq!(taken, bytes.len(), "it is little");
                }
            }
        }
        self.quic.handle_turn(self.now);
        let outgoing = self.quic.outgoing();
        let outgoing: Vec<_> = outgoing
            .map(|one| (one.address, one.bytes.to_vec()))
            .collect();
        self.quic.handle_sent();
        let mut all = Vec::new();
        for (to, bytes) in outgoing {
            if to == address(GOOD) {
                self.arrive(&bytes);
            } else {
                let balance = self.balance.entry(to).or_default();
                *balance -= bytes.len() as i64;
                assert!(*balance >= 0, "{to} is sent more than has come from there");
            }
            all.push(bytes);
        }
        all
    }

    fn arrive(&mut self, bytes: &[u8]) {
        let at = self.began + Duration::from_nanos(self.now.0);
        let mut answer = Vec::new();
        let client = &mut self.client;
        let event = client
            .endpoint
            .handle(at, address(0), None, None, bytes.into(), &mut answer);
        if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
            client.connection.handle_event(event);
        }
    }

    /// The client does what it has to do, and what it sends arrives.
    fn one_turn(&mut self) -> Vec<Vec<u8>> {
        let at = self.began + Duration::from_nanos(self.now.0);
        let client = &mut self.client;
        if client
            .connection
            .poll_timeout()
            .is_some_and(|due| due <= at)
        {
            client.connection.handle_timeout(at);
        }
        while let Some(event) = client.connection.poll_endpoint_events() {
            if let Some(event) = client.endpoint.handle_event(client.handle, event) {
                client.connection.handle_event(event);
            }
        }
        while client.connection.poll().is_some() {}
        if !client.has_said && !client.connection.is_handshaking() {
            if let Some(stream) = client.connection.streams().open(Dir::Bi) {
                let said = client.connection.send_stream(stream).write(b"hello");
                client.has_said = said == Ok(5);
            }
        }
        let stream = quinn_proto::StreamId::new(quinn_proto::Side::Client, Dir::Bi, 0);
        if client.has_said {
            if let Ok(mut chunks) = client.connection.recv_stream(stream).read(true) {
                while let Ok(Some(chunk)) = chunks.next(100) {
                    client.received.extend_from_slice(&chunk.bytes);
                }
                let _ = chunks.finalize();
            }
        }
        loop {
            let mut bytes = Vec::new();
            if client.connection.poll_transmit(at, 1, &mut bytes).is_none() {
                break;
            }
            self.waiting.push(bytes);
        }
        let sent = std::mem::take(&mut self.waiting);
        for bytes in &sent {
            self.give(GOOD, bytes);
        }
        let mut all = self.carry();
        all.extend(sent);
        all
    }

    fn is_served(&mut self) {
        for _ in 0..TURNS_MAX {
            if self.client.received == b"hello" || self.client.connection.is_closed() {
                break;
            }
            self.one_turn();
            self.now = self.now + Span::from_millis(100);
        }
        // Before a handshake has keys of its own, whoever sees it may end it (RFC 9000 section 21.2), and so may our changes.
        let is_lost = self.client.connection.is_closed();
        assert!(
            is_lost || self.client.received == b"hello",
            "the client is served"
        );
    }
}

struct Made {
    context: Arc<Context>,
    client: ClientConfig,
}

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["broker.example".into()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        let named = |text: String| Named {
            name: "made".into(),
            bytes: text.into_bytes(),
        };
        let material = Material {
            certificates: vec![(named(certificate.pem()), named(key.serialize_pem()))],
            ..Material::default()
        };
        let context =
            tls::Context::new(&Settings::default(), &material, &[ALPN_MQTT]).expect("a context");
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).expect("a root");
        let mut client =
            rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .expect("TLS 1.3")
                .with_root_certificates(roots)
                .with_no_client_auth();
        client.alpn_protocols = vec![ALPN_MQTT.to_vec()];
        let client = QuicClientConfig::try_from(client).expect("a suite");
        Made {
            context: Arc::new(Context::new(&context)),
            client: ClientConfig::new(Arc::new(client)),
        }
    })
}
