//! The loop of the link: whatever has come is handled, what there is to send is sent, and then it sleeps until a
//! shard, a frame, a key or a deadline wakes it.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use futures_util::{FutureExt, StreamExt};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::adopter::Adopter;
use super::engine::Engine;
use super::keys::{self, KeyEvent};
use super::ownership::Ownership;
use super::state_stream::StateStream;
use super::Begin;
use crate::cluster::membership::{Change, Membership};
use crate::cluster::{Node, NODES_MAX};
use crate::io::clock::Clock;
use crate::io::mesh::{Arrival, Mesh};
use crate::shard::{Block, Exchange};
use crate::time::{Span, Time};

/// Items of one shard and lane, and frames, taken before anything else is looked at.
const TAKEN_MAX: usize = 64;
/// Frames that wait for the client, at most.
const SENDING_MAX: usize = 64;
/// Key events that wait, at most: a node puts one a second.
const KEYS_MAX: usize = 256;
/// Deaths and leases are looked at so often at least.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// And while it takes no publications: then no ring signals those that it has.
const LOOK_WHEN_FULL: Duration = Duration::from_millis(1);

/// When the broker ends: wills that other nodes have not acknowledged.
const LAST_WORDS: Span = Span::from_millis(500);
/// Between two lines about what was dropped.
const DROPPED_EVERY: Span = Span::from_secs(10);

/// QoS 0 publications that were dropped, as logged last, and when.
#[derive(Default)]
struct Dropped {
    told: u64,
    at: Time,
}

/// See the module. Lives on: its thread.
pub(super) struct Link {
    engine: Engine,
    ownership: Ownership,
    mesh: Mesh<Block>,
    exchange: Exchange,
    membership: Membership,
    /// When this node has copies of its logs, too.
    adopter: Option<Arc<Adopter>>,
    own: Node,
    clock: Clock,
    wakes: pipe::Receiver,
    keys: mpsc::Receiver<KeyEvent>,
    key_events: mpsc::Sender<KeyEvent>,
    sending: mpsc::Sender<(String, Vec<u8>)>,
    end: oneshot::Receiver<()>,
    ends_at: Option<Time>,
    dropped: Dropped,
    /// As last logged.
    missed: u64,
    had_joined: bool,
    revision: u64,
    name_was_taken: bool,
}

async fn send_all(client: Client, mut frames: mpsc::Receiver<(String, Vec<u8>)>) {
    while let Some((subject, frame)) = frames.recv().await {
        // Fails when the client is closed. What is lost is sent again.
        let _ = client.publish(subject, frame.into()).await;
    }
}

impl Link {
    /// Call on its runtime.
    pub(super) fn new(
        engine: Engine,
        listener: TcpListener,
        begin: Begin,
    ) -> std::io::Result<Self> {
        let Begin {
            mesh,
            config,
            awaits_commits,
            own,
            clock,
            data_dir,
            end,
            options,
        } = begin;
        let (adoption, adoptions) = mpsc::unbounded_channel();
        let data_dir = data_dir.filter(|_| engine.copies.is_some());
        let adopter = data_dir.map(|folder| {
            let events = (mesh.shared_arc(), adoption.clone());
            Arc::new(Adopter::new(&engine, &own, folder, events))
        });
        if let Some(adopter) = adopter.clone() {
            tokio::spawn(async move { adopter.resume().await });
        }
        let exchange = Exchange::new(own.clone(), &config, awaits_commits);
        let wakes = mesh.shared().take_exchange_wakes();
        let wakes = wakes.ok_or_else(|| std::io::Error::other("its pipe is taken"))?;
        let (key_events, keys) = mpsc::channel(KEYS_MAX);
        let (sending, to_send) = mpsc::channel::<(String, Vec<u8>)>(SENDING_MAX);
        let client = engine.client.clone();
        tokio::spawn(send_all(client, to_send));
        let (begun, anew) = tokio::sync::watch::channel(0);
        let watch = keys::watch(engine.nodes.clone(), key_events.clone(), begun);
        tokio::spawn(watch);
        let ownership = Ownership::new(
            &engine,
            &own,
            &options,
            &listener,
            (mesh.shared(), adoptions, anew),
        )?;
        let secret = Arc::clone(&engine.secret.relays);
        Ownership::start_relays(listener, &own, secret, mesh.shared_arc())?;
        Ok(Self {
            engine,
            ownership,
            mesh,
            exchange,
            membership: Membership::new(own.clone()),
            adopter,
            own,
            clock,
            wakes: pipe::Receiver::from_owned_fd(wakes)?,
            keys,
            key_events,
            sending,
            end,
            ends_at: None,
            dropped: Dropped::default(),
            missed: 0,
            had_joined: false,
            revision: 0,
            name_was_taken: false,
        })
    }

    /// Runs until the broker ends.
    pub(super) async fn run(mut self) {
        loop {
            let now = self.clock.now();
            self.exchange.handle_clocks(self.clock.both());
            let mut is_busy = self.take_blocks(now);
            is_busy |= self.take_frames(now);
            is_busy |= self.take_keys(now);
            is_busy |= self.ownership.take_events(now);
            self.keep_membership(now);
            self.end_turn(now);
            let exchange = &mut self.exchange;
            is_busy |= self
                .mesh
                .send(|to, lane| exchange.poll_block(to, lane), |_| None);
            is_busy |= self.send_frames(now);
            if self.is_over(is_busy, now) {
                keys::take_leave(&self.engine.nodes, &self.own.name, self.revision).await;
                return;
            }
            if is_busy {
                tokio::task::yield_now().await;
            } else {
                self.sleep(now).await;
            }
        }
    }

    /// The broker ends, and other nodes have what it had for them, or do not take it.
    fn is_over(&mut self, is_busy: bool, now: Time) -> bool {
        if self.ends_at.is_none() && self.end.try_recv().is_ok() {
            self.ends_at = Some(now + LAST_WORDS);
        }
        let ends_at = self.ends_at;
        ends_at.is_some_and(|at| now >= at || (!is_busy && self.exchange.is_drained()))
    }

    fn take_blocks(&mut self, now: Time) -> bool {
        let Self { mesh, exchange, .. } = self;
        if !exchange.wants_controls() {
            return false;
        }
        let mut taken = 0;
        for position in 0..mesh.peers() {
            let wants_data = exchange.wants_blocks();
            taken += mesh.take(position, TAKEN_MAX, wants_data, |from, arrival| {
                if let Arrival::Block(lane, block) = arrival {
                    exchange.handle_block(from, lane, block, now);
                }
                exchange.wants_blocks()
            });
        }
        taken > 0
    }

    fn take_frames(&mut self, now: Time) -> bool {
        for taken in 0..TAKEN_MAX {
            if !self.exchange.wants_frames() {
                return taken > 0;
            }
            match self.engine.frames.next().now_or_never() {
                Some(Some(frame)) => self.exchange.handle_frame(&frame.payload, now),
                _ => return taken > 0,
            }
        }
        true
    }

    fn take_keys(&mut self, now: Time) -> bool {
        let mut has_taken = false;
        while let Ok(event) = self.keys.try_recv() {
            self.take_key(event, now);
            has_taken = true;
        }
        has_taken
    }

    fn take_key(&mut self, event: KeyEvent, now: Time) {
        match event {
            KeyEvent::SeenAll => self.membership.seen_all(now),
            KeyEvent::PutTaken(number, revision) => {
                self.revision = self.revision.max(revision);
                self.membership.put_taken(number, revision);
            }
            KeyEvent::PutFailed(number) => self.membership.put_failed(number),
            KeyEvent::Seen {
                name,
                revision,
                beat,
            } => {
                if name == self.own.name {
                    self.revision = revision;
                }
                let changes = self.membership.seen(&name, revision, beat, now);
                self.apply(changes, now);
            }
        }
    }

    fn apply(&mut self, changes: Vec<Change>, now: Time) {
        for change in changes {
            self.ownership.apply(&change, self.mesh.shared(), now);
            match change {
                Change::Joined(node) => {
                    tracing::info!("cluster: node {} is there", node.name.as_str());
                    let name = node.name.clone();
                    if !self.exchange.handle_joined(node, now) {
                        let name = name.as_str();
                        tracing::error!(
                            "cluster: node {name} is one too many: {NODES_MAX} others are there"
                        );
                    }
                }
                Change::Left(node) => {
                    tracing::warn!("cluster: node {} is gone", node.name.as_str());
                    self.exchange.handle_left(&node);
                }
            }
        }
    }

    /// Puts what is due, and judges who is silent.
    fn keep_membership(&mut self, now: Time) {
        let dead = self.membership.judge(now);
        for change in &dead {
            if let Change::Left(node) = change {
                self.adopt(node);
            }
        }
        self.apply(dead, now);
        let has_joined = self.exchange.has_joined();
        let copies = self.engine.copies.as_ref();
        let copied = copies.map_or(0, StateStream::acknowledged);
        if let Some(put) = self.membership.put_due(has_joined, copied, now) {
            let (nodes, name) = (self.engine.nodes.clone(), self.own.name.clone());
            tokio::spawn(keys::put(nodes, name, put, self.key_events.clone()));
        }
        let is_taken = self.membership.is_name_taken();
        if is_taken && !std::mem::replace(&mut self.name_was_taken, is_taken) {
            let name = self.own.name.as_str();
            tracing::warn!(
                "cluster: another process was node {name}; this one waits until it is surely gone"
            );
        }
        self.name_was_taken = is_taken;
        self.tell_losses(now);
    }

    /// What was not kept for another node, or by one.
    fn tell_losses(&mut self, now: Time) {
        let missed = self.exchange.stats().missed;
        if missed > self.missed {
            self.missed = missed;
            tracing::warn!(
                "cluster: another node had taken this one for dead; what it acknowledged meanwhile is missing here, and clients \
                 with subscriptions are disconnected to learn that"
            );
        }
        let dropped = self.exchange.stats().dropped;
        if dropped > self.dropped.told && now.since(self.dropped.at) >= DROPPED_EVERY {
            let count = dropped - self.dropped.told;
            tracing::warn!("cluster: {count} QoS 0 messages dropped: a node takes too little");
            self.dropped = Dropped {
                told: dropped,
                at: now,
            };
        }
    }

    /// Some node adopts the sessions of one that is lost; of one that has taken leave none does.
    fn adopt(&self, node: &Node) {
        if let Some(adopter) = &self.adopter {
            let (adopter, node) = (Arc::clone(adopter), node.clone());
            tokio::spawn(async move { adopter.adopt_all(node).await });
        }
    }

    fn end_turn(&mut self, now: Time) {
        self.exchange
            .handle_lease(self.membership.lease_until(), now);
        let lease_until = self.membership.lease_until();
        self.ownership
            .end_turn(&mut self.exchange, lease_until, now);
        let seen = (&self.engine, &self.exchange);
        self.ownership
            .show(seen, self.mesh.shared(), lease_until, now);
        let source = self.membership.joined().cloned();
        let is_first = self.membership.is_first();
        self.exchange.end_turn(source.as_ref(), is_first, now);
        let has_joined = self.exchange.has_joined() && now < self.membership.lease_until();
        if has_joined != self.had_joined {
            self.had_joined = has_joined;
            let name = self.own.name.as_str();
            match has_joined {
                true => tracing::info!("cluster: node {name} is one of {}", self.exchange.nodes().len() + 1),
                false => tracing::warn!(
                    "cluster: node {name} has no lease: publications above QoS 0 and subscriptions wait"
                ),
            }
        }
    }

    fn send_frames(&mut self, now: Time) -> bool {
        if self.engine.client.connection_state() != async_nats::connection::State::Connected {
            return false; // what is given to the client now would be old when it is sent
        }
        let mut has_sent = false;
        while let Ok(permit) = self.sending.try_reserve() {
            let Some((node, frame)) = self.exchange.poll_frame(now) else {
                break;
            };
            permit.send((self.engine.subject(&node), frame));
            has_sent = true;
        }
        has_sent
    }

    /// Sleeps until something comes.
    async fn sleep(&mut self, now: Time) {
        let id = self.exchange.id();
        self.mesh.shared().announce_park(id);
        // What it does not take yet waits in the rings, and acknowledgements are what it waits for.
        let is_full = !self.exchange.wants_blocks();
        if self.mesh.may_park() || is_full {
            let due = self.exchange.poll_timeout();
            let left = due.map_or(LOOK_EVERY, |due| Duration::from_nanos(due.since(now).0));
            let wants_frames = self.exchange.wants_frames();
            let longest = if is_full { LOOK_WHEN_FULL } else { LOOK_EVERY };
            let wait = left.clamp(LOOK_WHEN_FULL, longest);
            let mut key = None;
            let mut frame = None;
            let mut lane = None;
            tokio::select! {
                biased;
                _ = self.wakes.readable() => {
                    let _ = self.wakes.try_read(&mut [0; 64]); // what it says is that it is there
                }
                came = self.keys.recv() => key = came,
                came = self.ownership.next_event() => lane = came,
                came = self.engine.frames.next(), if wants_frames => frame = came,
                () = tokio::time::sleep(wait) => {}
            }
            let now = self.clock.now();
            if let Some(event) = key {
                self.take_key(event, now);
            }
            if let Some(event) = lane {
                self.ownership.take_event(event, now);
            }
            if let Some(frame) = frame {
                self.exchange.handle_frame(&frame.payload, now);
            }
        } else {
            tokio::task::yield_now().await;
        }
        self.mesh.shared().announce_awake(id);
    }
}
