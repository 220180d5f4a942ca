//! The link's part in who owns what: keys of lanes in and out, and where other nodes pass on their clients.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::adopter::Adoption;
use super::engine::Engine;
use super::lane_keys::{self, LaneEvent};
use super::relays;
use crate::cluster::lanes::{Details, LaneTable, Lanes, Peer, Place};
use crate::cluster::membership::Change;
use crate::cluster::relay_header::RelaySecret;
use crate::cluster::{Node, NodeName};
use crate::io::cluster_board::{ClusterOrder, ClusterState, NodeState};
use crate::io::shared::SharedState;
use crate::run_options::ClusterOptions;
use crate::shard::Exchange;
use crate::time::{Span, Time};

/// Events that wait, at most: all keys come at once at the start.
const EVENTS_MAX: usize = 256;
/// What operators see is as old at most.
const SHOWN_EVERY: Span = Span::from_millis(200);
/// Before what this node says of itself is put again, when that has failed.
const SAID_AGAIN: Span = Span::from_secs(1);

/// Where other nodes pass on their clients, open.
pub(super) fn listen(options: &ClusterOptions, engine: &Engine) -> Result<TcpListener, String> {
    let own = engine.own_address();
    let wanted = match &options.listen {
        Some(text) => text.parse().ok(),
        None => own.map(|ip| SocketAddr::new(ip, 0)),
    };
    let wanted =
        wanted.ok_or("set cluster-listen: NATS does not say what this machine's address is")?;
    TcpListener::bind(wanted).map_err(|error| match options.listen {
        Some(_) => format!("cluster-listen {wanted}: {error}"),
        None => format!(
            "set cluster-listen: {wanted}, as NATS sees this machine, is not its own: {error}"
        ),
    })
}

/// See the module. Lives on: the link.
pub(super) struct Ownership {
    lanes: Lanes,
    store: async_nats::jetstream::kv::Store,
    events: mpsc::Receiver<LaneEvent>,
    sender: mpsc::Sender<LaneEvent>,
    own: Node,
    details: Details,
    /// What this node says of itself is known, or on its way since then.
    said_at: Option<Time>,
    redirects: bool,
    orders: mpsc::UnboundedReceiver<ClusterOrder>,
    adoptions: mpsc::UnboundedReceiver<Adoption>,
    shown_at: Time,
}

impl Ownership {
    /// Call on the link's runtime.
    pub(super) fn new(
        engine: &Engine,
        own: &Node,
        options: &ClusterOptions,
        listener: &TcpListener,
        (shared, adoptions, anew): (
            &SharedState,
            mpsc::UnboundedReceiver<Adoption>,
            watch::Receiver<u64>,
        ),
    ) -> std::io::Result<Self> {
        let (order, orders) = mpsc::unbounded_channel();
        shared.cluster().begin(order);
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(lane_keys::watch(engine.lanes.clone(), sender.clone(), anew));
        let address = match &options.address {
            Some(address) => address.clone(),
            None => {
                let bound = listener.local_addr()?;
                let ip = engine.own_address().filter(|_| bound.ip().is_unspecified());
                SocketAddr::new(ip.unwrap_or(bound.ip()), bound.port()).to_string()
            }
        };
        Ok(Self {
            lanes: Lanes::new(own.clone(), engine.secret.lanes),
            store: engine.lanes.clone(),
            events,
            sender,
            own: own.clone(),
            details: Details {
                incarnation: own.incarnation,
                is_drained: false,
                is_adopted: engine.copies.is_some(),
                relay: address.as_str().into(),
                clients: options.client_address.as_deref().map(Into::into),
            },
            said_at: None,
            redirects: options.redirects,
            orders,
            adoptions,
            shown_at: Time::ZERO,
        })
    }

    pub(super) fn start_relays(
        listener: TcpListener,
        own: &Node,
        secret: Arc<RelaySecret>,
        shared: Arc<SharedState>,
    ) -> std::io::Result<()> {
        relays::start(relays::Begin {
            own: own.name.clone(),
            listener,
            secret,
            shared,
        })
    }

    pub(super) fn apply(&mut self, change: &Change, shared: &SharedState, now: Time) {
        match change {
            Change::Joined(node) => self.lanes.joined(node),
            Change::Left(node) => {
                self.lanes.left(node, now);
                shared.end_relays_to(node);
            }
        }
    }

    /// Takes what has come; true when there was something.
    pub(super) fn take_events(&mut self, now: Time) -> bool {
        let mut has_taken = false;
        while let Ok(event) = self.events.try_recv() {
            self.take_event(event, now);
            has_taken = true;
        }
        has_taken
    }

    /// Waits for the next one.
    pub(super) async fn next_event(&mut self) -> Option<LaneEvent> {
        self.events.recv().await
    }

    pub(super) fn take_event(&mut self, event: LaneEvent, now: Time) {
        match event {
            LaneEvent::Owner {
                group,
                revision,
                owner,
            } => self.lanes.seen(group, revision, owner, now),
            LaneEvent::Node { name, details } => {
                let own = details.as_ref().filter(|_| name == self.own.name);
                if let Some(own) = own.filter(|own| own.incarnation == self.own.incarnation) {
                    self.details.is_drained = own.is_drained; // the order may have come to another node
                }
                self.lanes.described(&name, details);
            }
            LaneEvent::ClaimFailed(group) => self.lanes.claim_failed(group),
            LaneEvent::DetailsFailed => self.said_at = Some(now),
        }
    }

    /// Puts what is due, and sends the shards what has changed.
    pub(super) fn end_turn(&mut self, exchange: &mut Exchange, lease_until: Time, now: Time) {
        self.lanes.leased(lease_until, now);
        for (group, epoch, is_free) in exchange.take_answers() {
            self.lanes.answered(group, epoch, is_free, now);
        }
        while let Ok(adoption) = self.adoptions.try_recv() {
            match adoption {
                Adoption::Begins(node) => self.lanes.adopts(&node),
                Adoption::Ended(node) => self.lanes.adopted(&node),
            }
        }
        self.take_orders();
        self.say_of_itself(exchange.has_joined(), now);
        for claim in self.lanes.claims(now) {
            let (store, sender) = (self.store.clone(), self.sender.clone());
            tokio::spawn(lane_keys::claim(store, claim, sender));
        }
        if let Some(table) = self.lanes.poll_table() {
            exchange.handle_lanes(self.as_redirected(table));
        }
    }

    /// Once it has joined, it may own something.
    fn say_of_itself(&mut self, has_joined: bool, now: Time) {
        let is_known = self.lanes.details(&self.own.name) == Some(&self.details);
        let is_new = |at: Time| now.since(at) < SAID_AGAIN;
        if !has_joined || is_known || self.said_at.is_some_and(is_new) {
            return;
        }
        self.said_at = Some(now);
        self.describe(self.own.name.clone(), self.details.clone());
    }

    fn describe(&self, name: NodeName, details: Details) {
        let (store, sender) = (self.store.clone(), self.sender.clone());
        tokio::spawn(lane_keys::describe(store, name, details, sender));
    }

    /// Other nodes see the order in the key of the drained one.
    fn take_orders(&mut self) {
        while let Ok(ClusterOrder::Drain(name, is_drained)) = self.orders.try_recv() {
            if let Some(details) = self.lanes.details(&name) {
                let details = Details {
                    is_drained,
                    ..details.clone()
                };
                let word = if is_drained { "drained" } else { "undrained" };
                tracing::info!("cluster: node {} is {word} by order", name.as_str());
                self.describe(name, details);
            }
        }
    }

    /// For operators.
    pub(super) fn show(
        &mut self,
        (engine, exchange): (&Engine, &Exchange),
        shared: &SharedState,
        lease_until: Time,
        now: Time,
    ) {
        if now.since(self.shown_at) < SHOWN_EVERY {
            return;
        }
        self.shown_at = now;
        let others = exchange.nodes();
        let nodes = [&self.own].into_iter().chain(others).map(|node| {
            let details = self.lanes.details(&node.name);
            NodeState {
                name: node.name.as_str().into(),
                is_self: *node == self.own,
                is_drained: details.is_some_and(|it| it.is_drained),
                relay: details.map(|it| it.relay.to_string()),
                clients: details.and_then(|it| Some(it.clients.as_deref()?.to_owned())),
                groups: self.lanes.owned_by(node),
                waiting_bytes: exchange.waiting_for(node) as u64,
            }
        });
        let mut nodes: Vec<NodeState> = nodes.collect();
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        let state = ClusterState {
            node: self.own.name.as_str().into(),
            has_joined: exchange.has_joined(),
            lease_left: Span::ZERO,
            nats: engine.connected_to(),
            nodes,
            groups_without_owner: self.lanes.without_owner(),
            groups_kept: self.lanes.kept(),
            stats: *exchange.stats(),
        };
        shared.cluster().show(state, lease_until);
    }

    /// Without the option no client is sent elsewhere.
    fn as_redirected(&self, mut table: LaneTable) -> LaneTable {
        let hide = |place: &mut Place| {
            if let Place::There(peer) = place {
                *peer = Arc::new(Peer {
                    clients: None,
                    ..Peer::clone(peer)
                });
            }
        };
        if !self.redirects {
            table.places.iter_mut().for_each(hide);
        }
        table
    }
}
