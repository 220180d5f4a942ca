//! One other node, as the exchange sees it: the streams in both directions and how far each side has come.

use std::collections::{BTreeSet, VecDeque};

use super::records::{Record, RemoteMember};
use super::waits::WaitId;
use crate::cluster::frame::{Header, HEADER_MAX};
use crate::cluster::stream::{Arrived, Receiver, Sender};
use crate::cluster::Node;
use crate::shard::durable::ticket::Ticket;
use crate::time::Time;

/// Bytes of records after which a block is closed.
const BLOCK_BYTES: usize = 48 << 10;
/// Of a frame, header included: a quarter of what a server takes by default, and enough to be cheap.
pub const FRAME_MAX: usize = 256 << 10;
/// Of a block that comes in several frames: the largest packet of MQTT, and what is beside it.
const BLOCK_MAX: usize = (256 << 20) + (256 << 10);
/// Bytes that wait for a node above which nothing is taken for it that can wait or be dropped.
pub(super) const HIGH_WATER: usize = 8 << 20;
/// Bytes from which on nothing at all is taken of shards: the node puts its key and acknowledges nothing.
pub(super) const STUCK: usize = 64 << 20;
/// And below which pieces of snapshots are made.
pub(super) const LOW_WATER: usize = 1 << 20;

/// Name of a group's member here: group and who.
pub(super) type MemberKey = (Box<str>, Box<str>, RemoteMember);

/// How far a snapshot on its way to a node has come.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) number: u64,
    pub(super) stage: SnapshotStage,
}

#[derive(Debug)]
pub(super) enum SnapshotStage {
    /// The next filter is behind this one.
    Filters(Option<Box<str>>),
    /// The next member.
    Members(Option<RemoteMember>),
}

/// What a snapshot on its way from a node has not named so far: what is left at its end is removed.
#[derive(Debug, Default)]
pub(super) struct Unnamed {
    pub(super) filters: BTreeSet<Box<str>>,
    pub(super) members: BTreeSet<MemberKey>,
}

/// Retained messages on their way to a node that has just joined: of which shard, and the request that is open.
#[derive(Debug)]
pub(super) struct RetainedWalks {
    pub(super) shard: u16,
    pub(super) after: Option<Box<str>>,
    pub(super) request: Option<u64>,
}

/// What is kept of a stream whose node was taken for dead, in case it was not.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) node: Node,
    receiver: Receiver,
    partial: Vec<u8>,
}

/// Lives on: the exchange. Bounded in bytes: see [`HIGH_WATER`].
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) node: Node,
    sender: Sender,
    receiver: Receiver,
    /// Records that are not in a frame yet, and the publications among them that are waited for.
    block: Vec<u8>,
    block_waits: Vec<WaitId>,
    /// Those of frames that are not acknowledged.
    waits: VecDeque<(u64, Vec<WaitId>)>,
    /// The beginning of a block that comes in several frames.
    partial: Vec<u8>,
    /// Frames that were taken and are not acknowledged, with the ticket of what shards here have to commit.
    taken: VecDeque<(u64, Option<Ticket>)>,
    acknowledged: u64,
    /// To be sent without waiting for a frame.
    owes_acknowledgement: bool,
    gap: Option<u64>,
    pub(super) snapshot: Option<Snapshot>,
    /// The snapshot that was asked for last, and whether it has come.
    pub(super) asked: u64,
    pub(super) is_known: bool,
    pub(super) unnamed: Option<Unnamed>,
    pub(super) retained: Option<RetainedWalks>,
    /// For what is retained there.
    pub(super) was_asked_retained: bool,
}

impl Remote {
    pub(super) fn new(node: Node, past: Option<Past>, now: Time) -> Self {
        let (receiver, partial) =
            past.map_or_else(Default::default, |past| (past.receiver, past.partial));
        Self {
            node,
            sender: Sender::new(now),
            acknowledged: receiver.last(),
            receiver,
            block: Vec::new(),
            block_waits: Vec::new(),
            waits: VecDeque::new(),
            partial,
            taken: VecDeque::new(),
            owes_acknowledgement: false,
            gap: None,
            snapshot: None,
            asked: 0,
            is_known: false,
            unnamed: None,
            retained: None,
            was_asked_retained: false,
        }
    }

    /// The node is dead: what will not be confirmed any more, and what is kept of it.
    pub(super) fn end(self) -> (Vec<WaitId>, Past) {
        let of_frames = self.waits.into_iter().flat_map(|(_, waits)| waits);
        let waits = of_frames.chain(self.block_waits).collect();
        let past = Past {
            node: self.node,
            receiver: self.receiver,
            partial: self.partial,
        };
        (waits, past)
    }

    /// Bytes that wait for the node.
    pub(super) fn bytes(&self) -> usize {
        self.block.len() + self.sender.bytes()
    }

    pub(super) fn put(&mut self, record: &Record<'_>) {
        record.put(&mut self.block);
        self.close_full_block();
    }

    /// A publication in its serial form.
    pub(super) fn put_publication(&mut self, bytes: &[u8], wait: Option<WaitId>) {
        self.block.extend_from_slice(bytes);
        self.block_waits.extend(wait);
        self.close_full_block();
    }

    fn close_full_block(&mut self) {
        if self.block.len() >= BLOCK_BYTES {
            self.close_block();
        }
    }

    /// Makes frames of the records so far.
    pub(super) fn close_block(&mut self) {
        if self.block.is_empty() {
            return;
        }
        let number = self.sender.push(&self.block, FRAME_MAX - HEADER_MAX);
        self.block.clear();
        self.block.shrink_to(BLOCK_BYTES + (BLOCK_BYTES >> 1));
        if !self.block_waits.is_empty() {
            let waits = std::mem::take(&mut self.block_waits);
            self.waits.push_back((number, waits));
        }
    }

    /// The next frame for the node, or an acknowledgement by itself.
    pub(super) fn poll_frame(&mut self, own: &Node, now: Time) -> Option<Vec<u8>> {
        let mut header = Header {
            from: own.clone(),
            to: self.node.incarnation,
            number: 0,
            is_first: false,
            has_more: false,
            acknowledged: self.acknowledged,
            gap_before: self.gap,
        };
        let frame = match self.sender.poll(now) {
            Some(next) => {
                header.number = next.number;
                header.is_first = next.is_first;
                header.has_more = next.has_more;
                header.encode(next.part)
            }
            None if self.owes_acknowledgement || self.gap.is_some() => header.encode(b""),
            None => return None,
        };
        self.owes_acknowledgement = false;
        self.gap = None;
        Some(frame)
    }

    pub(super) fn due(&self) -> Option<Time> {
        self.sender.due()
    }

    /// What a header says of our own frames: publications that the node has confirmed.
    pub(super) fn acknowledged(&mut self, header: &Header, now: Time) -> Vec<WaitId> {
        self.sender.acknowledged(header.acknowledged, now);
        if let Some(before) = header.gap_before {
            self.sender.gap(before, now);
        }
        let mut confirmed = Vec::new();
        while let Some((number, _)) = self.waits.front() {
            if *number > header.acknowledged {
                break;
            }
            confirmed.extend(
                self.waits
                    .pop_front()
                    .into_iter()
                    .flat_map(|(_, waits)| waits),
            );
        }
        confirmed
    }

    /// It had taken this node for dead, by this frame.
    pub(super) fn begins_anew(&self, header: &Header) -> bool {
        self.receiver.begins_anew(header.number, header.is_first)
    }

    /// Takes a frame's part of a block; the block, when that is its last part. `None`: nothing is to be applied.
    pub(super) fn take(&mut self, header: &Header, part: &[u8]) -> Option<Vec<u8>> {
        match self.receiver.arrived(header.number, header.is_first) {
            Arrived::Again => {
                self.owes_acknowledgement = true;
                return None;
            }
            Arrived::TooEarly => {
                self.gap = Some(self.receiver.last());
                return None;
            }
            Arrived::Next => {}
        }
        if header.is_first {
            self.partial.clear();
        }
        if self.partial.len() + part.len() > BLOCK_MAX {
            self.partial.clear(); // no block of ours is so long: what is left of it is not a block either
        }
        self.partial.extend_from_slice(part);
        if header.has_more {
            self.taken.push_back((header.number, None));
            return None;
        }
        Some(std::mem::take(&mut self.partial))
    }

    /// The block that a frame has completed is applied; `ticket` is what shards here commit.
    pub(super) fn applied(&mut self, number: u64, ticket: Option<Ticket>) {
        self.taken.push_back((number, ticket));
    }

    /// Acknowledges frames in order, as far as they are settled.
    pub(super) fn acknowledge(&mut self, mut is_settled: impl FnMut(Ticket) -> bool) {
        while let Some((number, ticket)) = self.taken.front() {
            if !ticket.is_none_or(&mut is_settled) {
                return;
            }
            self.acknowledged = *number;
            self.owes_acknowledgement = true;
            self.taken.pop_front();
        }
    }
}
