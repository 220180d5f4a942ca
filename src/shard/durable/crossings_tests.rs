//! Publications that cross between shards, and a process that ends at any of their commits.

use std::collections::BTreeSet;

use crate::mutant::{switch, Mutant};
use crate::shard::Durability;
use crate::testing::{connect_packet, Environment, Sector, Setup, World, V311};
use crate::time::WallTime;

/// Writes are durable when the test says so.
struct ByHand;

impl Environment for ByHand {
    fn commit_turns(&mut self, _shard: usize) -> Option<u32> {
        None
    }
}

/// What a client has under way of its one publication of QoS 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Publish,
    Release,
    Done,
}

/// A client whose session is durable.
struct Client {
    name: u8,
    link: usize,
    stage: Stage,
    /// Identifiers of QoS 2 that were not released yet.
    open: BTreeSet<u8>,
    /// Payloads, in order.
    got: Vec<u8>,
    /// It acknowledges QoS 1.
    acknowledges: bool,
}

struct Broker {
    world: World<ByHand>,
    setup: Setup,
    clients: Vec<Client>,
}

const PUBLISH: [u8; 8] = [0x34, 6, 0, 1, b't', 0, 1, b'x'];

impl Broker {
    fn new(shards: u16) -> Self {
        let setup = Setup::new(shards);
        let mut world = World::new(setup.clone(), ByHand);
        world.begin_journals(Durability::Commit);
        Self {
            world,
            setup,
            clients: Vec::new(),
        }
    }

    /// A name whose home is this shard, and that no client has.
    fn name_at(&self, shard: usize) -> u8 {
        let home = |name: u8| {
            let name = char::from(name).to_string();
            self.world.shards[0].routes.placement.home(&name).index()
        };
        let is_free = |name: &u8| self.clients.iter().all(|client| client.name != *name);
        let mut names = (b'A'..=b'z').filter(u8::is_ascii_alphabetic);
        let name = names.find(|name| is_free(name) && home(*name) == shard);
        name.expect("a name for each shard")
    }

    /// A new client with its home at this shard; its number.
    fn client(&mut self, shard: usize, connect: impl Fn(u8) -> Vec<u8>) -> usize {
        let name = self.name_at(shard);
        let link = self.world.open(0);
        self.world.send(link, &connect(name));
        self.clients.push(Client {
            name,
            link,
            stage: Stage::Done,
            open: BTreeSet::new(),
            got: Vec::new(),
            acknowledges: true,
        });
        self.write_all();
        self.clients.len() - 1
    }

    fn send(&mut self, client: usize, packet: &[u8]) {
        self.world.send(self.clients[client].link, packet);
    }

    fn subscribe(&mut self, client: usize, filter: &[u8], qos: u8) {
        let mut packet = vec![0x82, 5 + filter.len() as u8, 0, 9, 0, filter.len() as u8];
        packet.extend_from_slice(filter);
        packet.push(qos);
        self.send(client, &packet);
        self.write_all();
    }

    /// Everything happens but writes; clients answer.
    fn settle(&mut self) {
        loop {
            while (0..self.world.shards.len()).fold(false, |moved, shard| {
                let moves = self.world.turn(shard);
                self.world.shards[shard].audit().unwrap();
                moves | moved
            }) {}
            let clients = 0..self.clients.len();
            if !clients.fold(false, |moved, client| self.answer(client) | moved) {
                return;
            }
        }
    }

    /// A client takes what has come; true when it has answered something.
    fn answer(&mut self, number: usize) -> bool {
        let client = &mut self.clients[number];
        let received = std::mem::take(&mut self.world.links[client.link].received);
        let mut answers = Vec::new();
        let mut rest = &received[..];
        while let [first, length, ..] = *rest {
            let (packet, after) = rest.split_at(2 + usize::from(length));
            rest = after;
            let id = packet[packet.len() - 1];
            match first >> 4 {
                3 if first & 6 == 4 => {
                    let id = packet[packet.len() - 2];
                    if client.open.insert(id) {
                        client.got.push(packet[packet.len() - 1]);
                    }
                    answers.extend_from_slice(&[0x50, 2, 0, id]);
                }
                3 if first & 6 == 2 && client.acknowledges => {
                    client.got.push(packet[packet.len() - 1]);
                    answers.extend_from_slice(&[0x40, 2, 0, packet[packet.len() - 2]]);
                }
                3 => client.got.push(packet[packet.len() - 1]),
                5 => {
                    client.stage = Stage::Release;
                    answers.extend_from_slice(&[0x62, 2, 0, id]);
                }
                6 => {
                    client.open.remove(&id);
                    answers.extend_from_slice(&[0x70, 2, 0, id]);
                }
                7 => client.stage = Stage::Done,
                _ => {}
            }
        }
        let link = self.clients[number].link;
        if !answers.is_empty() && self.world.links[link].is_open() {
            self.world.give(link, &answers);
        }
        !answers.is_empty()
    }

    /// One write is durable, of this shard or of the next one that has one.
    fn write(&mut self, shard: usize) {
        let shards = self.world.shards.len();
        let mut shards = (shard..shards).chain(0..shard);
        shards.any(|shard| self.world.complete_write(shard));
        self.settle();
    }

    fn write_all(&mut self) {
        self.settle();
        let shards = self.world.shards.len();
        while (0..shards).fold(false, |moved, shard| {
            self.world.complete_write(shard) | moved
        }) {
            self.settle();
        }
    }

    /// The process ends; what is being written is lost. Another one continues, and clients that have anything under
    /// way come back.
    fn crash(&mut self, shards: u16) {
        for shard in 0..self.world.shards.len() {
            let disk = self.world.disk_mut(shard).expect("a journal");
            disk.crash(|_| Sector::Lost);
        }
        self.setup.shards = shards;
        self.setup.now = self.world.now;
        self.setup.wall = WallTime(self.setup.wall.0 + 1);
        self.world
            .restart(&self.setup, Durability::Commit)
            .expect("what was written");
        self.write_all();
        for client in 0..self.clients.len() {
            let link = self.world.open(0);
            self.clients[client].link = link;
            let connect = durable(self.clients[client].name);
            self.world.send(link, &connect);
            self.write_all();
            match self.clients[client].stage {
                Stage::Publish => {
                    let mut packet = PUBLISH;
                    packet[0] |= 8;
                    self.send(client, &packet);
                }
                Stage::Release => self.send(client, &[0x62, 2, 0, 1]),
                Stage::Done => {}
            }
        }
        self.write_all();
    }

    fn held(&self) -> usize {
        let shards = self.world.shards.iter();
        shards
            .map(|shard| shard.durable.as_deref().unwrap().held.bytes())
            .sum()
    }
}

/// A CONNECT whose session is durable.
fn durable(name: u8) -> Vec<u8> {
    let mut connect = connect_packet(V311, name);
    connect[9] = 0; // not Clean Session
    connect[10..12].fill(0); // no keep alive
    connect
}

/// The orders in which shards may commit, and after how many commits the process ends.
fn cuts() -> impl Iterator<Item = (Vec<usize>, u16)> {
    (0..=5_usize).flat_map(|count| {
        (0..1_usize << count).flat_map(move |bits| {
            let order: Vec<usize> = (0..count).map(|at| bits >> at & 1).collect();
            [1, 2, 3].map(|shards| (order.clone(), shards))
        })
    })
}

/// One publication of QoS 2 from one shard to the other, cut there.
fn publish_and_crash(order: &[usize], shards: u16) -> Broker {
    let mut broker = Broker::new(2);
    let publisher = broker.client(0, durable);
    let (near, far) = (broker.client(0, durable), broker.client(1, durable));
    for subscriber in [near, far] {
        broker.subscribe(subscriber, b"t", 2);
    }
    broker.clients[publisher].stage = Stage::Publish;
    broker.send(publisher, &PUBLISH);
    broker.settle();
    for shard in order {
        broker.write(*shard);
    }
    broker.crash(shards);
    broker
}

#[test]
fn qos_2_comes_once_to_another_shard_over_a_crash_at_any_commit() {
    for (order, shards) in cuts() {
        let broker = publish_and_crash(&order, shards);
        assert_eq!(broker.clients[0].stage, Stage::Done);
        for subscriber in [1, 2] {
            let got = &broker.clients[subscriber].got;
            assert_eq!(got, b"x", "{order:?}, then {shards} shards");
        }
        assert_eq!(broker.held(), 0);
    }
}

#[test]
fn faults_of_what_is_held_are_seen() {
    for mutant in [
        Mutant::NoCursor,
        Mutant::ConfirmHeldEarly,
        Mutant::ForgetHeld,
    ] {
        switch(Some(mutant));
        let is_seen = cuts()
            .filter(|(_, shards)| *shards == 2)
            .any(|(order, shards)| {
                let broker = publish_and_crash(&order, shards);
                broker.clients[1..].iter().any(|client| client.got != b"x")
            });
        switch(None);
        assert!(is_seen, "{mutant:?}");
    }
}

/// PUBREC waits for the publisher's shard alone, whose log holds the publication; where no session keeps it, for nothing.
#[test]
fn pubrec_waits_for_the_publishers_shard_alone() {
    let mut broker = Broker::new(2);
    let publisher = broker.client(0, durable);
    let far = broker.client(1, durable);
    broker.subscribe(far, b"t", 2);
    broker.clients[publisher].stage = Stage::Publish;
    broker.send(publisher, &PUBLISH);
    broker.settle();
    assert_eq!(broker.clients[publisher].stage, Stage::Publish);
    assert!(broker.held() > 0);
    assert!(broker.world.complete_write(0));
    broker.settle();
    assert_eq!(broker.clients[publisher].stage, Stage::Release);
    assert!(broker.held() > 0, "the other shard has not committed it");
    broker.write_all();
    assert_eq!(
        (broker.clients[far].got.as_slice(), broker.held()),
        (&b"x"[..], 0)
    );
}

/// A member of a shared group leaves, and another shard's gets what it had not acknowledged, cut there. The one that stays
/// `reads` what it is sent before that. How often one of them has it in the end, and how often it had been acknowledged.
fn hand_on_and_crash(order: &[usize], shards: u16, reads: bool) -> (usize, usize) {
    let mut broker = Broker::new(2);
    let publisher = broker.client(0, durable);
    let leaving = broker.client(0, durable);
    broker.clients[leaving].acknowledges = false;
    broker.subscribe(leaving, b"$share/g/t", 1);
    broker.send(publisher, &[0x32, 6, 0, 1, b't', 0, 1, b'x']);
    broker.write_all();
    assert_eq!(broker.clients[leaving].got, b"x");
    let staying = broker.client(1, durable);
    broker.clients[staying].acknowledges = reads;
    broker.subscribe(staying, b"$share/g/t", 1);
    let link = broker.clients[leaving].link;
    broker.world.close(link);
    broker.settle();
    for shard in order {
        broker.write(*shard);
    }
    broker.clients[leaving].got.clear();
    if !reads {
        broker.clients[staying].got.clear(); // it was on its way
    }
    for client in [leaving, staying] {
        broker.clients[client].acknowledges = true;
    }
    let acknowledged = broker.clients[staying].got.len();
    broker.crash(shards);
    let got = broker.clients[leaving].got.len() + broker.clients[staying].got.len();
    (got, acknowledged)
}

/// One of them has it after a crash at any commit.
#[test]
fn what_a_member_hands_on_is_not_lost_over_a_crash() {
    for (order, shards) in cuts() {
        for reads in [true, false] {
            let (got, acknowledged) = hand_on_and_crash(&order, shards, reads);
            // At QoS 1, once more if its PUBACK was not committed.
            assert!(
                got > 0 && got <= 1 + acknowledged,
                "{got}: {order:?}, then {shards} shards, read: {reads}"
            );
        }
    }
}

/// The fault: this shard has committed that it has left, and the other one not that it has come.
#[test]
fn what_a_member_hands_on_and_nothing_holds_is_lost() {
    switch(Some(Mutant::HandOnUnheld));
    let lost = cuts().any(|(order, shards)| hand_on_and_crash(&order, shards, false).0 == 0);
    switch(None);
    assert!(lost);
}

/// A will has no publisher who could send it again.
#[test]
fn a_will_comes_to_another_shard_over_a_crash_at_any_commit() {
    for (order, shards) in cuts() {
        let mut broker = Broker::new(2);
        let with_will = |name| {
            let mut connect = durable(name);
            connect[1] += 6;
            connect[9] |= 1 << 2 | 2 << 3;
            connect.extend_from_slice(&[0, 1, b't', 0, 1, b'w']);
            connect
        };
        let far = broker.client(1, durable);
        broker.subscribe(far, b"t", 2);
        let ends = broker.client(0, with_will);
        let link = broker.clients[ends].link;
        broker.world.close(link);
        broker.settle();
        for shard in &order {
            broker.write(*shard);
        }
        broker.crash(shards);
        let got = &broker.clients[far].got;
        assert_eq!(got, b"w", "{order:?}, then {shards} shards");
    }
}

/// What is not kept where it goes does not overtake what is held, of the same topic.
#[test]
fn publications_of_a_topic_stay_in_order() {
    let mut broker = Broker::new(2);
    let publisher = broker.client(0, durable);
    let leaves = broker.client(1, durable);
    let stays = broker.client(1, |name| connect_packet(V311, name));
    broker.subscribe(leaves, b"t", 2);
    broker.subscribe(stays, b"t", 2);
    broker.send(publisher, &PUBLISH);
    broker.settle();
    // The other shard keeps the topic no more.
    broker.send(leaves, &[0xA2, 5, 0, 3, 0, 1, b't']);
    broker.settle();
    let mut second = PUBLISH;
    second[6..8].copy_from_slice(&[2, b'y']);
    broker.send(publisher, &second);
    broker.settle();
    assert_eq!(broker.clients[stays].got, b"");
    broker.write_all();
    assert_eq!(broker.clients[stays].got, b"xy");
}
