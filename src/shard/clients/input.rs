//! Bytes of a connection to control packets to verbs.

use std::ops::Range;

use bytes::Bytes;

use crate::ids::{ConnectionId, SessionId};
use crate::mqtt::frame::{self, Frame};
use crate::mqtt::violation::Culprit;
use crate::mqtt::{decode, AckKind, PacketType, Sender, Version, Violation};
use crate::shard::clients::flow::Flow;
use crate::shard::clients::hold::Hold;
use crate::shard::clients::outgoing::LARGE_PAYLOAD;
use crate::shard::clients::phase::Phase;
use crate::shard::delivery::publish_run::{Burst, Joined, Publisher, PLAIN_PUBLISH};
use crate::shard::queries::captures::CaptureFlag;
use crate::shard::{Action, Origin, Shard};
use crate::time::Time;

/// Packet types.
const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const SUBSCRIBE: u8 = 8;

impl Shard {
    /// Bytes arrived, in order, cut anywhere.
    pub fn handle_bytes(&mut self, connection: ConnectionId, bytes: &[u8], now: Time) {
        let Some(state) = self.clients.connections.get_mut(connection) else {
            return; // handed off, and the driver has not carried that out yet
        };
        state.count_received(bytes.len());
        self.outbox.stats.bytes_received += bytes.len() as u64;
        self.mesh.peers.read_at = now;
        if state.holds.contains(Hold::NextTurn) || state.holds.keeps_packets() {
            state.partial.extend_from_slice(bytes);
            return;
        }
        let mut rest = bytes;
        if !state.partial.is_empty() {
            let mut partial = std::mem::take(&mut state.partial);
            rest = match self.complete(connection, &mut partial, rest, now) {
                Some(rest) => rest,
                None => return,
            };
        }
        let (used, flow) = self.process(connection, rest, now);
        if used < rest.len() || flow != Flow::Continue {
            self.after(connection, &rest[used..], flow);
        }
    }

    /// Fills up a packet whose start came before; returns the bytes behind it once it is handled.
    fn complete<'a>(
        &mut self,
        connection: ConnectionId,
        partial: &mut Vec<u8>,
        mut rest: &'a [u8],
        now: Time,
    ) -> Option<&'a [u8]> {
        loop {
            // One byte at a time until the length is known, then as much as the packet needs, so
            // that nothing behind it is copied.
            let needed = frame::needed(partial);
            let wanted = needed.map_or(1, |needed| needed - partial.len());
            let take = wanted.min(rest.len());
            make_room(partial, take, needed);
            partial.extend_from_slice(&rest[..take]);
            rest = &rest[take..];
            let is_large = take == wanted && partial.len() >= LARGE_PAYLOAD;
            let (used, flow) = if is_large {
                self.process_gathered(connection, partial, now)
            } else {
                self.process(connection, partial, now)
            };
            if flow != Flow::Continue {
                let mut unread = partial.split_off(used);
                unread.extend_from_slice(rest);
                self.after(connection, &unread, flow);
                return None;
            }
            if used > 0 {
                return Some(rest);
            }
            if rest.is_empty() {
                let state = self.clients.connection_mut(connection);
                state.partial = std::mem::take(partial);
                return None;
            }
        }
    }

    /// Handles a large packet that came in pieces. A queue or window that keeps its payload references the
    /// packet, rather than a copy of the payload.
    fn process_gathered(
        &mut self,
        connection: ConnectionId,
        partial: &mut Vec<u8>,
        now: Time,
    ) -> (usize, Flow) {
        let packet = Bytes::from(std::mem::take(partial));
        self.clients.gathered = Some(packet.clone());
        let (used, flow) = self.process(connection, &packet, now);
        self.clients.gathered = None;
        if flow != Flow::Continue {
            *partial = packet.into();
        }
        (used, flow)
    }

    /// Keeps unread bytes for later, or hands them off with their connection.
    pub(in crate::shard) fn after(&mut self, connection: ConnectionId, unread: &[u8], flow: Flow) {
        match flow {
            Flow::Continue | Flow::Wait | Flow::Pause => {
                let state = self.clients.connection_mut(connection);
                state.partial.extend_from_slice(unread);
                if flow == Flow::Pause {
                    self.clients.pause(connection, &mut self.turn.budget);
                }
            }
            Flow::Stop => {}
            Flow::HandOff(to) => {
                let (origin, bytes) = self.let_go(connection, unread);
                self.outbox.stats.handed_off += 1;
                self.outbox.actions.push_back(Action::HandOff {
                    connection,
                    to,
                    origin,
                    bytes,
                });
            }
            Flow::Relay => {
                let cluster = self.mesh.cluster.as_deref_mut();
                let to = cluster.and_then(|cluster| cluster.relays_to.take());
                let to = to.expect("another node serves it");
                let (origin, bytes) = self.let_go(connection, unread);
                self.outbox.stats.relayed += 1;
                self.outbox.actions.push_back(Action::Relay {
                    connection,
                    to,
                    origin,
                    bytes,
                });
            }
        }
    }

    /// Removes a connection whose CONNECT is being handled, for another home, with what was not handled.
    fn let_go(&mut self, connection: ConnectionId, unread: &[u8]) -> (Origin, Vec<u8>) {
        let state = self.clients.connections.remove(connection);
        let state = state.expect("its CONNECT is being handled");
        if state.phase.is_half_open() {
            self.admission.half_open.leave(state.origin.listener);
        }
        if let Some(timer) = state.timer {
            self.turn.timers.cancel(timer);
        }
        self.outbox.stats.bytes_received -= unread.len() as u64; // they are counted where it goes
        (state.origin, unread.to_vec())
    }

    /// Handles the whole packets at the start of `bytes`; returns how many bytes they took.
    pub(in crate::shard) fn process(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        now: Time,
    ) -> (usize, Flow) {
        let mut burst = None;
        let before = self.outbox.stats.publications_received;
        let (used, end) = self.process_packets(id, bytes, &mut burst, now);
        self.send_burst(&mut burst, bytes, now);
        let messages = self.outbox.stats.publications_received - before;
        if let Some(connection) = self.clients.connections.get_mut(id) {
            connection.activity.publications += messages; // else its CONNECT has closed it
        }
        if self.admission.metering.is_some() {
            self.count_input(id, (messages, used as u64), now);
        }
        match end {
            Ok(flow) => (used, flow),
            Err((error, body)) => {
                self.refuse(id, &bytes[body], error, now);
                (used, Flow::Stop)
            }
        }
    }

    /// The loop of [`Shard::process`]. An error names the body of the packet it is about.
    fn process_packets(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        burst: &mut Option<Burst>,
        now: Time,
    ) -> (usize, Result<Flow, (Violation, Range<usize>)>) {
        let mut at = 0;
        let mut ahead = self.routes.prefetcher();
        while at < bytes.len() {
            let connection = self.clients.connection_mut(id);
            let (phase, version) = (connection.phase, connection.version);
            if connection.holds.keeps_packets() {
                return (at, Ok(Flow::Wait));
            }
            let is_subscribe = bytes[at] >> 4 == SUBSCRIBE;
            if self.turn.budget.postpones(phase, is_subscribe) {
                return (at, Ok(Flow::Pause));
            }
            if let Some(error) = refuses_start(phase, &bytes[at..]) {
                return (at, Err((error, at..bytes.len())));
            }
            let packet_size_max = connection.announced.packet_size_max;
            let frame = match frame::next_frame(&bytes[at..], packet_size_max) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return (at, Err((error, at..at))),
            };
            connection.last_packet = now;
            let is_captured = connection.captured != CaptureFlag::No;
            let mut end = at + frame.length;
            let mut result = Ok(Joined::No);
            let is_publish = frame.first >> 4 == PUBLISH;
            connection.publishes |= is_publish;
            if let (Phase::Live(session), PLAIN_PUBLISH) = (phase, frame.first) {
                let publisher = Publisher::of((id, connection), session);
                result = self.on_plain_publish(burst, &publisher, bytes, (at, &frame), now);
            }
            let flow = match result {
                Ok(Joined::UpTo(joined)) => {
                    end = joined;
                    Ok(Flow::Continue)
                }
                Ok(Joined::No) => {
                    if burst.is_some() {
                        self.send_burst(burst, bytes, now); // no call for each acknowledgement
                    }
                    self.handle_packet(id, phase, version, &frame, now)
                }
                Err(error) => Err(error),
            };
            let is_handled = matches!(flow, Ok(Flow::Continue | Flow::Stop) | Err(_));
            if is_captured && is_handled {
                self.capture_input(id, &bytes[at..end], now);
            }
            match flow {
                Ok(Flow::Continue) => {
                    at = end;
                    if is_publish {
                        self.routes.prefetch_following(&mut ahead, &bytes[at..]);
                    }
                }
                Ok(flow) => return (at, Ok(flow)),
                Err(error) => return (at, Err((error, end - frame.body.len()..end))),
            }
        }
        (at, Ok(Flow::Continue))
    }

    #[inline]
    fn handle_packet(
        &mut self,
        id: ConnectionId,
        phase: Phase,
        version: Version,
        frame: &Frame<'_>,
        now: Time,
    ) -> Result<Flow, Violation> {
        self.outbox.stats.packets[usize::from(frame.first >> 4)] += 1;
        match phase {
            Phase::Live(session) => self.handle_live(id, session, version, frame, now),
            Phase::AwaitLayers | Phase::AwaitConnect => {
                let connect = decode::connect(frame)?;
                self.capture_connect(id, (connect.client_id, connect.version), frame, now);
                self.on_connect(id, &connect, now)
            }
            Phase::Authenticating => self.on_packet_before_connack(id, frame, now),
            Phase::Closing => Ok(Flow::Stop),
        }
    }

    /// A packet of a client that is connected, by its type.
    #[inline]
    fn handle_live(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        version: Version,
        frame: &Frame<'_>,
        now: Time,
    ) -> Result<Flow, Violation> {
        let kind = match frame.packet_type() {
            Some(PacketType::Publish) => {
                let publish = decode::publish_from(version, Sender::Client, frame)?;
                return self.on_publish(id, session, &publish, now);
            }
            Some(PacketType::PubAck) => AckKind::PubAck,
            Some(PacketType::PubRec) => AckKind::PubRec,
            Some(PacketType::PubRel) => AckKind::PubRel,
            Some(PacketType::PubComp) => AckKind::PubComp,
            other => return self.handle_other(id, session, version, (other, frame), now),
        };
        let ack = decode::ack(version, frame)?;
        self.on_ack(id, session, kind, &ack, now);
        Ok(Flow::Continue)
    }

    /// The rarer types.
    fn handle_other(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        version: Version,
        (packet_type, frame): (Option<PacketType>, &Frame<'_>),
        now: Time,
    ) -> Result<Flow, Violation> {
        match packet_type {
            Some(PacketType::Subscribe) => {
                let subscribe = decode::subscribe(version, frame)?;
                self.on_subscribe(id, session, &subscribe, now)
            }
            Some(PacketType::Unsubscribe) => {
                let unsubscribe = decode::unsubscribe(version, frame)?;
                self.on_unsubscribe(id, session, &unsubscribe, now)?;
                Ok(Flow::Continue)
            }
            Some(PacketType::PingReq) => {
                decode::ping(version, frame)?;
                self.on_ping(id);
                Ok(Flow::Continue)
            }
            Some(PacketType::Disconnect) => {
                let disconnect = decode::disconnect(version, Sender::Client, frame)?;
                self.on_disconnect(id, session, &disconnect, now)
            }
            Some(PacketType::Auth) if version.is_v5() => {
                let auth = decode::auth(version, Sender::Client, frame)?;
                self.on_auth(id, &auth, true)
            }
            // [MQTT-3.1.0-2]: whatever is in it, also what would be refused in a first CONNECT with a
            // reason code that DISCONNECT does not have.
            Some(PacketType::Connect) => Err(Violation::SecondConnect),
            _ => Err(Violation::WrongDirection),
        }
    }

    /// Answers bytes that were refused and ends the connection. `body` is what is known of the
    /// packet, so that a broken CONNECT is answered in its own version.
    fn refuse(&mut self, id: ConnectionId, body: &[u8], error: Violation, now: Time) {
        self.outbox.stats.violations.count(&error);
        match error.culprit() {
            Culprit::Malformed => self.outbox.stats.malformed_packets += 1,
            Culprit::Protocol | Culprit::Refused => self.outbox.stats.protocol_errors += 1,
        }
        let connection = self.clients.connection_mut(id);
        connection.end_reason = Some(error.reason());
        if connection.phase == Phase::Authenticating {
            // Before CONNACK there is no DISCONNECT to the client.
            self.outbox.stats.connects_refused += 1;
            let reply = Some((connection.version, error.reason()));
            self.refuse_connect(id, None, reply, &error.to_string(), now);
        } else if connection.phase.is_half_open() {
            self.outbox.stats.connects_refused += 1;
            let version = answer_version(body, &error);
            let reply = version.map(|version| (version, error.reason()));
            if let Some(max) = decode::connect_maximum_packet_size(body) {
                self.clients.limit_packets_to(id, max);
            }
            self.refuse_connect(id, None, reply, &error.to_string(), now);
        } else {
            self.end_connection(id, Some(error.reason()), &error.to_string(), now);
        }
    }
}

/// Makes room for `take` more bytes of a packet: for the whole packet, once an eighth of it is there, so that
/// a large one is not moved often and no client gets much memory for a header alone.
fn make_room(partial: &mut Vec<u8>, take: usize, needed: Option<usize>) {
    let len = partial.len() + take;
    if let Some(needed) = needed.filter(|_| len > partial.capacity()) {
        let capacity = if needed / 8 <= len { needed } else { 2 * len };
        partial.reserve_exact(capacity - partial.len());
    }
}

/// First bytes of other protocols whose clients speak first. (A TLS handshake is, as MQTT, a CONNECT with
/// wrong flags and of three bytes.)
const OTHERS: [(&[u8], Violation); 4] = [
    (b"\x16\x03", Violation::TlsUnasked),
    (b"GET ", Violation::HttpUnasked),
    (b"PROXY ", Violation::ProxyUnasked),
    (b"\r\n\r\n\0\r\nQUIT\n", Violation::ProxyUnasked),
];

/// The first packet is CONNECT [MQTT-3.1.0-1]; anything else is refused by its first byte.
#[inline]
fn refuses_start(phase: Phase, bytes: &[u8]) -> Option<Violation> {
    match phase {
        Phase::AwaitLayers | Phase::AwaitConnect => refuses_first(bytes),
        _ => None,
    }
}

fn refuses_first(bytes: &[u8]) -> Option<Violation> {
    let mut others = OTHERS.iter();
    if let Some((_, violation)) = others.find(|(start, _)| bytes.starts_with(start)) {
        return Some(*violation);
    }
    let first = bytes.first()?;
    (first >> 4 != CONNECT).then_some(Violation::NotConnect)
}

/// In which version a CONNECT that does not decode is answered: v5 clients get the reason code, v3 clients a
/// return code only for an unsupported level, others nothing [MQTT-3.1.4-1].
fn answer_version(body: &[u8], error: &Violation) -> Option<Version> {
    const NAME: &[u8] = b"\x00\x04MQTT";
    const V5_START: &[u8] = b"\x00\x04MQTT\x05";
    match error {
        // Later than what is supported here: 5.0 is the nearest of both [MQTT-3.1.2-2]. All others
        // understand the four bytes of 3.1.1 [MQTT-3.1.2-2], after which a bridge connects again
        // without its bit.
        Violation::ProtocolLevel { level: 6..=0x7F } if body.starts_with(NAME) => Some(Version::V5),
        Violation::ProtocolLevel { .. } => Some(Version::V311),
        _ => body.starts_with(V5_START).then_some(Version::V5),
    }
}
