//! Shards without sockets, in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;

use ringmq::auth::{Answer, Facts, Question, Request, Rules, Ruling};
use ringmq::ids::{ConnectionId, ShardId};
use ringmq::limits::Limits;
use ringmq::shard::{
    Action, Block, CloseCause, Lane, ListenerId, ListenerPolicy, Origin, Peer, Shard, ShardConfig,
};
use ringmq::time::{Span, Time};

use super::Broker;

/// The time of day when a row begins, in seconds since 1970.
pub(super) const UNIX_S: u64 = 1_700_000_000;

/// More turns than any row needs: past it the shards never come to rest.
const TURNS_MAX: usize = 4_000_000; // the largest packet arrives byte by byte

/// The shards, what travels between them, and the clients' ends of the connections.
pub(super) struct World {
    now: Time,
    shards: Vec<Shard>,
    blocks: VecDeque<(ShardId, ShardId, Lane, Block)>,
    clients: BTreeMap<String, Client>,
    /// Bytes given to a shard at once.
    piece_len: usize,
    opened: usize,
    rules: Arc<Rules>,
    /// What the service was asked.
    pub(super) asked: Vec<Request>,
}

/// A client's end of a connection.
struct Client {
    /// Shard and id, until the connection is gone.
    at: Option<(usize, ConnectionId)>,
    /// Sent by the client, not yet taken by the shard.
    unsent: VecDeque<u8>,
    received: Vec<u8>,
}

impl World {
    pub(super) fn new(shards: u16, piece_len: usize) -> Self {
        Self::with_limits(shards, piece_len, Limits::default())
    }

    pub(super) fn with_limits(shards: u16, piece_len: usize, limits: Limits) -> Self {
        Self::with_policy(shards, piece_len, limits, ListenerPolicy::default())
    }

    pub(super) fn with_policy(
        shards: u16,
        piece_len: usize,
        limits: Limits,
        policy: ListenerPolicy,
    ) -> Self {
        let config = Arc::new(ShardConfig {
            shards,
            limits,
            listeners: [policy].into(),
            placement_seed: 7,
        });
        let now = Time::ZERO + Span::from_secs(1);
        Self {
            now,
            shards: (0..shards)
                .map(|id| Shard::new(ShardId(id), &config, 11 + u64::from(id), now))
                .collect(),
            blocks: VecDeque::new(),
            clients: BTreeMap::new(),
            piece_len,
            opened: 0,
            rules: Arc::default(),
            asked: Vec::new(),
        }
    }

    /// Accounts and rules from now on.
    pub(super) fn set_rules(&mut self, rules: &Arc<Rules>) {
        self.rules = Arc::clone(rules);
        for shard in &mut self.shards {
            shard.handle_rules(Arc::clone(rules));
        }
    }

    /// Judges a login at once.
    fn judge(&mut self, shard: usize, id: ConnectionId, question: &Question) {
        let facts = Facts {
            unix_s: UNIX_S,
            nonce: [0; 18],
        };
        if let Answer::Now(verdict) = self.rules.answer(question, &facts) {
            self.shards[shard].handle_authenticated(id, verdict, self.now);
        }
    }

    /// Rules at once: topics in `no/` are refused, nobody is there for those in `down/`.
    fn rule(&mut self, shard: usize, id: ConnectionId, request: Request) {
        let ruling = |topic: &str| match topic.split('/').next() {
            Some("no") => Ruling::Refused,
            Some("down") => Ruling::Unavailable,
            _ => Ruling::Allowed,
        };
        let rulings = request.topics.iter().map(|topic| ruling(topic)).collect();
        let hook = self.rules.acl_hook.as_ref();
        let counts_for = hook.map_or(Span::ZERO, |hook| hook.cache);
        self.asked.push(request.clone());
        let rulings = request.ruled_each(rulings, counts_for);
        self.shards[shard].handle_authorized(id, rulings, self.now);
    }

    /// Turns until nothing moves.
    fn settle(&mut self) {
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
                return;
            }
        }
        panic!("the shards do not come to rest");
    }

    /// Gives every shard the next piece of what its clients sent.
    fn feed(&mut self) -> bool {
        let mut moved = false;
        for client in self.clients.values_mut() {
            let Some((shard, id)) = client.at else {
                continue;
            };
            if client.unsent.is_empty() || !self.shards[shard].wants_input(id) {
                continue;
            }
            let len = client.unsent.len().min(self.piece_len);
            let piece: Vec<u8> = client.unsent.drain(..len).collect();
            self.shards[shard].handle_bytes(id, &piece, self.now);
            moved = true;
        }
        moved
    }

    /// One turn of one shard, as the contract of [`Shard`] has it.
    fn turn(&mut self, index: usize) -> bool {
        let now = self.now;
        let mut moved = false;
        if self.shards[index]
            .poll_timeout()
            .is_some_and(|due| due <= now)
        {
            self.shards[index].handle_timeout(now);
            moved = true; // a time that has passed means there is work left
        }
        self.shards[index].end_turn(now);
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
                Action::Notice(_) => {}
                Action::Authenticate(id, question) => self.judge(index, id, &question),
                Action::Authorize(id, request) => self.rule(index, id, *request),
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
                    self.blocks
                        .push_back((ShardId(index as u16), to, lane, block));
                    moved = true;
                }
            }
        }
        moved
    }

    fn client_at(&mut self, shard: usize, id: ConnectionId) -> Option<&mut Client> {
        self.clients
            .values_mut()
            .find(|client| client.at == Some((shard, id)))
    }

    fn transmit(&mut self, index: usize, id: ConnectionId) -> bool {
        let mut taken = Vec::new();
        loop {
            let mut slices = [IoSlice::new(&[]); 16];
            let count = self.shards[index].outgoing(id, &mut slices);
            let from = taken.len();
            for slice in &slices[..count] {
                taken.extend_from_slice(slice);
            }
            let len = taken.len() - from;
            if len == 0 {
                break;
            }
            self.shards[index].handle_written(id, len, self.now);
        }
        if let Some(client) = self.client_at(index, id) {
            client.received.extend_from_slice(&taken);
        }
        !taken.is_empty()
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

    fn client(&mut self, name: &str) -> &mut Client {
        self.clients.get_mut(name).expect("the row opened it")
    }
}

fn origin() -> Origin {
    let address = SocketAddr::from(([127, 0, 0, 1], 50_000));
    Origin::new(Peer::Ip(address), ListenerId(0))
}

/// Takes the first whole packet.
pub(super) fn take_packet(received: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut len = 0;
    for index in 0..4 {
        let &byte = received.get(1 + index)?;
        len |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let end = 2 + index + len;
            return (received.len() >= end).then(|| received.drain(..end).collect());
        }
    }
    panic!("the broker sent a remaining length of more than four bytes");
}

impl Broker for World {
    fn open(&mut self, name: &str) {
        // Clients come in at each shard in turn, whatever their home is.
        let shard = self.opened % self.shards.len();
        self.opened += 1;
        let id = self.shards[shard].handle_opened(origin(), self.now);
        let client = Client {
            at: id.map(|id| (shard, id)),
            unsent: VecDeque::new(),
            received: Vec::new(),
        };
        self.clients.insert(name.to_owned(), client);
        self.settle();
    }

    fn send(&mut self, name: &str, bytes: &[u8]) {
        self.client(name).unsent.extend(bytes);
        self.settle();
    }

    fn close(&mut self, name: &str) {
        if let Some((shard, id)) = self.client(name).at.take() {
            self.shards[shard].handle_closed(id, CloseCause::EndOfStream, self.now);
        }
        self.settle();
    }

    fn receive(&mut self, name: &str) -> Option<Vec<u8>> {
        take_packet(&mut self.client(name).received)
    }

    fn receive_soon(&mut self, name: &str) -> Option<Vec<u8>> {
        self.receive(name)
    }

    fn is_closed(&mut self, name: &str) -> bool {
        self.client(name).at.is_none()
    }

    fn awaits_close(&mut self, name: &str) -> bool {
        self.is_closed(name)
    }

    fn wait_ms(&mut self, ms: u64) {
        let until = self.now + Span::from_millis(ms);
        for _ in 0..TURNS_MAX {
            let due = self.shards.iter().filter_map(Shard::poll_timeout).min();
            let Some(due) = due.filter(|due| *due <= until) else {
                self.now = until;
                self.settle();
                return;
            };
            self.now = self.now.max(due);
            for shard in &mut self.shards {
                if shard.poll_timeout().is_some_and(|time| time <= self.now) {
                    shard.handle_timeout(self.now);
                }
            }
            self.settle();
        }
        panic!("time does not pass: a deadline never goes away");
    }
}
