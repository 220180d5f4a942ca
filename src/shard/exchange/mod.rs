//! The exchange: a peer of all shards that stands for the other nodes of a cluster.
//!
//! To a shard it is one more shard: it is sent filters and members of groups, gets blocks of publications, and
//! answers barriers; and what it sends are filters, members and publications as from any peer. So a shard has no
//! door for other nodes, and what makes its promises hold over shards makes them hold over nodes:
//!
//! - a filter that another node wants is one that the exchange wants, durably, so that a publication at QoS 1 or 2 is
//!   acknowledged when the exchange has confirmed it, and it does that when each node has;
//! - a barrier is applied when all nodes that may acknowledge have applied one of their own for it, so SUBACK is
//!   visible on all of them;
//! - a node that may acknowledge nothing has no *lease*, and its shards take no publication above QoS 0.
//!
//! It is a value as a shard is: no sockets, no clock. `io` carries its frames to other nodes and blocks to the shards.

mod barriers;
mod confirmed;
mod incoming;
#[cfg(test)]
mod lane_tests;
mod members;
mod offers;
mod outgoing;
mod records;
mod remote;
mod retained;
mod snapshots;
#[cfg(test)]
mod tests;
mod waits;
mod wants;

use std::collections::VecDeque;
use std::sync::Arc;

pub use remote::FRAME_MAX;

use crate::cluster::frame::Header;
use crate::cluster::lanes::{Group, LaneTable};
use crate::cluster::membership::GRACE;
use crate::cluster::{Node, NodeName, NODES_MAX};
use crate::ids::ShardId;
use crate::routing::{Destination, TopicIndex};
use crate::shard::mesh::block::{Block, Content, Control, Lane};
use crate::shard::mesh::peers::Peers;
use crate::shard::mesh::placement::Placement;
use crate::shard::ShardConfig;
use crate::time::{Clocks, Time};
use barriers::Barriers;
use members::Members;
use offers::Offers;
use remote::{Past, Remote, HIGH_WATER, STUCK};
use retained::LiveTopics;
use waits::{Owed, Waits};
use wants::Wants;

/// Streams of nodes that were taken for dead, of which the end is kept.
const PAST_MAX: usize = 64;

/// What the exchange has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExchangeStats {
    /// Publications given to another node, each once for each.
    pub sent: u64,
    /// Publications that came from other nodes.
    pub received: u64,
    /// QoS 0 publications that were not given to a node that takes too little.
    pub dropped: u64,
    /// Times that another node had taken this one for dead, and acknowledged without it.
    pub missed: u64,
    /// Blocks and frames that were none.
    pub malformed: u64,
}

/// See the module. Lives on: the cluster's thread. Written by: its own methods only.
pub struct Exchange {
    /// As a peer of the shards: one more than there are.
    id: ShardId,
    own: Node,
    /// The shards here.
    peers: Peers,
    remotes: Vec<Option<Remote>>,
    past: VecDeque<Past>,
    wants: Wants,
    index: TopicIndex,
    members: Members,
    placement: Placement,
    clocks: Clocks,
    waits: Waits,
    owed: Owed,
    barriers: Barriers,
    live_topics: LiveTopics,
    offers: Offers,
    /// Shards commit what they are given, and say so.
    awaits_commits: bool,
    lease_until: Time,
    /// It has the interest of all nodes that are there, and what they retain.
    has_joined: bool,
    /// Retained messages have come, or there was no node to ask.
    has_retained: bool,
    /// Snapshots of other nodes asked for so far, and pieces of what shards here retain.
    asked: u64,
    requests: u64,
    stats: ExchangeStats,
}

impl Exchange {
    /// The peer of shards made with this configuration. `awaits_commits`: they have journals, and wait for them.
    #[must_use]
    pub fn new(own: Node, config: &ShardConfig, awaits_commits: bool) -> Self {
        let id = ShardId(config.shards);
        let hash_seed = config.hash_seed ^ 0xC1u64;
        let mut peers = Peers::new(id, config.shards + 1);
        // It has restored nothing that others would have to wait for.
        peers.broadcast(|| Control::Announced);
        Self {
            id,
            own,
            peers,
            remotes: (0..NODES_MAX).map(|_| None).collect(),
            past: VecDeque::new(),
            wants: Wants::new(config.shards),
            index: TopicIndex::new(id, hash_seed),
            members: Members::default(),
            placement: Placement::new(config.placement_seed, config.shards, config.hash_seed),
            clocks: Clocks::default(),
            waits: Waits::default(),
            owed: Owed::default(),
            barriers: Barriers::default(),
            live_topics: LiveTopics::new(hash_seed),
            offers: Offers::default(),
            awaits_commits,
            lease_until: Time::ZERO,
            has_joined: false,
            has_retained: false,
            asked: 0,
            requests: 0,
            stats: ExchangeStats::default(),
        }
    }

    /// Its number as a peer.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.id
    }

    #[must_use]
    pub fn stats(&self) -> &ExchangeStats {
        &self.stats
    }

    #[must_use]
    pub fn has_joined(&self) -> bool {
        self.has_joined
    }

    /// Other nodes that are there.
    #[must_use]
    pub fn nodes(&self) -> Vec<&Node> {
        let nodes = self.remotes.iter().flatten();
        nodes.map(|remote| &remote.node).collect()
    }

    /// Bytes that wait for a node.
    #[must_use]
    pub fn waiting_for(&self, node: &Node) -> usize {
        let mut remotes = self.remotes.iter().flatten();
        let remote = remotes.find(|remote| remote.node == *node);
        remote.map_or(0, Remote::bytes)
    }

    pub fn handle_clocks(&mut self, clocks: Clocks) {
        self.clocks = clocks;
    }

    /// A block of a shard. Blocks of one shard and lane arrive in order.
    pub fn handle_block(&mut self, from: ShardId, _lane: Lane, block: Block, now: Time) {
        match block.0 {
            Content::Data(publications) => self.publications_of_shard(from, &publications, now),
            Content::Control(controls) => {
                for control in controls {
                    self.control_of_shard(from, control);
                }
            }
        }
    }

    /// False while so much waits for a node that blocks of publications should wait in their rings.
    #[must_use]
    pub fn wants_blocks(&self) -> bool {
        let mut remotes = self.remotes.iter().flatten();
        remotes.all(|remote| remote.bytes() < HIGH_WATER)
    }

    /// False while a node is stuck, and even filters and barriers should wait in their rings.
    #[must_use]
    pub fn wants_controls(&self) -> bool {
        let mut remotes = self.remotes.iter().flatten();
        remotes.all(|remote| remote.bytes() < STUCK)
    }

    /// Next block for a shard. Call only while its ring has room.
    pub fn poll_block(&mut self, to: ShardId, lane: Lane) -> Option<Block> {
        self.peers.poll(to, lane)
    }

    /// False while so much waits for a shard that frames should wait where they are.
    #[must_use]
    pub fn wants_frames(&self) -> bool {
        !self.peers.data_is_full() && !self.peers.control_is_full()
    }

    /// A frame of another node, or of any client of NATS that may publish there.
    pub fn handle_frame(&mut self, bytes: &[u8], now: Time) {
        let Ok((header, part)) = Header::decode(bytes) else {
            self.stats.malformed += 1;
            return;
        };
        if header.to != self.own.incarnation {
            return; // for an earlier life of this node
        }
        let Some(slot) = self.slot_of(&header.from) else {
            return; // it is not known to be alive; it sends again what is not acknowledged
        };
        let Some(remote) = &mut self.remotes[slot] else {
            return; // `slot_of` names none of these
        };
        let confirmed = remote.acknowledged(&header, now);
        if remote.begins_anew(&header) {
            self.stats.missed += 1;
            self.peers.broadcast(|| Control::Missed);
        }
        let Some(remote) = &mut self.remotes[slot] else {
            return;
        };
        let block = match header.number {
            0 => None,
            _ => remote.take(&header, part),
        };
        for wait in confirmed {
            self.confirm(wait);
        }
        if let Some(block) = block {
            let ticket = self.block_of_node(slot, &block, now);
            if let Some(remote) = &mut self.remotes[slot] {
                remote.applied(header.number, ticket);
            }
        }
    }

    fn slot_of(&self, node: &Node) -> Option<usize> {
        let is_it = |remote: &Option<Remote>| remote.as_ref().is_some_and(|one| one.node == *node);
        self.remotes.iter().position(is_it)
    }

    /// Its place in sets of destinations, and as one that is interested.
    fn destination(&self, slot: usize) -> Destination {
        ShardId(self.id.0 + 1 + slot as u16).into()
    }

    /// A node is there from now on. False: there are too many.
    pub fn handle_joined(&mut self, node: Node, now: Time) -> bool {
        let Some(slot) = self.remotes.iter().position(Option::is_none) else {
            return false;
        };
        let of_it = self.past.iter().position(|past| past.node == node);
        let past = of_it.and_then(|at| self.past.remove(at));
        self.remotes[slot] = Some(Remote::new(node, past, now));
        self.ask_snapshot(slot);
        true
    }

    /// A node is dead, or has taken leave: nothing waits for it.
    pub fn handle_left(&mut self, node: &Node) {
        let Some(slot) = self.slot_of(node) else {
            return; // one of too many
        };
        self.forget_interest(slot);
        let Some(remote) = self.remotes[slot].take() else {
            return; // `slot_of` names none of these
        };
        let (waits, past) = remote.end();
        self.past.push_back(past);
        if self.past.len() > PAST_MAX {
            self.past.pop_front();
        }
        for wait in waits {
            self.confirm(wait);
        }
        self.barriers.left(slot);
    }

    /// Until when this node may acknowledge, by its membership.
    pub fn handle_lease(&mut self, until: Time, now: Time) {
        if until <= self.lease_until {
            return;
        }
        // Meanwhile others may have taken this node for dead, and its interest with it.
        if self.has_joined && now.since(self.lease_until) >= GRACE {
            self.has_joined = false;
            self.ask_retained_again();
            for slot in 0..self.remotes.len() {
                self.ask_snapshot(slot);
            }
        }
        self.lease_until = until;
        self.announce_lease();
    }

    /// Other owners of client ids.
    pub fn handle_lanes(&mut self, table: LaneTable) {
        self.offers.ask(table.offers());
        let table = Arc::new(table);
        self.peers.broadcast(|| Control::Lanes(Arc::clone(&table)));
    }

    /// Groups of lanes, with their epochs, of which no shard here has a session, or some has.
    pub fn take_answers(&mut self) -> Vec<(Group, u64, bool)> {
        self.offers.take()
    }

    fn has_lease(&self, now: Time) -> bool {
        self.has_joined && now < self.lease_until
    }

    /// What may be acknowledged until when, for the shards.
    fn announce_lease(&mut self) {
        let until = match self.has_joined {
            true => self.lease_until,
            false => Time::ZERO,
        };
        self.peers.broadcast(|| Control::Lease { until });
    }

    /// Inputs so far are handled: what is batched happens here. `source`: another node that has joined, which may be
    /// asked for retained messages; `is_first`: this node comes before all others by name.
    pub fn end_turn(&mut self, source: Option<&NodeName>, is_first: bool, now: Time) {
        self.advance_snapshots();
        self.advance_retained(source, is_first);
        self.join_when_known();
        self.advance_barriers(now);
        let owed = &mut self.owed;
        for remote in self.remotes.iter_mut().flatten() {
            remote.acknowledge(|ticket| owed.is_settled(ticket));
            remote.close_block();
        }
        owed.trim();
    }

    /// Nothing waits for any node.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let mut remotes = self.remotes.iter().flatten();
        remotes.all(|remote| remote.bytes() == 0)
    }

    /// Next frame, and the node that it is for.
    pub fn poll_frame(&mut self, now: Time) -> Option<(NodeName, Vec<u8>)> {
        let own = &self.own;
        self.remotes.iter_mut().flatten().find_map(|remote| {
            let frame = remote.poll_frame(own, now)?;
            Some((remote.node.name.clone(), frame))
        })
    }

    /// When [`Exchange::poll_frame`] has something again at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.remotes.iter().flatten().filter_map(Remote::due).min()
    }

    /// All that is there to know of the others is known.
    fn join_when_known(&mut self) {
        let mut remotes = self.remotes.iter().flatten();
        let knows_all = remotes.all(|remote| remote.is_known);
        if !self.has_joined && self.has_retained && knows_all && self.lease_until > Time::ZERO {
            self.has_joined = true;
            self.live_topics.end();
            self.announce_lease();
        }
    }
}
