//! Shards without sockets, in virtual time, and the clients' ends of their connections.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;

use ringmq::ids::{ConnectionId, ShardId};
use ringmq::limits::Limits;
use ringmq::shard::{
    Action, Block, CloseCause, Lane, ListenerId, ListenerPolicy, Origin, Peer, Shard, ShardConfig,
};
use ringmq::time::{Span, Time};

/// More turns than any input needs: past it the shards never come to rest.
const TURNS_MAX: usize = 20_000;

/// See the module.
pub(crate) struct Broker {
    now: Time,
    shards: Vec<Shard>,
    blocks: VecDeque<(ShardId, ShardId, Lane, Block)>,
    pub(crate) clients: Vec<Client>,
}

/// A client's end of a connection.
#[derive(Default)]
pub(crate) struct Client {
    /// Shard and id, until the connection is gone.
    at: Option<(usize, ConnectionId)>,
    /// Sent by the client, not yet taken by the shard.
    unsent: VecDeque<u8>,
    /// Bytes given to the shard at once.
    pub(crate) piece_len: usize,
    /// The client takes nothing for a while.
    pub(crate) is_stalled: bool,
    pub(crate) received: Vec<u8>,
}

impl Client {
    pub(crate) fn is_open(&self) -> bool {
        self.at.is_some()
    }
}

impl Broker {
    pub(crate) fn new(shards: u16, limits: Limits) -> Self {
        let config = Arc::new(ShardConfig {
            shards,
            limits,
            listeners: [ListenerPolicy::default()].into(),
            placement_seed: 7,
        });
        let now = Time::ZERO + Span::from_secs(1);
        Self {
            now,
            shards: (0..shards)
                .map(|id| Shard::new(ShardId(id), &config, 11 + u64::from(id), now))
                .collect(),
            blocks: VecDeque::new(),
            clients: Vec::new(),
        }
    }

    /// A new connection of a client, which comes in at a shard whatever its home is.
    pub(crate) fn open(&mut self, client: usize, shard: usize) {
        while self.clients.len() <= client {
            self.clients.push(Client::default());
        }
        self.close(client);
        let shard = shard % self.shards.len();
        let id = self.shards[shard].handle_opened(origin(), self.now);
        self.clients[client] = Client {
            at: id.map(|id| (shard, id)),
            piece_len: usize::MAX,
            ..Client::default()
        };
    }

    /// The client is gone without a word.
    pub(crate) fn close(&mut self, client: usize) {
        if let Some((shard, id)) = self.clients[client].at.take() {
            self.shards[shard].handle_closed(id, CloseCause::EndOfStream, self.now);
        }
    }

    pub(crate) fn send(&mut self, client: usize, bytes: &[u8]) {
        if self.clients[client].is_open() {
            self.clients[client].unsent.extend(bytes);
        }
    }

    /// Bytes that arrive at once, within a turn.
    pub(crate) fn give(&mut self, client: usize, bytes: &[u8]) {
        if let Some((shard, id)) = self.clients[client].at {
            self.shards[shard].handle_bytes(id, bytes, self.now);
        }
    }

    /// What of its bytes a shard has not taken yet.
    pub(crate) fn unsent(&self, client: usize) -> usize {
        self.clients[client].unsent.len()
    }

    /// Turns until nothing moves; the bounds hold then.
    pub(crate) fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let mut moved = self.feed();
            for shard in 0..self.shards.len() {
                moved |= self.turn(shard);
            }
            if let Some((from, to, lane, block)) = self.blocks.pop_front() {
                self.shards[to.index()].handle_block(from, lane, block, self.now);
                moved = true;
            }
            if !moved {
                self.audit();
                return;
            }
        }
        panic!("the shards do not come to rest");
    }

    fn audit(&self) {
        for shard in &self.shards {
            if let Err(problem) = shard.audit() {
                panic!("{problem}");
            }
        }
    }

    /// Lets time pass, with every deadline on the way.
    pub(crate) fn wait(&mut self, span: Span) {
        let until = self.now + span;
        for _ in 0..TURNS_MAX {
            let due = self.shards.iter().filter_map(Shard::poll_timeout).min();
            let Some(due) = due.filter(|due| *due <= until) else {
                self.now = until;
                self.settle();
                return;
            };
            self.now = self.now.max(due);
            for shard in &mut self.shards {
                if shard.poll_timeout().is_some_and(|due| due <= self.now) {
                    shard.handle_timeout(self.now);
                }
            }
            self.settle();
        }
        panic!("a deadline never goes away");
    }

    /// Gives every shard the next piece of what its clients sent.
    fn feed(&mut self) -> bool {
        let mut moved = false;
        for client in &mut self.clients {
            let Some((shard, id)) = client.at else {
                continue;
            };
            if client.unsent.is_empty() || !self.shards[shard].wants_input(id) {
                continue;
            }
            let length = client.unsent.len().min(client.piece_len.max(1));
            let bytes = &client.unsent.make_contiguous()[..length];
            self.shards[shard].handle_bytes(id, bytes, self.now);
            client.unsent.drain(..length);
            moved = true;
        }
        moved
    }

    /// One turn of one shard, as its contract has it.
    fn turn(&mut self, index: usize) -> bool {
        let now = self.now;
        let mut moved = false;
        let shard = &mut self.shards[index];
        if shard.poll_timeout().is_some_and(|due| due <= now) {
            shard.handle_timeout(now);
            moved = true; // a time that has passed means there is work left
        }
        shard.end_turn(now);
        let mut closing = Vec::new();
        while let Some(action) = self.shards[index].poll_action() {
            moved = true;
            match action {
                Action::Close(id) => closing.push(id),
                Action::Abort(id) => self.end(index, id),
                Action::HandOff {
                    connection,
                    to,
                    origin,
                    bytes,
                } => self.hand_off((index, connection), to, origin, &bytes),
                Action::Notice(_) | Action::Authenticate(..) | Action::Authorize(..) => {}
            }
        }
        while let Some(id) = self.shards[index].poll_transmit() {
            moved |= self.transmit(index, id);
        }
        for id in closing {
            self.transmit(index, id);
            self.end(index, id);
        }
        for to in (0..self.shards.len() as u16).map(ShardId) {
            for lane in [Lane::Control, Lane::Data] {
                if to.index() == index {
                    continue;
                }
                while let Some(block) = self.shards[index].poll_block(to, lane) {
                    let from = ShardId(index as u16);
                    self.blocks.push_back((from, to, lane, block));
                    moved = true;
                }
            }
        }
        moved
    }

    fn client_at(&mut self, shard: usize, id: ConnectionId) -> Option<&mut Client> {
        self.clients
            .iter_mut()
            .find(|client| client.at == Some((shard, id)))
    }

    /// Moves what waits for a connection to its client; true when there was something.
    fn transmit(&mut self, index: usize, id: ConnectionId) -> bool {
        let known = self.client_at(index, id);
        if known.is_some_and(|client| client.is_stalled) {
            return false;
        }
        let mut taken = Vec::new();
        loop {
            let mut slices = [IoSlice::new(&[]); 16];
            let count = self.shards[index].outgoing(id, &mut slices);
            let before = taken.len();
            for slice in &slices[..count] {
                taken.extend_from_slice(slice);
            }
            let length = taken.len() - before;
            if length == 0 {
                break;
            }
            self.shards[index].handle_written(id, length, self.now);
        }
        if let Some(client) = self.client_at(index, id) {
            client.received.extend_from_slice(&taken);
        }
        !taken.is_empty()
    }

    /// A stalled client goes on reading.
    pub(crate) fn resume_reading(&mut self, client: usize) {
        self.clients[client].is_stalled = false;
        if let Some((shard, id)) = self.clients[client].at {
            self.transmit(shard, id);
        }
    }

    fn end(&mut self, index: usize, id: ConnectionId) {
        if let Some(client) = self.client_at(index, id) {
            client.at = None;
            client.unsent.clear();
        }
        self.shards[index].handle_closed(id, CloseCause::Asked, self.now);
    }

    fn hand_off(
        &mut self,
        (index, id): (usize, ConnectionId),
        to: ShardId,
        origin: Origin,
        bytes: &[u8],
    ) {
        let now = self.now;
        let opened = self.shards[to.index()].handle_opened(origin, now);
        if let Some(client) = self.client_at(index, id) {
            client.at = opened.map(|id| (to.index(), id));
        }
        if let Some(id) = opened {
            self.shards[to.index()].handle_bytes(id, bytes, now);
        }
    }
}

fn origin() -> Origin {
    let address = SocketAddr::from(([127, 0, 0, 1], 50_000));
    Origin::new(Peer::Ip(address), ListenerId(0))
}
