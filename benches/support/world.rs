//! Shards without sockets, for benches: clients are bytes in and bytes out, blocks cross at once.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;

use ringmq::ids::{ConnectionId, ShardId};
use ringmq::limits::Limits;
use ringmq::shard::{Lane, ListenerId, ListenerPolicy, Origin, Peer, Shard, ShardConfig};
use ringmq::time::Time;

/// A client: the shard it lives on and its connection there.
pub(crate) type Client = (usize, ConnectionId);

/// All shards of a broker, in a time that stands still.
pub(crate) struct World {
    pub(crate) shards: Vec<Shard>,
    pub(crate) now: Time,
}

impl World {
    pub(crate) fn new(shards: u16) -> Self {
        let config = Arc::new(ShardConfig {
            shards,
            limits: Limits::default(),
            listeners: [ListenerPolicy::default()].into(),
            placement_seed: 1,
        });
        let shard = |id| Shard::new(ShardId(id), &config, 1, Time::ZERO);
        Self {
            shards: (0..shards).map(shard).collect(),
            now: Time::ZERO,
        }
    }

    /// Connects a v3.1.1 client whose home is the shard: identifiers are tried until one is.
    pub(crate) fn connect(&mut self, shard: usize, name: &str) -> Client {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        for n in 0_u8.. {
            let name = format!("{name}-{n}");
            let origin = Origin::new(Peer::Ip(address), ListenerId(0));
            let opened = self.shards[shard].handle_opened(origin, self.now);
            let id = opened.expect("room");
            let mut connect = vec![0x10, 12 + name.len() as u8, 0, 4];
            connect.extend_from_slice(b"MQTT\x04\x02\x00\x00\x00");
            connect.push(name.len() as u8);
            connect.extend_from_slice(name.as_bytes());
            self.shards[shard].handle_bytes(id, &connect, self.now);
            if self.drain() > 0 {
                return (shard, id); // CONNACK, and not a hand-off
            }
        }
        unreachable!("one of 256 identifiers has its home there")
    }

    pub(crate) fn subscribe(&mut self, client: Client, filter: &str, qos: u8) {
        let mut subscribe = vec![0x82, 5 + filter.len() as u8, 0, 1, 0, filter.len() as u8];
        subscribe.extend_from_slice(filter.as_bytes());
        subscribe.push(qos);
        self.send(client, &subscribe);
        while self.drain() == 0 {} // SUBACK comes after the barrier
    }

    /// Bytes of a client arrive.
    pub(crate) fn send(&mut self, (shard, id): Client, bytes: &[u8]) {
        self.shards[shard].handle_bytes(id, bytes, self.now);
    }

    /// Ends a turn of each shard and takes all bytes, as sockets with room would; returns how many.
    pub(crate) fn drain(&mut self) -> usize {
        let mut sent = 0;
        self.drain_into(|_, slices| sent += slices.iter().map(|slice| slice.len()).sum::<usize>());
        sent
    }

    /// The same, showing what each client is sent.
    pub(crate) fn drain_into(&mut self, mut show: impl FnMut(Client, &[IoSlice<'_>])) {
        for at in 0..self.shards.len() {
            self.shards[at].end_turn(self.now);
            self.exchange(at);
        }
        for (at, shard) in self.shards.iter_mut().enumerate() {
            while shard.poll_action().is_some() {}
            while let Some(id) = shard.poll_transmit() {
                let mut slices: [IoSlice<'_>; 8] = std::array::from_fn(|_| IoSlice::new(&[]));
                let count = shard.outgoing(id, &mut slices);
                let bytes: usize = slices[..count].iter().map(|slice| slice.len()).sum();
                show((at, id), &slices[..count]);
                shard.handle_written(id, bytes, self.now);
            }
        }
    }

    fn exchange(&mut self, from: usize) {
        for to in (0..self.shards.len()).filter(|to| *to != from) {
            for lane in [Lane::Control, Lane::Data] {
                while let Some(block) = self.shards[from].poll_block(ShardId(to as u16), lane) {
                    self.shards[to].handle_block(ShardId(from as u16), lane, block, self.now);
                }
            }
        }
    }
}

/// `count` PUBLISH packets of 16-byte payload, one after the other; identifiers from 1 on.
pub(crate) fn publishes(topic: &str, qos: u8, count: u16) -> Vec<u8> {
    let mut all = Vec::new();
    for id in 1..=count {
        let id_len = if qos > 0 { 2 } else { 0 };
        let length = 2 + topic.len() + id_len + 16;
        all.extend_from_slice(&[0x30 | qos << 1, length as u8, 0, topic.len() as u8]);
        all.extend_from_slice(topic.as_bytes());
        if qos > 0 {
            all.extend_from_slice(&id.to_be_bytes());
        }
        all.extend_from_slice(&[b'x'; 16]);
    }
    all
}

/// `count` acknowledgements with identifiers from `first` on, which follow each other as the broker's
/// do: 65,535 is followed by 1.
pub(crate) fn acks(first_byte: u8, first: u16, count: u16) -> Vec<u8> {
    let mut all = Vec::new();
    let mut id = first;
    for _ in 0..count {
        let [high, low] = id.to_be_bytes();
        all.extend_from_slice(&[first_byte, 2, high, low]);
        id = id.checked_add(1).unwrap_or(1);
    }
    all
}
