//! Blocks: publications and control messages from one shard to another.

use std::sync::Arc;

use crate::cluster::lanes::{Group, LaneTable};
use crate::ids::MemberId;
use crate::routing::Interest;
use crate::shard::durable::ticket::{HeldNumber, Ticket};
use crate::shard::mesh::publications::Publications;
use crate::sparkplug::Sighting;
use crate::time::Time;

/// Two queues per ordered pair of shards: a flood of publications must not delay a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    Control,
    Data,
}

/// Many messages at once, opaque to the driver. Never dropped between shards: what does not fit into
/// a ring stays with its sender.
#[derive(Debug)]
pub struct Block(pub(in crate::shard) Content);

#[derive(Debug)]
pub(in crate::shard) enum Content {
    Control(Vec<Control>),
    Data(Publications),
}

/// Changes of the replicated index, and the walk over retained messages. Sent by the home shard of a
/// session to all others unless noted otherwise; applied in order.
#[derive(Debug)]
pub(in crate::shard) enum Control {
    /// What the sender's ordinary subscriptions want of a filter has changed.
    FilterInterest {
        filter: Box<str>,
        interest: Interest,
    },
    /// A session of the sender joined a shared group, or is a member in another way.
    MemberJoined {
        share: Box<str>,
        filter: Box<str>,
        member: MemberId,
        connected: bool,
        durable: bool,
    },
    MemberLeft {
        share: Box<str>,
        filter: Box<str>,
        member: MemberId,
    },
    /// A session of the sender that is in shared groups connected or disconnected.
    MemberConnected {
        member: MemberId,
        connected: bool,
    },
    /// Asks for [`Control::BarrierApplied`] once everything before it is applied.
    Barrier {
        number: u64,
    },
    /// Answer to the sender of the barrier: what this shard had for each other by then (see
    /// [`Shard::data_sent`](crate::shard::Shard::data_sent)).
    BarrierApplied {
        number: u64,
        data_sent: Box<[u64]>,
    },
    /// Asks a topic's home for retained messages; answered by [`Control::RetainedPiece`]. Answered
    /// only when `data_needed` has been applied.
    RetainedWalk(Box<RetainedWalk>),
    RetainedPiece(Box<RetainedPiece>),
    /// So many publications that a turn of the receiver waits for are in the sender's log, on its disk.
    Committed {
        ticket: Ticket,
        count: u32,
    },
    /// What the receiver held for the sender, up to this number, is in the sender's log, on its disk.
    HeldCommitted {
        through: HeldNumber,
    },
    /// All shards know the subscriptions that the sender has read back.
    Announced,
    /// What a message of an edge node, device or host says, for the home of its state.
    Sighting(Box<Sighting>),
    /// Too much waits for the sender's disk, or no longer.
    LogPressure {
        is_high: bool,
    },
    /// The sender's log has no further file, or has one again.
    DiskFull {
        is_full: bool,
    },
    /// The queue of a session of the sender is full, and its policy is to have publishers wait; by these filters
    /// messages come to it.
    QueueFull {
        client_id: Box<str>,
        filters: Box<[Box<str>]>,
    },
    /// It has room again.
    QueueRoom {
        client_id: Box<str>,
    },
    /// Of the exchange: until then this node may acknowledge what other nodes must not miss.
    Lease {
        until: Time,
    },
    /// Of the exchange: which node serves whom.
    Lanes(Arc<LaneTable>),
    /// Of the exchange: another node has acknowledged publications that did not come here.
    Missed,
    /// To the exchange: the sender has no session of a group of lanes, or has some, and holds new CONNECTs.
    GroupUse {
        group: Group,
        epoch: u64,
        is_free: bool,
    },
}

impl Control {
    /// Bytes of the filters and names it carries.
    pub(in crate::shard) fn bytes(&self) -> usize {
        match self {
            Self::FilterInterest { filter, .. } => filter.len(),
            Self::MemberJoined { share, filter, .. } | Self::MemberLeft { share, filter, .. } => {
                share.len() + filter.len()
            }
            Self::RetainedWalk(walk) => {
                walk.filter.len() + walk.after.as_ref().map_or(0, |topic| topic.len())
            }
            Self::Sighting(sighting) => sighting.bytes(),
            Self::QueueFull { client_id, filters } => {
                client_id.len() + filters.iter().map(|filter| filter.len()).sum::<usize>()
            }
            Self::QueueRoom { client_id } => client_id.len(),
            // Bounded by number: members, barriers, requests, and publications sent.
            Self::MemberConnected { .. }
            | Self::Barrier { .. }
            | Self::BarrierApplied { .. }
            | Self::RetainedPiece(_)
            | Self::Committed { .. }
            | Self::HeldCommitted { .. }
            | Self::Announced
            | Self::LogPressure { .. }
            | Self::DiskFull { .. }
            | Self::Lease { .. }
            | Self::Lanes(_)
            | Self::Missed
            | Self::GroupUse { .. } => 0,
        }
    }
}

/// A piece of a walk over the retained messages of one shard.
#[derive(Debug)]
pub(in crate::shard) struct RetainedWalk {
    pub(in crate::shard) request: u64,
    pub(in crate::shard) filter: Box<str>,
    pub(in crate::shard) after: Option<Box<str>>,
    pub(in crate::shard) data_needed: Box<[u64]>,
}

#[derive(Debug)]
pub(in crate::shard) struct RetainedPiece {
    pub(in crate::shard) request: u64,
    pub(in crate::shard) messages: Publications,
    /// Where the next piece starts; `None`: the walk over this shard is complete.
    pub(in crate::shard) next: Option<Box<str>>,
}
