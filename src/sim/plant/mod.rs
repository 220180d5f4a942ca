//! A plant of Sparkplug: edge nodes with devices that are born, die, are cut off, are taken over and born anew, a host
//! that sees all of it, and a broker that crashes. The certificate of each is its latest birth, byte for byte; a death
//! comes once, with the time of its delivery; and the states of nodes are right.

mod compare;
mod host;
mod node;

use crate::mqtt::Qos;
use crate::prng::Prng;
use crate::shard::Durability;
use crate::testing::{Environment, Sector, Setup, World};
use crate::time::{Span, WallTime};

use host::{Got, Host};
use node::{payload, Node, State};

const NODES: usize = 3;
/// Steps with faults; then everyone is born once more.
const STEPS: usize = 1_500;
const STEP: Span = Span::from_millis(5);
/// Steps in which what was sent must be answered.
const CALM_STEPS: usize = 200;
/// Everything stops and is compared once in so many steps.
const LOOK_ONCE_IN: u64 = 150;
const CERTIFICATES: &str = "$sparkplug/certificates/#";

/// What a run was, and why it failed.
#[derive(Debug)]
pub struct PlantOutcome {
    pub births: usize,
    pub deaths: usize,
    pub crashes: u32,
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
    nodes: Vec<Node>,
    host: Host,
    /// How many subscriptions the host has made.
    hosts: usize,
    /// What this one was sent.
    got: Vec<Got>,
    crashes: u32,
    newcomers: u32,
}

/// Runs one seed.
#[must_use]
pub fn run_plant(seed: u64) -> PlantOutcome {
    let mut run = Run::new(seed);
    let failure = run.play().err();
    PlantOutcome {
        births: run.nodes.iter().map(|node| node.births[0].sent.len()).sum(),
        deaths: run.nodes.iter().map(|node| node.deaths.len()).sum(),
        crashes: run.crashes,
        failure: failure.map(|text| format!("plant {seed}: {text}")),
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut prng = Prng::new(seed);
        let mut draw = |below: u64| prng.draw() % below;
        let mut setup = Setup::new(1 + draw(4) as u16);
        setup.limits.sparkplug = true;
        let disks = Disks {
            turns_max: [1, 8, 40][draw(3) as usize],
            prng: Prng::new(seed),
        };
        let has_journals = draw(2) == 0;
        let qos = [Qos::AtMostOnce, Qos::AtLeastOnce][draw(2) as usize];
        let mut world = World::new(setup.clone(), disks);
        if has_journals {
            world.begin_journals(Durability::Commit);
        }
        let (host, hello) = host(&mut world, 0);
        world.send(host.link, &hello);
        let node = |index| Node::new(format!("n{index}"), qos);
        Self {
            prng,
            setup,
            world,
            has_journals,
            nodes: (0..NODES).map(node).collect(),
            host,
            hosts: 1,
            got: Vec::new(),
            crashes: 0,
            newcomers: 0,
        }
    }

    fn play(&mut self) -> Result<(), String> {
        for _ in 0..STEPS {
            self.step(true)?;
            if self.once_in(LOOK_ONCE_IN) {
                self.look()?;
            }
            if self.has_journals && self.once_in(400) {
                self.crash()?;
                self.look()?;
            }
        }
        // Everyone is born once more, and that is what is found.
        self.rest()?;
        for index in 0..NODES {
            self.connect(index);
        }
        self.rest()?;
        for index in 0..NODES {
            self.be_born(index);
        }
        self.look()
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.prng.draw().is_multiple_of(times)
    }

    fn shard(&mut self) -> usize {
        (self.prng.draw() % self.world.shards.len() as u64) as usize
    }

    fn wall(&self) -> WallTime {
        self.world.clocks().wall
    }

    /// The subscription of the host, once it is there.
    fn by(&self) -> Option<usize> {
        self.host.has_subscribed.then_some(self.hosts)
    }

    fn step(&mut self, with_faults: bool) -> Result<(), String> {
        self.world.now = self.world.now + STEP;
        let shard = self.shard();
        self.world.turn(shard);
        for index in 0..NODES {
            self.read(index);
            if with_faults {
                self.act(index);
            }
        }
        self.read_host()
    }

    /// What has come for a node.
    fn read(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let Some(link) = node.link else {
            return;
        };
        let received = std::mem::take(&mut self.world.links[link].received);
        node.unread.extend(received);
        let answers = node.read();
        self.world.send(link, &answers);
        if node.state == State::Leaving && !self.world.links[link].is_open() {
            node.end();
        }
    }

    /// A node does what it likes.
    fn act(&mut self, index: usize) {
        let (what, at, by) = (self.prng.draw() % 200, self.wall(), self.by());
        let node = &mut self.nodes[index];
        match (node.state, node.link) {
            (State::Off, _) if what < 20 => self.connect(index),
            (State::Up, _) if !node.is_born || what < 4 => self.be_born(index),
            (State::Up, Some(link)) => match what {
                4..7 => {
                    node.cut(at, by);
                    self.world.close(link);
                }
                7 => {
                    node.cut(at, by); // its next connection takes over
                    self.connect(index);
                }
                8..10 => {
                    let death = node.die(at, by);
                    self.world.send(link, &death);
                }
                10..80 => {
                    let data = node.data(at);
                    self.world.send(link, &data);
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn connect(&mut self, index: usize) {
        if self.nodes[index].state != State::Off {
            return;
        }
        let (shard, at) = (self.shard(), self.wall());
        let link = self.world.open(shard);
        let hello = self.nodes[index].connect(link, at);
        self.world.send(link, &hello);
    }

    fn be_born(&mut self, index: usize) {
        let (at, by) = (self.wall(), self.by());
        let node = &mut self.nodes[index];
        if let (State::Up, Some(link)) = (node.state, node.link) {
            let births = node.be_born(at, by);
            self.world.send(link, &births);
        }
    }

    fn read_host(&mut self) -> Result<(), String> {
        let received = std::mem::take(&mut self.world.links[self.host.link].received);
        self.host.unread.extend(received);
        let (got, answers) = self.host.read();
        self.world.send(self.host.link, &answers);
        for got in &got {
            self.judge(got)
                .map_err(|why| format!("{}: {why}: {:02x?}", got.topic, got.payload))?;
        }
        self.got.extend(got);
        Ok(())
    }

    /// One message by itself.
    fn judge(&mut self, got: &Got) -> Result<(), &'static str> {
        let at = self.wall();
        for node in &mut self.nodes {
            if node.death_topic() == got.topic {
                return judge_death(node, got, at);
            }
            for births in &node.births {
                let is_certificate = births.certificate() == got.topic;
                if !is_certificate && births.topic != got.topic {
                    continue;
                }
                if births.find(&got.payload).is_none() {
                    return Err("it is no birth that was sent");
                }
                if got.retain != is_certificate {
                    return Err("RETAIN is wrong");
                }
                if is_certificate && got.qos != Qos::AtLeastOnce {
                    return Err("a certificate has QoS 1");
                }
            }
        }
        Ok(())
    }

    /// All that was sent is handled and answered.
    fn rest(&mut self) -> Result<(), String> {
        for _ in 0..CALM_STEPS {
            self.world.settle();
            self.step(false)?;
            if self.nodes.iter().all(Node::is_rested) && self.host.has_subscribed {
                self.world.settle();
                self.read_host()?;
                self.world.audit();
                return Ok(());
            }
        }
        let states: Vec<_> = self.nodes.iter().map(|node| node.state).collect();
        Err(format!("what was sent is not answered: {states:?}"))
    }

    /// Everything comes to rest, and is as it should be.
    fn look(&mut self) -> Result<(), String> {
        self.rest()?;
        self.nodes.iter_mut().for_each(Node::settle);
        self.compare_certificates()?;
        self.compare_seen()?;
        self.compare_states()
    }

    /// The process of the broker ends, and another continues from its disks.
    fn crash(&mut self) -> Result<(), String> {
        self.crashes += 1;
        let at = self.wall();
        for node in &mut self.nodes {
            node.crash(at);
        }
        let setup = Setup {
            now: self.world.now,
            wall: at,
            ..self.setup.clone()
        };
        for shard in 0..self.world.shards.len() {
            let is_kept = self.once_in(2);
            if let Some(disk) = self.world.disk_mut(shard) {
                disk.crash(|_| if is_kept { Sector::Kept } else { Sector::Lost });
            }
        }
        self.world.restart(&setup, Durability::Commit)?;
        let shard = self.shard();
        let (host, hello) = host(&mut self.world, shard);
        self.world.send(host.link, &hello);
        (self.host, self.hosts) = (host, self.hosts + 1);
        self.got.clear();
        Ok(())
    }
}

/// The host that sees everything.
fn host(world: &mut World<Disks>, shard: usize) -> (Host, Vec<u8>) {
    let link = world.open(shard);
    Host::new(link, "host", &["spBv1.0/#", CERTIFICATES])
}

/// A death is that of one connection, unchanged but for its time.
fn judge_death(node: &mut Node, got: &Got, at: WallTime) -> Result<(), &'static str> {
    let mut behind_key = got.payload.get(1..).unwrap_or_default();
    let time = prost::encoding::decode_varint(&mut behind_key).unwrap_or_default();
    let numbered = (1..).zip(&mut node.deaths);
    let of = |bd_seq| payload(time, Some(bd_seq), None) == got.payload;
    let Some((_, death)) = numbered.into_iter().find(|(bd_seq, _)| of(*bd_seq)) else {
        return Err("it is the death of no connection");
    };
    death.seen += 1;
    if WallTime(time) < death.since || WallTime(time) > at {
        return Err("a death has the time of its delivery");
    }
    Ok(())
}
