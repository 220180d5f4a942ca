//! A shard of 200 lines in place of the real one: what the driver does is seen without MQTT.
//!
//! A connection begins with six bytes: its home shard, a mode and a number n. Modes: `e` echoes,
//! `p` sends `wait`, reads nothing for n ms, then sends `late` and echoes, `w` writes n bytes, `c` sends
//! `bye` and closes, `a` aborts, `b` sends n blocks to the next shard and sends `done` when that shard has
//! them all, `t` sends `time` after n ms.

use std::io::IoSlice;
use std::sync::mpsc::Sender;
use std::sync::Arc;

use crate::auth::{AuthzDecisions, Rules, Verdict};
use crate::ids::{ConnectionId, ShardId};
use crate::io::driven::Driven;
use crate::shard::{Action, CloseCause, Heard, Lane, Origin, Pressure, RemoteEnd, Stats};
use crate::time::{Span, Time};

pub(super) const HEADER: usize = 6;
/// Bytes waiting to be sent above which a connection is not read.
const HIGH_WATER: usize = 256 << 10;

/// Record of a closed connection, for tests.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) shard: u16,
    pub(super) received: usize,
    pub(super) cause: CloseCause,
    pub(super) identity: Option<Box<str>>,
}

#[derive(Default)]
struct Connection {
    header: Vec<u8>,
    outgoing: Vec<u8>,
    received: usize,
    paused: bool,
    closing: bool,
    origin: Option<Origin>,
}

/// Blocks for the next shard and who waits for them.
struct Blast {
    sent: u64,
    total: u64,
    connection: ConnectionId,
}

pub(super) struct StandIn {
    id: ShardId,
    shards: u16,
    connections: Vec<(u32, Option<Connection>)>,
    dirty: Vec<ConnectionId>,
    actions: Vec<Action>,
    timers: Vec<(Time, ConnectionId, &'static str)>,
    blast: Option<Blast>,
    /// Blocks received of each shard.
    blocks_seen: Vec<u64>,
    /// Answers to shards whose blast is complete.
    answers: Vec<ShardId>,
    stopping: bool,
    gone: Sender<Gone>,
    stats: Stats,
}

impl StandIn {
    pub(super) fn new(id: ShardId, shards: u16, gone: Sender<Gone>) -> Self {
        Self {
            id,
            shards,
            connections: Vec::new(),
            dirty: Vec::new(),
            actions: Vec::new(),
            timers: Vec::new(),
            blast: None,
            blocks_seen: vec![0; usize::from(shards)],
            answers: Vec::new(),
            stopping: false,
            gone,
            stats: Stats::default(),
        }
    }

    fn get(&mut self, id: ConnectionId) -> &mut Connection {
        let (generation, connection) = &mut self.connections[id.index as usize];
        assert_eq!(*generation, id.generation, "the driver uses ids that live");
        connection.as_mut().expect("open")
    }

    fn say(&mut self, id: ConnectionId, bytes: &[u8]) {
        self.get(id).outgoing.extend_from_slice(bytes);
        self.dirty.push(id);
    }

    fn remove(&mut self, id: ConnectionId) -> Connection {
        let (generation, connection) = &mut self.connections[id.index as usize];
        assert_eq!(*generation, id.generation);
        connection.take().expect("open")
    }

    fn begin(&mut self, id: ConnectionId, header: &[u8], now: Time) {
        let n = u32::from_le_bytes(header[2..].try_into().unwrap());
        let at = now + Span::from_millis(u64::from(n));
        match header[1] {
            b'e' => {}
            b'p' => {
                self.say(id, b"wait");
                self.get(id).paused = true;
                self.timers.push((at, id, "late"));
            }
            b'w' => {
                let bytes: Vec<u8> = (0..n).map(pattern).collect();
                self.say(id, &bytes);
            }
            b'c' => {
                self.say(id, b"bye");
                self.get(id).closing = true;
                self.actions.push(Action::Close(id));
            }
            b'a' => {
                self.get(id).closing = true;
                self.actions.push(Action::Abort(id));
            }
            b'b' => {
                self.blast = Some(Blast {
                    sent: 0,
                    total: u64::from(n),
                    connection: id,
                });
            }
            b't' => self.timers.push((at, id, "time")),
            other => panic!("unknown mode {other}"),
        }
    }

    fn next(&self) -> ShardId {
        ShardId((self.id.0 + 1) % self.shards)
    }
}

/// What mode `w` writes.
pub(super) fn pattern(index: u32) -> u8 {
    (index % 251) as u8
}

impl Driven for StandIn {
    type Block = u64;

    fn handle_opened(&mut self, origin: Origin, _: Time) -> Option<ConnectionId> {
        if self.stopping {
            return None;
        }
        let free = self
            .connections
            .iter()
            .position(|(_, value)| value.is_none());
        let index = free.unwrap_or_else(|| {
            self.connections.push((0, None));
            self.connections.len() - 1
        });
        let slot = &mut self.connections[index];
        *slot = (
            slot.0 + 1,
            Some(Connection {
                origin: Some(origin),
                ..Connection::default()
            }),
        );
        Some(ConnectionId {
            index: index as u32,
            generation: slot.0,
        })
    }

    fn handle_origin(
        &mut self,
        id: ConnectionId,
        _: Option<RemoteEnd>,
        identity: Option<Box<str>>,
    ) {
        self.get(id)
            .origin
            .as_mut()
            .expect("opened with one")
            .identity = identity;
    }

    fn handle_broken(&mut self, id: ConnectionId, text: &str, _: Time) {
        self.say(id, text.as_bytes());
        self.get(id).closing = true;
        self.actions.push(Action::Close(id));
    }

    fn wants_input(&self, id: ConnectionId) -> bool {
        let (generation, connection) = &self.connections[id.index as usize];
        *generation == id.generation
            && connection
                .as_ref()
                .is_some_and(|c| !c.paused && !c.closing && c.outgoing.len() < HIGH_WATER)
    }

    fn is_established(&self, id: ConnectionId) -> bool {
        let (generation, connection) = &self.connections[id.index as usize];
        let is_begun = |c: &Connection| !c.closing && c.header.len() == HEADER;
        *generation == id.generation && connection.as_ref().is_some_and(is_begun)
    }

    fn is_turn_spent(&self) -> bool {
        false
    }

    fn handle_heard(&mut self, _: Heard) {}

    fn handle_bytes(&mut self, id: ConnectionId, bytes: &[u8], now: Time) {
        let (own, shards) = (self.id, self.shards);
        let connection = self.get(id);
        connection.received += bytes.len();
        let missing = HEADER - connection.header.len();
        let (head, rest) = bytes.split_at(missing.min(bytes.len()));
        connection.header.extend_from_slice(head);
        if missing > 0 && connection.header.len() == HEADER {
            let header = connection.header.clone();
            let home = ShardId(u16::from(header[0]) % shards);
            if home != own {
                let bytes = [&header[..], rest].concat();
                let origin = self.remove(id).origin.expect("opened with one");
                self.actions.push(Action::HandOff {
                    connection: id,
                    to: home,
                    origin,
                    bytes,
                });
                return;
            }
            self.begin(id, &header, now);
        }
        if !rest.is_empty() && !self.get(id).closing {
            self.say(id, rest);
        }
    }

    fn handle_written(&mut self, id: ConnectionId, count: usize, _: Time) {
        self.get(id).outgoing.drain(..count);
    }

    fn handle_closed(&mut self, id: ConnectionId, cause: CloseCause, _: Time) {
        let connection = self.remove(id);
        self.timers.retain(|(_, of, _)| *of != id);
        let _ = self.gone.send(Gone {
            shard: self.id.0,
            received: connection.received,
            cause,
            identity: connection.origin.and_then(|origin| origin.identity),
        });
    }

    fn handle_block(&mut self, from: ShardId, lane: Lane, block: u64, _: Time) {
        if lane == Lane::Control {
            let blast = self.blast.take().expect("asked for");
            self.say(blast.connection, b"done");
            return;
        }
        let (number, total) = (block >> 32, block & u64::from(u32::MAX));
        let seen = &mut self.blocks_seen[from.index()];
        assert_eq!(number, *seen, "blocks arrive in order");
        *seen += 1;
        if *seen == total {
            *seen = 0;
            self.answers.push(from);
        }
    }

    fn wants_publications(&self, _: ShardId) -> bool {
        true
    }

    fn handle_timeout(&mut self, now: Time) {
        let mut due = Vec::new();
        self.timers.retain(|timer| {
            if timer.0 <= now {
                due.push(*timer);
            }
            timer.0 > now
        });
        for (_, id, text) in due {
            self.get(id).paused = false;
            self.say(id, text.as_bytes());
        }
    }

    fn handle_pressure(&mut self, _pressure: Pressure) {}
    fn handle_authenticated(&mut self, _: ConnectionId, _: Verdict, _: Time) {}
    fn handle_authorized(&mut self, _: ConnectionId, _: AuthzDecisions, _: Time) {}
    fn handle_rules(&mut self, _: Arc<Rules>) {}

    fn handle_shutdown(&mut self, _: Time) {
        self.stopping = true;
        for (index, (generation, connection)) in (0..).zip(&mut self.connections) {
            if let Some(connection) = connection.as_mut().filter(|c| !c.closing) {
                connection.closing = true;
                let generation = *generation;
                self.actions
                    .push(Action::Close(ConnectionId { index, generation }));
            }
        }
    }

    fn end_turn(&mut self, _: Time) {}

    fn poll_action(&mut self) -> Option<Action> {
        (!self.actions.is_empty()).then(|| self.actions.remove(0))
    }

    fn poll_transmit(&mut self) -> Option<ConnectionId> {
        while let Some(id) = self.dirty.pop() {
            let (generation, connection) = &self.connections[id.index as usize];
            let open = connection.as_ref().filter(|_| *generation == id.generation);
            if open.is_some_and(|connection| !connection.outgoing.is_empty()) {
                return Some(id);
            }
        }
        None
    }

    fn outgoing<'a>(&'a self, id: ConnectionId, slices: &mut [IoSlice<'a>]) -> usize {
        let connection = self.connections[id.index as usize].1.as_ref();
        let outgoing = connection.map_or(&[][..], |connection| &connection.outgoing);
        // In pieces, so that vectored sends are used.
        let pieces = outgoing.chunks(10_000).zip(slices.iter_mut());
        pieces
            .map(|(piece, slice)| *slice = IoSlice::new(piece))
            .count()
    }

    fn poll_block(&mut self, to: ShardId, lane: Lane) -> Option<u64> {
        if lane == Lane::Control {
            let answer = self.answers.iter().position(|shard| *shard == to)?;
            self.answers.remove(answer);
            return Some(0);
        }
        let next = self.next();
        let blast = self.blast.as_mut().filter(|_| to == next)?;
        let block = (blast.sent < blast.total).then_some(blast.sent << 32 | blast.total)?;
        blast.sent += 1;
        Some(block)
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.timers.iter().map(|(at, _, _)| *at).min()
    }

    fn held(&self) -> usize {
        0
    }
    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn is_stopped(&self) -> bool {
        self.stopping && self.connections.iter().all(|(_, value)| value.is_none())
    }
}
