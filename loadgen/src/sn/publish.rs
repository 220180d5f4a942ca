//! Publishers at QoS -1, 0 or 1, and one subscriber that counts what arrives.

use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use ringmq::mqtt::Qos;
use ringmq::mqtt_sn::{self, Message, ReturnCode, Subscribe, TopicName, TopicRef};

use super::connect::{connect, each, histogram, LOOK};
use super::fleet::Fleet;
use super::result::{SnResult, Times};
use super::Common;

/// Octets of a payload at least: publisher, number, time.
const PAYLOAD_MIN: usize = 16;
/// So long after the last message more are waited for.
const QUIET: Duration = Duration::from_secs(2);

#[derive(Args, Clone, Debug)]
pub(super) struct Publish {
    #[command(flatten)]
    pub(super) common: Common,
    /// -1 (without a connection, to a short topic name), 0 or 1
    #[arg(long, default_value_t = 1, allow_hyphen_values = true, value_parser = clap::value_parser!(i8).range(-1..=1))]
    qos: i8,
    /// Messages of each client
    #[arg(long, default_value_t = 100)]
    messages: u32,
    /// Messages per second of all clients, at QoS -1 and 0; at QoS 1 each client waits for its acknowledgement
    #[arg(long, default_value_t = 5_000)]
    rate: u32,
    /// Octets of a payload
    #[arg(long, default_value_t = 32)]
    payload: usize,
    /// Short topic name, two octets, for QoS -1
    #[arg(long, default_value = "mq")]
    short_topic: String,
}

/// What the subscriber has seen.
struct Counted {
    begun: Instant,
    messages: u32,
    seen: Vec<bool>,
    received: u64,
    duplicates: u64,
    wrong: u64,
    latency: Histogram<u64>,
    last: Instant,
}

impl Publish {
    pub(super) fn run(&self) -> Result<SnResult, String> {
        let common = &self.common;
        let mut fleet = common.fleet(1)?;
        let (clients, subscriber) = (common.clients, common.clients);
        let mut result = SnResult {
            scenario: "publish",
            clients,
            is_certain: self.qos == 1,
            ..SnResult::default()
        };
        let publishers = if self.qos < 0 { 0..0 } else { 0..clients };
        connect(common, &mut fleet, publishers.clone())?;
        result.connected = publishers.len();
        connect(common, &mut fleet, subscriber..subscriber + 1)?;
        let topic = self.subscribe(&mut fleet, subscriber)?;
        let ids = self.register(&mut fleet, publishers)?;
        let begun = Instant::now();
        let mut counted = Counted {
            begun,
            messages: self.messages,
            seen: vec![false; clients * self.messages as usize],
            received: 0,
            duplicates: 0,
            wrong: 0,
            latency: histogram(),
            last: begun,
        };
        self.publish(&mut fleet, (topic, &ids), &mut counted, &mut result)?;
        result.expected = if self.qos == 1 {
            result.acknowledged
        } else {
            result.sent
        };
        result.took(counted.last.duration_since(begun), counted.received);
        result.received = counted.received;
        result.lost = result.expected.saturating_sub(counted.received);
        (result.duplicates, result.wrong) = (counted.duplicates, counted.wrong);
        result.latency = Times::of(&counted.latency);
        result.retransmitted = fleet.retransmitted;
        for client in 0..=clients {
            fleet.send(client, &Message::Disconnect(None));
        }
        Ok(result)
    }

    fn topic(&self) -> String {
        format!("{}/published", self.common.prefix)
    }

    fn short(&self) -> Result<[u8; 2], String> {
        let name = self.short_topic.as_bytes();
        name.try_into()
            .map_err(|_| format!("--short-topic {:?}: it is two octets", self.short_topic))
    }

    /// The subscriber's name for the topic.
    fn subscribe(&self, fleet: &mut Fleet, subscriber: usize) -> Result<TopicRef, String> {
        let (topic, short) = (self.topic(), self.short()?);
        let name = match self.qos {
            ..0 => TopicName::Short(short),
            _ => TopicName::Full(&topic),
        };
        let qos = if self.qos == 1 {
            Qos::AtLeastOnce
        } else {
            Qos::AtMostOnce
        };
        let subscribe = Message::Subscribe(Subscribe {
            dup: false,
            qos,
            msg_id: 1,
            topic: name,
        });
        let found = one_answer(
            &self.common,
            fleet,
            subscriber,
            &subscribe,
            |message| match message {
                Message::SubAck { topic_id, code, .. } => Some((*topic_id, *code)),
                _ => None,
            },
        )?;
        match (found, self.qos) {
            ((_, code), _) if code != ReturnCode::Accepted => {
                Err(format!("the subscription is refused: {code:?}"))
            }
            (_, ..0) => Ok(TopicRef::Short(short)),
            ((id, _), _) => Ok(TopicRef::Normal(id)),
        }
    }

    /// The topic id of each publisher.
    fn register(
        &self,
        fleet: &mut Fleet,
        publishers: std::ops::Range<usize>,
    ) -> Result<Vec<u16>, String> {
        let topic = self.topic();
        let mut ids = vec![0; publishers.len()];
        for client in publishers {
            ids[client] = topic_id(&self.common, fleet, client, &topic)?;
        }
        Ok(ids)
    }

    fn publish(
        &self,
        fleet: &mut Fleet,
        (topic, ids): (TopicRef, &[u16]),
        counted: &mut Counted,
        result: &mut SnResult,
    ) -> Result<(), String> {
        let clients = self.common.clients;
        let until = counted.begun + self.common.timeout;
        let mut next = vec![0_u32; clients];
        let all = clients as u64 * u64::from(self.messages);
        let mut turn_of = 0;
        loop {
            let now = Instant::now();
            let is_done = result.sent == all && (self.qos < 1 || result.acknowledged == all);
            let is_quiet = now.duration_since(counted.last) > QUIET;
            if is_done && (counted.received >= all || is_quiet) {
                return Ok(());
            }
            if now > until || fleet.given_up > 0 {
                result.timed_out = true;
                return Ok(());
            }
            let due = match self.qos {
                1 => all,
                _ => (counted.begun.elapsed().as_secs_f64() * f64::from(self.rate)) as u64,
            };
            for _ in 0..clients {
                let client = turn_of;
                if result.sent >= due.min(all) {
                    break;
                }
                turn_of = (turn_of + 1) % clients;
                if next[client] < self.messages && !fleet.waits(client) {
                    let to = ids.get(client).map_or(topic, |id| TopicRef::Normal(*id));
                    self.send(fleet, client, (to, next[client]), counted.begun)?;
                    next[client] += 1;
                    result.sent += 1;
                }
            }
            let acknowledged = &mut result.acknowledged;
            let wait = if self.qos == 1 {
                LOOK
            } else {
                Duration::from_millis(1)
            };
            fleet.turn(wait, &mut |fleet, client, message| match message {
                Message::PubAck {
                    code: ReturnCode::Accepted,
                    ..
                } if client < clients && fleet.waits(client) => {
                    fleet.answered(client);
                    *acknowledged += 1;
                }
                Message::Publish(publish) if client == clients => {
                    counted.take(publish, topic);
                    if publish.qos == Some(Qos::AtLeastOnce) {
                        let answer = Message::PubAck {
                            topic_id: publish.topic.field(),
                            msg_id: publish.msg_id,
                            code: ReturnCode::Accepted,
                        };
                        fleet.send(client, &answer);
                    }
                }
                Message::PingReq(_) => fleet.send(client, &Message::PingResp),
                _ => {}
            })?;
        }
    }

    fn send(
        &self,
        fleet: &mut Fleet,
        client: usize,
        (topic, number): (TopicRef, u32),
        begun: Instant,
    ) -> Result<(), String> {
        let mut payload = Vec::with_capacity(self.payload.max(PAYLOAD_MIN));
        payload.extend_from_slice(&(client as u32).to_be_bytes());
        payload.extend_from_slice(&number.to_be_bytes());
        let at = u64::try_from(begun.elapsed().as_micros()).map_err(|error| error.to_string())?;
        payload.extend_from_slice(&at.to_be_bytes());
        payload.resize(self.payload.max(PAYLOAD_MIN), b'.');
        let qos = match self.qos {
            ..0 => None,
            0 => Some(Qos::AtMostOnce),
            _ => Some(Qos::AtLeastOnce),
        };
        let publish = Message::Publish(mqtt_sn::Publish {
            dup: false,
            qos,
            retain: false,
            topic,
            msg_id: if self.qos == 1 {
                (number % 65_535) as u16 + 1
            } else {
                0
            },
            payload: &payload,
        });
        if self.qos == 1 {
            fleet.ask(client, &publish);
        } else {
            fleet.send(client, &publish);
        }
        Ok(())
    }
}

impl Counted {
    fn take(&mut self, publish: &mqtt_sn::Publish<'_>, topic: TopicRef) {
        self.last = Instant::now();
        let read = |range: std::ops::Range<usize>| {
            let octets = publish.payload.get(range)?;
            Some(
                octets
                    .iter()
                    .fold(0_u64, |all, one| all << 8 | u64::from(*one)),
            )
        };
        let (Some(client), Some(number), Some(at)) = (read(0..4), read(4..8), read(8..16)) else {
            self.wrong += 1;
            return;
        };
        let place = client * u64::from(self.messages) + number;
        let seen = self.seen.get_mut(place as usize);
        match seen {
            Some(seen) if publish.topic == topic && number < u64::from(self.messages) => {
                self.duplicates += u64::from(*seen);
                self.received += u64::from(!*seen);
                *seen = true;
                let now = self.begun.elapsed().as_micros() as u64;
                self.latency.saturating_record(now.saturating_sub(at));
            }
            _ => self.wrong += 1,
        }
    }
}

/// The id that a client is given for a topic.
pub(super) fn topic_id(
    common: &Common,
    fleet: &mut Fleet,
    client: usize,
    topic: &str,
) -> Result<u16, String> {
    let register = Message::Register {
        topic_id: 0,
        msg_id: 1,
        topic,
    };
    one_answer(common, fleet, client, &register, |message| match message {
        Message::RegAck {
            topic_id,
            code: ReturnCode::Accepted,
            ..
        } => Some(*topic_id),
        _ => None,
    })
}

/// The answer of one client to one request.
pub(super) fn one_answer<T: Copy>(
    common: &Common,
    fleet: &mut Fleet,
    client: usize,
    request: &Message<'_>,
    answer: impl Fn(&Message<'_>) -> Option<T>,
) -> Result<T, String> {
    let until = Instant::now() + common.timeout;
    let given_up = fleet.given_up;
    let mut found = None;
    fleet.ask(client, request);
    while found.is_none() {
        if Instant::now() > until || fleet.given_up > given_up {
            return Err(format!("client {client} was not answered: {request:?}"));
        }
        fleet.turn(LOOK, &mut |fleet, from, message| {
            if from == client && found.is_none() {
                found = answer(message);
                if found.is_some() {
                    fleet.answered(client);
                }
            }
        })?;
    }
    found.ok_or_else(|| "there is an answer".into())
}

/// One request of each client that all of them ask in the same way.
pub(super) fn all_answers(
    common: &Common,
    fleet: &mut Fleet,
    clients: std::ops::Range<usize>,
    ask: &mut dyn FnMut(&mut Fleet, usize) -> super::connect::IsAnswer,
) -> Result<Histogram<u64>, String> {
    let mut latency = histogram();
    let count = clients.len() as u64;
    each(common, fleet, clients, &mut latency, ask)?;
    if latency.len() < count {
        let missing = count - latency.len();
        return Err(format!(
            "{missing} clients were not answered in time (--timeout)"
        ));
    }
    Ok(latency)
}
