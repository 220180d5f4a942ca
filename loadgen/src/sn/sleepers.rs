//! Sensors that sleep: messages are published while they do, then each wakes up, takes what waits, and sleeps on.

use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use ringmq::mqtt::Qos;
use ringmq::mqtt_sn::{self, Message, ReturnCode, Subscribe, TopicName, TopicRef};

use super::connect::{connect, histogram, DURATION_S, LOOK};
use super::fleet::Fleet;
use super::publish::{all_answers, one_answer, topic_id};
use super::result::{SnResult, Times};
use super::Common;

#[derive(Args, Clone, Debug)]
pub(super) struct Sleepers {
    #[command(flatten)]
    pub(super) common: Common,
    /// Times that each wakes up
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Messages that wait for each of them then
    #[arg(long, default_value_t = 10)]
    messages: u32,
    /// Sensors that wake up in a second
    #[arg(long, default_value_t = 1_000)]
    wakes: u32,
    /// Topics; each sensor subscribes to one
    #[arg(long, default_value_t = 100)]
    topics: usize,
    /// They sleep on for this time before the first round, for a look at the broker
    #[arg(long, default_value = "0s", value_parser = crate::options::parse_duration)]
    rest: Duration,
}

/// One sensor.
#[derive(Clone, Debug, Default)]
struct Sensor {
    /// Of its topic.
    topic_id: u16,
    /// By number, in this round.
    seen: Vec<bool>,
    woke: Option<Instant>,
}

/// What all sensors have seen.
struct Night {
    sensors: Vec<Sensor>,
    topics: usize,
    round: u32,
    asleep: usize,
    result: SnResult,
    latency: Histogram<u64>,
}

impl Sleepers {
    pub(super) fn run(&self) -> Result<SnResult, String> {
        let common = &self.common;
        let clients = common.clients;
        let mut fleet = common.fleet(1)?;
        if self.topics == 0 || self.topics > 1_000 || self.wakes == 0 {
            return Err("--topics is from 1 to 1000, and --wakes at least 1".into());
        }
        let begun = Instant::now();
        let connected = connect(common, &mut fleet, 0..clients + 1)?;
        let mut night = Night {
            sensors: vec![Sensor::default(); clients],
            topics: self.topics,
            round: 0,
            asleep: clients,
            result: SnResult {
                scenario: "sleepers",
                clients,
                connected: (connected.len() as usize).min(clients),
                is_certain: true,
                ..SnResult::default()
            },
            latency: histogram(),
        };
        self.fall_asleep(&mut fleet, &mut night)?;
        println!(
            "{clients} sensors sleep after {:.2} s",
            begun.elapsed().as_secs_f64()
        );
        std::thread::sleep(self.rest);
        let ids = self.register(&mut fleet, clients)?;
        let begun = Instant::now();
        for round in 0..self.rounds {
            night.begin(round, self.messages);
            self.publish(&mut fleet, &ids, &mut night)?;
            println!("{clients} sensors wake up, {} in a second", self.wakes);
            self.wake_all(&mut fleet, &mut night)?;
            night.end(self.messages);
        }
        let mut result = night.result;
        result.took(begun.elapsed(), result.received);
        result.latency = Times::of(&night.latency);
        result.retransmitted = fleet.retransmitted;
        for client in 0..=clients {
            fleet.send(client, &Message::Disconnect(None));
        }
        Ok(result)
    }

    fn topic(&self, number: usize) -> String {
        format!("{}/asleep/{number}", self.common.prefix)
    }

    fn fall_asleep(&self, fleet: &mut Fleet, night: &mut Night) -> Result<(), String> {
        let clients = self.common.clients;
        for (client, sensor) in night.sensors.iter_mut().enumerate() {
            let topic = self.topic(client % self.topics);
            let subscribe = Message::Subscribe(Subscribe {
                dup: false,
                qos: Qos::AtLeastOnce,
                msg_id: 1,
                topic: TopicName::Full(&topic),
            });
            let answer = |message: &Message<'_>| match message {
                Message::SubAck {
                    topic_id,
                    code: ReturnCode::Accepted,
                    ..
                } => Some(*topic_id),
                _ => None,
            };
            sensor.topic_id = one_answer(&self.common, fleet, client, &subscribe, answer)?;
        }
        all_answers(&self.common, fleet, 0..clients, &mut |fleet, client| {
            fleet.ask(client, &Message::Disconnect(Some(DURATION_S)));
            |message| matches!(message, Message::Disconnect(None))
        })?;
        Ok(())
    }

    /// The topic ids of the publisher.
    fn register(&self, fleet: &mut Fleet, publisher: usize) -> Result<Vec<u16>, String> {
        let mut ids = Vec::new();
        for number in 0..self.topics {
            let topic = self.topic(number);
            ids.push(topic_id(&self.common, fleet, publisher, &topic)?);
        }
        Ok(ids)
    }

    fn publish(&self, fleet: &mut Fleet, ids: &[u16], night: &mut Night) -> Result<(), String> {
        let publisher = self.common.clients;
        for number in 0..self.messages {
            for (topic, id) in ids.iter().enumerate() {
                let mut payload = [0; 12];
                payload[..4].copy_from_slice(&night.round.to_be_bytes());
                payload[4..8].copy_from_slice(&(topic as u32).to_be_bytes());
                payload[8..].copy_from_slice(&number.to_be_bytes());
                let publish = Message::Publish(mqtt_sn::Publish {
                    dup: false,
                    qos: Some(Qos::AtLeastOnce),
                    retain: false,
                    topic: TopicRef::Normal(*id),
                    msg_id: ((night.result.sent % 65_535) + 1) as u16,
                    payload: &payload,
                });
                let answer = |message: &Message<'_>| match message {
                    Message::PubAck { code, .. } => Some(*code),
                    _ => None,
                };
                night.result.sent += 1;
                let code = one_answer(&self.common, fleet, publisher, &publish, answer)?;
                night.result.acknowledged += u64::from(code == ReturnCode::Accepted);
            }
        }
        Ok(())
    }

    fn wake_all(&self, fleet: &mut Fleet, night: &mut Night) -> Result<(), String> {
        let clients = self.common.clients;
        let begun = Instant::now();
        let until = begun + self.common.timeout;
        let mut next = 0;
        night.asleep = 0;
        while night.asleep < clients {
            let now = Instant::now();
            if now > until || fleet.given_up > 0 {
                night.result.timed_out = true;
                return Ok(());
            }
            let due = (begun.elapsed().as_secs_f64() * f64::from(self.wakes)) as usize + 1;
            while next < clients.min(due) {
                let client_id = self.common.client_id(next);
                night.sensors[next].woke = Some(now);
                fleet.ask(next, &Message::PingReq(&client_id));
                next += 1;
            }
            let wait = if next < clients {
                Duration::from_millis(1)
            } else {
                LOOK
            };
            fleet.turn(wait, &mut |fleet, client, message| {
                if client < clients {
                    night.handle(fleet, client, message);
                }
            })?;
        }
        Ok(())
    }
}

impl Night {
    fn begin(&mut self, round: u32, messages: u32) {
        self.round = round;
        for sensor in &mut self.sensors {
            sensor.seen = vec![false; messages as usize];
        }
    }

    fn handle(&mut self, fleet: &mut Fleet, client: usize, message: &Message<'_>) {
        let sensor = &mut self.sensors[client];
        match message {
            Message::Publish(publish) => {
                let topic = (client % self.topics) as u32;
                let mut expected = [0; 8];
                expected[..4].copy_from_slice(&self.round.to_be_bytes());
                expected[4..].copy_from_slice(&topic.to_be_bytes());
                let number = publish.payload.strip_prefix(&expected);
                let number =
                    number.and_then(|rest| Some(u32::from_be_bytes(rest.try_into().ok()?)));
                let seen = number.and_then(|number| sensor.seen.get_mut(number as usize));
                match seen {
                    Some(seen) if publish.topic == TopicRef::Normal(sensor.topic_id) => {
                        self.result.duplicates += u64::from(*seen);
                        self.result.received += u64::from(!*seen);
                        *seen = true;
                    }
                    _ => self.result.wrong += 1,
                }
                let answer = Message::PubAck {
                    topic_id: publish.topic.field(),
                    msg_id: publish.msg_id,
                    code: ReturnCode::Accepted,
                };
                fleet.send(client, &answer);
            }
            Message::Register {
                topic_id, msg_id, ..
            } => {
                let answer = Message::RegAck {
                    topic_id: *topic_id,
                    msg_id: *msg_id,
                    code: ReturnCode::Accepted,
                };
                fleet.send(client, &answer);
            }
            Message::PingResp => {
                let Some(woke) = sensor.woke.take() else {
                    return;
                };
                fleet.answered(client);
                self.asleep += 1;
                self.latency
                    .saturating_record(woke.elapsed().as_micros() as u64);
                self.result.too_early += u64::from(sensor.seen.contains(&false));
            }
            _ => {}
        }
    }

    fn end(&mut self, messages: u32) {
        let missing = |sensor: &Sensor| sensor.seen.iter().filter(|seen| !**seen).count() as u64;
        self.result.lost += self.sensors.iter().map(missing).sum::<u64>();
        self.result.expected += u64::from(messages) * self.sensors.len() as u64;
    }
}
