//! A shard in a cluster: the exchange is one more peer, whose confirmations are waited for as those of a log are.

use crate::ids::ConnectionId;
use crate::journal::Lsn;
use crate::mqtt::{topic, Qos};
use crate::shard::delivery::message::Message;
use crate::shard::durable::commits::Commits;
use crate::shard::durable::ticket::Waiter;
use crate::shard::durable::Durability;
use crate::shard::mesh::block_op::BlockOp;
use crate::shard::mesh::Clustered;
use crate::shard::Shard;
use crate::time::Time;

impl Shard {
    /// The peer behind the other shards is the exchange from now on. Before anything is restored, and on all shards.
    pub fn join_exchange(&mut self) {
        let exchange = self.mesh.peers.add();
        self.turn.budget.add_peer();
        self.mesh.cluster = Some(Box::new(Clustered {
            exchange,
            lease_until: Time::ZERO,
            acks: Commits::new(self.id),
            lanes: None,
            waiting: Vec::new(),
            relays_to: None,
        }));
    }

    /// This node may acknowledge until then what other nodes must not miss.
    pub(in crate::shard) fn on_lease(&mut self, until: Time, now: Time) {
        let mut had_lease = false;
        if let Some(cluster) = &mut self.mesh.cluster {
            had_lease = cluster.lease_until > now;
            cluster.lease_until = until;
        }
        if now < until {
            self.read_waiting(now);
        }
        if now < until && !had_lease {
            self.look_at_lanes_again(now);
        }
    }

    /// Other nodes may have taken this one for dead: what it takes now, their subscribers could miss.
    #[inline]
    pub(in crate::shard) fn lacks_lease(&self, now: Time) -> bool {
        let cluster = self.mesh.cluster.as_deref();
        cluster.is_some_and(|cluster| cluster.lease_until <= now)
    }

    /// Answers of this shard wait for a log.
    pub(in crate::shard) fn awaits_log(&self) -> bool {
        let durable = self.durable.as_deref();
        durable.is_some_and(|durable| durable.durability() == Durability::Commit)
    }

    /// What answers wait for: the log and all peers, or, without one, other nodes. `None`: nothing.
    pub(in crate::shard) fn commits(&mut self) -> Option<&mut Commits> {
        match self.awaits_log() {
            true => self
                .durable
                .as_deref_mut()
                .map(|durable| &mut durable.commits),
            false => (self.mesh.cluster.as_deref_mut()).map(|cluster| &mut cluster.acks),
        }
    }

    /// A publication is given to other nodes, which all must confirm it. One that its own log would hold for another shard is not
    /// held for nodes: its answer waits.
    pub(in crate::shard) fn await_nodes(&mut self, message: &mut Message<'_>) -> Waiter {
        match message.waiter {
            Waiter::Peer(_) => std::mem::take(&mut message.waiter),
            _ if message.qos == Qos::AtMostOnce => Waiter::Nobody,
            _ => match self.commits() {
                Some(commits) => Waiter::Peer(commits.expect_one()),
                None => Waiter::Nobody,
            },
        }
    }

    /// A client's publication was accepted: its acknowledgement waits for other nodes, where it does not wait for the log.
    pub(in crate::shard) fn hold_for_nodes(&mut self, id: ConnectionId, message: &Message<'_>) {
        if !message.needs_commit || message.qos == Qos::AtMostOnce || self.awaits_log() {
            return;
        }
        if let Some(cluster) = self.mesh.cluster.as_deref_mut() {
            let connection = self.clients.connection_mut(id);
            cluster.acks.hold(id, &mut connection.outgoing);
        }
    }

    /// Retained messages are kept by all nodes, except those of topics of one node.
    pub(in crate::shard) fn retain_elsewhere(
        &mut self,
        message: &mut Message<'_>,
        is_interested: bool,
    ) {
        let Some(cluster) = self.mesh.cluster.as_deref() else {
            return;
        };
        if is_interested || topic::is_reserved(message.topic) {
            return;
        }
        let exchange = cluster.exchange.into();
        self.publish_to(exchange, message, &BlockOp::Retain, true);
    }

    /// The turn's answers that wait for other nodes only get their ticket; what is confirmed may be sent.
    pub(in crate::shard) fn end_turn_of_acks(&mut self) {
        if self.awaits_log() {
            return;
        }
        if let Some(cluster) = self.mesh.cluster.as_deref_mut() {
            cluster.acks.end_turn(Lsn(0));
            self.open_acks();
        }
    }

    /// What all nodes have confirmed may be sent.
    pub(in crate::shard) fn open_acks(&mut self) {
        while let Some(cluster) = self.mesh.cluster.as_deref_mut() {
            let Some(reached) = cluster.acks.pop_reached(Lsn(0)) else {
                return;
            };
            self.release_answers(reached);
        }
    }
}
