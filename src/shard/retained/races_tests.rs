//! Two shards whose blocks are carried by hand: the home of the topic is the second, its subscriber is
//! on the first.

use std::io::IoSlice;

use crate::ids::{ConnectionId, ListenerId, ShardId};
use crate::limits::Limits;
use crate::shard::{Lane, ListenerPolicy, Origin, PlacementSeed, RemoteEnd, Shard, ShardConfig};
use crate::time::Time;

const NOW: Time = Time(1_000_000_000);

struct Pair {
    shards: Vec<Shard>,
    topic: String,
}

impl Pair {
    fn new() -> Self {
        let config = std::sync::Arc::new(ShardConfig {
            shards: 2,
            limits: Limits::default(),
            listeners: [ListenerPolicy::default()].into(),
            placement_seed: PlacementSeed([3; 16]),
            hash_seed: 3,
            own_terms: Default::default(),
        });
        let shards: Vec<Shard> = (0..2)
            .map(|id| Shard::new(ShardId(id), &config, 5, NOW))
            .collect();
        let topic = name_of(&shards[0], 1, "t");
        Self { shards, topic }
    }

    /// A connected client of 3.1.1 on a shard.
    fn connect(&mut self, at: usize, stem: &str) -> ConnectionId {
        let name = name_of(&self.shards[at], at as u16, stem);
        let origin = Origin::new(RemoteEnd::Unix, ListenerId(0));
        let id = self.shards[at].handle_opened(origin, NOW).unwrap();
        let mut packet = vec![0x10, 12 + name.len() as u8];
        packet.extend_from_slice(b"\0\x04MQTT\x04\x02\0\0\0");
        packet.push(name.len() as u8);
        packet.extend_from_slice(name.as_bytes());
        self.give(at, id, &packet);
        assert_eq!(self.take(at, id), b"\x20\x02\0\0");
        id
    }

    fn give(&mut self, at: usize, id: ConnectionId, bytes: &[u8]) {
        self.shards[at].handle_bytes(id, bytes, NOW);
        self.shards[at].end_turn(NOW);
    }

    fn take(&mut self, at: usize, id: ConnectionId) -> Vec<u8> {
        let shard = &mut self.shards[at];
        while shard.poll_transmit().is_some() {}
        let mut slices = [IoSlice::new(&[]); 8];
        let count = shard.outgoing(id, &mut slices);
        let mut bytes = Vec::new();
        slices[..count]
            .iter()
            .for_each(|slice| bytes.extend_from_slice(slice));
        shard.handle_written(id, bytes.len(), NOW);
        bytes
    }

    /// PUBLISH with QoS 1 and RETAIN; the payload is a letter.
    fn publish(&mut self, at: usize, id: ConnectionId, letter: u8) {
        let mut packet = vec![0x33, 5 + self.topic.len() as u8, 0, self.topic.len() as u8];
        packet.extend_from_slice(self.topic.as_bytes());
        packet.extend_from_slice(&[0, 1, letter]);
        self.give(at, id, &packet);
    }

    fn carry(&mut self, from: usize, lane: Lane) {
        let to = 1 - from;
        while let Some(block) = self.shards[from].poll_block(ShardId(to as u16), lane) {
            self.shards[to].handle_block(ShardId(from as u16), lane, block, NOW);
        }
        self.shards[to].end_turn(NOW);
    }

    fn settle(&mut self) {
        for _ in 0..10 {
            for from in 0..2 {
                self.carry(from, Lane::Control);
                self.carry(from, Lane::Data);
            }
        }
        self.shards.iter().for_each(|shard| shard.audit().unwrap());
    }

    /// The commands a client is sent.
    fn commands(&mut self, at: usize, id: ConnectionId) -> String {
        let bytes = self.take(at, id);
        let packets = bytes.chunks_exact(7 + self.topic.len());
        assert!(packets.remainder().is_empty(), "{bytes:?}");
        packets
            .map(|packet| char::from(packet[packet.len() - 1]))
            .collect()
    }
}

/// A name whose home is a shard.
fn name_of(shard: &Shard, home: u16, stem: &str) -> String {
    let mut names = (0..).map(|n| format!("{stem}{n}"));
    let is_there = |name: &String| shard.routes.placement.home(name) == ShardId(home);
    names.find(is_there).unwrap()
}

/// With a subscriber and a publisher on the first shard, and a publisher on the second.
fn with_clients() -> (Pair, [ConnectionId; 3]) {
    let mut pair = Pair::new();
    let clients = [
        pair.connect(0, "s"),
        pair.connect(0, "p"),
        pair.connect(1, "q"),
    ];
    let len = pair.topic.len() as u8;
    let mut subscribe = vec![0x82, 5 + len, 0, 1, 0, len];
    subscribe.extend_from_slice(pair.topic.as_bytes());
    subscribe.push(1);
    pair.give(0, clients[0], &subscribe);
    pair.settle();
    assert_eq!(pair.take(0, clients[0]), b"\x90\x03\0\x01\x01");
    (pair, clients)
}

fn retained(pair: &Pair) -> char {
    let kept = pair.shards[1].routes.retained.get(&pair.topic).unwrap();
    char::from(kept.payload[0])
}

#[test]
fn the_winner_of_a_race_is_sent_again() {
    let (mut pair, [subscriber, here, there]) = with_clients();
    pair.publish(0, here, b'W');
    pair.publish(1, there, b'L');
    pair.carry(1, Lane::Data); // here L comes last
    pair.carry(0, Lane::Data); // at the home, W does
    assert_eq!(pair.commands(0, subscriber), "WL");
    assert_eq!(retained(&pair), 'W');
    pair.settle();
    assert_eq!(pair.commands(0, subscriber), "W");
    assert_eq!(pair.shards[0].stats().retained_races, 1);
}

#[test]
fn whoever_has_it_already_is_not_sent_it_again() {
    let (mut pair, [subscriber, here, there]) = with_clients();
    for (at, client, letter) in [(0, here, b'A'), (1, there, b'B'), (0, here, b'C')] {
        pair.publish(at, client, letter);
        pair.settle();
    }
    // The same value from both: which came last makes no difference.
    pair.publish(0, here, b'D');
    pair.publish(1, there, b'D');
    pair.carry(1, Lane::Data);
    pair.settle();
    assert_eq!(pair.commands(0, subscriber), "ABCDD");
    assert_eq!(pair.shards[0].stats().retained_races, 0);
}

#[test]
fn what_comes_while_the_home_is_asked_counts() {
    let (mut pair, [subscriber, here, there]) = with_clients();
    pair.publish(0, here, b'W');
    pair.publish(1, there, b'L');
    pair.carry(1, Lane::Data);
    pair.carry(0, Lane::Control); // the barrier
    pair.carry(1, Lane::Control);
    pair.publish(0, here, b'N'); // newer than what the home is asked about
    pair.settle();
    assert_eq!(pair.commands(0, subscriber), "WLN");
    assert_eq!(retained(&pair), 'N');
    assert_eq!(pair.shards[0].stats().retained_races, 0);
}

#[test]
fn a_topic_without_a_retained_message_is_left_alone() {
    let (mut pair, [subscriber, here, there]) = with_clients();
    pair.publish(0, here, b'W');
    pair.publish(1, there, b'L');
    pair.carry(1, Lane::Data);
    pair.carry(0, Lane::Data);
    let topic = pair.topic.clone();
    pair.shards[1].routes.retained.clear(&topic);
    pair.settle();
    assert_eq!(pair.commands(0, subscriber), "WL");
    assert!(pair.shards[0].replay.races.open.is_empty());
}
