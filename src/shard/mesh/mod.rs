//! The mesh: what crosses between shards, and the barriers that order it.

mod apply;
pub(in crate::shard) mod barrier;
pub(in crate::shard) mod block;
pub(in crate::shard) mod block_op;
mod clustered;
mod lanes;
pub(in crate::shard) mod peers;
pub(in crate::shard) mod placement;
pub(in crate::shard) mod publications;
pub(in crate::shard) mod publish_run;

use std::sync::Arc;

use crate::cluster::lanes::{LaneTable, Peer};
use crate::ids::{ConnectionId, ShardId};
use crate::shard::clients::connection::Connection;
use crate::shard::durable::commits::Commits;
use crate::shard::gate::Gate;
use crate::time::Time;
use barrier::Barriers;
use peers::Peers;

/// Outboxes towards the other shards, and the replies that wait for them. Lives on: the shard.
pub(in crate::shard) struct Mesh {
    pub(in crate::shard) peers: Peers,
    pub(in crate::shard) barriers: Barriers,
    /// When an outbox was last full, so that publishers were not read.
    pub(in crate::shard) peers_full_at: Option<Time>,
    /// Replies held until a barrier is reached.
    pub(in crate::shard) gate: Gate,
    /// In a cluster: what waits for other nodes.
    pub(in crate::shard) cluster: Option<Box<Clustered>>,
}

/// What a shard has of the cluster. Lives on: the shard.
#[derive(Debug)]
pub(in crate::shard) struct Clustered {
    /// The peer that stands for other nodes.
    pub(in crate::shard) exchange: ShardId,
    /// This node may acknowledge until then what other nodes must not miss.
    pub(in crate::shard) lease_until: Time,
    /// Answers that wait for other nodes, where no journal has answers wait.
    pub(in crate::shard) acks: Commits,
    /// Which node serves whom; `None`: not known yet.
    pub(in crate::shard) lanes: Option<Arc<LaneTable>>,
    /// CONNECTs that wait for an owner of their client id.
    pub(in crate::shard) waiting: Vec<ConnectionId>,
    /// The owner of the connection whose CONNECT is being handled.
    pub(in crate::shard) relays_to: Option<Arc<Peer>>,
}

impl Mesh {
    pub(in crate::shard) fn new(id: ShardId, shards: u16) -> Self {
        Self {
            peers: Peers::new(id, shards),
            barriers: Barriers::default(),
            peers_full_at: None,
            gate: Gate::default(),
            cluster: None,
        }
    }

    /// A peer is the exchange: what is beyond it is confirmed by other nodes.
    #[inline]
    pub(in crate::shard) fn is_exchange(&self, peer: ShardId) -> bool {
        self.cluster
            .as_deref()
            .is_some_and(|it| it.exchange == peer)
    }

    /// True while this connection must wait for peers to take what it has published.
    pub(in crate::shard) fn holds_back(&self, connection: &Connection) -> bool {
        (connection.publishes && self.peers.data_is_full()) || self.peers.control_is_full()
    }
}
