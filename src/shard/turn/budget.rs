//! The work of one turn is bounded, whatever its packets cost.
//!
//! A publication can cost ten thousand times what its bytes cost to read: it has that many
//! subscribers, or one client has joined that many groups. So a turn counts what it delivers. Once
//! its budget is exhausted, the packets of the connection being read and the block being applied wait for
//! the next turns, in which all other connections are served, too.

use std::collections::VecDeque;

use crate::ids::{ConnectionId, ShardId};
use crate::limits::TURN_WORK;
use crate::shard::clients::phase::Phase;
use crate::shard::mesh::publications::{Position, Publications};
use crate::shard::Shard;
use crate::time::Time;

/// One publication to one subscriber.
pub(in crate::shard) const DELIVERY: usize = 1;
/// Choosing a member of a shared group and handing it a publication.
pub(in crate::shard) const DISPATCH: usize = 8;
/// A filter of a SUBSCRIBE or UNSUBSCRIBE: more than twice what it takes to leave, so that no more come
/// than can leave.
pub(in crate::shard) const SUBSCRIPTION: usize = 32;
/// A filter taken out of the index.
pub(in crate::shard) const UNLINK: usize = 8;
/// Notifying one shared group whether a member is connected.
pub(in crate::shard) const ANNOUNCE: usize = 4;
/// What a timer asks for, without the deliveries of a will.
pub(in crate::shard) const TIMER: usize = 16;
/// A client that is accepted.
pub(in crate::shard) const CONNECT: usize = 32;
/// A connection that we end: its last words (of TLS, too) and the end of its socket are system calls.
pub(in crate::shard) const END: usize = 512;
/// Filters that are subscribed in a run of a turn: ten thousand clients may do so at once, and each
/// finds its place in the index and is answered.
pub(in crate::shard) const SUBSCRIBED_MAX: usize = 256;
/// Nodes and subscribers looked at to find a route that cost as much as a delivery.
pub(in crate::shard) const LOOKED_AT: usize = 8;
/// Bytes copied to one subscriber that cost as much as a delivery.
pub(in crate::shard) const COPIED_BYTES: usize = 1 << 10;

/// Lives on: each shard its own.
#[derive(Debug)]
pub(in crate::shard) struct TurnBudget {
    done: usize,
    /// Filters that were subscribed meanwhile.
    subscribed: usize,
    max: usize,
    /// Connections whose `partial` has whole packets, in the order in which they resume.
    connections: VecDeque<ConnectionId>,
    /// By peer: blocks of publications, the first begun.
    blocks: Vec<VecDeque<(Publications, Position)>>,
    /// The peer whose blocks are next.
    next: usize,
}

impl TurnBudget {
    pub(in crate::shard) fn new(shards: u16) -> Self {
        Self {
            done: 0,
            subscribed: 0,
            max: TURN_WORK,
            connections: VecDeque::new(),
            blocks: (0..shards).map(|_| VecDeque::new()).collect(),
            next: 0,
        }
    }

    /// One more peer.
    pub(in crate::shard) fn add_peer(&mut self) {
        self.blocks.push(VecDeque::new());
    }

    /// Budget for the next phase of the turn.
    pub(in crate::shard) fn reset(&mut self) {
        self.done = 0;
        self.subscribed = 0;
    }

    #[inline]
    pub(in crate::shard) fn add(&mut self, units: usize) {
        self.done += units;
    }

    /// A filter was subscribed.
    pub(in crate::shard) fn add_subscribed(&mut self) {
        self.done += SUBSCRIPTION;
        self.subscribed += 1;
    }

    /// Further SUBSCRIBEs wait for the next turn, and with them what their clients send after them.
    #[inline]
    pub(in crate::shard) fn has_subscribed_enough(&self) -> bool {
        self.subscribed >= SUBSCRIBED_MAX
    }

    /// Of this turn, so far.
    pub(in crate::shard) fn done(&self) -> usize {
        self.done
    }

    /// Of one turn.
    pub(in crate::shard) fn measure(&self) -> usize {
        self.max
    }

    /// The rest waits for the next turn.
    #[inline]
    pub(in crate::shard) fn is_exhausted(&self) -> bool {
        self.done >= self.max
    }

    /// The next packet of a connection waits for the next turn.
    #[inline]
    pub(in crate::shard) fn postpones(&self, phase: Phase, is_subscribe: bool) -> bool {
        (self.is_exhausted() || is_subscribe) && self.may_not_handle(phase, is_subscribe)
    }

    #[cold]
    fn may_not_handle(&self, phase: Phase, is_subscribe: bool) -> bool {
        let is_live = matches!(phase, Phase::Live(_));
        (self.is_exhausted() && phase != Phase::Closing)
            || (is_subscribe && is_live && self.has_subscribed_enough())
    }

    /// A connection continues in a later turn, behind those that wait already.
    pub(in crate::shard) fn put_off(&mut self, id: ConnectionId) {
        self.connections.push_back(id);
    }

    /// No more in this turn: a peer's outbox is full.
    pub(in crate::shard) fn stop(&mut self) {
        self.done = self.max;
    }

    /// Something waits for the next turn.
    pub(in crate::shard) fn is_left(&self) -> bool {
        !self.connections.is_empty() || self.blocks.iter().any(|blocks| !blocks.is_empty())
    }

    pub(in crate::shard) fn has_block_of(&self, peer: ShardId) -> bool {
        !self.blocks[peer.index()].is_empty()
    }

    /// A block that is applied behind those of the same peer.
    pub(in crate::shard) fn keep_block(&mut self, from: ShardId, publications: Publications) {
        self.blocks[from.index()].push_back((publications, Position::default()));
    }

    /// A block that was begun.
    pub(in crate::shard) fn put_back(
        &mut self,
        from: ShardId,
        publications: Publications,
        at: Position,
    ) {
        self.blocks[from.index()].push_front((publications, at));
    }
}

impl Shard {
    /// Smaller turns than [`TURN_WORK`], so that tests meet their ends.
    #[cfg(any(test, feature = "testing"))]
    pub fn set_turn_work(&mut self, units: usize) {
        self.turn.budget.max = units;
    }

    /// False while blocks of this peer's publications wait here: leave the next one in its ring.
    #[must_use]
    pub fn wants_publications(&self, from: ShardId) -> bool {
        !self.turn.budget.is_exhausted() && !self.turn.budget.has_block_of(from)
    }

    /// At the end of a turn: what waits is handled, blocks and connections with a budget each.
    pub(in crate::shard) fn catch_up(&mut self, now: Time) {
        self.turn.budget.reset();
        self.catch_up_blocks(now);
        self.turn.budget.reset();
        for _ in 0..self.turn.budget.connections.len() {
            if self.turn.budget.is_exhausted() || self.turn.budget.has_subscribed_enough() {
                break;
            }
            if let Some(id) = self.turn.budget.connections.pop_front() {
                self.resume(id, now);
            }
        }
        self.turn.budget.reset();
    }

    /// Each time another peer is the first.
    fn catch_up_blocks(&mut self, now: Time) {
        let count = self.turn.budget.blocks.len();
        let first = self.turn.budget.next;
        for peer in (first..count).chain(0..first) {
            while !self.turn.budget.is_exhausted() {
                let Some((publications, at)) = self.turn.budget.blocks[peer].pop_front() else {
                    break;
                };
                self.turn.budget.next = (peer + 1) % count;
                self.apply(ShardId(peer as u16), publications, at, now);
            }
        }
    }
}
