//! Shards in virtual time, and the clients of an input by their number.

use ringmq::limits::Limits;
use ringmq::testing::{Link, Setup, World};
use ringmq::time::Span;

/// More turns than any input needs: past it the shards never come to rest.
const TURNS_MAX: usize = 20_000;

/// See the module.
pub(crate) struct Broker {
    world: World,
    /// By client: the link of its newest connection.
    clients: Vec<usize>,
}

impl Broker {
    pub(crate) fn new(shards: u16, limits: Limits) -> Self {
        let mut world = World::calm(Setup {
            limits,
            ..Setup::new(shards)
        });
        world.turns_max = TURNS_MAX;
        Self {
            world,
            clients: Vec::new(),
        }
    }

    /// A new connection of a client, which comes in at a shard whatever its home is. Its older one is gone
    /// without a word. New clients have the next number.
    pub(crate) fn open(&mut self, client: usize, shard: usize) {
        if let Some(link) = self.clients.get(client) {
            self.world.close(*link);
        }
        let link = self.world.open(shard % self.world.shards.len());
        if client == self.clients.len() {
            self.clients.push(link);
        } else {
            self.clients[client] = link;
        }
    }

    /// The newest connection of a client.
    pub(crate) fn client(&mut self, client: usize) -> &mut Link {
        &mut self.world.links[self.clients[client]]
    }

    pub(crate) fn is_open(&self, client: usize) -> bool {
        self.world.links[self.clients[client]].is_open()
    }

    /// Takes what a client has received.
    pub(crate) fn take(&mut self, client: usize) -> Vec<u8> {
        std::mem::take(&mut self.client(client).received)
    }

    pub(crate) fn send(&mut self, client: usize, bytes: &[u8]) {
        self.world.send(self.clients[client], bytes);
    }

    /// Bytes that arrive at once, within a turn.
    pub(crate) fn give(&mut self, client: usize, bytes: &[u8]) {
        self.world.give(self.clients[client], bytes);
    }

    /// What of its bytes a shard has not taken yet.
    pub(crate) fn unsent(&self, client: usize) -> usize {
        self.world.links[self.clients[client]].unread()
    }

    /// Turns until nothing moves; the bounds hold then.
    pub(crate) fn settle(&mut self) {
        self.world.settle();
        self.world.audit();
    }

    /// Lets time pass, with every deadline on the way.
    pub(crate) fn wait(&mut self, span: Span) {
        self.world.wait(span);
        self.world.audit();
    }

    /// A stalled client goes on reading.
    pub(crate) fn resume_reading(&mut self, client: usize) {
        self.world.resume_reading(self.clients[client]);
    }
}
