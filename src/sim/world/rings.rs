//! Tiny rings between shards, and connections on their way to their home.

use std::collections::VecDeque;

use super::World;
use crate::ids::ShardId;
use crate::mutant::{is_on, Mutant};
use crate::shard::{Block, Lane, Origin};
use crate::sim::random::Random;

pub(super) enum Item {
    Block(Block),
    Socket(Moving),
}

/// A connection on its way to its home.
pub(super) struct Moving {
    pub(super) socket: usize,
    pub(super) origin: Origin,
    pub(super) bytes: Vec<u8>,
}

impl World {
    pub(super) fn ring(&mut self, from: usize, to: usize, lane: Lane) -> &mut VecDeque<Item> {
        let lane = usize::from(lane == Lane::Data);
        let count = self.shards.len();
        &mut self.rings[(from * count + to) * 2 + lane]
    }

    pub(super) fn send_blocks(&mut self, from: usize) -> bool {
        let mut moved = false;
        let room = self.parameters.ring_blocks;
        for (sender, to, moving) in std::mem::take(&mut self.moving) {
            if sender == from && self.ring(from, to, Lane::Control).len() < room {
                self.ring(from, to, Lane::Control)
                    .push_back(Item::Socket(moving));
                moved = true;
            } else {
                self.moving.push((sender, to, moving));
            }
        }
        for to in (0..self.shards.len()).filter(|to| *to != from) {
            for lane in [Lane::Control, Lane::Data] {
                if is_on(Mutant::DropOnFullRing) && self.ring(from, to, lane).len() >= room {
                    drop(self.shards[from].poll_block(ShardId(to as u16), Lane::Data));
                }
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
    pub(super) fn take_item(&mut self, random: &mut Random) -> bool {
        let count = self.shards.len();
        let (from, to) = (random.below(count), random.below(count));
        let lane = if random.once_in(2) {
            Lane::Control
        } else {
            Lane::Data
        };
        if lane == Lane::Data && !random.once_in(self.parameters.data_lag) {
            return false;
        }
        let is_wanted = self.shards[to].wants_publications(ShardId(from as u16));
        if lane == Lane::Data && !is_wanted {
            return false;
        }
        match self.ring(from, to, lane).pop_front() {
            None => return false,
            Some(Item::Block(block)) => {
                self.note(|| format!("shard {to} takes a {lane:?} block of shard {from}"));
                self.shards[to].handle_block(ShardId(from as u16), lane, block, self.now);
            }
            Some(Item::Socket(moving)) => {
                let Moving {
                    socket,
                    origin,
                    bytes,
                } = moving;
                self.note(|| format!("connection {socket} reaches its home, shard {to}"));
                self.sockets[socket].moving = false;
                match self.shards[to].handle_opened(origin, self.now) {
                    None => {
                        self.sockets[socket].closed_by_broker = true;
                        self.sockets[socket].gone_at = Some(self.now);
                    }
                    Some(id) => {
                        self.sockets[socket].at = Some((to, id));
                        self.sockets[socket].read_at = self.now;
                        self.shards[to].handle_bytes(id, &bytes, self.now);
                    }
                }
            }
        }
        self.act(to);
        true
    }
}
