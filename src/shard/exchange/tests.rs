//! Nodes of two shards each in virtual time, over a store of keys and a way for frames that a test can cut, slow and
//! make lose.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;

use super::*;
use crate::cluster::lanes::{Details, Group, LaneKey, Lanes, Owner, Place};
use crate::cluster::membership::{Beat, Change, Membership};
use crate::cluster::Incarnation;
use crate::ids::{ConnectionId, ListenerId};
use crate::limits::Limits;
use crate::prng::Prng;
use crate::shard::{Action, ListenerPolicy, Origin, PlacementSeed, RemoteEnd, Shard};
use crate::time::{Span, WallTime};

const SHARDS: u16 = 2;
const STEP: Span = Span::from_millis(10);

pub(super) struct World {
    pub(super) nodes: Vec<Node1>,
    /// Revision and text by node; changes in their order.
    keys: BTreeMap<NodeName, u64>,
    changes: Vec<(NodeName, u64, Option<Beat>)>,
    lanes: Vec<(Group, u64, Owner)>,
    frames: VecDeque<(usize, Vec<u8>)>,
    random: Prng,
    /// In a hundred.
    loses: u64,
    pub(super) now: Time,
}

pub(super) struct Node1 {
    pub(super) own: Node,
    shards: Vec<Shard>,
    exchange: Exchange,
    pub(super) membership: Membership,
    pub(super) lanes: Lanes,
    seen: usize,
    seen_lanes: usize,
    /// It is stopped, or killed: nothing of it happens.
    pub(super) is_stopped: bool,
    /// It does not reach the store, nor other nodes.
    pub(super) is_cut: bool,
}

fn node(name: &str, incarnation: u64, now: Time) -> Node1 {
    let config = Arc::new(ShardConfig {
        shards: SHARDS,
        limits: Limits::default(),
        listeners: [ListenerPolicy::default()].into(),
        placement_seed: PlacementSeed([incarnation as u8; 16]),
        hash_seed: incarnation,
        own_terms: Default::default(),
    });
    let shards = (0..SHARDS).map(|id| {
        let mut shard = Shard::new(ShardId(id), &config, 5, now);
        shard.join_exchange();
        shard
    });
    let own = Node {
        name: NodeName::new(name).unwrap(),
        incarnation: Incarnation(incarnation),
    };
    Node1 {
        shards: shards.collect(),
        exchange: Exchange::new(own.clone(), &config, false),
        membership: Membership::new(own.clone()),
        lanes: Lanes::new(own.clone(), LaneKey([7; 16])),
        own,
        seen: 0,
        seen_lanes: 0,
        is_stopped: false,
        is_cut: false,
    }
}

impl World {
    pub(super) fn new(nodes: usize) -> Self {
        let mut world = Self {
            nodes: Vec::new(),
            keys: BTreeMap::new(),
            changes: Vec::new(),
            lanes: Vec::new(),
            frames: VecDeque::new(),
            random: Prng::new(1),
            loses: 0,
            now: Time(1_000_000_000),
        };
        for at in 0..nodes {
            world.add(["a", "b", "c", "d"][at]);
        }
        world.run(500);
        world
    }

    pub(super) fn add(&mut self, name: &str) {
        let incarnation = self.nodes.len() as u64 + 1;
        self.nodes.push(node(name, incarnation, self.now));
        // What nodes say of themselves is known to all at once.
        let all: Vec<Node> = self.nodes.iter().map(|node| node.own.clone()).collect();
        for node in &mut self.nodes {
            for other in &all {
                let details = Details {
                    incarnation: other.incarnation,
                    is_drained: false,
                    is_adopted: false,
                    relay: "".into(),
                    clients: None,
                };
                node.lanes.described(&other.name, Some(details));
            }
        }
    }

    pub(super) fn run(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.now = self.now + STEP;
            for at in 0..self.nodes.len() {
                if !self.nodes[at].is_stopped {
                    self.turn_of(at);
                }
            }
            self.carry_frames();
        }
    }

    fn turn_of(&mut self, at: usize) {
        let now = self.now;
        let Self {
            nodes,
            changes,
            lanes,
            keys,
            frames,
            random,
            loses,
            ..
        } = self;
        let names: Vec<NodeName> = nodes.iter().map(|node| node.own.name.clone()).collect();
        let node = &mut nodes[at];
        let clocks = Clocks {
            monotonic: now,
            wall: WallTime(now.0 / 1_000_000),
        };
        node.exchange.handle_clocks(clocks);
        for shard in &mut node.shards {
            shard.handle_clocks(clocks);
            shard.handle_timeout(now);
        }
        let mut happened = Vec::new();
        if !node.is_cut {
            for (name, revision, beat) in &changes[node.seen..] {
                happened.extend(node.membership.seen(name, *revision, *beat, now));
            }
            node.seen = changes.len();
            node.membership.seen_all(now);
            if let Some(put) = node.membership.put_due(node.exchange.has_joined(), 0, now) {
                let revision = keys.entry(node.own.name.clone()).or_default();
                match *revision == put.revision {
                    true => {
                        *revision = changes.len() as u64 + 1;
                        changes.push((node.own.name.clone(), *revision, Some(put.beat)));
                    }
                    false => node.membership.put_failed(put.beat.number),
                }
            }
        }
        happened.extend(node.membership.judge(now));
        for change in happened {
            match change {
                Change::Joined(other) => {
                    node.lanes.joined(&other);
                    assert!(node.exchange.handle_joined(other, now));
                }
                Change::Left(other) => {
                    node.lanes.left(&other, now);
                    node.exchange.handle_left(&other);
                }
            }
        }
        node.keep_lanes(lanes, now);
        for _ in 0..4 {
            node.carry_blocks(now);
        }
        if !node.is_cut {
            while let Some((to, frame)) = node.exchange.poll_frame(now) {
                if random.draw() % 100 >= *loses {
                    let to = names.iter().position(|name| *name == to).unwrap();
                    frames.push_back((to, frame));
                }
            }
        }
    }

    fn carry_frames(&mut self) {
        while let Some((to, frame)) = self.frames.pop_front() {
            let node = &mut self.nodes[to];
            if !node.is_stopped && !node.is_cut {
                node.exchange.handle_frame(&frame, self.now);
            }
        }
    }

    /// A client at a node that owns its client id, which is made from a name.
    fn connect(&mut self, at: usize, name: &str) -> Client {
        let own = self.nodes[at].own.clone();
        let is_owned = |name: &String| {
            let lanes = &self.nodes[at].lanes;
            let owner = lanes.owner(LaneKey([7; 16]).group(name));
            owner.is_some_and(|owner| owner.node == own)
        };
        let mut names = (0..1_000).map(|n| format!("{name}{n}"));
        let name = names.find(is_owned).expect("it owns some");
        let client = self.open(at, &name);
        assert_eq!(self.take(client), b"\x20\x02\0\0", "{name} at {at}");
        client
    }

    /// CONNECT, at a node.
    pub(super) fn open(&mut self, at: usize, name: &str) -> Client {
        let origin = Origin::new(RemoteEnd::Unix, ListenerId(0));
        self.open_from(at, name, origin)
    }

    /// The same by way of another node.
    pub(super) fn open_relayed(&mut self, at: usize, name: &str, hops: u8) -> Client {
        let origin = Origin {
            hops,
            ..Origin::new(RemoteEnd::Unix, ListenerId(0))
        };
        self.open_from(at, name, origin)
    }

    fn open_from(&mut self, at: usize, name: &str, origin: Origin) -> Client {
        let shards = &mut self.nodes[at].shards;
        let home = shards[0].routes.placement.home(name);
        let id = shards[home.index()]
            .handle_opened(origin, self.now)
            .unwrap();
        let client = Client { at, home, id };
        let packet = self.connect_packet(name);
        self.give(client, &packet);
        client
    }

    pub(super) fn connect_packet(&self, name: &str) -> Vec<u8> {
        let mut packet = vec![0x10, 12 + name.len() as u8];
        packet.extend_from_slice(b"\0\x04MQTT\x04\x02\0\0\0");
        packet.push(name.len() as u8);
        packet.extend_from_slice(name.as_bytes());
        packet
    }

    /// Groups that a node serves.
    pub(super) fn served(&self, at: usize) -> usize {
        let node = &self.nodes[at];
        Group::all()
            .filter(|group| node.place(*group) == Place::Here)
            .count()
    }

    fn give(&mut self, client: Client, bytes: &[u8]) {
        let shard = &mut self.nodes[client.at].shards[client.home.index()];
        shard.handle_bytes(client.id, bytes, self.now);
        shard.end_turn(self.now);
    }

    pub(super) fn take(&mut self, client: Client) -> Vec<u8> {
        let shard = &mut self.nodes[client.at].shards[client.home.index()];
        while shard.poll_transmit().is_some() {}
        let mut bytes = Vec::new();
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = shard.outgoing(client.id, &mut slices);
            if count == 0 {
                return bytes;
            }
            let before = bytes.len();
            slices[..count]
                .iter()
                .for_each(|slice| bytes.extend_from_slice(slice));
            shard.handle_written(client.id, bytes.len() - before, self.now);
        }
    }

    /// The shard has ended its connection.
    pub(super) fn is_closed(&mut self, client: Client) -> bool {
        let shard = &mut self.nodes[client.at].shards[client.home.index()];
        let mut actions = std::iter::from_fn(|| shard.poll_action());
        actions.any(|action| matches!(action, Action::Close(id) if id == client.id))
    }

    /// The owner to which a connection leaves, whose client id this node does not own.
    pub(super) fn relayed(&mut self, client: Client) -> Option<(NodeName, Vec<u8>)> {
        let shard = &mut self.nodes[client.at].shards[client.home.index()];
        let mut actions = std::iter::from_fn(|| shard.poll_action());
        actions.find_map(|action| match action {
            Action::Relay { to, bytes, .. } => Some((to.node.name.clone(), bytes)),
            _ => None,
        })
    }

    fn subscribe(&mut self, client: Client, filter: &str, qos: u8) {
        let mut packet = vec![0x82, 5 + filter.len() as u8, 0, 9, 0, filter.len() as u8];
        packet.extend_from_slice(filter.as_bytes());
        packet.push(qos);
        self.give(client, &packet);
    }

    /// The payload is a byte.
    fn publish(&mut self, client: Client, topic: &str, (qos, retain): (u8, bool), payload: u8) {
        let id: &[u8] = if qos > 0 { &[0, 7] } else { &[] };
        let length = 3 + topic.len() as u8 + id.len() as u8;
        let mut packet = vec![
            0x30 | qos << 1 | u8::from(retain),
            length,
            0,
            topic.len() as u8,
        ];
        packet.extend_from_slice(topic.as_bytes());
        packet.extend_from_slice(id);
        packet.push(payload);
        self.give(client, &packet);
    }

    /// Payloads of what a client is sent on topics of one letter, each acknowledged.
    fn received(&mut self, client: Client) -> Vec<u8> {
        let bytes = self.take(client);
        let (mut at, mut payloads) = (0, Vec::new());
        while at < bytes.len() {
            let end = at + 2 + usize::from(bytes[at + 1]);
            let packet = &bytes[at..end];
            match packet[0] >> 4 {
                3 => {
                    payloads.push(packet[packet.len() - 1]);
                    let qos = packet[0] >> 1 & 3;
                    let ids = &packet[2 + 2 + 1..];
                    match qos {
                        1 => self.give(client, &[0x40, 2, ids[0], ids[1]]),
                        2 => self.give(client, &[0x50, 2, ids[0], ids[1]]),
                        _ => {}
                    }
                }
                6 => self.give(client, &[0x70, 2, packet[2], packet[3]]),
                _ => {}
            }
            at = end;
        }
        payloads
    }
}

impl Node1 {
    /// As the link does; a node that is cut sees nothing, and puts nothing.
    fn keep_lanes(&mut self, store: &mut Vec<(Group, u64, Owner)>, now: Time) {
        if !self.is_cut {
            for (group, revision, owner) in &store[self.seen_lanes..] {
                let owner = Some(owner.clone());
                self.lanes.seen(*group, *revision, owner, now);
            }
            self.seen_lanes = store.len();
        }
        self.lanes.leased(self.membership.lease_until(), now);
        for (group, epoch, is_free) in self.exchange.take_answers() {
            self.lanes.answered(group, epoch, is_free, now);
        }
        for claim in self.lanes.claims(now) {
            let last = store.iter().rev().find(|it| it.0 == claim.group);
            let is_seen = last.map_or(0, |it| it.1) == claim.revision;
            match is_seen && !self.is_cut {
                true => store.push((claim.group, store.len() as u64 + 1, claim.owner)),
                false => self.lanes.claim_failed(claim.group),
            }
        }
        if let Some(table) = self.lanes.poll_table() {
            self.exchange.handle_lanes(table);
        }
    }

    /// As its shards know it.
    pub(super) fn place(&self, group: Group) -> Place {
        let cluster = self.shards[0].mesh.cluster.as_deref();
        let table = cluster.and_then(|cluster| cluster.lanes.as_deref());
        table.map_or(Place::Nowhere, |table| table.places[group.index()].clone())
    }

    fn carry_blocks(&mut self, now: Time) {
        let peers = SHARDS + 1;
        for from in (0..peers).map(ShardId) {
            for to in (0..peers).map(ShardId).filter(|to| *to != from) {
                for lane in [Lane::Control, Lane::Data] {
                    while let Some(block) = self.poll(from, to, lane) {
                        match self.shards.get_mut(to.index()) {
                            Some(shard) => shard.handle_block(from, lane, block, now),
                            None => self.exchange.handle_block(from, lane, block, now),
                        }
                    }
                }
            }
        }
        self.shards.iter_mut().for_each(|shard| shard.end_turn(now));
        let (source, is_first) = (
            self.membership.joined().cloned(),
            self.membership.is_first(),
        );
        self.exchange
            .handle_lease(self.membership.lease_until(), now);
        self.exchange.end_turn(source.as_ref(), is_first, now);
    }

    fn poll(&mut self, from: ShardId, to: ShardId, lane: Lane) -> Option<Block> {
        match self.shards.get_mut(from.index()) {
            Some(shard) => shard.poll_block(to, lane),
            None => self.exchange.poll_block(to, lane),
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Client {
    at: usize,
    home: ShardId,
    id: ConnectionId,
}

const SUBACK: u8 = 0x90;
const PUBACK: &[u8] = &[0x40, 2, 0, 7];

#[test]
fn publications_cross_and_each_is_acknowledged_when_the_other_node_has_it() {
    let mut world = World::new(3);
    let (subscriber, publisher) = (world.connect(1, "s"), world.connect(0, "p"));
    world.subscribe(subscriber, "t", 2);
    assert_eq!(world.take(subscriber), b"", "other nodes do not know of it");
    world.run(100);
    assert_eq!(world.take(subscriber)[0], SUBACK);
    world.publish(publisher, "t", (0, false), b'0');
    world.nodes[1].is_cut = true;
    world.publish(publisher, "t", (1, false), b'1');
    world.run(3_000);
    assert_eq!(world.take(publisher), b"");
    world.nodes[1].is_cut = false;
    world.run(3_000);
    assert_eq!(world.take(publisher), PUBACK);
    world.publish(publisher, "t", (2, false), b'2');
    world.run(100);
    assert_eq!(world.take(publisher), [0x50, 2, 0, 7]);
    assert_eq!(world.received(subscriber), b"012");
}

#[test]
fn nobody_waits_for_a_dead_node_once_its_lease_is_over() {
    let mut world = World::new(3);
    let (subscriber, publisher) = (world.connect(1, "s"), world.connect(0, "p"));
    world.subscribe(subscriber, "t", 1);
    world.run(100);
    world.nodes[1].is_stopped = true;
    let other = world.connect(2, "o");
    world.subscribe(other, "u", 1);
    world.publish(publisher, "t", (1, false), b'1');
    world.run(3_500);
    assert_eq!(world.take(other), b"", "it may still acknowledge");
    assert_eq!(world.take(publisher), b"");
    world.run(4_000);
    assert_eq!(world.take(other)[0], SUBACK);
    assert_eq!(world.take(publisher), PUBACK);
    world.publish(publisher, "r", (1, true), b'r');
    world.run(100);
    assert_eq!(world.take(publisher), PUBACK);
    // It was only asleep. Its client learns that it has missed something: another node serves its client id.
    world.nodes[1].is_stopped = false;
    world.run(5_000);
    assert!(world.is_closed(subscriber));
    let subscriber = world.connect(1, "again");
    world.subscribe(subscriber, "t", 1);
    world.run(100);
    world.publish(publisher, "t", (1, false), b'2');
    world.run(200);
    assert_eq!(world.take(publisher), PUBACK);
    assert!(world.received(subscriber).ends_with(b"2"));
    world.subscribe(subscriber, "r", 1);
    world.run(100);
    assert_eq!(world.received(subscriber), b"r");
}

/// And acknowledged without it, so a subscriber must learn that something may be missing. Who only publishes has missed nothing.
#[test]
fn who_was_taken_for_dead_for_a_moment_tells_its_subscribers() {
    let mut world = World::new(2);
    let (subscriber, publisher) = (world.connect(1, "s"), world.connect(1, "p"));
    world.subscribe(subscriber, "t", 1);
    world.run(500);
    let (now, node) = (world.now, world.nodes[1].own.clone());
    world.nodes[0].exchange.handle_left(&node);
    assert!(world.nodes[0].exchange.handle_joined(node, now));
    world.run(500);
    assert!(world.is_closed(subscriber));
    assert!(!world.is_closed(publisher));
    assert_eq!(world.nodes[1].exchange.stats().missed, 1);
    assert_eq!(world.nodes[0].exchange.stats().missed, 0);
}

#[test]
fn without_a_lease_qos_0_goes_on_and_everything_else_waits() {
    let mut world = World::new(2);
    let (subscriber, publisher) = (world.connect(0, "s"), world.connect(0, "p"));
    world.subscribe(subscriber, "t", 1);
    world.run(100);
    world.take(subscriber);
    world.nodes[0].is_cut = true;
    world.run(4_200);
    world.publish(publisher, "t", (0, false), b'0');
    world.publish(publisher, "t", (1, false), b'1');
    world.subscribe(subscriber, "u", 1);
    world.run(1_000);
    assert_eq!(world.take(publisher), b"");
    assert_eq!(world.received(subscriber), b"0");
    world.nodes[0].is_cut = false;
    world.run(2_500);
    assert_eq!(world.take(publisher), PUBACK);
    assert_eq!(world.received(subscriber), b"1");
}

/// Stopped for long and continued: what it reads first must not be acknowledged by the lease it had.
#[test]
fn a_node_that_was_asleep_acknowledges_nothing_by_its_old_lease() {
    let mut world = World::new(2);
    let publisher = world.connect(0, "p");
    world.run(100);
    world.nodes[0].is_stopped = true;
    world.run(8_000);
    let subscriber = world.connect(1, "s");
    world.subscribe(subscriber, "t", 1);
    world.run(100);
    assert_eq!(world.take(subscriber)[0], SUBACK);
    world.publish(publisher, "t", (1, false), b'1');
    assert_eq!(world.take(publisher), b"");
    world.nodes[0].is_stopped = false;
    world.run(3_000);
    assert_eq!(world.take(publisher), b"");
    assert!(
        world.is_closed(publisher),
        "another node serves its client id"
    );
    let publisher = world.connect(0, "again");
    world.publish(publisher, "t", (1, false), b'2');
    world.run(100);
    assert_eq!(world.take(publisher), PUBACK);
    assert_eq!(world.received(subscriber), b"2");
}

#[test]
fn who_joins_late_knows_filters_and_what_is_retained() {
    let mut world = World::new(2);
    let (subscriber, publisher) = (world.connect(0, "s"), world.connect(1, "p"));
    world.subscribe(subscriber, "t", 1);
    world.publish(publisher, "r", (1, true), b'r');
    world.run(200);
    world.take(subscriber);
    world.add("c");
    world.run(300);
    assert!(world.nodes[2].exchange.has_joined());
    let late = world.connect(2, "l");
    world.subscribe(late, "r", 1);
    world.publish(late, "t", (1, false), b't');
    world.run(200);
    assert_eq!(world.received(late), b"r");
    assert_eq!(world.received(subscriber), b"t");
    world.publish(publisher, "r", (1, true), b'R');
    world.run(100);
    let later = world.connect(2, "m");
    world.subscribe(later, "r", 0);
    world.run(100);
    assert_eq!(world.received(later), b"R");
}

#[test]
fn a_group_is_one_over_all_nodes() {
    let mut world = World::new(3);
    let publisher = world.connect(0, "p");
    let members: Vec<Client> = (1..3).map(|at| world.connect(at, "m")).collect();
    for member in &members {
        world.subscribe(*member, "$share/g/t", 1);
    }
    world.run(100);
    for n in 0..20 {
        world.publish(publisher, "t", (1, false), n);
        world.run(30);
    }
    let mut got: Vec<Vec<u8>> = members.iter().map(|one| world.received(*one)).collect();
    assert!(got.iter().all(|one| one.len() == 10), "{got:?}");
    let mut all = got.concat();
    all.sort_unstable();
    assert_eq!(all, (0..20).collect::<Vec<_>>());
    // After a node's death messages of the group go to the members that are left.
    world.nodes[1].is_stopped = true;
    world.run(7_500);
    world.publish(publisher, "t", (1, false), 99);
    world.run(100);
    got[1] = world.received(members[1]);
    assert_eq!(got[1], [99]);
}

/// Whatever frames are lost: each publication once, in order, and every acknowledgement at last.
#[test]
fn nothing_acknowledged_is_lost_or_doubled_over_a_bad_way() {
    for seed in 0..12 {
        let mut world = World::new(3);
        world.random = Prng::new(seed);
        let publishers: Vec<Client> = (0..3).map(|at| world.connect(at, "p")).collect();
        let subscribers: Vec<Client> = (0..3).map(|at| world.connect(at, "s")).collect();
        for one in &subscribers {
            world.subscribe(*one, "t", 2);
        }
        world.run(100);
        let mut got: Vec<Vec<u8>> = (subscribers.iter())
            .map(|one| world.received(*one))
            .collect();
        world.loses = seed * 4;
        let mut sent = Vec::new();
        for n in 0..60_u8 {
            let publisher = publishers[usize::from(n % 3)];
            let qos = 1 + n / 3 % 2;
            world.publish(publisher, "t", (qos, false), n);
            let mut waited = 0;
            while world.take(publisher).is_empty() {
                world.run(50);
                waited += 50;
                assert!(waited < 60_000, "seed {seed}: {n} is not acknowledged");
            }
            if qos == 2 {
                world.give(publisher, &[0x62, 2, 0, 7]);
                world.take(publisher);
            }
            sent.push(n);
            for (one, got) in subscribers.iter().zip(&mut got) {
                got.extend(world.received(*one));
            }
        }
        assert!(got.iter().all(|got| *got == sent), "seed {seed}: {got:?}");
    }
}

/// Bytes of anybody: counted, and nothing else happens.
#[test]
fn garbled_frames_do_no_harm() {
    let mut world = World::new(2);
    let mut random = Prng::new(5);
    let (subscriber, publisher) = (world.connect(1, "s"), world.connect(0, "p"));
    world.subscribe(subscriber, "t", 1);
    world.publish(publisher, "r", (1, true), b'r');
    for _ in 0..3_000 {
        world.now = world.now + STEP;
        for at in 0..2 {
            world.turn_of(at);
        }
        for (to, frame) in world.frames.clone() {
            let mut garbled = frame.clone();
            let at = random.draw() as usize % garbled.len();
            garbled[at] ^= 1 << (random.draw() % 8);
            let cut = random.draw() as usize % garbled.len();
            world.nodes[to]
                .exchange
                .handle_frame(&garbled[..cut], world.now);
            if random.draw().is_multiple_of(4) {
                world.nodes[to].exchange.handle_frame(&garbled, world.now);
            }
        }
        world.carry_frames();
    }
    assert!(world
        .nodes
        .iter()
        .all(|node| node.exchange.stats().malformed > 0));
}
