//! Shards of a broker that repeats what it reads, clients, and what lies between them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig,
    StreamId, VarInt,
};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::RootCertStore;

use crate::prng::Prng;
use crate::time::{Span, Time};
use crate::transport::quic::{shard_of_datagram, Context, Event, Key, Quic, QuicStats, Read};
use crate::transport::tls;

#[derive(Clone, Copy)]
pub(super) struct Conditions {
    /// Of a hundred datagrams.
    pub(super) loss: u64,
    pub(super) copies: u64,
    pub(super) delay_ms: (u64, u64),
}

struct Client {
    endpoint: Endpoint,
    connection: Connection,
    handle: ConnectionHandle,
    address: SocketAddr,
    stream: Option<StreamId>,
    unsent: Vec<u8>,
    received: Vec<u8>,
    is_closed: bool,
}

/// A datagram on its way: when it arrives, its number, from where to where.
type Flight = Reverse<(Time, u64, SocketAddr, Option<SocketAddr>, Vec<u8>)>;

pub(super) struct Network {
    pub(super) now: Time,
    began: Instant,
    shards: Vec<Quic>,
    /// Bytes read of streams, for which these have no room yet.
    owed: HashMap<(usize, Key), Vec<u8>>,
    clients: Vec<Client>,
    flights: BinaryHeap<Flight>,
    conditions: Conditions,
    prng: Prng,
    number: u64,
    next_port: u16,
    admitted: u64,
    events: Vec<Event>,
    pub(super) does_read: bool,
    config: ClientConfig,
}

impl Network {
    pub(super) fn new(shards: u16, seed: u64, conditions: Conditions) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["broker.example".into()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let named = |text: String| tls::Named {
            name: "test".into(),
            bytes: text.into_bytes(),
        };
        let material = tls::Material {
            certificates: vec![(named(certificate.pem()), named(key.serialize_pem()))],
            ..tls::Material::default()
        };
        let settings = tls::Settings::default();
        let context = tls::Context::new(&settings, &material, &[tls::ALPN_MQTT]).unwrap();
        let context = Arc::new(Context::new(&context));
        let began = Instant::now();
        let shard = |shard| Quic::new(&context, (shard, shards), &[shard as u8 + 1; 32], began);
        Self {
            now: Time::ZERO,
            began,
            shards: (0..shards).map(shard).collect(),
            owed: HashMap::new(),
            clients: Vec::new(),
            flights: BinaryHeap::new(),
            conditions,
            prng: Prng::new(seed),
            number: 0,
            next_port: 1_000,
            admitted: 0,
            events: Vec::new(),
            does_read: true,
            config: client_config(certificate.der()),
        }
    }

    fn address(&mut self) -> SocketAddr {
        self.next_port += 1;
        SocketAddr::from(([10, 0, 0, 1], self.next_port))
    }

    pub(super) fn connect(&mut self) -> usize {
        let address = self.address();
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
        let at = self.instant();
        let to = SocketAddr::from(([10, 0, 0, 9], 14_567));
        let (handle, connection) = endpoint
            .connect(at, self.config.clone(), to, "broker.example")
            .unwrap();
        self.clients.push(Client {
            endpoint,
            connection,
            handle,
            address,
            stream: None,
            unsent: Vec::new(),
            received: Vec::new(),
            is_closed: false,
        });
        self.turn();
        self.clients.len() - 1
    }

    pub(super) fn send(&mut self, client: usize, bytes: &[u8]) {
        self.clients[client].unsent.extend_from_slice(bytes);
        self.turn();
    }

    pub(super) fn move_client(&mut self, client: usize) {
        self.clients[client].address = self.address();
    }

    pub(super) fn close(&mut self, client: usize) {
        let at = self.instant();
        let client = &mut self.clients[client].connection;
        client.close(at, VarInt::from_u32(0), Default::default());
        self.turn();
    }

    /// The first datagram of a client, without a network.
    pub(super) fn first_datagram(&mut self) -> Vec<u8> {
        self.connect();
        let Reverse((.., bytes)) = self.flights.pop().unwrap();
        self.flights.clear();
        bytes
    }

    /// What a client sends after a Retry.
    pub(super) fn second_datagram(&mut self) -> Vec<u8> {
        let first = self.first_datagram();
        let address = self.clients[0].address;
        let retry = self.deliver(address, &first).remove(0);
        self.flights.clear();
        self.arrive_at_client(address, &retry);
        self.turn();
        let Reverse((.., bytes)) = self.flights.pop().unwrap();
        self.flights.clear();
        bytes
    }

    pub(super) fn deliver_own(&mut self, bytes: &[u8]) {
        let address = self.clients[0].address;
        self.deliver(address, bytes);
    }

    pub(super) fn deliver_from(&mut self, host: u16, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.deliver(SocketAddr::from(([10, 1, 0, 1], 2_000 + host)), bytes)
    }

    /// Gives the shard a datagram and returns what it answers.
    fn deliver(&mut self, from: SocketAddr, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.arrive_at_shard(from, bytes);
        let quic = &mut self.shards[0];
        quic.handle_turn(self.now);
        let answers = quic.outgoing().map(|one| one.bytes.to_vec()).collect();
        quic.handle_sent();
        answers
    }

    /// All streams are written something, and end.
    pub(super) fn say_and_finish(&mut self, bytes: &[u8]) {
        for (shard, key) in self.owed.keys().copied().collect::<Vec<_>>() {
            let taken = self.shards[shard].write(key, bytes, self.now);
            assert_eq!(taken, bytes.len(), "there is room");
            self.shards[shard].finish(key, self.now);
        }
        self.turn();
    }

    /// What was left unread is read.
    pub(super) fn wake(&mut self) {
        for (shard, key) in self.owed.keys().copied().collect::<Vec<_>>() {
            self.repeat(shard, key);
        }
        self.turn();
    }

    pub(super) fn received(&self, client: usize) -> &[u8] {
        &self.clients[client].received
    }

    pub(super) fn unsent(&self, client: usize) -> usize {
        self.clients[client].unsent.len()
    }

    pub(super) fn is_closed(&self, client: usize) -> bool {
        self.clients[client].is_closed
    }

    pub(super) fn shard(&self, shard: usize) -> &Quic {
        &self.shards[shard]
    }

    pub(super) fn shard_mut(&mut self, shard: usize) -> &mut Quic {
        &mut self.shards[shard]
    }

    pub(super) fn key(&self) -> Key {
        self.owed.keys().next().expect("one is open").1
    }

    pub(super) fn last_event(&self) -> Option<&Event> {
        self.events.last()
    }

    pub(super) fn admitted(&self) -> u64 {
        self.admitted
    }

    pub(super) fn stats(&self) -> QuicStats {
        let mut all = QuicStats::default();
        self.shards.iter().for_each(|quic| all.add(quic.stats()));
        all
    }

    /// Each that was admitted has opened its stream, has failed, or is at it.
    pub(super) fn audit(&self) {
        let stats = self.stats();
        let half_open: usize = self.shards.iter().map(Quic::half_open).sum();
        let known = stats.opened + stats.failed + half_open as u64;
        assert_eq!(self.admitted, known, "{stats:?}");
    }

    fn instant(&self) -> Instant {
        self.began + Duration::from_nanos(self.now.0)
    }

    pub(super) fn wait(&mut self, span: Span) {
        let end = self.now + span;
        while self.step(end) {}
        self.now = end;
    }

    /// Until something is so; fails when that takes longer.
    pub(super) fn run(&mut self, longest: Span, mut is_so: impl FnMut(&mut Self) -> bool) {
        let end = self.now + longest;
        while !is_so(self) {
            assert!(self.step(end), "nothing happens any more");
        }
    }

    /// The next thing that happens, if it does before `end`.
    fn step(&mut self, end: Time) -> bool {
        let arrival = self.flights.peek().map(|Reverse((at, ..))| *at);
        let timers = self.shards.iter().filter_map(Quic::poll_timeout).min();
        let began = self.began;
        let of_client = |client: &mut Client| {
            let due = client.connection.poll_timeout()?;
            Some(Time(due.saturating_duration_since(began).as_nanos() as u64))
        };
        let own = self.clients.iter_mut().filter_map(of_client).min();
        let next = [arrival, timers, own].into_iter().flatten().min();
        let Some(next) = next.filter(|at| *at <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        while let Some(Reverse((at, ..))) = self.flights.peek() {
            if *at > self.now {
                break;
            }
            let Some(Reverse((_, _, from, to, bytes))) = self.flights.pop() else {
                break;
            };
            match to {
                None => self.arrive_at_shard(from, &bytes),
                Some(to) => self.arrive_at_client(to, &bytes),
            }
        }
        let at = self.instant();
        for client in &mut self.clients {
            if client
                .connection
                .poll_timeout()
                .is_some_and(|due| due <= at)
            {
                client.connection.handle_timeout(at);
            }
        }
        for quic in &mut self.shards {
            quic.handle_timeout(self.now);
        }
        self.turn();
        true
    }

    fn arrive_at_shard(&mut self, from: SocketAddr, bytes: &[u8]) {
        let shard = usize::from(shard_of_datagram(bytes, self.shards.len() as u16));
        let admitted = &mut self.admitted;
        let mut admit = |_| {
            *admitted += 1;
            true
        };
        self.shards[shard].handle_datagram(from, bytes, &mut admit, self.now);
    }

    fn arrive_at_client(&mut self, to: SocketAddr, bytes: &[u8]) {
        let at = self.instant();
        // What is on its way to where it was is lost.
        let Some(client) = self.clients.iter_mut().find(|it| it.address == to) else {
            return;
        };
        let from = SocketAddr::from(([10, 0, 0, 9], 14_567));
        let data = BytesMut::from(bytes);
        let mut answer = Vec::new();
        let event = client
            .endpoint
            .handle(at, from, None, None, data, &mut answer);
        if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
            client.connection.handle_event(event);
        }
    }

    /// Clients and shards do what there is to do, and send.
    fn turn(&mut self) {
        for client in 0..self.clients.len() {
            self.turn_of_client(client);
        }
        for shard in 0..self.shards.len() {
            while let Some(event) = self.shards[shard].poll_event() {
                match &event {
                    Event::Opened { key, .. } => {
                        self.owed.insert((shard, *key), Vec::new());
                    }
                    Event::Readable(key) | Event::Writable(key) => self.repeat(shard, *key),
                    Event::Ended { key, .. } => {
                        self.owed.remove(&(shard, *key));
                    }
                    Event::Failed { .. } => {}
                }
                self.events.push(event);
            }
            self.shards[shard].handle_turn(self.now);
            let outgoing = self.shards[shard].outgoing();
            let outgoing: Vec<_> = outgoing
                .map(|one| (one.address, one.bytes.to_vec()))
                .collect();
            self.shards[shard].handle_sent();
            let from = SocketAddr::from(([10, 0, 0, 9], 14_567));
            for (to, bytes) in outgoing {
                self.fly(from, Some(to), bytes);
            }
        }
    }

    /// The broker says what it hears.
    fn repeat(&mut self, shard: usize, key: Key) {
        let (now, quic) = (self.now, &mut self.shards[shard]);
        let Some(owed) = self.owed.get_mut(&(shard, key)).filter(|_| self.does_read) else {
            return;
        };
        loop {
            let taken = quic.write(key, owed, now);
            owed.drain(..taken);
            if !owed.is_empty() {
                return;
            }
            match quic.read(key, 4_096, now) {
                Read::Bytes(bytes) => owed.extend_from_slice(&bytes),
                Read::Nothing | Read::End => return,
            }
        }
    }

    fn turn_of_client(&mut self, index: usize) {
        let at = self.instant();
        let client = &mut self.clients[index];
        loop {
            if let Some(event) = client.connection.poll_endpoint_events() {
                if let Some(event) = client.endpoint.handle_event(client.handle, event) {
                    client.connection.handle_event(event);
                }
                continue;
            }
            match client.connection.poll() {
                Some(quinn_proto::Event::ConnectionLost { .. }) => client.is_closed = true,
                Some(_) => {}
                None => break,
            }
        }
        if client.stream.is_none() && !client.unsent.is_empty() {
            client.stream = client.connection.streams().open(Dir::Bi);
        }
        if let Some(stream) = client.stream {
            let mut sent = 0;
            while sent < client.unsent.len() {
                match client
                    .connection
                    .send_stream(stream)
                    .write(&client.unsent[sent..])
                {
                    Ok(count) => sent += count,
                    Err(_) => break,
                }
            }
            client.unsent.drain(..sent);
            if let Ok(mut chunks) = client.connection.recv_stream(stream).read(true) {
                while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                    client.received.extend_from_slice(&chunk.bytes);
                }
                let _ = chunks.finalize();
            }
        }
        let from = client.address;
        let mut all = Vec::new();
        loop {
            let mut bytes = Vec::new();
            let transmit = self.clients[index]
                .connection
                .poll_transmit(at, 1, &mut bytes);
            if transmit.is_none() {
                break;
            }
            all.push(bytes);
        }
        for bytes in all {
            self.fly(from, None, bytes);
        }
    }

    fn fly(&mut self, from: SocketAddr, to: Option<SocketAddr>, bytes: Vec<u8>) {
        let Conditions {
            loss,
            copies,
            delay_ms: (least, most),
        } = self.conditions;
        let count = match self.prng.draw() % 100 {
            drawn if drawn < loss => 0,
            drawn if drawn < loss + copies => 2,
            _ => 1,
        };
        for _ in 0..count {
            self.number += 1;
            let delay = Span::from_millis(least + self.prng.draw() % (most - least + 1));
            let flight = (self.now + delay, self.number, from, to, bytes.clone());
            self.flights.push(Reverse(flight));
        }
    }
}

fn client_config(certificate: &CertificateDer<'static>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![tls::ALPN_MQTT.to_vec()];
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}
