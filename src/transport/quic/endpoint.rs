//! One shard's connections on one listener.

use std::collections::{BinaryHeap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use quinn_proto::{ConnectionHandle, DatagramEvent, Dir, Endpoint, Incoming, StreamEvent, VarInt};
use rustls::pki_types::CertificateDer;

use super::clock::{Moment, Moments};
use super::connection::{Connection, Deadline, Key};
use super::context::{endpoint_config, Context, Own};
use super::stats::QuicStats;
use crate::time::{Span, Time};

/// Connections of a shard that have not opened their stream: each has shown its address, and costs a handshake.
const HALF_OPEN_MAX: usize = 1_024;
/// Until a connection has opened its stream; then `connect-timeout` counts. And until its last bytes are acknowledged.
pub(super) const PATIENCE: Span = Span::from_secs(10);
/// Codes of CONNECTION_CLOSE, as brokers use them.
pub(super) const NO_ERROR: u32 = 0;
const CONTROL_STREAM_DOWN: u32 = 1;

/// News of a connection.
#[derive(Debug)]
pub enum Event {
    /// It has opened its stream.
    Opened {
        key: Key,
        address: SocketAddr,
        /// The user name that its certificate gives.
        identity: Option<Box<str>>,
    },
    /// Its stream may have bytes, or its end.
    Readable(Key),
    /// Its stream may have room again.
    Writable(Key),
    /// It has ended: no event of it follows.
    Ended { key: Key, text: Box<str> },
    /// It has ended before it opened its stream.
    Failed { address: SocketAddr, text: Box<str> },
}

/// A datagram to send.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub address: SocketAddr,
    pub bytes: &'a [u8],
}

/// Whether the listener takes one more connection from an address.
pub type Admit<'a> = &'a mut dyn FnMut(IpAddr) -> bool;

/// See the module.
pub struct Quic {
    pub(super) endpoint: Endpoint,
    pub(super) own: Own,
    pub(super) context: Arc<Context>,
    pub(super) moments: Moments,
    /// By handle.
    pub(super) connections: Vec<Option<Connection>>,
    /// How many there were.
    generation: u32,
    pub(super) half_open: usize,
    pub(super) timers: BinaryHeap<Deadline>,
    /// May have something to send.
    pub(super) listed: VecDeque<u32>,
    events: VecDeque<Event>,
    bytes: Vec<u8>,
    pub(super) written: Vec<(SocketAddr, usize)>,
    /// One answer of the endpoint, or datagram of a connection.
    pub(super) packet: Vec<u8>,
    stats: QuicStats,
}

impl Quic {
    /// `began` stands for time 0. `seed` is a secret, and another one each time.
    #[must_use]
    pub fn new(
        context: &Arc<Context>,
        (shard, shards): (u16, u16),
        seed: &[u8; 32],
        began: Moment,
    ) -> Self {
        let own = Own::new(seed);
        let config = Arc::new(endpoint_config(seed, shard, shards));
        let endpoint = Endpoint::new(config, Some(context.server(&own)), true, None);
        Self {
            endpoint,
            own,
            context: Arc::clone(context),
            moments: Moments::from(began),
            connections: Vec::new(),
            generation: 0,
            half_open: 0,
            timers: BinaryHeap::new(),
            listed: VecDeque::new(),
            events: VecDeque::new(),
            bytes: Vec::new(),
            written: Vec::new(),
            packet: Vec::new(),
            stats: QuicStats::default(),
        }
    }

    /// Other certificates from now on, for connections that begin.
    pub fn handle_context(&mut self, context: &Arc<Context>) {
        if !Arc::ptr_eq(context, &self.context) {
            self.context = Arc::clone(context);
            let server = context.server(&self.own);
            self.endpoint.set_server_config(Some(server));
        }
    }

    /// A datagram has come from an address.
    pub fn handle_datagram(
        &mut self,
        address: SocketAddr,
        datagram: &[u8],
        admit: Admit<'_>,
        now: Time,
    ) {
        self.stats.received += 1;
        self.own.clock().set(now);
        self.packet.clear();
        let data = BytesMut::from(datagram);
        let at = self.moments.at(now);
        let event = self
            .endpoint
            .handle(at, address, None, None, data, &mut self.packet);
        match event {
            None => {}
            Some(DatagramEvent::Response(transmit)) => self.queue(transmit.destination),
            Some(DatagramEvent::NewConnection(incoming)) => self.begin(incoming, admit, now),
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(Some(connection)) = self.connections.get_mut(handle.0) {
                    connection.inner.handle_event(event);
                    self.settle(handle, now);
                }
            }
        }
    }

    /// A client begins. It has no state before it has shown, by the token of a Retry, that it gets what is sent to it.
    fn begin(&mut self, incoming: Incoming, admit: Admit<'_>, now: Time) {
        let address = incoming.remote_address();
        self.packet.clear();
        if !incoming.remote_address_validated() {
            self.stats.retries += 1;
            match self.endpoint.retry(incoming, &mut self.packet) {
                Ok(_) => self.queue(address),
                Err(error) => self.endpoint.ignore(error.into_incoming()),
            }
            return;
        }
        if self.half_open >= HALF_OPEN_MAX || !admit(address.ip()) {
            self.stats.refused += 1;
            let _ = self.endpoint.refuse(incoming, &mut self.packet); // to where it came from
            self.queue(address);
            return;
        }
        let at = self.moments.at(now);
        match self.endpoint.accept(incoming, at, &mut self.packet, None) {
            Ok((handle, inner)) => {
                self.generation = self.generation.wrapping_add(1);
                let connection = Connection {
                    inner,
                    handle,
                    generation: self.generation,
                    stream: None,
                    is_told: true,
                    is_ended: false,
                    deadline: now + PATIENCE,
                    armed: Time::FAR,
                    is_listed: false,
                    address,
                };
                if self.connections.len() <= handle.0 {
                    self.connections.resize_with(handle.0 + 1, || None);
                }
                self.connections[handle.0] = Some(connection);
                self.half_open += 1;
                self.settle(handle, now);
            }
            Err(error) => {
                if error.response.is_some() {
                    self.queue(address);
                }
                self.failed(address, &error.cause.to_string());
            }
        }
    }

    /// Passes on what a connection has to say, after something was done with it.
    pub(super) fn settle(&mut self, handle: ConnectionHandle, now: Time) {
        let mut is_drained = false;
        while let Some(connection) = self.connections[handle.0].as_mut() {
            if let Some(event) = connection.inner.poll_endpoint_events() {
                is_drained |= event.is_drained();
                let answer = self.endpoint.handle_event(handle, event);
                if let Some(answer) = answer {
                    connection.inner.handle_event(answer);
                }
                continue;
            }
            match connection.inner.poll() {
                Some(event) => self.take_event(handle, event, now),
                None => break,
            }
        }
        if is_drained {
            self.connections[handle.0] = None;
            return;
        }
        let Some(connection) = self.connections[handle.0].as_mut() else {
            return;
        };
        let address = connection.inner.remote_address();
        if connection.address != address {
            connection.address = address;
            self.stats.moved += 1;
        }
        if !connection.is_listed {
            connection.is_listed = true;
            self.listed.push_back(handle.0 as u32);
        }
        self.arm(handle.0);
    }

    fn take_event(&mut self, handle: ConnectionHandle, event: quinn_proto::Event, now: Time) {
        let Some(connection) = self.connections[handle.0].as_mut() else {
            return;
        };
        let key = connection.key();
        let is_its = |id| connection.stream == Some(id);
        match event {
            quinn_proto::Event::Stream(StreamEvent::Opened { dir: Dir::Bi }) => {
                self.stream_opened(handle, now);
            }
            quinn_proto::Event::Stream(StreamEvent::Readable { id }) if is_its(id) => {
                self.tell(handle, Event::Readable(key));
            }
            quinn_proto::Event::Stream(StreamEvent::Writable { id }) if is_its(id) => {
                self.tell(handle, Event::Writable(key));
            }
            // Everything has arrived, or the client does not want it: Q-1, its end is that of the connection.
            quinn_proto::Event::Stream(StreamEvent::Finished { id }) if is_its(id) => {
                self.shut(handle, NO_ERROR, b"", now);
            }
            quinn_proto::Event::Stream(StreamEvent::Stopped { id, .. }) if is_its(id) => {
                self.shut(handle, CONTROL_STREAM_DOWN, b"the stream was stopped", now);
            }
            quinn_proto::Event::ConnectionLost { reason } => {
                self.ended(handle, &reason.to_string());
            }
            _ => {}
        }
    }

    fn stream_opened(&mut self, handle: ConnectionHandle, now: Time) {
        let identity = self.context.identity;
        let Some(connection) = self.connections[handle.0].as_mut() else {
            return;
        };
        let Some(stream) = connection.inner.streams().accept(Dir::Bi) else {
            return;
        };
        let chain = connection.inner.crypto_session().peer_identity();
        let chain = chain.and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
        let certificate = chain.as_ref().and_then(|chain| chain.first());
        let name = match (identity, certificate) {
            (Some(source), Some(certificate)) => source.read(certificate).map(Some),
            _ => Ok(None),
        };
        match name {
            Ok(identity) => {
                connection.stream = Some(stream);
                connection.deadline = Time::FAR;
                self.half_open -= 1;
                self.stats.opened += 1;
                let (key, address) = (connection.key(), connection.address);
                self.events.push_back(Event::Opened {
                    key,
                    address,
                    identity,
                });
                self.events.push_back(Event::Readable(key));
            }
            Err(error) => {
                self.ended(handle, &error.0);
                self.shut(handle, CONTROL_STREAM_DOWN, error.0.as_bytes(), now);
            }
        }
    }

    /// An event, unless its user has finished with it.
    fn tell(&mut self, handle: ConnectionHandle, event: Event) {
        let connection = self.connections[handle.0].as_ref();
        if connection.is_some_and(|connection| connection.is_told && !connection.is_ended) {
            self.events.push_back(event);
        }
    }

    /// It is no connection any more for its user.
    pub(super) fn ended(&mut self, handle: ConnectionHandle, text: &str) {
        let Some(connection) = self.connections[handle.0].as_mut() else {
            return;
        };
        if std::mem::replace(&mut connection.is_ended, true) {
            return;
        }
        connection.deadline = Time::FAR;
        let (key, address) = (connection.key(), connection.address);
        if connection.stream.is_none() {
            self.half_open -= 1;
            self.failed(address, text);
        } else if connection.is_told {
            let text = text.into();
            self.events.push_back(Event::Ended { key, text });
        }
    }

    fn failed(&mut self, address: SocketAddr, text: &str) {
        self.stats.failed += 1;
        let text = text.into();
        self.events.push_back(Event::Failed { address, text });
    }

    /// Closes a connection at once: what has not arrived is lost. An event of ours follows, unless it has ended before.
    pub(super) fn shut(&mut self, handle: ConnectionHandle, code: u32, why: &[u8], now: Time) {
        let at = self.moments.at(now);
        if let Some(connection) = self.connections[handle.0].as_mut() {
            let why = Bytes::copy_from_slice(why);
            connection.inner.close(at, VarInt::from_u32(code), why);
        }
        self.ended(handle, "it was closed");
    }

    /// Closes all connections at once, with a word to their clients.
    pub fn close_all(&mut self, now: Time) {
        for index in 0..self.connections.len() {
            if self.connections[index].is_some() {
                self.shut(ConnectionHandle(index), NO_ERROR, b"the broker ends", now);
                self.settle(ConnectionHandle(index), now);
            }
        }
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A datagram is in `packet`.
    pub(super) fn queue(&mut self, address: SocketAddr) {
        self.bytes.extend_from_slice(&self.packet);
        self.written.push((address, self.bytes.len()));
    }

    /// Datagrams to send, in order; forgotten by [`Quic::handle_sent`].
    pub fn outgoing(&self) -> impl ExactSizeIterator<Item = Outgoing<'_>> {
        let mut begin = 0;
        self.written.iter().map(move |(address, end)| {
            let range = std::mem::replace(&mut begin, *end)..*end;
            Outgoing {
                address: *address,
                bytes: &self.bytes[range],
            }
        })
    }

    /// All of [`Quic::outgoing`] was given to the kernel, or there was no room: what matters is sent again.
    pub fn handle_sent(&mut self) {
        self.stats.sent += self.written.len() as u64;
        self.written.clear();
        self.bytes.clear();
        self.bytes.shrink_to(256 << 10);
    }

    /// All connections have ended; some may wait for late packets.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.connections.iter().flatten().all(|it| it.is_ended)
    }

    /// Connections that have not opened their stream.
    #[must_use]
    pub fn half_open(&self) -> usize {
        self.half_open
    }

    #[must_use]
    pub fn stats(&self) -> &QuicStats {
        &self.stats
    }
}
