//! Two brokers with a bridge between them: the link is cut at any byte, either broker crashes at any step, and each
//! message of QoS 2 must arrive exactly once at the other side, in the order of its publisher.

use std::io::IoSlice;
use std::sync::Arc;

use super::person::Person;
use crate::bridge::{Bridge, Ended, Event, Line, Link, LocalLimits, Relay};
use crate::limits::{Limits, OwnTerms, QueuePolicy};
use crate::mqtt::Version;
use crate::prng::Prng;
use crate::shard::Durability;
use crate::testing::{Calm, Sector, Setup, World};

/// Messages of each publisher, and of one whose link is cut once.
const MESSAGES: u32 = 24;
const FEW_MESSAGES: u32 = 3;
/// Steps with faults; then the rest must arrive without any.
const STEPS: usize = 1_200;
/// Steps in which it must.
const CALM_STEPS: usize = 4_000;

/// One broker with its client.
struct Side {
    world: World<Calm>,
    setup: Setup,
    person: Person,
}

/// One connection of the bridge.
struct Joint {
    relay: Relay,
    /// Its links at the broker that bridges, and at the remote.
    links: [usize; 2],
    /// On their way from the relay to those.
    on_way: [Vec<u8>; 2],
}

struct Run {
    prng: Prng,
    sides: [Side; 2],
    bridge: Arc<Bridge>,
    version: Version,
    joint: Option<Joint>,
    was_up: bool,
    cuts: u32,
    crashes: u32,
    /// The link is cut when it has carried so many bytes in this direction: to the remote, or from it.
    cut_at: Option<(usize, usize)>,
    carried: [usize; 2],
}

/// What a run was, and why it failed.
#[derive(Debug)]
pub struct BridgeOutcome {
    pub cuts: u32,
    pub crashes: u32,
    pub failure: Option<String>,
}

/// Runs one seed.
#[must_use]
pub fn run_bridge(seed: u64) -> BridgeOutcome {
    let mut run = Run::new(seed, None, MESSAGES);
    let mut failure = None;
    for _ in 0..STEPS {
        failure = run.step(true).err();
        if failure.is_some() {
            break;
        }
    }
    for _ in 0..CALM_STEPS {
        if failure.is_some() || run.is_done() {
            break;
        }
        failure = run.step(false).err();
    }
    let failure = failure.or_else(|| run.compare());
    BridgeOutcome {
        cuts: run.cuts,
        crashes: run.crashes,
        failure: failure.map(|text| format!("seed {seed}: {text}")),
    }
}

/// Runs with one fault: the link is cut when it has carried `at` bytes to the remote (`way` 0) or from it (1). Returns
/// how many it has carried, and why the run failed.
#[must_use]
pub fn run_bridge_cut_at(version: Version, way: usize, at: usize) -> (usize, Option<String>) {
    let mut run = Run::new(1, Some(version), FEW_MESSAGES);
    run.cut_at = Some((way, at));
    let mut failure = None;
    for _ in 0..CALM_STEPS {
        if failure.is_some() || run.is_done() {
            break;
        }
        failure = run.step(false).err();
    }
    let failure = failure.or_else(|| run.compare());
    (run.carried[way], failure)
}

impl Run {
    fn new(seed: u64, version: Option<Version>, messages: u32) -> Self {
        let mut prng = Prng::new(seed);
        let line = |text| Line::parse(text).expect("it is a line");
        let bridge = Bridge {
            name: "b".into(),
            lines: vec![line("up/# out 2"), line("down/# in 2")],
            window: 1 + (prng.draw() % 8) as u16,
            ..Bridge::default()
        };
        let drawn = [Version::V5, Version::V311, Version::V31][(prng.draw() % 3) as usize];
        let version = version.unwrap_or(drawn);
        let person = |name, publishes, subscribes| Person {
            name,
            publishes,
            subscribes,
            messages,
            ..Person::default()
        };
        let sides = [
            person("near", "up/t", "down/#"),
            person("far", "down/t", "up/#"),
        ];
        // Small enough to be full while the link is cut: who publishes waits, and nothing is dropped.
        let terms = OwnTerms {
            queue_messages_max: Some(1 + (prng.draw() % 3) as u32),
            queue_policy: Some(QueuePolicy::Block),
            ..OwnTerms::default()
        };
        let has_terms = prng.draw().is_multiple_of(2);
        let own_terms = has_terms.then(|| (bridge.local_id().into(), terms));
        let own_terms = Arc::new(own_terms.into_iter().collect());
        let sides = sides.map(|person| {
            let setup = Setup {
                own_terms: Arc::clone(&own_terms),
                limits: Limits {
                    outgoing_window_max: 1 + (prng.draw() % 8) as u16,
                    ..Limits::default()
                },
                ..Setup::new(1 + (prng.draw() % 3) as u16)
            };
            let mut world = World::calm(setup.clone());
            world.begin_journals(Durability::Commit);
            Side {
                world,
                setup,
                person,
            }
        });
        Self {
            prng,
            sides,
            bridge: Arc::new(bridge),
            version,
            joint: None,
            was_up: false,
            cuts: 0,
            crashes: 0,
            cut_at: None,
            carried: [0; 2],
        }
    }

    fn draw(&mut self, below: usize) -> usize {
        (self.prng.draw() % below as u64) as usize
    }

    /// One thing happens.
    fn step(&mut self, with_faults: bool) -> Result<(), String> {
        let all_have = self.was_up && self.sides.iter().all(|side| side.person.has_subscribed);
        for side in self
            .sides
            .iter_mut()
            .filter(|side| all_have && !side.person.may_send)
        {
            side.begin();
        }
        if with_faults && self.draw(40) == 0 {
            self.cut();
        }
        if with_faults && self.draw(150) == 0 {
            let side = self.draw(2);
            self.crash(side)?;
        }
        if self.joint.is_none() {
            self.connect();
        }
        for side in 0..2 {
            let shards = self.sides[side].world.shards.len();
            let shard = self.draw(shards);
            self.sides[side].world.turn(shard);
            if self.draw(2) == 0 {
                self.sides[side].act();
            }
        }
        self.carry()
    }

    fn cut(&mut self) {
        if let Some(joint) = self.joint.take() {
            self.cuts += 1;
            for (side, link) in self.sides.iter_mut().zip(joint.links) {
                side.world.close(link);
            }
        }
    }

    /// The process of one broker ends, and another continues from its disk.
    fn crash(&mut self, side: usize) -> Result<(), String> {
        self.cut();
        self.crashes += 1;
        let Side {
            world,
            setup,
            person,
        } = &mut self.sides[side];
        let setup = Setup {
            now: world.now,
            ..setup.clone()
        };
        person.link = None;
        person.unread.clear();
        for shard in 0..world.shards.len() {
            let is_kept = self.prng.draw().is_multiple_of(2);
            if let Some(disk) = world.disk_mut(shard) {
                disk.crash(|_| if is_kept { Sector::Kept } else { Sector::Lost });
            }
        }
        world.restart(&setup, Durability::Commit)
    }

    fn connect(&mut self) {
        let relay = Relay::new(Link {
            bridge: Arc::clone(&self.bridge),
            version: self.version,
            mark: true,
            password: None,
            broker: 1,
            limits: LocalLimits {
                receive_maximum: self.sides[0].setup.limits.receive_maximum,
                packet_size_max: 1 << 20,
            },
            has_subscribed: false,
            given_up: Vec::new(),
        });
        let links = [0, 1].map(|side| {
            let shards = self.sides[side].world.shards.len();
            let shard = self.draw(shards);
            self.sides[side].world.open(shard)
        });
        let mut joint = Joint {
            relay,
            links,
            on_way: Default::default(),
        };
        joint.relay.start(&mut joint.on_way[1]);
        self.joint = Some(joint);
    }

    /// Bytes travel, in pieces of any length.
    fn carry(&mut self) -> Result<(), String> {
        let mut lengths = [1 + self.draw(60), 1 + self.draw(60), 1 + self.draw(60)];
        if let Some((way, at)) = self.cut_at {
            let left = at - self.carried[way];
            lengths[1 + way] = lengths[1 + way].min(left);
        }
        let Some(joint) = &mut self.joint else {
            return Ok(());
        };
        let [near, far] = &mut self.sides;
        let [to_near, to_far] = &mut joint.on_way;
        self.carried[0] += to_far.len().min(lengths[1]);
        for (side, link, bytes, most) in [
            (&mut *near, joint.links[0], &mut *to_near, lengths[0]),
            (&mut *far, joint.links[1], &mut *to_far, lengths[1]),
        ] {
            let count = bytes.len().min(most);
            let piece: Vec<u8> = bytes.drain(..count).collect();
            side.world.send(link, &piece);
        }
        let received = &mut far.world.links[joint.links[1]].received;
        let count = received.len().min(lengths[2]);
        let piece: Vec<u8> = received.drain(..count).collect();
        self.carried[1] += count;
        let remote = joint.relay.handle_remote(&piece, to_near, to_far);
        let own = std::mem::take(&mut near.world.links[joint.links[0]].received);
        let local = joint.relay.handle_local(&[IoSlice::new(&own)], to_far);
        joint.relay.take_owed(to_near);
        while let Some(event) = joint.relay.poll_event() {
            self.was_up |= event == Event::Up;
        }
        // An end that a broker has closed is seen as the end of the stream.
        let is_open = (near.world.links[joint.links[0]].is_open())
            && far.world.links[joint.links[1]].is_open();
        let ended = remote.and(local).err();
        // A CONNECT of the connection before may be read late, and end this one.
        let is_fault = |ended: &Ended| !ended.text.contains("0x8E");
        if let Some(ended) = ended.as_ref().filter(|ended| is_fault(ended)) {
            return Err(format!("the relay has given up: {ended}"));
        }
        let is_due = (self.cut_at).is_some_and(|(way, at)| self.carried[way] == at);
        if is_due {
            self.cut_at = None;
        }
        if !is_open || ended.is_some() || is_due {
            self.cut();
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let [near, far] = &self.sides;
        [near, far].iter().all(|side| {
            let person = &side.person;
            person.sent == person.messages && person.got.len() >= person.messages as usize
        })
    }

    fn compare(&self) -> Option<String> {
        let wanted: Vec<u32> = (0..self.sides[0].person.messages).collect();
        let wrong = self.sides.iter().find(|side| side.person.got != wanted)?;
        let Person { name, got, .. } = &wrong.person;
        Some(format!("{name} has got {got:?} ({} cuts)", self.cuts))
    }
}

impl Side {
    /// The first message; without a connection it comes with the next one.
    fn begin(&mut self) {
        self.person.may_send = true;
        let mut first = Vec::new();
        if let Some(link) = self.person.link {
            self.person.send_next(&mut first, false);
            self.world.send(link, &first);
        }
    }

    /// The client reads, answers, and sends its next message when the last one is done.
    fn act(&mut self) {
        let Side { world, person, .. } = self;
        let is_open = person.link.is_some_and(|link| world.links[link].is_open());
        if !is_open {
            let link = world.open(0);
            person.link = Some(link);
            person.unread.clear();
            world.send(link, &person.hello());
            return;
        }
        let Some(link) = person.link else {
            return;
        };
        let received = std::mem::take(&mut world.links[link].received);
        person.unread.extend(received);
        let answers = person.read();
        world.send(link, &answers);
    }
}
