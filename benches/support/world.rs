//! Shards in virtual time for benches: of what clients are sent only the bytes are counted, and a measured
//! turn has only the steps that its packets need.

use std::io::IoSlice;

use ringmq::shard::TurnStep;
use ringmq::testing::{self, Environment, Link, Setup};

/// A client: its link.
pub(crate) type Client = usize;

/// All shards of a broker, in a time that stands still.
pub(crate) struct World {
    pub(super) world: testing::World<Counting>,
}

/// Counts what clients are sent.
#[derive(Default)]
pub(super) struct Counting {
    pub(super) sent: usize,
}

impl Environment for Counting {
    fn deliver(&mut self, _link: &mut Link, _slices: &[IoSlice<'_>], count: usize) {
        self.sent += count;
    }
}

impl World {
    pub(crate) fn new(shards: u16) -> Self {
        let setup = Setup {
            placement_seed: 1,
            seed: 1,
            ..Setup::new(shards)
        };
        Self {
            world: testing::World::new(setup, Counting::default()),
        }
    }

    /// Connects a v3.1.1 client whose home is the shard.
    pub(crate) fn connect(&mut self, shard: usize, name: &str) -> Client {
        let client = self.begin(shard, name);
        self.settle();
        client
    }

    pub(crate) fn subscribe(&mut self, client: Client, filter: &str, qos: u8) {
        self.ask(client, filter, qos);
        self.settle();
    }

    /// The first half of [`connect`](Self::connect).
    pub(crate) fn begin(&mut self, shard: usize, name: &str) -> Client {
        let mut names = (0..).map(|n| format!("{name}-{n}"));
        let is_there = |name: &String| self.world.shards[0].home_of(name).index() == shard;
        let name = names.find(is_there).expect("they do not end");
        let link = self.world.open(shard);
        let mut connect = vec![0x10, 12 + name.len() as u8, 0, 4];
        connect.extend_from_slice(b"MQTT\x04\x02\x00\x00\x00");
        connect.push(name.len() as u8);
        connect.extend_from_slice(name.as_bytes());
        self.world.send(link, &connect);
        link
    }

    /// The first half of [`subscribe`](Self::subscribe).
    pub(crate) fn ask(&mut self, client: Client, filter: &str, qos: u8) {
        let mut subscribe = vec![0x82, 5 + filter.len() as u8, 0, 1, 0, filter.len() as u8];
        subscribe.extend_from_slice(filter.as_bytes());
        subscribe.push(qos);
        self.world.send(client, &subscribe);
    }

    /// The second half of both: CONNACK is there, and SUBACK comes after the barrier.
    pub(crate) fn settle(&mut self) {
        self.world.settle();
        assert!(std::mem::take(&mut self.world.environment.sent) > 0);
    }

    /// Bytes of a client arrive.
    pub(crate) fn send(&mut self, client: Client, bytes: &[u8]) {
        self.world.give(client, bytes);
    }

    /// Ends a turn of each shard and takes all bytes, as sockets with room would; returns how many.
    pub(crate) fn drain(&mut self) -> usize {
        let shards = self.world.shards.len();
        for shard in 0..shards {
            self.world.step(shard, TurnStep::EndTurn);
            self.world.step(shard, TurnStep::SendBlocks);
            for to in (0..shards).filter(|to| *to != shard) {
                self.world.step(to, TurnStep::PeerBlocks);
            }
        }
        for shard in 0..shards {
            self.world.step(shard, TurnStep::Actions);
            self.world.step(shard, TurnStep::Transmit);
        }
        std::mem::take(&mut self.world.environment.sent)
    }
}
