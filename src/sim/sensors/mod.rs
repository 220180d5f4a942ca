//! Sensors that sleep: clients of MQTT-SN at the gateways of one broker, over a network that loses, doubles, delays
//! and reorders datagrams; they reboot, move and sleep, and the broker crashes. What was acknowledged arrives, at QoS 2
//! once, never under a wrong name, and what waits for a sleeper before its PINGRESP; a topic id that a sensor has asked
//! for stays what it is.

mod answers;
mod network;
mod sensor;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::mqtt::Qos;
use crate::mqtt_sn::{decode, Message, Settings};
use crate::prng::Prng;
use crate::shard::Durability;
use crate::testing::{Environment, Sector, Setup, World};
use crate::time::Span;

use network::{Faults, Network};
use sensor::{Planned, Sensor, State};

/// Messages of each sensor.
const MESSAGES: usize = 12;
/// Steps with faults; then the rest must arrive without any.
const STEPS: usize = 4_000;
/// Steps in which it must.
const CALM_STEPS: usize = 12_000;
/// Time of one step.
const STEP: Span = Span::from_millis(5);
/// Turns of each shard after which what was acknowledged is with every subscriber's home.
const TURNS: u64 = 8;
/// Topics of each sensor. The first of the first two sensors, and the second ones, would have the same topic id.
const TOPICS: [[&str; 3]; 3] = [
    ["t/369", "t/368", "aa"],
    ["t/686", "t/687", "bb"],
    ["t/506", "t/522", "cc"],
];
/// What each subscribes to: no message twice.
const FILTERS: [&[&str]; 3] = [
    &["t/#", "bb", "cc"],
    &["t/369", "t/368", "t/506", "aa"],
    &["+/+", "aa", "bb", "cc"],
];

/// What a run was, and why it failed.
#[derive(Debug)]
pub struct SensorsOutcome {
    pub crashes: u32,
    /// Times a sensor was awake and slept on.
    pub rounds: u32,
    pub reboots: u32,
    pub failure: Option<String>,
}

/// Disks whose writes take up to so many turns.
struct Disks {
    prng: Prng,
    turns_max: u64,
}

impl Environment for Disks {
    fn commit_turns(&mut self, _shard: usize) -> Option<u32> {
        Some(1 + (self.prng.draw() % self.turns_max) as u32)
    }
}

struct Run {
    prng: Prng,
    setup: Setup,
    world: World<Disks>,
    has_journals: bool,
    network: Network,
    sensors: Vec<Sensor>,
    /// Of each shard, so far.
    turns: Vec<u64>,
    next_port: u16,
    crashes: u32,
    reboots: u32,
}

/// Runs one seed.
#[must_use]
pub fn run_sensors(seed: u64) -> SensorsOutcome {
    let mut run = Run::new(seed);
    let mut failure = None;
    for step in 0..STEPS + CALM_STEPS {
        let is_calm = step >= STEPS;
        if is_calm && run.is_done() {
            break;
        }
        failure = run.step(is_calm).err();
        if failure.is_some() {
            break;
        }
    }
    let failure = failure.or_else(|| run.compare());
    SensorsOutcome {
        crashes: run.crashes,
        rounds: run.sensors.iter().map(|sensor| sensor.rounds).sum(),
        reboots: run.reboots,
        failure: failure.map(|text| format!("seed {seed}: {text}")),
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut prng = Prng::new(seed);
        let mut draw = |below: u64| prng.draw() % below;
        let setup = Setup::new(1 + draw(3) as u16);
        let settings = Settings {
            retry_s: 1 + draw(2) as u16,
            retries: 2 + draw(3) as u8,
            topics_max: [5, 1_000][draw(2) as usize],
            ..Settings::default()
        };
        let faults = Faults {
            lost: draw(4) * 10,
            doubled: draw(3) * 10,
            overtaken: draw(4) * 25,
        };
        let has_journals = draw(2) == 0;
        let disks = Disks {
            turns_max: [1, 30][draw(2) as usize],
            prng: Prng::new(seed),
        };
        let mut world = World::new(setup.clone(), disks);
        if has_journals {
            world.begin_journals(Durability::Commit);
        }
        world.begin_gateways(settings);
        let sensors = (0..TOPICS.len()).map(|index| {
            let address = SocketAddr::from(([127, 0, 0, 1], 20_000 + index as u16));
            let mut sensor = Sensor::new(format!("sensor-{index}"), address, draw(3) == 0);
            sensor.filters = FILTERS[index].to_vec();
            sensor.plan = (0..MESSAGES)
                .map(|number| {
                    let topic = TOPICS[index][draw(3) as usize];
                    Planned {
                        topic,
                        qos: [Qos::AtLeastOnce, Qos::ExactlyOnce][draw(2) as usize],
                        payload: format!("{topic} {index} {number}"),
                        acknowledged: None,
                    }
                })
                .collect();
            sensor
        });
        let sensors = sensors.collect();
        Self {
            turns: vec![0; world.shards.len()],
            prng,
            setup,
            world,
            has_journals,
            network: Network::new(faults),
            sensors,
            next_port: 30_000,
            crashes: 0,
            reboots: 0,
        }
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.prng.draw().is_multiple_of(times)
    }

    /// Some things happen.
    fn step(&mut self, is_calm: bool) -> Result<(), String> {
        if is_calm {
            self.network.faults = Faults {
                lost: 0,
                doubled: 0,
                overtaken: 0,
            };
        } else if self.has_journals && self.once_in(1_200) {
            self.crash()?;
        }
        self.world.now = self.world.now + STEP;
        let all_have = self
            .sensors
            .iter()
            .all(|sensor| sensor.subscribed == sensor.filters.len());
        for index in 0..self.sensors.len() {
            self.sensors[index].handle_timeout(&mut self.network, self.world.now);
            self.act(index, all_have, is_calm);
        }
        for _ in 0..3 {
            self.carry();
        }
        let shard = (self.prng.draw() % self.turns.len() as u64) as usize;
        self.turn(shard)?;
        if self.once_in(64) {
            self.world.audit();
        }
        match self.sensors.iter_mut().find_map(|one| one.failure.take()) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// One turn of a shard, and what its gateway sends.
    fn turn(&mut self, shard: usize) -> Result<(), String> {
        self.world.turn(shard);
        self.turns[shard] += 1;
        for (to, bytes) in self.world.take_datagrams(shard) {
            let message = decode(&bytes).map_err(|_| format!("{bytes:?} is no message"))?;
            let to_whom = self.sensors.iter().find(|sensor| sensor.address == to);
            let is_delivery = matches!(
                message,
                Message::Publish(_) | Message::Register { .. } | Message::PubRel(_)
            );
            if let Some(sensor) = to_whom.filter(|one| is_delivery && one.state == State::Asleep) {
                let name = &sensor.name;
                return Err(format!("{name} was sent {message:?} while it slept"));
            }
            self.network.send(false, to, bytes);
        }
        Ok(())
    }

    /// A datagram arrives.
    fn carry(&mut self) {
        let Some(datagram) = self.network.arrival(&mut self.prng) else {
            return;
        };
        let from = datagram.sensor;
        if datagram.is_up {
            let shard = usize::from(from.port()) % self.turns.len();
            self.world.receive_datagram(shard, from, &datagram.bytes);
            return;
        }
        let Self {
            sensors,
            network,
            turns,
            world,
            ..
        } = self;
        if let Some(sensor) = sensors.iter_mut().find(|sensor| sensor.address == from) {
            sensor.handle(network, &datagram.bytes, datagram.number, turns, world.now);
        }
    }

    /// A sensor does what it likes.
    fn act(&mut self, index: usize, all_have: bool, is_calm: bool) {
        let (now, what) = (self.world.now, self.prng.draw() % 1_000);
        let owed = self.owed(index);
        // A CONNECT is taken for a repeat of the one before for as long as T_RETRY.
        let may_reboot = now.since(self.sensors[index].connected_at) > Span::from_secs(3);
        let (sensor, network) = (&mut self.sensors[index], &mut self.network);
        let is_up = !matches!(sensor.state, State::Off | State::Connecting);
        if !is_calm && is_up && may_reboot && what == 0 {
            self.reboots += 1;
            sensor.reboot(network, now);
            return;
        }
        if !is_calm && is_up && may_reboot && what == 1 {
            self.next_port += 1;
            sensor.address.set_port(self.next_port);
            sensor.reboot(network, now);
            return;
        }
        match sensor.state {
            State::Off if what < 50 => sensor.connect(network, now),
            State::Active if sensor.request.is_none() => match what {
                ..20 => sensor.sleep(network, now),
                20..24 if !is_calm => sensor.leave(network, now),
                _ if sensor.subscribed < sensor.filters.len() => sensor.subscribe(network, now),
                ..600 if all_have && sensor.next < sensor.plan.len() => {
                    sensor.publish(network, now);
                }
                _ => {}
            },
            State::Asleep => match what {
                ..10 => sensor.connect(network, now),
                10..50 => sensor.wake(network, owed, now),
                _ => {}
            },
            _ => {}
        }
    }

    /// What is with the home of a sensor, and has not come.
    fn owed(&self, index: usize) -> Vec<String> {
        let of_it = self.for_sensor(index).filter(|planned| {
            let is_there = |at: &Vec<u64>| {
                let mut pairs = at.iter().zip(&self.turns);
                pairs.all(|(then, now)| then + TURNS <= *now)
            };
            planned.acknowledged.as_ref().is_some_and(is_there)
        });
        let payloads = of_it.map(|planned| planned.payload.clone());
        let got = &self.sensors[index].got;
        payloads.filter(|payload| !got.contains(payload)).collect()
    }

    /// What it subscribes to.
    fn for_sensor(&self, index: usize) -> impl Iterator<Item = &Planned> {
        let matches = move |topic: &str| {
            let is_short = topic.len() == 2;
            let mut filters = FILTERS[index].iter();
            filters.any(|filter| *filter == topic || (filter.len() == 3 && !is_short))
        };
        let plans = self.sensors.iter().flat_map(|sensor| &sensor.plan);
        plans.filter(move |planned| matches(planned.topic))
    }

    /// The process of the broker ends, and another continues from its disks; that takes longer than a datagram
    /// lives.
    fn crash(&mut self) -> Result<(), String> {
        self.crashes += 1;
        self.network.forget(|_, _| true);
        let setup = Setup {
            now: self.world.now,
            ..self.setup.clone()
        };
        for shard in 0..self.turns.len() {
            let is_kept = self.once_in(2);
            if let Some(disk) = self.world.disk_mut(shard) {
                disk.crash(|_| if is_kept { Sector::Kept } else { Sector::Lost });
            }
        }
        self.world.restart(&setup, Durability::Commit)
    }

    fn is_done(&self) -> bool {
        let is_there = |index| {
            self.for_sensor(index)
                .all(|planned| self.sensors[index].got.contains(&planned.payload))
        };
        self.sensors.iter().all(Sensor::is_done)
            && (0..self.sensors.len()).all(is_there)
            && self.network.is_empty()
    }

    fn compare(&self) -> Option<String> {
        for (index, sensor) in self.sensors.iter().enumerate() {
            let Sensor { name, state, .. } = sensor;
            if !sensor.is_done() {
                let (next, subscribed) = (sensor.next, sensor.subscribed);
                return Some(format!(
                    "{name} does not finish: {state:?}, {next} published, {subscribed} subscribed"
                ));
            }
            let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
            for payload in &sensor.got {
                *counts.entry(payload).or_default() += 1;
            }
            for Planned { qos, payload, .. } in self.for_sensor(index) {
                match counts.get(&**payload).copied().unwrap_or(0) {
                    0 => return Some(format!("{name} ({state:?}) has not got {payload:?}")),
                    count if count > 1 && *qos == Qos::ExactlyOnce => {
                        return Some(format!("{name} has got {payload:?} {count} times"));
                    }
                    _ => {}
                }
            }
        }
        None
    }
}
