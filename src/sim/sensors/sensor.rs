//! A sensor: a client of MQTT-SN as the specification has it, which remembers what it was sent and under which name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::network::Network;
use crate::mqtt::Qos;
use crate::mqtt_sn::{
    decode, encode, Connect, Message, Publish, ReturnCode, Subscribe, TopicName, TopicRef,
    WillTopic, PROTOCOL_ID,
};
use crate::time::{Span, Time};

/// Longer than T_RETRY of the gateway in some runs, shorter in others.
const RETRY: Span = Span::from_millis(1_500);
/// Repeats after which it connects anew.
const RETRIES: u8 = 4;
/// Long beside a run.
const DURATION_S: u16 = 3_600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Off,
    Connecting,
    Active,
    FallingAsleep,
    Asleep,
    Awake,
    Leaving,
}

/// What a sensor publishes, one message after the other.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) topic: &'static str,
    pub(super) qos: Qos,
    pub(super) payload: String,
    /// The turns of each shard when its publisher had its acknowledgement.
    pub(super) acknowledged: Option<Vec<u64>>,
}

/// How far its publication has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Unsent,
    Sent,
    Released,
}

/// What it waits for an answer to.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) bytes: Vec<u8>,
    pub(super) msg_id: u16,
    due: Time,
    sent: u8,
}

#[derive(Debug)]
pub(super) struct Sensor {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) state: State,
    pub(super) has_will: bool,
    /// With the id that SUBACK named, or 0.
    pub(super) filters: Vec<&'static str>,
    pub(super) subscribed: usize,
    pub(super) plan: Vec<Planned>,
    /// The next of its plan.
    pub(super) next: usize,
    pub(super) stage: Stage,
    /// Of that one.
    pub(super) msg_id: u16,
    last_msg_id: u16,
    pub(super) request: Option<Request>,
    /// What a topic id stands for.
    pub(super) ids: BTreeMap<u16, String>,
    /// The ids that it has asked for: they are never others.
    pub(super) own_ids: BTreeMap<&'static str, u16>,
    /// QoS 2 messages that are not released.
    pub(super) open: BTreeSet<u16>,
    pub(super) got: Vec<String>,
    /// When it last began to connect, or had its CONNACK.
    pub(super) connected_at: Time,
    /// What must have come before PINGRESP.
    pub(super) owed: Vec<String>,
    pub(super) rounds: u32,
    pub(super) failure: Option<String>,
}

impl Sensor {
    pub(super) fn new(name: String, address: SocketAddr, has_will: bool) -> Self {
        Self {
            name,
            address,
            state: State::Off,
            has_will,
            filters: Vec::new(),
            subscribed: 0,
            plan: Vec::new(),
            next: 0,
            stage: Stage::Unsent,
            msg_id: 0,
            last_msg_id: 0,
            request: None,
            ids: BTreeMap::new(),
            own_ids: BTreeMap::new(),
            open: BTreeSet::new(),
            got: Vec::new(),
            connected_at: Time::ZERO,
            owed: Vec::new(),
            rounds: 0,
            failure: None,
        }
    }

    pub(super) fn send(&self, network: &mut Network, message: &Message<'_>) {
        network.send(true, self.address, bytes_of(message));
    }

    fn ask(&mut self, network: &mut Network, message: &Message<'_>, msg_id: u16, now: Time) {
        let bytes = bytes_of(message);
        network.send(true, self.address, bytes.clone());
        self.request = Some(Request {
            bytes,
            msg_id,
            due: now + RETRY,
            sent: 1,
        });
    }

    fn next_msg_id(&mut self) -> u16 {
        self.last_msg_id = self.last_msg_id.wrapping_add(1).max(1);
        self.last_msg_id
    }

    pub(super) fn connect(&mut self, network: &mut Network, now: Time) {
        self.state = State::Connecting;
        self.connected_at = now;
        let connect = Message::Connect(Connect {
            will: self.has_will,
            clean_session: false,
            protocol_id: PROTOCOL_ID,
            duration_s: DURATION_S,
            client_id: &self.name.clone(),
        });
        self.ask(network, &connect, 0, now);
    }

    /// It loses its memory but for what it must not publish or take twice.
    pub(super) fn reboot(&mut self, network: &mut Network, now: Time) {
        let address = self.address;
        network.forget(|one, _| one.sensor == address);
        self.ids.clear();
        self.own_ids.clear();
        self.connect(network, now);
    }

    pub(super) fn sleep(&mut self, network: &mut Network, now: Time) {
        self.state = State::FallingAsleep;
        self.ask(network, &Message::Disconnect(Some(DURATION_S)), 0, now);
    }

    pub(super) fn leave(&mut self, network: &mut Network, now: Time) {
        self.state = State::Leaving;
        self.ask(network, &Message::Disconnect(None), 0, now);
    }

    pub(super) fn wake(&mut self, network: &mut Network, owed: Vec<String>, now: Time) {
        self.state = State::Awake;
        self.owed = owed;
        let name = self.name.clone();
        self.ask(network, &Message::PingReq(&name), 0, now);
    }

    pub(super) fn subscribe(&mut self, network: &mut Network, now: Time) {
        let filter = self.filters[self.subscribed];
        let msg_id = self.next_msg_id();
        let topic = match *filter.as_bytes() {
            [first, second] => TopicName::Short([first, second]),
            _ => TopicName::Full(filter),
        };
        let subscribe = Message::Subscribe(Subscribe {
            dup: false,
            qos: Qos::ExactlyOnce,
            msg_id,
            topic,
        });
        self.ask(network, &subscribe, msg_id, now);
    }

    /// Publishes the next message of its plan, or continues with it, or registers its topic first.
    pub(super) fn publish(&mut self, network: &mut Network, now: Time) {
        let Planned {
            topic,
            qos,
            payload,
            ..
        } = self.plan[self.next].clone();
        if self.stage == Stage::Released {
            self.ask(network, &Message::PubRel(self.msg_id), self.msg_id, now);
            return;
        }
        let topic = match *topic.as_bytes() {
            [first, second] => TopicRef::Short([first, second]),
            _ => match self.own_ids.get(topic) {
                Some(id) => TopicRef::Normal(*id),
                None => {
                    let msg_id = self.next_msg_id();
                    let register = Message::Register {
                        topic_id: 0,
                        msg_id,
                        topic,
                    };
                    self.ask(network, &register, msg_id, now);
                    return;
                }
            },
        };
        let dup = self.stage == Stage::Sent;
        if !dup {
            self.msg_id = self.next_msg_id();
        }
        self.stage = Stage::Sent;
        let publish = Message::Publish(Publish {
            dup,
            qos: Some(qos),
            retain: false,
            topic,
            msg_id: self.msg_id,
            payload: payload.as_bytes(),
        });
        self.ask(network, &publish, self.msg_id, now);
    }

    /// Repeats what was not answered; in the end it connects anew.
    pub(super) fn handle_timeout(&mut self, network: &mut Network, now: Time) {
        let Some(request) = self.request.as_mut().filter(|one| one.due <= now) else {
            return;
        };
        if request.sent > RETRIES {
            self.connect(network, now);
            return;
        }
        request.sent += 1;
        request.due = now + RETRY;
        let bytes = request.bytes.clone();
        network.send(true, self.address, bytes);
    }

    /// A datagram has come; `turns` are those of the shards so far.
    pub(super) fn handle(
        &mut self,
        network: &mut Network,
        bytes: &[u8],
        number: u64,
        turns: &[u64],
        now: Time,
    ) {
        let Ok(message) = decode(bytes) else {
            self.fail("was sent what is no message".into());
            return;
        };
        let is_listening = matches!(
            self.state,
            State::Active | State::FallingAsleep | State::Awake | State::Leaving
        );
        match message {
            _ if self.state == State::Connecting => {
                self.connecting(network, &message, number, now);
            }
            Message::Disconnect(_) => self.disconnected(network),
            Message::PingResp if self.state == State::Awake => self.round_ended(network),
            Message::PingReq(_) if self.state == State::Active => {
                self.send(network, &Message::PingResp);
            }
            _ if !is_listening => {} // its radio is off
            Message::Register {
                topic_id,
                msg_id,
                topic,
            } => {
                self.ids.insert(topic_id, topic.into());
                self.is_named(topic_id, topic);
                let code = ReturnCode::Accepted;
                let answer = Message::RegAck {
                    topic_id,
                    msg_id,
                    code,
                };
                self.send(network, &answer);
            }
            Message::Publish(publish) => self.take(network, &publish),
            Message::PubRel(msg_id) => {
                self.open.remove(&msg_id);
                self.send(network, &Message::PubComp(msg_id));
                // A copy of the message that outlives its exchange would be a new one for any client.
                let address = self.address;
                network.forget(|one, message| {
                    let is_copy = matches!(message, Message::Publish(p) if p.msg_id == msg_id);
                    !one.is_up && one.sensor == address && is_copy
                });
            }
            _ => self.answered(network, &message, turns),
        }
    }

    /// It waits for CONNACK, and is asked for its will.
    fn connecting(&mut self, network: &mut Network, message: &Message<'_>, number: u64, now: Time) {
        match message {
            Message::ConnAck(ReturnCode::Accepted) => {
                let address = self.address;
                network.forget(|one, _| !one.is_up && one.sensor == address && one.number < number);
                self.state = State::Active;
                self.connected_at = now;
                self.request = None;
            }
            Message::WillTopicReq => {
                let will = WillTopic {
                    qos: Qos::AtLeastOnce,
                    retain: false,
                    topic: "w",
                };
                self.send(network, &Message::WillTopic(Some(will)));
            }
            Message::WillMsgReq => self.send(network, &Message::WillMsg(b"lost")),
            _ => {}
        }
    }

    /// DISCONNECT is the answer to its own, or the gateway has no such client.
    fn disconnected(&mut self, network: &mut Network) {
        match self.state {
            State::FallingAsleep => {
                self.request = None;
                self.sleeps(network);
            }
            State::Asleep => {}
            _ => {
                self.request = None;
                self.state = State::Off;
            }
        }
    }

    fn round_ended(&mut self, network: &mut Network) {
        self.request = None;
        let owed = std::mem::take(&mut self.owed);
        if let Some(missing) = owed.iter().find(|one| !self.got.contains(one)) {
            self.fail(format!("was sent PINGRESP before {missing:?}"));
        }
        self.rounds += 1;
        self.sleeps(network);
    }

    /// It sleeps longer than a datagram lives.
    fn sleeps(&mut self, network: &mut Network) {
        self.state = State::Asleep;
        let address = self.address;
        network.forget(|one, _| one.sensor == address);
    }

    pub(super) fn fail(&mut self, text: String) {
        let text = format!("{} {text}", self.name);
        self.failure.get_or_insert(text);
    }

    /// All is published, and it waits for nothing.
    pub(super) fn is_done(&self) -> bool {
        self.next == self.plan.len() && self.subscribed == self.filters.len()
    }
}

fn bytes_of(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(message, &mut bytes);
    bytes
}
