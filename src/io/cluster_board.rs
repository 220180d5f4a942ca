//! The state of a cluster for operators, as this node sees it, and their orders.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc::UnboundedSender;

use crate::cluster::NodeName;
use crate::metrics::ClusterReport;
use crate::shard::ExchangeStats;
use crate::time::{Span, Time};

/// A node that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    pub name: String,
    pub is_self: bool,
    /// It is to own nothing.
    pub is_drained: bool,
    /// Where other nodes pass on clients.
    pub relay: Option<String>,
    /// Where clients of MQTT 5.0 are sent to.
    pub clients: Option<String>,
    /// Groups of lanes that it owns.
    pub groups: usize,
    /// What waits for it here.
    pub waiting_bytes: u64,
}

/// The cluster, as a node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterState {
    pub node: String,
    /// It has the filters and retained messages of the others.
    pub has_joined: bool,
    /// It may acknowledge for so long from when this was asked.
    pub lease_left: Span,
    /// The NATS server that it is connected to.
    pub nats: Option<String>,
    pub nodes: Vec<NodeState>,
    /// Groups of lanes that no node which is alive owns.
    pub groups_without_owner: usize,
    /// Groups of this node for which another one is wanted, that sessions keep here.
    pub groups_kept: usize,
    pub stats: ExchangeStats,
}

impl ClusterState {
    pub(in crate::io) fn report(&self) -> ClusterReport {
        let own = self.nodes.iter().find(|node| node.is_self);
        ClusterReport {
            nodes: self.nodes.len(),
            has_lease: self.lease_left > Span::ZERO,
            groups_owned: own.map_or(0, |node| node.groups),
            groups_without_owner: self.groups_without_owner,
            groups_kept: self.groups_kept,
            waiting_bytes: self.nodes.iter().map(|node| node.waiting_bytes).sum(),
            sent: self.stats.sent,
            received: self.stats.received,
            dropped: self.stats.dropped,
            malformed: self.stats.malformed,
        }
    }
}

/// What an operator wants of nodes.
pub(in crate::io) enum ClusterOrder {
    /// A node is to own nothing, or its part again.
    Drain(NodeName, bool),
}

/// Lives on: what threads share. Written by: the link.
#[derive(Default)]
pub(in crate::io) struct Board {
    state: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    state: Option<ClusterState>,
    lease_until: Time,
    orders: Option<UnboundedSender<ClusterOrder>>,
}

impl Board {
    fn lock(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::io) fn begin(&self, orders: UnboundedSender<ClusterOrder>) {
        self.lock().orders = Some(orders);
    }

    pub(in crate::io) fn show(&self, state: ClusterState, lease_until: Time) {
        let shown = &mut *self.lock();
        shown.state = Some(state);
        shown.lease_until = lease_until;
    }

    /// `None`: the broker is a node of no cluster.
    pub(in crate::io) fn state(&self, now: Time) -> Option<ClusterState> {
        let shown = self.lock();
        let state = shown.state.clone()?;
        let lease_left = match state.has_joined {
            true => shown.lease_until.since(now),
            false => Span::ZERO,
        };
        Some(ClusterState {
            lease_left,
            ..state
        })
    }

    /// The broker is a node that may not acknowledge now.
    pub(in crate::io) fn lacks_lease(&self, now: Time) -> bool {
        let shown = self.lock();
        let has_lease = |state: &ClusterState| state.has_joined && shown.lease_until > now;
        shown.orders.is_some() && !shown.state.as_ref().is_some_and(has_lease)
    }

    /// False: there is no such node.
    pub(in crate::io) fn order(&self, node: &str, drains: bool) -> bool {
        let shown = self.lock();
        let nodes = shown.state.iter().flat_map(|state| &state.nodes);
        let is_there = nodes.clone().any(|other| other.name == node);
        let name = NodeName::new(node).filter(|_| is_there);
        let (Some(name), Some(orders)) = (name, &shown.orders) else {
            return false;
        };
        orders.send(ClusterOrder::Drain(name, drains)).is_ok()
    }
}
