//! Rings between shards, and connections on their way to their home.

use std::collections::VecDeque;

use super::{Environment, Event, World};
use crate::ids::ShardId;
use crate::mutant::{is_on, Mutant};
use crate::shard::{Block, Lane, Origin};

/// Two lanes of each ordered pair of shards.
pub(super) struct Rings {
    shards: usize,
    /// By `(from * shards + to) * 2 + lane`.
    rings: Vec<VecDeque<Item>>,
    /// By sender: connections that wait for room in a control ring.
    waiting: Vec<VecDeque<(usize, Moving)>>,
}

enum Item {
    Block(Block),
    Socket(Moving),
}

/// A connection on its way to its home.
pub(super) struct Moving {
    pub(super) link: usize,
    pub(super) origin: Origin,
    pub(super) bytes: Vec<u8>,
}

impl Rings {
    pub(super) fn new(shards: u16) -> Self {
        let shards = usize::from(shards);
        Self {
            shards,
            rings: (0..shards * shards * 2).map(|_| VecDeque::new()).collect(),
            waiting: (0..shards).map(|_| VecDeque::new()).collect(),
        }
    }

    fn ring(&mut self, from: usize, to: usize, lane: Lane) -> &mut VecDeque<Item> {
        let lane = usize::from(lane == Lane::Data);
        &mut self.rings[(from * self.shards + to) * 2 + lane]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rings.iter().all(VecDeque::is_empty) && self.waiting.iter().all(VecDeque::is_empty)
    }

    pub(super) fn hand_off(&mut self, from: usize, to: usize, moving: Moving) {
        self.waiting[from].push_back((to, moving));
    }
}

impl<E: Environment> World<E> {
    /// Nothing is on its way between shards.
    #[must_use]
    pub fn are_rings_empty(&self) -> bool {
        self.rings.is_empty()
    }

    /// Sends what there is room for. Blocks first: one carries all control messages there are, sockets go one
    /// by one.
    pub(super) fn send_blocks(&mut self, from: usize) -> bool {
        let mut moved = false;
        for to in (0..self.shards.len()).filter(|to| *to != from) {
            for lane in [Lane::Control, Lane::Data] {
                moved |= self.send_lane(from, to, lane);
            }
        }
        moved | self.send_sockets(from)
    }

    fn send_lane(&mut self, from: usize, to: usize, lane: Lane) -> bool {
        let room = self.environment.ring_room();
        let id = ShardId(to as u16);
        let mut moved = false;
        if is_on(Mutant::DropOnFullRing) && self.rings.ring(from, to, lane).len() >= room {
            drop(self.shards[from].poll_block(id, Lane::Data));
        }
        while self.rings.ring(from, to, lane).len() < room {
            let Some(block) = self.shards[from].poll_block(id, lane) else {
                break;
            };
            self.rings
                .ring(from, to, lane)
                .push_back(Item::Block(block));
            self.happened(Event::SendsBlock { from, to, lane });
            moved = true;
        }
        moved
    }

    fn send_sockets(&mut self, from: usize) -> bool {
        let room = self.environment.ring_room();
        let mut moved = false;
        for _ in 0..self.rings.waiting[from].len() {
            let Some((to, moving)) = self.rings.waiting[from].pop_front() else {
                break;
            };
            let ring = self.rings.ring(from, to, Lane::Control);
            if ring.len() < room {
                ring.push_back(Item::Socket(moving));
                moved = true;
            } else {
                self.rings.waiting[from].push_back((to, moving));
            }
        }
        moved
    }

    /// Takes what peers have sent: of each, control before data; connections last.
    pub(super) fn take_blocks(&mut self, to: usize) -> bool {
        let mut arrived = Vec::new();
        let mut moved = false;
        for from in (0..self.shards.len()).filter(|from| *from != to) {
            for lane in [Lane::Control, Lane::Data] {
                moved |= self.take_lane(from, to, lane, &mut arrived);
            }
        }
        for moving in arrived {
            self.arrive(to, moving);
        }
        moved
    }

    fn take_lane(&mut self, from: usize, to: usize, lane: Lane, arrived: &mut Vec<Moving>) -> bool {
        let waiting = self.rings.ring(from, to, lane).len();
        if waiting == 0 {
            return false;
        }
        let id = ShardId(from as u16);
        let mut moved = false;
        for _ in 0..self.environment.blocks(lane, waiting) {
            if lane == Lane::Data && !self.shards[to].wants_publications(id) {
                break;
            }
            match self.rings.ring(from, to, lane).pop_front() {
                None => break,
                Some(Item::Socket(moving)) => arrived.push(moving),
                Some(Item::Block(block)) => {
                    self.happened(Event::TakesBlock { from, to, lane });
                    self.shards[to].handle_block(id, lane, block, self.now);
                }
            }
            moved = true;
        }
        moved
    }

    fn arrive(&mut self, shard: usize, moving: Moving) {
        let Moving {
            link,
            origin,
            bytes,
        } = moving;
        let id = self.shards[shard].handle_opened(origin, self.now);
        self.links[link].is_moving = false;
        self.attach(link, shard, id);
        let is_accepted = id.is_some();
        self.happened(Event::Arrives {
            link,
            shard,
            is_accepted,
        });
        if let Some(id) = id {
            self.shards[shard].handle_bytes(id, &bytes, self.now);
            self.act(shard);
        }
    }
}
