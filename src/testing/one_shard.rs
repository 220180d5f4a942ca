//! A world of one shard, called step by step: for tests of what happens within a turn. Clients take nothing
//! until a test does.

use super::{At, Environment, Setup, World};
use crate::ids::ConnectionId;
use crate::limits::Limits;
use crate::shard::TurnStep;
use crate::time::Span;

pub const V5: u8 = 5;
pub const V311: u8 = 4;

/// A CONNECT with a keep alive of 4 s.
#[must_use]
pub fn connect_packet(version: u8, name: u8) -> Vec<u8> {
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

impl World {
    /// `set` changes the default limits.
    #[must_use]
    pub fn of_one_shard(set: impl FnOnce(&mut Limits)) -> Self {
        let mut setup = Setup::new(1);
        set(&mut setup.limits);
        Self::calm(setup)
    }
}

impl<E: Environment> World<E> {
    /// A new connection; `None`: it was refused.
    pub fn open_here(&mut self) -> Option<ConnectionId> {
        let link = self.open(0);
        self.links[link].is_stalled = true;
        self.links[link].at.map(|(_, id)| id)
    }

    /// A client with a keep alive of 4 s, and the answer to its CONNECT.
    ///
    /// # Panics
    /// When the connection is refused before its CONNECT.
    pub fn connect(&mut self, version: u8, name: u8) -> (ConnectionId, Vec<u8>) {
        let id = self.open_here().expect("room");
        self.give_here(id, &connect_packet(version, name));
        let answer = self.take(id);
        (id, answer)
    }

    /// A client of 3.1.1 that is subscribed to `t`.
    ///
    /// # Panics
    /// When there is no SUBACK.
    pub fn subscribed(&mut self, name: u8, qos: u8) -> ConnectionId {
        let (id, _) = self.connect(V311, name);
        self.give_here(id, &[0x82, 6, 0, 1, 0, 1, b't', qos]);
        assert_eq!(self.take(id).len(), 5, "SUBACK");
        id
    }

    /// Bytes of a client and the end of the turn in which they came.
    pub fn give_here(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.shards[0].handle_bytes(id, bytes, self.now);
        self.step(0, TurnStep::EndTurn);
    }

    /// What is sent to a client of the one shard, with no end of room in its socket.
    pub fn take(&mut self, id: ConnectionId) -> Vec<u8> {
        self.take_at((0, id))
    }

    /// What is sent to a client, with no end of room in its socket.
    pub fn take_at(&mut self, at: At) -> Vec<u8> {
        self.step(at.0, TurnStep::Transmit);
        let Some(link) = self.link_at(at) else {
            return Vec::new();
        };
        self.links[link].is_stalled = false;
        self.unblock(link);
        self.links[link].is_stalled = true;
        std::mem::take(&mut self.links[link].received)
    }

    /// Lets time pass; the shard is called when it wants to be, and each turn ends. Nothing is asked of it.
    pub fn wait_here(&mut self, ms: u64) {
        let end = self.now + Span::from_millis(ms);
        while let Some(due) = self.next_deadline().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.step(0, TurnStep::Timeouts);
            self.step(0, TurnStep::EndTurn);
        }
        self.now = end;
        self.audit();
    }
}
