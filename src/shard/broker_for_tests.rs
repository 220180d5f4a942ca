//! A shard in a test, with clients that are bytes.

use std::io::IoSlice;
use std::net::SocketAddr;

use super::*;

/// One shard, one listener, and a clock.
pub(super) struct Broker {
    pub(super) shard: Shard,
    pub(super) now: Time,
}

pub(super) const V5: u8 = 5;
pub(super) const V311: u8 = 4;

impl Broker {
    /// `set` changes the default limits; one shard, one listener.
    pub(super) fn new(set: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        set(&mut limits);
        let config = Arc::new(ShardConfig {
            shards: 1,
            limits,
            listeners: [ListenerPolicy::default()].into(),
            placement_seed: 1,
        });
        let now = Time(1_000_000_000);
        Self {
            shard: Shard::new(ShardId(0), &config, 1, now),
            now,
        }
    }

    pub(super) fn open(&mut self) -> Option<ConnectionId> {
        let peer = Peer::Ip(SocketAddr::from(([127, 0, 0, 1], 1)));
        let origin = Origin::new(peer, ListenerId(0));
        self.shard.handle_opened(origin, self.now)
    }

    pub(super) fn connect(&mut self, version: u8, name: u8) -> (ConnectionId, Vec<u8>) {
        let id = self.open().expect("room");
        self.give(id, &connect(version, name));
        let answer = self.take(id);
        (id, answer)
    }

    pub(super) fn subscribed(&mut self, name: u8, qos: u8) -> ConnectionId {
        let (id, _) = self.connect(V311, name);
        self.give(id, &[0x82, 6, 0, 1, 0, 1, b't', qos]);
        assert_eq!(self.take(id).len(), 5, "SUBACK");
        id
    }

    pub(super) fn give(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.shard.handle_bytes(id, bytes, self.now);
        self.shard.end_turn(self.now);
    }

    /// What is sent to a client, with no end of room in its socket.
    pub(super) fn take(&mut self, id: ConnectionId) -> Vec<u8> {
        while self.shard.poll_transmit().is_some() {}
        let mut bytes = Vec::new();
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = self.shard.outgoing(id, &mut slices);
            let before = bytes.len();
            slices[..count]
                .iter()
                .for_each(|slice| bytes.extend_from_slice(slice));
            if bytes.len() == before {
                return bytes;
            }
            self.shard
                .handle_written(id, bytes.len() - before, self.now);
        }
    }

    /// Lets time pass; the shard is called when it wants to be, and each turn ends.
    pub(super) fn wait(&mut self, ms: u64) {
        let end = self.now + Span::from_millis(ms);
        while let Some(due) = self.shard.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.shard.handle_timeout(self.now);
            self.shard.end_turn(self.now);
        }
        self.now = end;
        self.shard.audit().unwrap();
    }
}

/// A CONNECT with a keep alive of 4 s.
pub(super) fn connect(version: u8, name: u8) -> Vec<u8> {
    let mut bytes = vec![0x10, 13, 0, 4];
    bytes.extend_from_slice(b"MQTT");
    bytes.extend_from_slice(&[version, 2, 0, 4]); // keep alive
    if version == V5 {
        bytes[1] += 1;
        bytes.push(0);
    }
    bytes.extend_from_slice(&[0, 1, name]);
    bytes
}
