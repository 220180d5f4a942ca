//! State of the lying broker: sessions, subscriptions, retained messages, and its ledger of the truth.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use ringmq::mqtt::encode::{self, PublishOut};
use ringmq::mqtt::{topic, PacketId, Qos, Version};

use super::lies::Lies;

/// A message on its way.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) dup: bool,
    /// MQTT 5 properties that are passed on, encoded.
    pub(super) properties: Vec<u8>,
    pub(super) identifiers: Vec<u32>,
    pub(super) message_expiry_interval_s: Option<u32>,
}

/// A client's session, with its connection when it has one.
#[derive(Default)]
pub(super) struct Session {
    pub(super) stays: bool,
    pub(super) subscriptions: Vec<(String, Qos)>,
    pub(super) connection: Option<Connection>,
    queued: VecDeque<Message>,
}

/// The writing side of a connection.
pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) stream: TcpStream,
    pub(super) version: Version,
    next_id: u16,
}

impl Connection {
    pub(super) fn new(number: u64, stream: TcpStream, version: Version) -> Self {
        Self {
            number,
            stream,
            version,
            next_id: 0,
        }
    }

    fn deliver(&mut self, message: &Message) {
        let mut out = Vec::new();
        let packet_id = (message.qos != Qos::AtMostOnce).then(|| {
            self.next_id = self.next_id % 60_000 + 1;
            PacketId::new(self.next_id)
        });
        let is_v5 = self.version.is_v5();
        let publish = PublishOut {
            dup: message.dup,
            qos: message.qos,
            retain: message.retain,
            topic: &message.topic,
            packet_id: packet_id.flatten(),
            message_expiry_interval_s: message.message_expiry_interval_s.filter(|_| is_v5),
            subscription_identifiers: if is_v5 { &message.identifiers } else { &[] },
            properties: if is_v5 { &message.properties } else { &[] },
            payload_len: message.payload.len(),
            payload: &message.payload,
            ..PublishOut::default()
        };
        encode::publish(&mut out, self.version, &publish);
        let _ = self.stream.write_all(&out); // its reader sees the end of a connection
    }
}

/// What really happened.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub connected: u64,
    pub published: u64,
    pub delivered: u64,
    /// Times of each lie.
    pub lied: BTreeMap<&'static str, u64>,
}

/// Everything that connections share.
pub(super) struct World {
    pub(super) lies: Lies,
    pub(super) ledger: Ledger,
    /// When the first PUBLISH came.
    pub(super) began: Option<Instant>,
    pub(super) sessions: HashMap<String, Session>,
    retained: BTreeMap<String, Message>,
    /// A client's message held until its next one has been delivered.
    held: Option<(String, Message)>,
    before: Vec<u8>,
    turn: usize,
    /// When the next message may be taken, at a limited rate.
    next_at: Option<Instant>,
}

impl World {
    pub(super) fn new(lies: Lies) -> Self {
        Self {
            lies,
            ledger: Ledger::default(),
            began: None,
            sessions: HashMap::new(),
            retained: BTreeMap::new(),
            held: None,
            before: Vec::new(),
            turn: 0,
            next_at: None,
        }
    }

    /// An occasion for a lie; true when it is due now.
    pub(super) fn lies(&mut self, name: &'static str) -> bool {
        let is_due = self.lies.is_due(name);
        if is_due {
            *self.ledger.lied.entry(name).or_default() += 1;
        }
        is_due
    }

    /// Times count from the first PUBLISH on.
    pub(super) fn has_begun(&self, name: &str) -> bool {
        let since = self.began.map_or(Duration::ZERO, |began| began.elapsed());
        self.lies.has_begun(name, since)
    }

    /// How long a message must wait at a rate of so many per second.
    pub(super) fn wait_for_turn(&mut self, per_s: f64) -> Duration {
        let now = Instant::now();
        let at = self
            .next_at
            .unwrap_or(now)
            .max(now - Duration::from_millis(5));
        self.next_at = Some(at + Duration::from_secs_f64(1.0 / per_s));
        at.saturating_duration_since(now)
    }

    /// Puts a connection into its session, and closes the one that had it before.
    pub(super) fn connect(&mut self, id: &str, clean: bool, stays: bool, own: Connection) -> bool {
        self.ledger.connected += 1;
        let leaves_old = self.lies.has("no-takeover");
        if clean {
            if let Some(old) = self.sessions.remove(id) {
                end(old, leaves_old);
            }
        }
        let present = self.sessions.contains_key(id);
        let session = self.sessions.entry(id.to_string()).or_default();
        session.stays = stays;
        if let Some(old) = session.connection.replace(own) {
            if !leaves_old {
                let _ = old.stream.shutdown(Shutdown::Both);
            }
        }
        present || self.lies.has("session-present")
    }

    /// Delivers what waited for a session.
    pub(super) fn resume(&mut self, id: &str) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let queued = std::mem::take(&mut session.queued);
        for message in queued {
            self.deliver(id, message);
        }
    }

    /// A connection has ended.
    pub(super) fn disconnect(&mut self, id: &str, number: u64) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session
            .connection
            .as_ref()
            .is_some_and(|own| own.number == number)
        {
            session.connection = None;
            if !session.stays {
                self.sessions.remove(id);
            }
        }
    }

    pub(super) fn close_all(&self) {
        for connection in self
            .sessions
            .values()
            .filter_map(|own| own.connection.as_ref())
        {
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn subscribe(&mut self, id: &str, filter: &str, qos: Qos) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.subscriptions.retain(|(own, _)| own != filter);
            session.subscriptions.push((filter.to_string(), qos));
        }
    }

    /// Delivers the retained messages that a filter matches.
    pub(super) fn replay(&mut self, id: &str, filter: &str, granted: Qos) {
        if topic::is_shared(filter) || self.has_begun("half-freeze") {
            return;
        }
        let matching = self.retained.values();
        let matching = matching.filter(|message| topic::matches(filter, &message.topic));
        let matching: Vec<Message> = matching.cloned().collect();
        for mut message in matching {
            message.qos = message.qos.min(granted);
            self.deliver(id, message);
        }
    }

    /// Takes a message and delivers it to all that subscribed.
    pub(super) fn route(&mut self, message: &Message) {
        if message.retain && !self.lies.has("no-retained") {
            let kept = message.clone();
            self.retained.insert(message.topic.clone(), kept);
        }
        if self.has_begun("half-freeze") {
            *self.ledger.lied.entry("half-freeze").or_default() += 1;
            return;
        }
        for (id, qos) in self.receivers(&message.topic) {
            let mut own = message.clone();
            own.qos = own.qos.min(qos);
            own.retain = false;
            self.tell(&id, own);
        }
        self.before.clone_from(&message.payload);
    }

    /// Clients that get a message, with the QoS granted. Of a shared subscription it is one.
    fn receivers(&mut self, name: &str) -> Vec<(String, Qos)> {
        let (mut found, mut shared) = (Vec::new(), BTreeMap::<String, Vec<(String, Qos)>>::new());
        for (id, session) in &self.sessions {
            let mut own = None;
            for (filter, qos) in &session.subscriptions {
                let share = topic::share(filter).ok().flatten();
                let plain = share.as_ref().map_or(&filter[..], |share| share.filter);
                if !topic::matches(plain, name) {
                    continue;
                }
                if share.is_some() {
                    let members = shared.entry(filter.clone()).or_default();
                    members.push((id.clone(), *qos));
                } else {
                    own = own.max(Some(*qos));
                }
            }
            found.extend(own.map(|qos| (id.clone(), qos)));
        }
        self.turn += 1;
        for mut members in shared.into_values() {
            members.sort();
            if self.lies.has("shared-to-all") {
                found.append(&mut members);
            } else {
                let at = self.turn % members.len();
                found.push(members.swap_remove(at));
            }
        }
        found
    }

    /// Delivers a message to one client as the lies have it.
    fn tell(&mut self, id: &str, message: Message) {
        if self.lies("drop") {
            return;
        }
        if self.held.is_none() && self.lies("swap") {
            self.held = Some((id.to_string(), message));
            return;
        }
        let copy = self.lies("duplicate").then(|| message.clone());
        let invented = self.lies("invent").then(|| message.clone());
        let altered = self.altered(message);
        self.deliver(id, altered);
        let held = self.held.take_if(|held| held.0 == id);
        let later = [copy, held.map(|held| held.1)];
        for message in later.into_iter().flatten() {
            self.deliver(id, message);
        }
        if let Some(mut message) = invented {
            message.payload = b"this was never published".to_vec();
            self.deliver(id, message);
        }
    }

    fn altered(&mut self, mut message: Message) -> Message {
        if self.lies("corrupt") {
            flip(message.payload.last_mut());
        }
        if self.lies("corrupt-head") {
            flip(message.payload.get_mut(9));
        }
        if self.lies("truncate") {
            message.payload.pop();
        }
        if self.lies("extend") {
            message.payload.push(b'x');
        }
        if self.lies("mix-payloads") && !self.before.is_empty() {
            message.payload.clone_from(&self.before);
        }
        if self.lies("wrong-topic") {
            message.topic.push('x');
        }
        if self.lies("raise-qos") {
            message.qos = Qos::ExactlyOnce;
        }
        if self.lies("lower-qos") {
            message.qos = Qos::AtMostOnce;
        }
        message.retain |= self.lies("set-retain");
        message.dup |= self.lies("set-dup");
        if self.lies("strip-properties") {
            message.properties.clear();
        }
        if self.lies("add-identifier") {
            message.identifiers.push(77);
        }
        message
    }

    fn deliver(&mut self, id: &str, message: Message) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        match &mut session.connection {
            Some(connection) => {
                connection.deliver(&message);
                self.ledger.delivered += 1;
            }
            None if message.qos == Qos::AtMostOnce || self.lies.has("forget-sessions") => {}
            None => session.queued.push_back(message),
        }
    }
}

fn end(session: Session, leaves_old: bool) {
    if let Some(connection) = session.connection.filter(|_| !leaves_old) {
        let _ = connection.stream.shutdown(Shutdown::Both);
    }
}

fn flip(byte: Option<&mut u8>) {
    if let Some(byte) = byte {
        *byte ^= 1;
    }
}
