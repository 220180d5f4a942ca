//! Barriers over nodes. One of a shard here is applied when every node that is there has applied one of its own for
//! it; one of another node, when all shards here have, and what they had sent to that node before is in its stream.

use std::collections::VecDeque;

use super::records::Record;
use super::Exchange;
use crate::ids::ShardId;
use crate::routing::{Destination, Destinations};
use crate::shard::mesh::block::Control;
use crate::time::Time;

/// Of a shard here.
#[derive(Debug)]
struct OfShard {
    number: u64,
    shard: ShardId,
    /// The shard's own number of it.
    of_shard: u64,
    /// Slots of nodes that have not applied it.
    left: Destinations,
}

/// Of another node.
#[derive(Debug)]
struct OfNode {
    slot: usize,
    /// The node's own number of it.
    of_node: u64,
    /// The one that was raised here for it, and what each shard had sent to the exchange when it applied that.
    number: u64,
    needed: Box<[u64]>,
}

/// Bounded by barriers of shards, and those by held replies.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    last: u64,
    of_shards: VecDeque<OfShard>,
    of_nodes: VecDeque<OfNode>,
}

fn place(slot: usize) -> Destination {
    ShardId(slot as u16).into()
}

impl Barriers {
    /// A node has ended.
    pub(super) fn left(&mut self, slot: usize) {
        for one in &mut self.of_shards {
            one.left.remove(place(slot));
        }
        self.of_nodes.retain(|one| one.slot != slot);
    }
}

impl Exchange {
    /// A shard has raised a barrier: everything that it sent before is in the streams by now.
    pub(super) fn barrier_of_shard(&mut self, shard: ShardId, of_shard: u64) {
        self.barriers.last += 1;
        let number = self.barriers.last;
        let mut left = Destinations::EMPTY;
        for (slot, remote) in self.remotes.iter_mut().enumerate() {
            if let Some(remote) = remote {
                remote.put(&Record::Barrier(number));
                left.insert(place(slot));
            }
        }
        self.barriers.of_shards.push_back(OfShard {
            number,
            shard,
            of_shard,
            left,
        });
    }

    /// A node has applied one of them.
    pub(super) fn barrier_applied_by_node(&mut self, slot: usize, number: u64) {
        let mut of_shards = self.barriers.of_shards.iter_mut();
        if let Some(one) = of_shards.find(|one| one.number == number) {
            one.left.remove(place(slot));
        }
    }

    /// A node has raised a barrier.
    pub(super) fn barrier_of_node(&mut self, slot: usize, of_node: u64) {
        let number = self.peers.raise_barrier();
        self.barriers.of_nodes.push_back(OfNode {
            slot,
            of_node,
            number,
            needed: Box::default(),
        });
    }

    /// A shard here has applied that; what it had sent to each peer by then.
    pub(super) fn barrier_applied_by_shard(&mut self, by: ShardId, number: u64, data_sent: &[u64]) {
        self.peers.barrier_applied(by, number);
        let shards = self.peers.count();
        let sent = data_sent.get(self.id.index()).copied().unwrap_or(0);
        let mut of_nodes = self.barriers.of_nodes.iter_mut();
        if let Some(one) = of_nodes.find(|one| one.number == number) {
            if one.needed.is_empty() {
                one.needed = vec![0; shards].into();
            }
            one.needed[by.index()] = sent;
        }
    }

    /// Answers what is reached, in order.
    pub(super) fn advance_barriers(&mut self, now: Time) {
        let reached = self.peers.barrier_reached();
        while let Some(one) = self.barriers.of_nodes.front() {
            if one.number > reached || !self.peers.has_applied(&one.needed) {
                break;
            }
            let (slot, of_node) = (one.slot, one.of_node);
            self.barriers.of_nodes.pop_front();
            if let Some(remote) = &mut self.remotes[slot] {
                remote.put(&Record::BarrierApplied(of_node));
            }
        }
        // Without a lease others may have stopped to wait for this node's word, and it for theirs.
        while self.has_lease(now) {
            let front = self.barriers.of_shards.front();
            if !front.is_some_and(|one| one.left.is_empty()) {
                break;
            }
            if let Some(one) = self.barriers.of_shards.pop_front() {
                let data_sent = self.peers.data_sent();
                let number = one.of_shard;
                let applied = Control::BarrierApplied { number, data_sent };
                self.peers.send(one.shard, applied);
            }
        }
    }
}
