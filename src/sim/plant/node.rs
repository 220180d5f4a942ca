//! An edge node and the certificates that its births should leave.

use crate::mqtt::frame::{next_frame, PACKET_SIZE_MAX};
use crate::mqtt::packet::ConnectProperties;
use crate::mqtt::{
    decode, encode, Connect, Packet, PacketId, PublishOut, PublishProperties, Qos, Sender, Version,
    Will,
};
use crate::sparkplug::certificate_topic;
use crate::time::WallTime;

/// A node has so many devices.
pub(super) const DEVICES: usize = 2;

/// The births of one node or device, in the order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct Births {
    pub(super) topic: String,
    pub(super) sent: Vec<Birth>,
    /// So many of them the broker has for certain.
    pub(super) had: usize,
    /// And so many it has even after a crash: they are acknowledged.
    pub(super) kept: usize,
}

#[derive(Debug)]
pub(super) struct Birth {
    pub(super) payload: Vec<u8>,
    /// The subscription of the host that was there before it.
    pub(super) seen_by: Option<usize>,
    /// bdSeq of its node then.
    life: u64,
    /// The broker has taken it.
    pub(super) is_had: bool,
}

impl Births {
    pub(super) fn certificate(&self) -> String {
        certificate_topic(&self.topic)
    }

    /// Which of them has this payload.
    pub(super) fn find(&self, payload: &[u8]) -> Option<usize> {
        self.sent.iter().position(|birth| birth.payload == payload)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Off,
    /// CONNECT is sent.
    Connecting,
    Up,
    /// Its own NDEATH is sent, and not acknowledged.
    Dying,
    /// DISCONNECT is sent: the broker closes.
    Leaving,
}

/// A death that the host should see, or may.
#[derive(Debug)]
pub(super) struct Death {
    pub(super) payload: Vec<u8>,
    /// It is not published before.
    pub(super) since: WallTime,
    /// The subscription of the host that must see it; `None`: a crash or the end of a connection that was never
    /// answered may have lost it.
    pub(super) seen_by: Option<usize>,
    pub(super) seen: u32,
}

#[derive(Debug)]
pub(super) struct Node {
    name: String,
    pub(super) link: Option<usize>,
    pub(super) unread: Vec<u8>,
    pub(super) state: State,
    bd_seq: u64,
    seq: u64,
    packet_id: u16,
    /// Births that are not acknowledged: their identifiers, whose they are and their number there.
    waiting: Vec<(u16, usize, usize)>,
    /// Of the node, then of its devices.
    pub(super) births: Vec<Births>,
    /// Of each connection, in their order.
    pub(super) deaths: Vec<Death>,
    pub(super) is_born: bool,
    /// QoS of its births.
    qos: Qos,
}

/// A payload with a timestamp; a death has no seq.
pub(super) fn payload(timestamp: u64, bd_seq: Option<u64>, seq: Option<u64>) -> Vec<u8> {
    use prost::encoding::{bytes, uint64};
    let mut out = Vec::new();
    uint64::encode(1, &timestamp, &mut out);
    if let Some(bd_seq) = bd_seq {
        let mut metric = Vec::new();
        bytes::encode(1, &b"bdSeq".to_vec(), &mut metric);
        uint64::encode(11, &bd_seq, &mut metric);
        bytes::encode(2, &metric, &mut out);
    }
    if let Some(seq) = seq {
        uint64::encode(3, &seq, &mut out);
    }
    out
}

impl Node {
    pub(super) fn new(name: String, qos: Qos) -> Self {
        let device = |device| format!("spBv1.0/g/DBIRTH/{name}/d{device}");
        let topics = [format!("spBv1.0/g/NBIRTH/{name}")].into_iter();
        let births = topics.chain((0..DEVICES).map(device)).map(|topic| Births {
            topic,
            ..Births::default()
        });
        Self {
            births: births.collect(),
            name,
            link: None,
            unread: Vec::new(),
            state: State::Off,
            bd_seq: 0,
            seq: 0,
            packet_id: 0,
            waiting: Vec::new(),
            deaths: Vec::new(),
            is_born: false,
            qos,
        }
    }

    /// Its name in the broker's states.
    pub(super) fn key(&self) -> Box<str> {
        format!("g/{}", self.name).into()
    }

    pub(super) fn death_topic(&self) -> String {
        format!("spBv1.0/g/NDEATH/{}", self.name)
    }

    pub(super) fn bd_seq(&self) -> u64 {
        self.bd_seq
    }

    /// CONNECT on a new link, with the death of this connection as its will.
    pub(super) fn connect(&mut self, link: usize, at: WallTime) -> Vec<u8> {
        self.link = Some(link);
        self.unread.clear();
        self.waiting.clear();
        (self.state, self.is_born) = (State::Connecting, false);
        self.bd_seq += 1;
        let death = payload(at.0, Some(self.bd_seq), None);
        let topic = self.death_topic();
        let will = Will {
            topic: &topic,
            payload: &death,
            qos: Qos::AtLeastOnce,
            retain: false,
            delay_interval_s: 0,
            properties: PublishProperties::default(),
        };
        let connect = Connect {
            version: Version::V311,
            is_bridge: false,
            clean_start: true,
            keep_alive_s: 0,
            client_id: &self.name,
            will: Some(will),
            user_name: None,
            password: None,
            properties: ConnectProperties::default(),
        };
        let mut out = Vec::new();
        encode::connect(&mut out, &connect);
        self.deaths.push(Death {
            payload: death,
            since: WallTime(u64::MAX),
            seen_by: None,
            seen: 0,
        });
        out
    }

    /// Its connection has ended, and not by DISCONNECT: the will is due from now on, if the broker had it.
    pub(super) fn cut(&mut self, at: WallTime, host: Option<usize>) {
        let was_answered = matches!(self.state, State::Up);
        self.end();
        if let Some(death) = self.deaths.last_mut() {
            death.since = death.since.min(at);
            death.seen_by = host.filter(|_| was_answered);
        }
    }

    pub(super) fn end(&mut self) {
        (self.link, self.state, self.is_born) = (None, State::Off, false);
        self.unread.clear();
        self.waiting.clear();
    }

    /// The node's births and those of its devices: the first time, and when a host asks for them.
    pub(super) fn be_born(&mut self, at: WallTime, host: Option<usize>) -> Vec<u8> {
        let mut out = Vec::new();
        (self.seq, self.is_born) = (0, true);
        for of in 0..self.births.len() {
            let bd_seq = (of == 0).then_some(self.bd_seq);
            let birth = Birth {
                payload: payload(at.0, bd_seq, Some(self.seq)),
                seen_by: host,
                life: self.bd_seq,
                is_had: false,
            };
            self.seq += 1;
            let packet_id = self.next_id();
            let births = &mut self.births[of];
            put(&mut out, &births.topic, &birth.payload, self.qos, packet_id);
            if self.qos > Qos::AtMostOnce {
                self.waiting.push((packet_id, of, births.sent.len()));
            }
            births.sent.push(birth);
        }
        out
    }

    pub(super) fn data(&mut self, at: WallTime) -> Vec<u8> {
        let mut out = Vec::new();
        let topic = format!("spBv1.0/g/DDATA/{}/d0", self.name);
        let payload = payload(at.0, None, Some(self.seq % 256));
        self.seq += 1;
        put(&mut out, &topic, &payload, Qos::AtMostOnce, 0);
        out
    }

    /// The death that it says itself before it leaves.
    pub(super) fn die(&mut self, at: WallTime, host: Option<usize>) -> Vec<u8> {
        let mut out = Vec::new();
        let packet_id = self.next_id();
        let topic = self.death_topic();
        let Some(death) = self.deaths.last_mut() else {
            return out;
        };
        (death.since, death.seen_by) = (at, host);
        put(
            &mut out,
            &topic,
            &death.payload,
            Qos::AtLeastOnce,
            packet_id,
        );
        (self.state, self.is_born) = (State::Dying, false);
        out
    }

    fn next_id(&mut self) -> u16 {
        self.packet_id = self.packet_id % 1_000 + 1;
        self.packet_id
    }

    /// Everything that was sent on this connection has been handled.
    pub(super) fn settle(&mut self) {
        if self.state != State::Up || !self.is_born {
            return;
        }
        for births in &mut self.births {
            births.had = births.sent.len();
            let of_life = births.sent.iter_mut().rev();
            let life = self.bd_seq;
            for birth in of_life.take_while(|birth| birth.life == life) {
                birth.is_had = true;
            }
        }
    }

    /// The process of the broker has ended: what it has not acknowledged may be lost.
    pub(super) fn crash(&mut self, at: WallTime) {
        if let Some(death) = self.deaths.last_mut() {
            death.since = death.since.min(at);
        }
        // Published again by a process whose log does not have that it was.
        for death in &mut self.deaths {
            (death.seen_by, death.seen) = (None, 0);
        }
        for births in &mut self.births {
            births.had = births.kept;
        }
        self.end();
    }

    /// Reads what has come; returns what it answers.
    pub(super) fn read(&mut self) -> Vec<u8> {
        let unread = std::mem::take(&mut self.unread);
        let (mut at, mut out) = (0, Vec::new());
        while let Ok(Some(frame)) = next_frame(&unread[at..], PACKET_SIZE_MAX) {
            at += frame.length;
            match decode::packet(Version::V311, Sender::Server, &frame) {
                Ok(Packet::ConnAck(_)) => self.state = State::Up,
                Ok(Packet::PubAck(ack)) => self.acknowledged(ack.packet_id.get(), &mut out),
                _ => {}
            }
        }
        self.unread = unread[at..].to_vec();
        out
    }

    fn acknowledged(&mut self, id: u16, out: &mut Vec<u8>) {
        if let Some(index) = self.waiting.iter().position(|(waiting, ..)| *waiting == id) {
            let (_, of, number) = self.waiting.remove(index);
            let births = &mut self.births[of];
            births.kept = births.kept.max(number + 1);
            births.had = births.had.max(number + 1);
            births.sent[number].is_had = true;
        } else if self.state == State::Dying {
            out.extend_from_slice(&[0xE0, 0]); // DISCONNECT
            self.state = State::Leaving;
        }
    }

    /// All its births are acknowledged, if they are to be.
    pub(super) fn is_rested(&self) -> bool {
        self.waiting.is_empty() && matches!(self.state, State::Off | State::Up)
    }
}

fn put(out: &mut Vec<u8>, topic: &str, payload: &[u8], qos: Qos, packet_id: u16) {
    let publish = PublishOut {
        qos,
        topic,
        packet_id: (qos > Qos::AtMostOnce)
            .then(|| PacketId::new(packet_id))
            .flatten(),
        payload_len: payload.len(),
        payload,
        ..PublishOut::default()
    };
    encode::publish(out, Version::V311, &publish);
}
