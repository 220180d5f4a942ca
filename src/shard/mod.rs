//! A shard: everything one core owns, as a value.
//!
//! `handle_*` methods take inputs, `poll_*` methods return outputs for the driver to carry out. All are
//! synchronous and take the time from outside, so the io_uring driver, the simulator, fuzzers and
//! benches drive the same code.
//!
//! One turn of a driver: any number of `handle_*` calls, one [`Shard::end_turn`], then
//! [`Shard::poll_action`] until `None`, [`Shard::poll_transmit`] until `None`, and
//! [`Shard::poll_block`] for each peer and lane while its ring has room. [`TURN`] is the order that all
//! drivers follow.

mod access;
mod action;
mod arena;
#[cfg(any(test, feature = "testing"))]
mod audit;
mod clients;
mod delivery;
mod durable;
mod exchange;
mod gate;
mod latency;
#[cfg(test)]
mod log_tests;
mod mesh;
mod notices;
mod queries;
mod retained;
mod snapshot;
mod sparkplug;
mod stats;
mod turn;
mod verbs;

use std::collections::HashMap;
use std::io::IoSlice;
use std::sync::Arc;

pub use action::{Action, CloseCause};
pub use clients::activity::{Activity, Ending};
pub use clients::heard::Heard;
pub use clients::image::{
    ConnectionImage, GivenClient, LoginImage, MetersImage, NotRestored, NotSaved, NotTaken,
    SilenceImage,
};
pub use clients::linked::Left;
pub use clients::origin::{Origin, RemoteEnd};
pub use clients::pressure::Pressure;
pub use durable::Durability;
pub use exchange::{Exchange, ExchangeStats, FRAME_MAX};
pub use mesh::block::{Block, Lane};
pub use mesh::placement::{Homes, PlacementSeed, HOME_LANES};
pub use notices::{Notice, Severity};
pub use queries::{
    ActivityRow, Answer, CaptureRecord, CaptureTerms, Captured, ClientDetail, ClientFilter,
    ClientRow, ClientSort, Order, OrderedMessage, Query, RetainedRow, SensorRow, SubscriptionRow,
    SubscriptionsOf, CAPTURES_MAX, ROWS_MAX,
};
pub use snapshot::{Kept, Snapshot};
pub use stats::Stats;
pub use turn::steps::{run_turn, TurnHost, TurnStep, TURN};

use access::Access;
use action::Outbox;
use clients::connection::{Announced, Connection};
use clients::meters::ClientMeters;
use clients::phase::Phase;
use clients::teardown::WillFate;
use clients::{Admission, Clients};
use delivery::fan_out::EncodedPublishes;
use delivery::Routes;
use durable::Durable;
pub use durable::{Adoption, ReadPlace};
pub use durable::{Described, Field, Fields, KeptSummary, RecordReader};
pub use durable::{KeptSession, KeptState, Problem, RecordError, StateFold};
pub use durable::{NotWritten, ReadBack};
use mesh::Mesh;
use notices::About;
use queries::captures::CaptureFlag;
use retained::Replay;
use turn::timer_key::TimerKey;
use turn::Turn;

pub use crate::ids::ListenerId;
use crate::ids::{ConnectionId, ShardId};
use crate::limits::{share_of, Limits, OwnTerms};
pub use crate::listener::ListenerPolicy;
use crate::mutant::{is_on, Mutant};
pub use crate::session::SensorState;
use crate::time::{Clocks, Span, Time};

#[cfg(test)]
thread_local! {
    static TERMS_LOOKED_FOR: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Configuration of every shard at start.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    pub shards: u16,
    pub limits: Limits,
    /// By [`ListenerId`].
    pub listeners: Arc<[ListenerPolicy]>,
    /// Same on all shards: placement of client ids and topics hashes with it.
    pub placement_seed: PlacementSeed,
    /// Of hash maps that the network fills; drawn at each start.
    pub hash_seed: u64,
    /// By client id.
    pub own_terms: Arc<HashMap<Box<str>, OwnTerms>>,
}

impl ShardConfig {
    /// Terms of a client id; nearly all have none of their own.
    fn terms(&self, client_id: &str) -> OwnTerms {
        if self.own_terms.is_empty() {
            return OwnTerms::default();
        }
        #[cfg(test)]
        TERMS_LOOKED_FOR.with(|count| count.set(count.get() + 1));
        self.own_terms.get(client_id).copied().unwrap_or_default()
    }

    /// The same for a session, which is marked: this is asked for each message that waits.
    #[inline]
    fn terms_of(&self, entry: &clients::session_entry::SessionEntry) -> OwnTerms {
        match entry.has_own_terms {
            true => self.terms(&entry.session.client_id),
            false => OwnTerms::default(),
        }
    }

    /// Some client has a rate of its own.
    fn paces(&self) -> bool {
        let mut terms = self.own_terms.values();
        terms.any(|terms| terms.messages_per_s.is_some())
    }

    /// What one shard may have of `sessions-max`.
    fn own_sessions_max(&self) -> u32 {
        share_of(self.limits.sessions_max, u32::from(self.shards))
    }

    /// Bytes of what waits in memory for sessions that are in a journal.
    fn own_queue_memory(&self) -> usize {
        (self.limits.queue_memory / u64::from(self.shards)) as usize
    }

    fn policy(&self, listener: ListenerId) -> &ListenerPolicy {
        match listener {
            ListenerId::BRIDGES => &ListenerPolicy::OF_BRIDGES,
            listener => &self.listeners[listener.index()],
        }
    }
}

/// Bytes beyond `outgoing_bytes_max` that answers to the client's own packets may take before it is
/// no longer read.
const ANSWER_BYTES: usize = 64 << 10;
/// A timer-driven shard wakes at least this often while a shutdown runs.
const SHUTDOWN_STEP: Span = Span::from_millis(50);

/// Everything one core owns. Lives on: its core. Written by: its own methods only.
pub struct Shard {
    id: ShardId,
    config: Arc<ShardConfig>,
    clients: Clients,
    access: Access,
    admission: Admission,
    routes: Routes,
    mesh: Mesh,
    replay: Replay,
    turn: Turn,
    encoded: EncodedPublishes,
    durable: Option<Box<Durable>>,
    outbox: Outbox,
}

impl Shard {
    /// `seed` feeds the shard's own random draws (assigned client ids).
    #[must_use]
    pub fn new(id: ShardId, config: &Arc<ShardConfig>, seed: u64, now: Time) -> Self {
        let hash_seed = config.hash_seed ^ 0x9E37_79B9_7F4A_7C15;
        Self {
            id,
            clients: Clients::new(hash_seed, seed),
            access: Access::default(),
            admission: Admission::new(config),
            routes: Routes::new(id, config, hash_seed),
            mesh: Mesh::new(id, config.shards),
            replay: Replay::new(hash_seed),
            turn: Turn::new(config.shards, now),
            encoded: EncodedPublishes::default(),
            durable: None,
            outbox: Outbox::new(seed),
            config: Arc::clone(config),
        }
    }

    /// A socket was accepted or handed over. `None`: the connection limit is reached, close it.
    pub fn handle_opened(&mut self, origin: Origin, now: Time) -> Option<ConnectionId> {
        let limits = &self.config.limits;
        let max = limits.connections_max as usize;
        if self.clients.connections.len() >= max || self.admission.shutdown.is_some() {
            self.outbox.stats.connections_refused += 1;
            let text = format!("connection refused: connections-max is reached: {max}");
            let about = About::refusal("connections-max", None, Some(origin.peer));
            self.notice(&about, now, || text);
            return None;
        }
        if let Err(full) = self.admission.half_open.enter(origin.listener) {
            self.outbox.stats.refused_half_open += 1;
            let about = About::refusal("half-open-max", None, Some(origin.peer));
            self.notice(&about, now, || format!("connection refused: {full}"));
            return None;
        }
        self.outbox.stats.connections_opened += 1;
        let layered = self.config.policy(origin.listener).layered;
        let announced = self.announced(origin.listener);
        let connect_by = now + Span::from_secs(u64::from(limits.connect_timeout_s));
        let id = self
            .clients
            .connections
            .insert(Connection::new(origin, announced, now));
        let timer = self
            .turn
            .timers
            .insert(connect_by, TimerKey::Connection(id));
        let trace = self.outbox.begin_trace();
        let connection = self.clients.connection_mut(id);
        if trace.is_some() {
            connection.rare.make().trace = trace;
        }
        connection.timer = Some(timer);
        if layered {
            connection.phase = Phase::AwaitLayers;
        }
        self.capture_opened(id, now);
        Some(id)
    }

    /// False while the driver should leave this connection's bytes in its socket: too much waits to
    /// be sent to it or to a peer shard, the turn's budget is exhausted, or it is closing. Ask before each
    /// read.
    #[must_use]
    pub fn wants_input(&self, connection: ConnectionId) -> bool {
        let Some(connection) = self.clients.connections.get(connection) else {
            return false; // handed off, and the driver has not carried that out yet
        };
        let outgoing_max = self.config.limits.outgoing_bytes_max as usize + ANSWER_BYTES;
        connection.phase != Phase::Closing
            && !self.turn.budget.is_exhausted()
            && connection.holds.is_empty()
            && connection.outgoing.len() <= outgoing_max
            && !connection.held.is_full()
            && !self.mesh.holds_back(connection)
            && !self.log_holds_back(connection)
    }

    /// The clocks were read, which happens at the start and again at least every few seconds: the wall clock
    /// may have been set meanwhile. Nothing is due by it. In a log it never goes back.
    pub fn handle_clocks(&mut self, clocks: Clocks) {
        let has_log = self.durable.is_some() && !is_on(Mutant::LogFollowsWallBack);
        self.turn.clocks_read = clocks;
        self.turn.clocks = match has_log {
            true => clocks.never_behind(self.turn.clocks),
            false => clocks,
        };
    }

    /// The clocks that deadlines are written down with.
    #[must_use]
    pub fn clocks(&self) -> Clocks {
        self.turn.clocks
    }

    /// The socket took `count` bytes of what [`Shard::outgoing`] showed.
    #[inline]
    pub fn handle_written(&mut self, connection: ConnectionId, count: usize, now: Time) {
        let low_water = self.config.limits.outgoing_bytes_max as usize / 2;
        let Some(mut state) = self.clients.connections.get_mut(connection) else {
            return; // handed off, and the driver has not carried that out yet
        };
        state.acks_unsent = 0;
        state.count_sent(count);
        self.outbox.stats.bytes_sent += count as u64;
        if self.outbox.latency.is_watching() {
            self.outbox.latency.written(connection, count);
        }
        if state.captured != CaptureFlag::No {
            self.capture_output(connection, count, now);
            let connections = &mut self.clients.connections;
            state = connections.get_mut(connection).expect("it was there");
        }
        if count > 0 && state.outgoing.len() > self.config.limits.outgoing_bytes_max as usize {
            // It reads, and its own packets wait because of us: it is not silent.
            state.last_packet = now;
        }
        if let Some(buffer) = state.outgoing.advance(count) {
            self.clients.pool.take_back(buffer);
        }
        if state.outgoing.len() <= low_water {
            if let Some(session) = state.session() {
                self.pump(session, now);
            }
        }
    }

    /// The socket is closed; the driver does not use the id again. What was read of it before is handled
    /// first, in later turns if need be; the shard may still ask for the id, which then means nothing.
    pub fn handle_closed(&mut self, connection: ConnectionId, cause: CloseCause, now: Time) {
        let budget = &mut self.turn.budget;
        if self.clients.closes_later(connection, cause, budget) {
            return;
        }
        if self.is_captured(connection) {
            self.capture(connection, Captured::Closed(cause), now);
        }
        let Some(mut state) = self.clients.connections.remove(connection) else {
            return; // handed off, and the driver has not carried that out yet
        };
        self.outbox.trace_closed(&state, cause, now);
        self.outbox.latency.forget(connection);
        if state.phase.is_half_open() {
            self.admission.half_open.leave(state.origin.listener);
        }
        let proof = state
            .rare
            .get()
            .login
            .as_ref()
            .and_then(|login| login.timer);
        for timer in [state.timer, proof].into_iter().flatten() {
            self.turn.timers.cancel(timer);
        }
        ClientMeters::release(state.rare.take_meters(), &mut self.turn.timers);
        if let Some(session) = state.session() {
            self.clients.live.leave(state.version);
            debug_assert_ne!(
                cause,
                CloseCause::Asked,
                "a live connection was not asked to close"
            );
            self.clients
                .note_ending(session, Ending::Closed(cause), now);
            self.detach(session, WillFate::Publish, now);
        }
    }

    /// Inputs of this turn are done: work that is batched per turn happens here.
    pub fn end_turn(&mut self, now: Time) {
        self.catch_up(now);
        self.advance_leaving();
        self.disconnect_overflowed(now);
        self.review_full_queues(now);
        if self.access.has_rechecks() {
            self.advance_rechecks(now);
        }
        self.raise_barrier();
        self.advance_walks(now);
        self.advance_recall(now);
        self.advance_estates(now);
        self.seal_turn();
        if self.mesh.peers.data_is_full() || self.mesh.peers.control_is_full() {
            self.mesh.peers_full_at = Some(now);
        }
        self.end_turn_of_commits(now);
    }

    /// A turn that had something to do is over, all its bytes handed to the kernel: what it was to measure
    /// is recorded.
    pub fn handle_turn_over(&mut self, now: Time) {
        self.outbox.latency.turn_over(now);
    }

    /// Next action to carry out besides sending.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.outbox.actions.pop_front()
    }

    /// Next connection that has new bytes to send. The driver sends [`Shard::outgoing`] and reports
    /// with [`Shard::handle_written`]; if the socket would block it waits for room and continues
    /// sending by itself. A connection may be returned again while it is blocked.
    #[inline]
    pub fn poll_transmit(&mut self) -> Option<ConnectionId> {
        while let Some(id) = self.clients.dirty.pop() {
            if let Some(connection) = self.clients.connections.get_mut(id) {
                connection.dirty = false;
                if connection.outgoing.is_ready() {
                    return Some(id);
                }
            }
        }
        None
    }

    /// Fills `slices` with what may be sent on a connection, in order; returns how many. What waits for a
    /// commit is not shown.
    #[inline]
    #[must_use]
    pub fn outgoing<'a>(&'a self, connection: ConnectionId, slices: &mut [IoSlice<'a>]) -> usize {
        self.clients
            .connections
            .get(connection)
            .map_or(0, |connection| connection.outgoing.slices(slices))
    }

    /// Next block for a peer. Call only while the ring has room: a polled block has left the outbox.
    pub fn poll_block(&mut self, to: ShardId, lane: Lane) -> Option<Block> {
        self.mesh.peers.poll(to, lane)
    }

    /// When [`Shard::handle_timeout`] is due at the latest; a time that has passed means there is
    /// work left now, so do not park.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let has_more =
            self.replay.walks.has_ready() || self.turn.budget.is_left() || self.has_leaving();
        let is_behind = self.access.has_rechecks() || self.recalls_sparkplug();
        if has_more || is_behind || self.has_unsealed() {
            return Some(Time::ZERO);
        }
        self.turn.timers.next_deadline()
    }

    /// Counters since start.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.outbox.stats
    }

    /// Connections open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.clients.connections.len()
    }

    /// Sessions held now, connected or not.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.clients.by_client_id.len()
    }

    /// Retained messages whose home is this shard.
    #[must_use]
    pub fn retained_messages(&self) -> usize {
        self.routes.retained.len()
    }

    fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// What connections of a listener that begin now are granted.
    fn announced(&self, listener: ListenerId) -> Announced {
        let limits = self.limits();
        let max = limits.packet_size_max;
        let own = self.config.policy(listener).packet_size_max;
        Announced {
            packet_size_max: own.map_or(max, |own| own.min(max)),
            receive_maximum: limits.receive_maximum,
            topic_alias_maximum: limits.topic_alias_maximum,
        }
    }
}
