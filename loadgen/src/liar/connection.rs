//! One connection of the lying broker: a thread that reads packets and answers them.

use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringmq::mqtt::encode::{self, AckKind};
use ringmq::mqtt::frame::next_frame;
use ringmq::mqtt::{
    decode, Ack, ConnAck, Connect, Packet, PacketId, Publish, Qos, ReasonCode, Sender as From,
    SubAck, Subscribe, UserProperties, Version,
};

use super::world::{Connection, Message, World};

/// Largest packet taken.
const PACKET_MAX: u32 = 64 << 20;
/// How often a limited reader reads.
const READS_PER_S: f64 = 20.0;

pub(super) fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection and what it needs of the broker.
pub(super) struct Peer {
    pub(super) number: u64,
    pub(super) stream: TcpStream,
    pub(super) world: Arc<Mutex<World>>,
    /// Messages for the thread that delivers at a limited rate, when there is one.
    pub(super) slow: Option<Sender<Message>>,
    version: Version,
    client_id: String,
    will: Option<Message>,
    has_subscribed: bool,
}

impl Peer {
    pub(super) fn new(
        number: u64,
        stream: TcpStream,
        world: Arc<Mutex<World>>,
        slow: Option<Sender<Message>>,
    ) -> Self {
        Self {
            number,
            stream,
            world,
            slow,
            version: Version::V311,
            client_id: String::new(),
            will: None,
            has_subscribed: false,
        }
    }

    /// Serves the connection to its end.
    pub(super) fn serve(mut self) {
        let read_rate = lock(&self.world).lies.value("read-rate");
        let room = read_rate.map_or(65_536, |rate| ((rate / READS_PER_S) as usize).max(1));
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; room]);
        loop {
            let count = match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            };
            if read_rate.is_some() {
                std::thread::sleep(Duration::from_secs_f64(1.0 / READS_PER_S));
            }
            bytes.extend_from_slice(&buffer[..count]);
            let Some(used) = self.take(&bytes) else {
                break;
            };
            bytes.drain(..used);
        }
        let mut world = lock(&self.world);
        world.disconnect(&self.client_id, self.number);
        if let Some(will) = self.will.take() {
            world.route(&will);
        }
    }

    /// Answers the whole packets; the bytes they took, `None` when the connection is over.
    fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut used = 0;
        while let Some(frame) = next_frame(&bytes[used..], PACKET_MAX).ok()? {
            self.freeze();
            used += frame.length;
            if let Some(version) = connect_version(&frame) {
                self.version = version;
            }
            let packet = decode::packet(self.version, From::Client, &frame).ok()?;
            let mut out = Vec::new();
            self.answer(&packet, &mut out)?;
            self.freeze();
            // The world's lock keeps answers and deliveries whole.
            let world = lock(&self.world);
            let _ = self.stream.write_all(&out); // the next read shows the end
            drop(world);
        }
        Some(used)
    }

    /// Stays here when it is time to be frozen.
    fn freeze(&self) {
        let is_frozen = |world: &World| {
            world.has_begun("freeze") || self.has_subscribed && world.has_begun("mute-subscribers")
        };
        while is_frozen(&lock(&self.world)) {
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    fn answer(&mut self, packet: &Packet<'_>, out: &mut Vec<u8>) -> Option<()> {
        match packet {
            Packet::Connect(connect) => self.connect(connect, out)?,
            Packet::Subscribe(subscribe) => self.subscribe(subscribe, out),
            Packet::Unsubscribe(unsubscribe) => {
                let mut world = lock(&self.world);
                if let Some(session) = world.sessions.get_mut(&self.client_id) {
                    for filter in unsubscribe.filters.iter() {
                        session.subscriptions.retain(|(own, _)| own != filter);
                    }
                }
                if !world.lies("withhold-unsuback") {
                    let codes: Vec<u8> = unsubscribe.filters.iter().map(|_| 0).collect();
                    let unsuback = suback(unsubscribe.packet_id, &codes);
                    encode::unsuback(out, self.version, &unsuback);
                }
            }
            Packet::Publish(publish) => self.publish(publish, out),
            Packet::PubRel(ack) if !lock(&self.world).lies("withhold-pubcomp") => {
                self.ack(out, AckKind::PubComp, ack.packet_id, ReasonCode::Success);
            }
            Packet::PubRec(ack) => {
                self.ack(out, AckKind::PubRel, ack.packet_id, ReasonCode::Success);
            }
            Packet::PingReq if !lock(&self.world).lies("withhold-pingresp") => {
                encode::pingresp(out);
            }
            Packet::Disconnect(_) => {
                self.will = None;
                return None;
            }
            _ => {}
        }
        Some(())
    }

    fn connect(&mut self, connect: &Connect<'_>, out: &mut Vec<u8>) -> Option<()> {
        let mut world = lock(&self.world);
        if world.lies("withhold-connack") {
            return Some(());
        }
        let mut connack = ConnAck::default();
        if world.lies("refuse-connect") {
            connack.reason = ReasonCode::NotAuthorized;
            encode::connack(out, self.version, &connack);
            return Some(());
        }
        self.client_id = connect.client_id.to_string();
        self.will = connect.will.as_ref().map(|will| Message {
            topic: will.topic.to_string(),
            payload: will.payload.to_vec(),
            qos: will.qos,
            retain: will.retain,
            ..Message::default()
        });
        let expiry = connect.properties.session_expiry_interval_s.unwrap_or(0);
        let stays = if self.version.is_v5() {
            expiry > 0
        } else {
            !connect.clean_start
        };
        let copy = self.stream.try_clone().ok()?;
        let own = Connection::new(self.number, copy, self.version);
        connack.session_present = world.connect(&self.client_id, connect.clean_start, stays, own);
        encode::connack(out, self.version, &connack);
        let _ = self.stream.write_all(out); // before what has waited
        out.clear();
        world.resume(&self.client_id);
        Some(())
    }

    fn subscribe(&mut self, subscribe: &Subscribe<'_>, out: &mut Vec<u8>) {
        let mut world = lock(&self.world);
        self.has_subscribed = true;
        let (mut codes, mut granted) = (Vec::new(), Vec::new());
        for (filter, options) in subscribe.filters.iter() {
            if world.lies("refuse-subscribe") {
                codes.push(0x80);
                continue;
            }
            let qos = if world.lies.has("grant-less") {
                Qos::AtMostOnce
            } else {
                options.qos
            };
            world.subscribe(&self.client_id, filter, qos);
            granted.push((filter, qos));
            codes.push(qos as u8);
        }
        if !world.lies("withhold-suback") {
            let suback = suback(subscribe.packet_id, &codes);
            encode::suback(out, self.version, &suback);
            let _ = self.stream.write_all(out);
            out.clear();
        }
        for (filter, qos) in granted {
            world.replay(&self.client_id, filter, qos);
        }
    }

    fn publish(&mut self, publish: &Publish<'_>, out: &mut Vec<u8>) {
        let mut properties = Vec::new();
        publish.properties.forwardable_into(&mut properties);
        let message = Message {
            topic: publish.topic.to_string(),
            payload: publish.payload.to_vec(),
            qos: publish.qos,
            retain: publish.retain,
            properties,
            message_expiry_interval_s: publish.properties.message_expiry_interval_s,
            ..Message::default()
        };
        let mut world = lock(&self.world);
        world.began.get_or_insert_with(Instant::now);
        world.ledger.published += 1;
        let (count, per_s) = (world.ledger.published, world.lies.value("capacity"));
        if world.lies.value("die").is_some_and(|at| count == at as u64) {
            world.close_all();
        }
        let mut wait = per_s.map_or(Duration::ZERO, |per_s| world.wait_for_turn(per_s));
        if count == 500 {
            let stall = world.lies.value("stall").unwrap_or(0.0);
            wait += Duration::from_secs_f64(stall / 1e3);
        }
        std::thread::sleep(wait); // with the lock: the whole broker waits
        let (kind, withheld) = match publish.qos {
            Qos::ExactlyOnce => (AckKind::PubRec, "withhold-pubrec"),
            _ => (AckKind::PubAck, "withhold-puback"),
        };
        let is_refused = self.version.is_v5() && world.lies("refuse-publish");
        if let Some(id) = publish.packet_id {
            if is_refused {
                self.ack(out, kind, id, ReasonCode::QuotaExceeded);
            } else if !world.lies(withheld) {
                self.ack(out, kind, id, ReasonCode::Success);
            }
        }
        match &self.slow {
            _ if is_refused => {}
            Some(slow) => drop(slow.send(message)), // it lives as long as the process
            None => world.route(&message),
        }
    }

    fn ack(&self, out: &mut Vec<u8>, kind: AckKind, packet_id: PacketId, reason: ReasonCode) {
        let ack = Ack {
            packet_id,
            reason,
            reason_string: None,
            user_properties: UserProperties::default(),
        };
        encode::ack(out, self.version, kind, &ack);
    }
}

/// The protocol level that a CONNECT has; `None` for other packets.
fn connect_version(frame: &ringmq::mqtt::frame::Frame<'_>) -> Option<Version> {
    if frame.first != 0x10 {
        return None;
    }
    let name = usize::from(*frame.body.get(1)?);
    match frame.body.get(2 + name)? {
        3 => Some(Version::V31),
        5 => Some(Version::V5),
        _ => Some(Version::V311),
    }
}

fn suback(packet_id: PacketId, codes: &[u8]) -> SubAck<'_> {
    SubAck {
        packet_id,
        reason_string: None,
        user_properties: UserProperties::default(),
        codes,
    }
}
