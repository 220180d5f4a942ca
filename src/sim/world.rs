//! Shards, tiny rings and sockets in virtual time, moved one small step at a time in an order drawn
//! from the seed.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;

use super::random::Random;
use crate::ids::{ConnectionId, ShardId};
use crate::limits::Limits;
use crate::shard::{Action, Block, CloseCause, Lane, Shard, ShardConfig};
use crate::time::{Span, Time};

/// A client's end of a connection.
#[derive(Debug)]
struct Socket {
    /// Shard and id; `None` once the broker's end is closed or on its way to another shard.
    at: Option<(usize, ConnectionId)>,
    /// On its way to a shard, with the bytes it had read.
    moving: bool,
    to_broker: VecDeque<u8>,
    to_client: VecDeque<u8>,
    closed_by_broker: bool,
    closed_by_client: bool,
}

enum Item {
    Block(Block),
    Socket(usize, Vec<u8>),
}

/// What the seed decides about a world.
#[derive(Clone, Debug)]
pub struct Parameters {
    pub shards: u16,
    pub ring_blocks: usize,
    pub piece_max: usize,
}

pub struct World {
    pub now: Time,
    shards: Vec<Shard>,
    /// By `(from * shards + to) * 2 + lane`.
    rings: Vec<VecDeque<Item>>,
    /// Sockets waiting for room in a control ring.
    moving: Vec<(usize, usize, usize, Vec<u8>)>,
    sockets: Vec<Socket>,
    parameters: Parameters,
}

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

impl World {
    #[must_use]
    pub fn new(parameters: &Parameters, limits: Limits, seed: u64) -> Self {
        let shards = parameters.shards;
        let config = Arc::new(ShardConfig {
            shards,
            limits,
            placement_seed: seed,
        });
        let now = Time(1_000_000_000);
        let count = usize::from(shards);
        Self {
            now,
            shards: (0..shards)
                .map(|id| Shard::new(ShardId(id), &config, seed ^ u64::from(id) << 32, now))
                .collect(),
            rings: (0..count * count * 2).map(|_| VecDeque::new()).collect(),
            moving: Vec::new(),
            sockets: Vec::new(),
            parameters: parameters.clone(),
        }
    }

    /// A client connects to some shard.
    pub fn open(&mut self, random: &mut Random) -> usize {
        let shard = random.below(self.shards.len());
        let at = self.shards[shard]
            .handle_opened(address(), self.now)
            .map(|id| (shard, id));
        self.sockets.push(Socket {
            closed_by_broker: at.is_none(),
            at,
            moving: false,
            to_broker: VecDeque::new(),
            to_client: VecDeque::new(),
            closed_by_client: false,
        });
        self.sockets.len() - 1
    }

    pub fn send(&mut self, socket: usize, bytes: &[u8]) {
        self.sockets[socket].to_broker.extend(bytes);
    }

    /// Some of what has arrived at the client; `None` when the broker has closed and all is read.
    pub fn receive(&mut self, socket: usize, random: &mut Random) -> Option<Vec<u8>> {
        let piece_max = self.parameters.piece_max;
        let socket = &mut self.sockets[socket];
        if socket.to_client.is_empty() {
            return (!socket.closed_by_broker).then(Vec::new);
        }
        let count = socket.to_client.len().min(1 + random.below(piece_max));
        Some(socket.to_client.drain(..count).collect())
    }

    /// The client closes without a word; what it sent may or may not be read.
    pub fn cut(&mut self, socket: usize) {
        self.sockets[socket].closed_by_client = true;
        self.sockets[socket].to_client.clear();
    }

    /// One small step of one thing; false when that thing had nothing to do.
    pub fn step(&mut self, random: &mut Random) -> bool {
        match random.below(4) {
            0 => self.feed(random),
            1 => self.turn(random.below(self.shards.len()), random),
            2 => self.take_item(random),
            _ => {
                self.now = self.now + Span(random.draw() % 2_000_000);
                let shard = random.below(self.shards.len());
                self.timeouts(shard)
            }
        }
    }

    /// Steps until nothing moves any more; false: it does not come to rest.
    pub fn settle(&mut self, random: &mut Random) -> bool {
        let quiet_max = 400 * self.shards.len() + 4 * self.sockets.len();
        let mut quiet = 0;
        for _ in 0..2_000_000 {
            quiet = if self.step(random) { 0 } else { quiet + 1 };
            if quiet > quiet_max && self.is_quiet() {
                return true;
            }
        }
        false
    }

    /// Lets time pass at once, as a suspended machine would.
    pub fn jump(&mut self, span: Span) {
        self.now = self.now + span;
    }

    fn is_quiet(&self) -> bool {
        self.moving.is_empty()
            && self.rings.iter().all(VecDeque::is_empty)
            && self.sockets.iter().all(|socket| {
                socket.at.is_none() || socket.closed_by_client || socket.to_broker.is_empty()
            })
            && self
                .shards
                .iter()
                .all(|s| s.poll_timeout().is_none_or(|due| due > self.now))
    }

    fn timeouts(&mut self, shard: usize) -> bool {
        if self.shards[shard]
            .poll_timeout()
            .is_some_and(|due| due <= self.now)
        {
            self.shards[shard].handle_timeout(self.now);
            return true;
        }
        false
    }

    /// Bytes of one client reach its shard, or its end does.
    fn feed(&mut self, random: &mut Random) -> bool {
        if self.sockets.is_empty() {
            return false;
        }
        let index = random.below(self.sockets.len());
        let socket = &mut self.sockets[index];
        let Some((shard, id)) = socket.at else {
            return false;
        };
        if socket.to_broker.is_empty() || (socket.closed_by_client && random.once_in(3)) {
            if socket.closed_by_client {
                socket.at = None;
                self.shards[shard].handle_closed(id, CloseCause::EndOfStream, self.now);
                return true;
            }
            return false;
        }
        if !self.shards[shard].wants_input(id) {
            return false;
        }
        let count = socket
            .to_broker
            .len()
            .min(1 + random.below(self.parameters.piece_max));
        let piece: Vec<u8> = socket.to_broker.drain(..count).collect();
        self.shards[shard].handle_bytes(id, &piece, self.now);
        // Actions must be carried out before anything else touches the connection.
        self.act(shard);
        true
    }

    fn turn(&mut self, shard: usize, random: &mut Random) -> bool {
        let mut moved = self.timeouts(shard);
        self.shards[shard].end_turn(self.now);
        moved |= self.act(shard);
        while let Some(id) = self.shards[shard].poll_transmit() {
            moved = true;
            self.transmit(shard, id, random);
        }
        moved |= self.act(shard);
        moved | self.send_blocks(shard)
    }

    fn act(&mut self, shard: usize) -> bool {
        let mut moved = false;
        while let Some(action) = self.shards[shard].poll_action() {
            moved = true;
            match action {
                Action::Notice(_) => {}
                Action::Close(id) | Action::Abort(id) => {
                    let Some(socket) = self.socket_at(shard, id) else {
                        continue;
                    };
                    self.flush(shard, id, socket);
                    self.sockets[socket].at = None;
                    self.sockets[socket].closed_by_broker = true;
                    self.shards[shard].handle_closed(id, CloseCause::Asked, self.now);
                }
                Action::HandOff {
                    connection,
                    to,
                    bytes,
                } => {
                    let Some(socket) = self.socket_at(shard, connection) else {
                        continue;
                    };
                    self.sockets[socket].at = None;
                    self.sockets[socket].moving = true;
                    self.moving.push((shard, to.index(), socket, bytes));
                }
            }
        }
        moved
    }

    fn socket_at(&self, shard: usize, id: ConnectionId) -> Option<usize> {
        self.sockets
            .iter()
            .position(|socket| socket.at == Some((shard, id)))
    }

    fn flush(&mut self, shard: usize, id: ConnectionId, socket: usize) {
        loop {
            let bytes = self.outgoing(shard, id);
            if bytes.is_empty() {
                return;
            }
            self.shards[shard].handle_written(id, bytes.len(), self.now);
            self.sockets[socket].to_client.extend(bytes);
        }
    }

    fn outgoing(&self, shard: usize, id: ConnectionId) -> Vec<u8> {
        let mut slices: [IoSlice<'_>; 8] = std::array::from_fn(|_| IoSlice::new(&[]));
        let count = self.shards[shard].outgoing(id, &mut slices);
        slices[..count]
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect()
    }

    /// The socket takes all, in pieces of any size.
    fn transmit(&mut self, shard: usize, id: ConnectionId, random: &mut Random) {
        let Some(socket) = self.socket_at(shard, id) else {
            return;
        };
        loop {
            let bytes = self.outgoing(shard, id);
            if bytes.is_empty() {
                return;
            }
            let count = bytes
                .len()
                .min(1 + random.below(4 * self.parameters.piece_max));
            self.shards[shard].handle_written(id, count, self.now);
            if !self.sockets[socket].closed_by_client {
                self.sockets[socket].to_client.extend(&bytes[..count]);
            }
        }
    }

    fn ring(&mut self, from: usize, to: usize, lane: Lane) -> &mut VecDeque<Item> {
        let lane = usize::from(lane == Lane::Data);
        let count = self.shards.len();
        &mut self.rings[(from * count + to) * 2 + lane]
    }

    fn send_blocks(&mut self, from: usize) -> bool {
        let mut moved = false;
        let room = self.parameters.ring_blocks;
        for (sender, to, socket, bytes) in std::mem::take(&mut self.moving) {
            if sender == from && self.ring(from, to, Lane::Control).len() < room {
                self.ring(from, to, Lane::Control)
                    .push_back(Item::Socket(socket, bytes));
                moved = true;
            } else {
                self.moving.push((sender, to, socket, bytes));
            }
        }
        for to in (0..self.shards.len()).filter(|to| *to != from) {
            for lane in [Lane::Control, Lane::Data] {
                while self.ring(from, to, lane).len() < room {
                    let Some(block) = self.shards[from].poll_block(ShardId(to as u16), lane) else {
                        break;
                    };
                    self.ring(from, to, lane).push_back(Item::Block(block));
                    moved = true;
                }
            }
        }
        moved
    }

    /// One item of one ring reaches its shard.
    fn take_item(&mut self, random: &mut Random) -> bool {
        let count = self.shards.len();
        let (from, to) = (random.below(count), random.below(count));
        let lane = if random.once_in(2) {
            Lane::Control
        } else {
            Lane::Data
        };
        match self.ring(from, to, lane).pop_front() {
            None => return false,
            Some(Item::Block(block)) => {
                self.shards[to].handle_block(ShardId(from as u16), lane, block, self.now);
            }
            Some(Item::Socket(socket, bytes)) => {
                self.sockets[socket].moving = false;
                match self.shards[to].handle_opened(address(), self.now) {
                    None => self.sockets[socket].closed_by_broker = true,
                    Some(id) => {
                        self.sockets[socket].at = Some((to, id));
                        self.shards[to].handle_bytes(id, &bytes, self.now);
                    }
                }
            }
        }
        self.act(to);
        true
    }
}
