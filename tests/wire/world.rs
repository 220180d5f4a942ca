//! Rows against shards in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ringmq::auth::{Answer, AuthzDecision, Facts, Question, Request, Rules};
use ringmq::ids::ConnectionId;
use ringmq::limits::Limits;
use ringmq::shard::ListenerPolicy;
use ringmq::testing::{self, Command, Environment, Link, Setup};
use ringmq::time::Span;

use super::Broker;

/// The time of day when a row begins, in seconds since 1970.
pub(super) const UNIX_S: u64 = 1_700_000_000;

/// The shards and the clients of a row, by name.
pub(super) struct World {
    world: testing::World<Services>,
    /// The link of each client's newest connection.
    clients: BTreeMap<String, usize>,
    /// Bytes given to a shard at once.
    piece_len: usize,
}

/// Judges logins and rules about topics, at once.
#[derive(Default)]
struct Services {
    rules: Arc<Rules>,
    /// What the service was asked.
    asked: Vec<Request>,
    /// By shard.
    commands: BTreeMap<usize, VecDeque<Command>>,
}

impl Services {
    fn post(&mut self, shard: usize, letter: Command) {
        self.commands.entry(shard).or_default().push_back(letter);
    }
}

impl Environment for Services {
    fn authenticate(&mut self, shard: usize, id: ConnectionId, question: Box<Question>) {
        let facts = Facts {
            unix_s: UNIX_S,
            nonce: [0; 18],
        };
        if let Answer::Now(verdict) = self.rules.answer(&question, &facts) {
            self.post(shard, Command::Verdict(id, verdict));
        }
    }

    /// Topics in `no/` are refused, nobody is there for those in `down/`.
    fn authorize(&mut self, shard: usize, id: ConnectionId, request: Box<Request>) {
        let decision = |topic: &str| match topic.split('/').next() {
            Some("no") => AuthzDecision::Refused,
            Some("down") => AuthzDecision::Unavailable,
            _ => AuthzDecision::Allowed,
        };
        let decisions = request.topics.iter().map(|topic| decision(topic)).collect();
        let hook = self.rules.acl_hook.as_ref();
        let counts_for = hook.map_or(Span::ZERO, |hook| hook.cache);
        self.asked.push((*request).clone());
        let decisions = request.ruled_each(decisions, counts_for);
        self.post(shard, Command::AuthzDecisions(id, decisions));
    }

    fn command(&mut self, shard: usize) -> Option<Command> {
        self.commands.get_mut(&shard)?.pop_front()
    }
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
        let setup = Setup {
            limits,
            policy,
            ..Setup::new(shards)
        };
        Self {
            world: testing::World::new(setup, Services::default()),
            clients: BTreeMap::new(),
            piece_len,
        }
    }

    /// Accounts and rules from now on.
    pub(super) fn set_rules(&mut self, rules: &Arc<Rules>) {
        self.world.environment.rules = Arc::clone(rules);
        for shard in 0..self.world.shards.len() {
            let letter = Command::Rules(Arc::clone(rules));
            self.world.environment.post(shard, letter);
        }
    }

    /// What the service was asked since it was last looked at.
    pub(super) fn take_asked(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.world.environment.asked)
    }

    fn link(&self, name: &str) -> usize {
        *self.clients.get(name).expect("the row opened it")
    }

    fn client(&mut self, name: &str) -> &mut Link {
        let link = self.link(name);
        &mut self.world.links[link]
    }
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
        let shard = self.world.links.len() % self.world.shards.len();
        let link = self.world.open(shard);
        self.world.links[link].piece_len = self.piece_len;
        self.clients.insert(name.to_owned(), link);
        self.world.settle();
    }

    fn send(&mut self, name: &str, bytes: &[u8]) {
        let link = self.link(name);
        self.world.send(link, bytes);
        self.world.settle();
    }

    fn close(&mut self, name: &str) {
        let link = self.link(name);
        self.world.close(link);
        self.world.settle();
    }

    fn receive(&mut self, name: &str) -> Option<Vec<u8>> {
        take_packet(&mut self.client(name).received)
    }

    fn receive_soon(&mut self, name: &str) -> Option<Vec<u8>> {
        self.receive(name)
    }

    fn is_closed(&mut self, name: &str) -> bool {
        !self.client(name).is_open()
    }

    fn awaits_close(&mut self, name: &str) -> bool {
        self.is_closed(name)
    }

    fn wait_ms(&mut self, ms: u64) {
        self.world.wait(Span::from_millis(ms));
    }
}
