//! The other shards as one shard sees them: outboxes and barriers.
//!
//! Sending never waits. What a ring has no room for stays in the outbox; above the high-water mark
//! the shard stops reading its publishers.

use std::collections::VecDeque;

use crate::ids::ShardId;
use crate::limits::{BLOCK_BYTES, CONTROL_BYTES_HIGH_WATER, CONTROL_HIGH_WATER, DATA_HIGH_WATER};
use crate::mutant::{is_on, Mutant};
use crate::shard::delivery::message::Message;
use crate::shard::durable::ticket::{HeldNumber, Waiter};
use crate::shard::mesh::block::{Block, Content, Control, Lane};
use crate::shard::mesh::block_op::BlockOp;
use crate::shard::mesh::publications::Publications;
use crate::shard::mesh::publish_run::PublishRun;
use crate::shard::retained::live_topics::PublicationSource;
use crate::time::Time;

#[derive(Debug, Default)]
struct Peer {
    control: Vec<Control>,
    /// Bytes of the filters in `control`.
    control_bytes: usize,
    data: VecDeque<(Publications, usize)>,
    /// Bytes in `data`, large payloads included.
    data_bytes: usize,
    /// Publications handed to this peer so far.
    data_sent: u64,
    /// Publications of this peer applied here so far.
    data_applied: u64,
    /// Which publication the open block ends with; 0: none.
    last: u64,
    /// Highest barrier of ours this peer has applied.
    barrier_applied: u64,
}

/// Lives on: each shard its own.
#[derive(Debug)]
pub(in crate::shard) struct Peers {
    local: ShardId,
    peers: Vec<Peer>,
    barrier: u64,
    /// Publications handed to any peer so far.
    serial: u64,
    /// The peer whose publications are being applied.
    applying: Option<ShardId>,
    /// The one being applied is held there.
    applying_held: Option<HeldNumber>,
    /// When the bytes were read that are being handled.
    pub(in crate::shard) read_at: Time,
}

impl Peers {
    pub(in crate::shard) fn new(local: ShardId, shards: u16) -> Self {
        let peers = (0..shards).map(|_| Peer::default()).collect();
        Self {
            local,
            peers,
            barrier: 0,
            serial: 0,
            applying: None,
            applying_held: None,
            read_at: Time::ZERO,
        }
    }

    /// One more peer; its number.
    pub(in crate::shard) fn add(&mut self) -> ShardId {
        self.peers.push(Peer::default());
        ShardId(self.peers.len() as u16 - 1)
    }

    pub(in crate::shard) fn local(&self) -> ShardId {
        self.local
    }

    pub(in crate::shard) fn count(&self) -> usize {
        self.peers.len()
    }

    pub(in crate::shard) fn is_alone(&self) -> bool {
        self.peers.len() == 1
    }

    /// All shards but this one.
    fn others(&self) -> impl Iterator<Item = ShardId> {
        let local = self.local;
        let all = (0..self.peers.len() as u16).map(ShardId);
        all.filter(move |shard| *shard != local)
    }

    pub(in crate::shard) fn send(&mut self, to: ShardId, control: Control) {
        debug_assert_ne!(to, self.local, "local work is a function call");
        let peer = &mut self.peers[to.index()];
        peer.control_bytes += control.bytes();
        peer.control.push(control);
    }

    pub(in crate::shard) fn broadcast(&mut self, mut control: impl FnMut() -> Control) {
        for shard in self.others() {
            self.send(shard, control());
        }
    }

    /// Appends a publication to the block for a peer; true when too much waits for it now. One
    /// publication for many members of groups is written once; later ops are back-references. `waiter` is to learn
    /// of its commit there.
    pub(in crate::shard) fn publish(
        &mut self,
        to: ShardId,
        message: &mut Message<'_>,
        op: &BlockOp<'_>,
        waiter: Waiter,
    ) -> bool {
        if message.serial == 0 {
            self.serial += 1;
            message.serial = self.serial;
        }
        let serial = message.serial;
        self.append(to, serial, |block, is_again| {
            let name = block.push_waiter(waiter);
            name + if is_again {
                block.push_again(op)
            } else {
                block.push(message, op)
            }
        })
    }

    /// Appends a run to the block for a peer; true when too much waits for it now. It counts as one
    /// publication, on both sides.
    pub(in crate::shard) fn publish_run(&mut self, to: ShardId, run: &PublishRun<'_>) -> bool {
        self.append(to, 0, |block, _| block.push_run(run))
    }

    /// Appends one item, for which `push` returns the bytes to charge. `serial` is the publication's, 0
    /// for what no back-reference may refer to; `push` gets whether it is the one before.
    fn append(
        &mut self,
        to: ShardId,
        serial: u64,
        push: impl FnOnce(&mut Publications, bool) -> usize,
    ) -> bool {
        debug_assert_ne!(to, self.local, "local work is a function call");
        let peer = &mut self.peers[to.index()];
        if peer
            .data
            .back()
            .is_none_or(|(_, bytes)| *bytes >= BLOCK_BYTES)
        {
            // Small first: most turns forward a few publications, a flood grows the block once.
            let mut block = Publications::with_capacity(2 << 10);
            block.read_at = self.read_at;
            peer.data.push_back((block, 0));
            peer.last = 0;
        }
        let is_wrong = is_on(Mutant::NameAgainWrongly);
        let is_again = peer.last > 0 && (peer.last == serial || is_wrong);
        peer.last = serial;
        if let Some((block, bytes)) = peer.data.back_mut() {
            let charged = push(block, is_again);
            *bytes += charged;
            peer.data_bytes += charged;
            peer.data_sent += 1;
        }
        peer.data_bytes > DATA_HIGH_WATER
    }

    pub(in crate::shard) fn poll(&mut self, to: ShardId, lane: Lane) -> Option<Block> {
        let peer = &mut self.peers[to.index()];
        match lane {
            Lane::Control if peer.control.is_empty() => None,
            Lane::Control => {
                peer.control_bytes = 0;
                Some(Block(Content::Control(std::mem::take(&mut peer.control))))
            }
            Lane::Data => {
                let (block, bytes) = peer.data.pop_front()?;
                peer.data_bytes -= bytes;
                if peer.data.is_empty() {
                    peer.last = 0;
                }
                Some(Block(Content::Data(block)))
            }
        }
    }

    /// True while so much waits for a peer that no publisher is read.
    pub(in crate::shard) fn data_is_full(&self) -> bool {
        self.peers
            .iter()
            .any(|peer| peer.data_bytes > DATA_HIGH_WATER)
    }

    /// True while so many control messages wait for a peer that no connection is read.
    pub(in crate::shard) fn control_is_full(&self) -> bool {
        self.peers.iter().any(|peer| {
            peer.control.len() > CONTROL_HIGH_WATER || peer.control_bytes > CONTROL_BYTES_HIGH_WATER
        })
    }

    /// True when nothing waits for any peer.
    pub(in crate::shard) fn is_drained(&self) -> bool {
        self.peers
            .iter()
            .all(|peer| peer.control.is_empty() && peer.data.is_empty())
    }

    /// Bytes of filters that wait for the peer furthest behind.
    #[cfg(any(test, feature = "testing"))]
    pub(in crate::shard) fn most_control_bytes(&self) -> usize {
        let bytes = self.peers.iter().map(|peer| peer.control_bytes);
        bytes.max().unwrap_or(0)
    }

    /// Bytes of publications and number of control messages that wait for the peer furthest behind.
    #[cfg(any(test, feature = "testing"))]
    pub(in crate::shard) fn most_waiting(&self) -> (usize, usize) {
        let data = self.peers.iter().map(|peer| peer.data_bytes).max();
        let control = self.peers.iter().map(|peer| peer.control.len()).max();
        (data.unwrap_or(0), control.unwrap_or(0))
    }

    /// Bytes of publications that wait for all peers.
    pub(in crate::shard) fn data_bytes(&self) -> usize {
        self.peers.iter().map(|peer| peer.data_bytes).sum()
    }

    /// A new barrier, sent to all.
    pub(in crate::shard) fn raise_barrier(&mut self) -> u64 {
        self.barrier += 1;
        let number = self.barrier;
        self.broadcast(|| Control::Barrier { number });
        number
    }

    /// Number of the last barrier raised.
    pub(in crate::shard) fn last_barrier(&self) -> u64 {
        self.barrier
    }

    pub(in crate::shard) fn barrier_applied(&mut self, by: ShardId, number: u64) {
        self.peers[by.index()].barrier_applied = number;
    }

    /// Every barrier up to this one is applied everywhere.
    pub(in crate::shard) fn barrier_reached(&self) -> u64 {
        self.others()
            .map(|shard| self.peers[shard.index()].barrier_applied)
            .min()
            .unwrap_or(self.barrier)
    }

    /// Publications sent to each shard so far.
    pub(in crate::shard) fn data_sent(&self) -> Box<[u64]> {
        self.peers.iter().map(|peer| peer.data_sent).collect()
    }

    /// Publications of a peer are being applied from here on, or, with `None`, no more.
    pub(in crate::shard) fn applying(&mut self, from: Option<ShardId>) {
        self.applying = from;
        self.applying_held = None;
    }

    /// The publication at hand is held by the shard it comes from.
    pub(in crate::shard) fn applying_held(&mut self, number: HeldNumber) {
        self.applying_held = Some(number);
    }

    /// One more publication of this peer is applied.
    pub(in crate::shard) fn applied_one(&mut self, from: ShardId) {
        self.peers[from.index()].data_applied += 1;
        self.applying_held = None;
    }

    /// Where the publication at hand comes from.
    pub(in crate::shard) fn origin(&self) -> PublicationSource {
        match (self.applying, self.applying_held) {
            (None, _) => PublicationSource::Local,
            (Some(shard), Some(number)) => PublicationSource::Held { shard, number },
            (Some(shard), None) => PublicationSource::Peer {
                shard,
                nth: self.peers[shard.index()].data_applied + 1,
            },
        }
    }

    /// True when at least `needed[p]` publications of each shard `p` are applied here.
    pub(in crate::shard) fn has_applied(&self, needed: &[u64]) -> bool {
        let mut all = self.peers.iter().zip(needed).enumerate();
        is_on(Mutant::WalkTooEarly)
            || all.all(|(at, (peer, needed))| {
                at == self.local.index() || peer.data_applied >= *needed
            })
    }
}
