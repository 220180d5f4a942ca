//! A simulated client: keeps its side of the protocol to the letter, acknowledges late, loses its
//! connection at any time and comes back with its session.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;

use super::random::Random;
use super::world::World;
use crate::mqtt::encode::{self, SubscribeOut};
use crate::mqtt::{
    decode, frame, Ack, AckKind, Connect, ConnectProperties, Packet, PacketId, Publish, PublishOut,
    Qos, ReasonCode, Sender, SubscriptionOptions, UserProperties, Version,
};

/// A publication of the run; its payload is its index.
#[derive(Clone, Debug)]
pub struct Planned {
    pub publisher: usize,
    pub topic: String,
    pub qos: Qos,
    pub retain: bool,
    /// When its PUBLISH was first sent.
    pub sent_at: Option<u64>,
}

/// A PUBLISH that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub publication: usize,
    pub qos: Qos,
    pub retain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Publish,
    Release,
}

pub struct Client {
    pub name: String,
    version: Version,
    receive_maximum: u16,
    socket: Option<usize>,
    inbox: Vec<u8>,
    connected: bool,
    has_session: bool,
    connects: usize,
    pub filters: Vec<(String, Qos)>,
    /// When the SUBACK was read.
    pub subscribed_at: Option<u64>,
    pub to_publish: VecDeque<usize>,
    /// By order of sending: identifier, publication, stage.
    outstanding: Vec<(u16, usize, Stage)>,
    next_id: u16,
    /// QoS 2 identifiers received and not released.
    held: BTreeSet<u16>,
    unsent_acks: VecDeque<(AckKind, u16)>,
    unacknowledged: BTreeSet<u16>,
    pub arrivals: Vec<Arrival>,
    /// Packets read.
    pub packets: usize,
    /// Newest publication seen by retained topic.
    newest: BTreeMap<String, usize>,
    pub failures: Vec<String>,
}

impl Client {
    #[must_use]
    pub fn new(name: String, random: &mut Random) -> Self {
        let versions = [Version::V31, Version::V311, Version::V5];
        Self {
            name,
            version: versions[random.below(3)],
            receive_maximum: 1 + random.below(12) as u16,
            socket: None,
            inbox: Vec::new(),
            connected: false,
            has_session: false,
            connects: 0,
            filters: Vec::new(),
            subscribed_at: None,
            to_publish: VecDeque::new(),
            outstanding: Vec::new(),
            next_id: 0,
            held: BTreeSet::new(),
            unsent_acks: VecDeque::new(),
            unacknowledged: BTreeSet::new(),
            arrivals: Vec::new(),
            packets: 0,
            newest: BTreeMap::new(),
            failures: Vec::new(),
        }
    }

    /// Everything it had to do is done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.to_publish.is_empty()
            && self.outstanding.is_empty()
            && self.unsent_acks.is_empty()
            && (self.filters.is_empty() || self.subscribed_at.is_some())
            && self.connected
    }

    #[must_use]
    pub fn is_online(&self) -> bool {
        self.socket.is_some()
    }

    /// Connects; an older connection is left to be taken over, or cut.
    pub fn connect(&mut self, world: &mut World, random: &mut Random) {
        if random.once_in(2) {
            self.cut(world);
        }
        let socket = world.open(random);
        self.socket = Some(socket);
        self.inbox.clear();
        self.connected = false;
        self.connects += 1;
        self.unsent_acks.clear();
        self.unacknowledged.clear();
        let is_v5 = self.version.is_v5();
        let mut out = Vec::new();
        encode::connect(
            &mut out,
            &Connect {
                version: self.version,
                clean_start: false,
                keep_alive_s: 0,
                client_id: &self.name,
                will: None,
                user_name: None,
                password: None,
                properties: ConnectProperties {
                    session_expiry_interval_s: is_v5.then_some(3_600),
                    receive_maximum: NonZeroU16::new(self.receive_maximum).filter(|_| is_v5),
                    ..ConnectProperties::default()
                },
            },
        );
        world.send(socket, &out);
    }

    pub fn cut(&mut self, world: &mut World) {
        if let Some(socket) = self.socket.take() {
            world.cut(socket);
        }
        self.connected = false;
    }

    /// Publishes, acknowledges or reads: one thing.
    pub fn act(
        &mut self,
        world: &mut World,
        random: &mut Random,
        plan: &mut [Planned],
        clock: &mut u64,
    ) {
        *clock += 1;
        match random.below(4) {
            0 if self.connected => self.publish(world, plan, *clock),
            1 if self.connected => self.acknowledge(world),
            _ => self.read(world, random, plan, *clock),
        }
    }

    fn publish(&mut self, world: &mut World, plan: &mut [Planned], clock: u64) {
        let Some(socket) = self.socket else { return };
        let Some(&index) = self.to_publish.front() else {
            return;
        };
        if self.outstanding.len() >= 20 {
            return;
        }
        self.to_publish.pop_front();
        let qos = plan[index].qos;
        let mut id = 0;
        if qos > Qos::AtMostOnce {
            self.next_id = self.next_id % 1_000 + 1;
            id = self.next_id;
            self.outstanding.push((id, index, Stage::Publish));
        }
        plan[index].sent_at.get_or_insert(clock);
        self.send_publish(world, socket, plan, index, id, false);
    }

    fn send_publish(
        &self,
        world: &mut World,
        socket: usize,
        plan: &[Planned],
        index: usize,
        id: u16,
        dup: bool,
    ) {
        let planned = &plan[index];
        let payload = (index as u64).to_be_bytes();
        let mut out = Vec::new();
        let packet = PublishOut {
            dup,
            qos: planned.qos,
            retain: planned.retain,
            topic: &planned.topic,
            packet_id: PacketId::new(id),
            payload_len: payload.len(),
            payload: &payload,
            ..PublishOut::default()
        };
        encode::publish(&mut out, self.version, &packet);
        world.send(socket, &out);
    }

    fn send_ack(&self, world: &mut World, socket: usize, kind: AckKind, id: u16) {
        let Some(packet_id) = PacketId::new(id) else {
            return;
        };
        let reason = ReasonCode::Success;
        let user_properties = UserProperties::default();
        let ack = Ack {
            packet_id,
            reason,
            reason_string: None,
            user_properties,
        };
        let mut out = Vec::new();
        encode::ack(&mut out, self.version, kind, &ack);
        world.send(socket, &out);
    }

    fn acknowledge(&mut self, world: &mut World) {
        let (Some(socket), Some((kind, id))) = (self.socket, self.unsent_acks.pop_front()) else {
            return;
        };
        if matches!(kind, AckKind::PubAck | AckKind::PubComp) {
            self.unacknowledged.remove(&id);
        }
        self.send_ack(world, socket, kind, id);
    }

    fn read(&mut self, world: &mut World, random: &mut Random, plan: &[Planned], clock: u64) {
        let Some(socket) = self.socket else { return };
        match world.receive(socket, random) {
            None => {
                self.socket = None;
                self.connected = false;
                return;
            }
            Some(bytes) => self.inbox.extend(bytes),
        }
        let inbox = std::mem::take(&mut self.inbox);
        let mut at = 0;
        while let Ok(Some(frame)) = frame::next_frame(&inbox[at..], u32::MAX) {
            at += frame.length;
            self.packets += 1;
            match decode::packet(self.version, Sender::Server, &frame) {
                Ok(packet) => self.handle(world, socket, &packet, plan, clock),
                Err(error) => self.fail(format!("the broker sent {error}: {:02x?}", frame.body)),
            }
        }
        self.inbox = inbox[at..].to_vec();
    }

    fn handle(
        &mut self,
        world: &mut World,
        socket: usize,
        packet: &Packet<'_>,
        plan: &[Planned],
        clock: u64,
    ) {
        match packet {
            Packet::ConnAck(connack) => {
                // An earlier CONNACK may have been lost with its connection.
                let may_be_present = self.has_session || self.connects > 1;
                let is_wrong = if connack.session_present {
                    !may_be_present
                } else {
                    self.has_session
                };
                if is_wrong && self.version != Version::V31 {
                    self.fail(format!("session present is {}", connack.session_present));
                }
                self.connected = true;
                self.has_session = true;
                self.resume(world, socket, plan);
            }
            Packet::Publish(publish) => {
                let id = publish.packet_id.map_or(0, PacketId::get);
                let payload = publish
                    .payload
                    .try_into()
                    .map_or(u64::MAX, u64::from_be_bytes);
                self.arrived(plan, payload as usize, publish, id);
            }
            Packet::PubRel(ack) => {
                self.held.remove(&ack.packet_id.get());
                self.unsent_acks
                    .push_back((AckKind::PubComp, ack.packet_id.get()));
            }
            Packet::PubAck(ack) | Packet::PubComp(ack) => {
                let id = ack.packet_id.get();
                self.outstanding.retain(|(known, ..)| *known != id);
            }
            Packet::PubRec(ack) => {
                let id = ack.packet_id.get();
                for (known, _, stage) in &mut self.outstanding {
                    if *known == id {
                        *stage = Stage::Release;
                    }
                }
                self.send_ack(world, socket, AckKind::PubRel, id);
            }
            Packet::SubAck(suback) => {
                let granted: Vec<u8> = self.filters.iter().map(|(_, qos)| *qos as u8).collect();
                if suback.codes != granted {
                    self.fail(format!("SUBACK {:?}", suback.codes));
                }
                self.subscribed_at.get_or_insert(clock);
            }
            Packet::Disconnect(disconnect) => {
                if disconnect.reason != ReasonCode::SessionTakenOver {
                    self.fail(format!("disconnected: {disconnect:?}"));
                }
            }
            other => self.fail(format!("unexpected {other:?}")),
        }
    }

    /// Repeats what was not acknowledged, in order, and subscribes if that is not confirmed.
    fn resume(&mut self, world: &mut World, socket: usize, plan: &[Planned]) {
        for (id, index, stage) in self.outstanding.clone() {
            match stage {
                Stage::Publish => self.send_publish(world, socket, plan, index, id, true),
                Stage::Release => self.send_ack(world, socket, AckKind::PubRel, id),
            }
        }
        if self.subscribed_at.is_none() && !self.filters.is_empty() {
            let options = |qos| SubscriptionOptions {
                qos,
                ..SubscriptionOptions::default()
            };
            let filters: Vec<(&str, SubscriptionOptions)> = self
                .filters
                .iter()
                .map(|(filter, qos)| (&**filter, options(*qos)))
                .collect();
            let subscribe = SubscribeOut {
                packet_id: PacketId(NonZeroU16::MAX),
                subscription_identifier: None,
                user_properties: UserProperties::default(),
                filters: &filters,
            };
            let mut out = Vec::new();
            encode::subscribe(&mut out, self.version, &subscribe);
            world.send(socket, &out);
        }
    }

    fn arrived(&mut self, plan: &[Planned], publication: usize, publish: &Publish<'_>, id: u16) {
        let Publish {
            topic, qos, retain, ..
        } = *publish;
        if plan
            .get(publication)
            .is_none_or(|planned| planned.topic != topic)
        {
            self.fail(format!(
                "publication {publication} on {topic} was never sent"
            ));
            return;
        }
        if qos > Qos::AtMostOnce {
            self.unacknowledged.insert(id);
            let open = self.unacknowledged.len();
            if self.version.is_v5() && open > usize::from(self.receive_maximum) {
                self.fail(format!(
                    "{open} open messages, Receive Maximum {}",
                    self.receive_maximum
                ));
            }
        }
        match qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => self.unsent_acks.push_back((AckKind::PubAck, id)),
            Qos::ExactlyOnce => {
                self.unsent_acks.push_back((AckKind::PubRec, id));
                if !self.held.insert(id) {
                    return; // a repeat
                }
            }
        }
        if topic.starts_with("r/") {
            let newest = self.newest.entry(topic.into()).or_insert(publication);
            // A repeat may be older: it was sent before.
            if retain && !publish.dup && publication < *newest {
                let newest = *newest;
                self.fail(format!("retained {publication} on {topic} after {newest}"));
            } else {
                *newest = publication.max(*newest);
            }
        }
        self.arrivals.push(Arrival {
            publication,
            qos,
            retain,
        });
    }

    /// For a failure's report.
    #[must_use]
    pub fn describe(&self) -> String {
        format!(
            "{} {:?} rm {} connects {} outstanding {} held {} filters {:?} subscribed {:?} arrivals {:?}",
            self.name,
            self.version,
            self.receive_maximum,
            self.connects,
            self.outstanding.len(),
            self.held.len(),
            self.filters,
            self.subscribed_at,
            self.arrivals.iter().map(|a| (a.publication, a.qos as u8, a.retain)).collect::<Vec<_>>(),
        )
    }

    fn fail(&mut self, text: String) {
        self.failures.push(format!("{}: {text}", self.name));
    }
}
