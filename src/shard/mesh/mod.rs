//! The mesh: what crosses between shards, and the barriers that order it.

mod apply;
pub(in crate::shard) mod barrier;
pub(in crate::shard) mod block;
pub(in crate::shard) mod block_op;
pub(in crate::shard) mod peers;
pub(in crate::shard) mod placement;
pub(in crate::shard) mod publications;
pub(in crate::shard) mod publish_run;

use crate::ids::ShardId;
use crate::shard::clients::connection::Connection;
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
}

impl Mesh {
    pub(in crate::shard) fn new(id: ShardId, shards: u16) -> Self {
        Self {
            peers: Peers::new(id, shards),
            barriers: Barriers::default(),
            peers_full_at: None,
            gate: Gate::default(),
        }
    }

    /// True while this connection must wait for peers to take what it has published.
    pub(in crate::shard) fn holds_back(&self, connection: &Connection) -> bool {
        (connection.publishes && self.peers.data_is_full()) || self.peers.control_is_full()
    }
}
