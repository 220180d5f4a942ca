//! A shard: everything one core owns, as a value.
//!
//! `handle_*` methods take what the world did, `poll_*` methods tell what it must do next. All are
//! synchronous and take the time from outside, so the io_uring driver, the simulator, fuzzers and
//! benches drive the same code.
//!
//! One turn of a driver: any number of `handle_*` calls, one [`Shard::end_turn`], then
//! [`Shard::poll_action`] until `None`, [`Shard::poll_transmit`] until `None`, and
//! [`Shard::poll_block`] for each peer and lane while its ring has room. [`TURN`] is the order that all
//! drivers follow.

mod action;
mod arena;
#[cfg(any(test, feature = "testing"))]
mod audit;
mod authorize;
#[cfg(test)]
mod authorize_tests;
mod block;
mod burst;
#[cfg(test)]
mod burst_tests;
mod connack;
mod connection;
mod deliver;
mod dispatch;
mod end;
#[cfg(test)]
mod gathered_tests;
mod half_open;
mod heard;
mod hosted;
mod input;
mod leave;
mod live_topics;
#[cfg(test)]
mod log_tests;
mod login;
mod look_ahead;
mod message;
mod notices;
mod on_ack;
mod on_block;
mod on_connect;
mod on_disconnect;
mod on_publish;
mod on_subscribe;
mod origin;
mod outgoing;
mod peers;
mod pending_connect;
mod placement;
mod pool;
mod pressure;
mod pump;
#[cfg(test)]
mod quota_tests;
mod races;
mod rates;
mod reply;
#[cfg(test)]
mod reserved_tests;
mod rights;
mod stats;
mod subscribe_barrier;
mod timeouts;
mod timer_wheel;
mod trace;
mod turn;
#[cfg(test)]
mod violation_tests;
mod walk;
mod walk_queue;
mod work;
#[cfg(test)]
mod work_tests;

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

pub use action::{Action, CloseCause};
pub use block::{Block, Lane};
pub use heard::Heard;
pub use notices::{Notice, Severity};
pub use origin::{Origin, Peer};
pub use pressure::Pressure;
pub use stats::Stats;
pub use turn::{run_turn, TurnHost, TurnStep, TURN};

use arena::Arena;
use connection::Connection;
use deliver::Images;
use half_open::HalfOpen;
use hosted::Hosted;
use leave::Leaving;
use notices::{About, Notices};
use peers::Peers;
use placement::Placement;
use pool::Pool;
use races::Races;
use rates::{ClientMeters, Metering};
use rights::Recheck;
use subscribe_barrier::Barriers;
use timeouts::TimerKey;
use timer_wheel::TimerWheel;
use walk_queue::WalkQueue;
use work::Work;

use crate::auth::Rules;
pub use crate::ids::ListenerId;
use crate::ids::{ConnectionId, SessionId, ShardId};
use crate::limits::Limits;
pub use crate::listener::ListenerPolicy;
use crate::routing::{RetainedStore, TopicIndex};
use crate::time::{Span, Time};

/// What every shard is told at start.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    pub shards: u16,
    pub limits: Limits,
    /// By [`ListenerId`].
    pub listeners: Arc<[ListenerPolicy]>,
    /// Same on all shards: placement of client ids and topics hashes with it.
    pub placement_seed: u64,
}

/// Bytes beyond `outgoing_bytes_max` that answers to the client's own packets may take before it is
/// no longer read.
const ANSWER_BYTES: usize = 64 << 10;
/// SUBACKs, and KiB of them, one connection may have waiting before it is no longer read.
const SUBACKS_WAITING_MAX: u16 = 64;
/// A timer-driven shard wakes at least this often while a shutdown runs.
const SHUTDOWN_STEP: Span = Span::from_millis(50);

/// Everything one core owns. Lives on: its core. Written by: its own methods only.
pub struct Shard {
    id: ShardId,
    config: Arc<ShardConfig>,
    rules: Arc<Rules>,
    /// Counts changes of the rules.
    rules_version: u32,
    /// There may be an ACL, of the broker or of a session.
    has_acl: bool,
    recheck: Recheck,
    /// State of the shard's own generator; feeds assigned client ids.
    random: u64,
    connections: Arena<ConnectionId, Connection>,
    sessions: Arena<SessionId, Hosted>,
    by_client_id: HashMap<Rc<str>, SessionId, ahash::RandomState>,
    placement: Placement,
    index: TopicIndex,
    retained: RetainedStore,
    peers: Peers,
    barriers: Barriers,
    walks: WalkQueue,
    races: Races,
    work: Work,
    leaving: Leaving,
    timers: TimerWheel<TimerKey>,
    dirty: Vec<ConnectionId>,
    /// Sessions whose queue was full; each once.
    overflowed: Vec<SessionId>,
    actions: VecDeque<Action>,
    notices: Notices,
    images: Images,
    pool: Pool,
    /// The packet being handled, when it is large and came in pieces.
    gathered: Option<Bytes>,
    /// `None`: no rate is limited.
    metering: Option<Box<Metering>>,
    half_open: HalfOpen,
    heard: Heard,
    /// When an outbox was last full, so that publishers were not read.
    peers_full_at: Option<Time>,
    pressure: Pressure,
    /// Connections are told of one by one.
    traces: bool,
    shutdown: Option<Time>,
    stats: Stats,
}

impl Shard {
    /// `seed` feeds the shard's own random draws (assigned client ids).
    #[must_use]
    pub fn new(id: ShardId, config: &Arc<ShardConfig>, seed: u64, now: Time) -> Self {
        let limits = &config.limits;
        let shards = u32::from(config.shards);
        let hash_seed = config.placement_seed ^ 0x9E37_79B9_7F4A_7C15;
        Self {
            id,
            rules: Arc::default(),
            rules_version: 0,
            has_acl: false,
            recheck: Recheck::default(),
            random: seed | 1,
            connections: Arena::default(),
            sessions: Arena::default(),
            by_client_id: HashMap::with_hasher(ahash::RandomState::with_seeds(hash_seed, 7, 8, 9)),
            placement: Placement::new(config.placement_seed, config.shards),
            index: TopicIndex::new(id, hash_seed),
            retained: RetainedStore::new(
                share_of(limits.retained_messages_max, shards) as usize,
                limits.retained_bytes_max / u64::from(shards),
            ),
            peers: Peers::new(id, config.shards),
            barriers: Barriers::default(),
            walks: WalkQueue::new(hash_seed),
            races: Races::new(hash_seed),
            work: Work::new(config.shards),
            leaving: Leaving::default(),
            timers: TimerWheel::new(now),
            dirty: Vec::new(),
            overflowed: Vec::new(),
            actions: VecDeque::new(),
            notices: Notices::new(seed),
            images: Images::default(),
            pool: Pool::default(),
            gathered: None,
            metering: Metering::new(limits, &config.listeners, config.shards),
            half_open: HalfOpen::new(config),
            heard: Heard::default(),
            peers_full_at: None,
            pressure: Pressure::default(),
            traces: false,
            shutdown: None,
            stats: Stats::default(),
            config: Arc::clone(config),
        }
    }

    /// A socket was accepted or handed over. `None`: the connection limit is reached, drop it.
    pub fn handle_opened(&mut self, origin: Origin, now: Time) -> Option<ConnectionId> {
        let limits = &self.config.limits;
        let max = limits.connections_max as usize;
        if self.connections.len() >= max || self.shutdown.is_some() {
            self.stats.connections_refused += 1;
            let text = format!("connection refused: connections-max is reached: {max}");
            let about = About::refusal("connections-max", None, Some(origin.peer));
            self.notice(&about, now, || text);
            return None;
        }
        if let Err(full) = self.half_open.enter(origin.listener) {
            self.stats.refused_half_open += 1;
            let about = About::refusal("half-open-max", None, Some(origin.peer));
            self.notice(&about, now, || format!("connection refused: {full}"));
            return None;
        }
        self.stats.connections_opened += 1;
        let ListenerPolicy {
            packet_size_max,
            layered,
            ..
        } = *self.policy(origin.listener);
        let packet_size_max = packet_size_max.map_or(limits.packet_size_max, |own| {
            own.min(limits.packet_size_max)
        });
        let connect_by = now + Span::from_secs(u64::from(limits.connect_timeout_s));
        let id = self
            .connections
            .insert(Connection::new(origin, packet_size_max, now));
        let timer = self.timers.insert(connect_by, TimerKey::Connection(id));
        let trace = self.begin_trace(now);
        if let Some(connection) = self.connections.get_mut(id) {
            connection.trace = trace;
            connection.timer = Some(timer);
            connection.waits_for_layers = layered;
        }
        Some(id)
    }

    /// False while the driver should leave this connection's bytes in its socket: too much waits to
    /// be sent to it or to a peer shard, the turn's work is done, or it is closing. Ask before each
    /// read.
    #[must_use]
    pub fn wants_input(&self, connection: ConnectionId) -> bool {
        let Some(connection) = self.connections.get(connection) else {
            return false;
        };
        let outgoing_max = self.config.limits.outgoing_bytes_max as usize + ANSWER_BYTES;
        connection.phase != connection::Phase::Closing
            && !self.work.is_spent()
            && !connection.is_paused
            && connection.outgoing.len() <= outgoing_max
            && !connection.is_judged()
            && connection.subacks_waiting < SUBACKS_WAITING_MAX
            && !self.holds_back(connection)
            && !connection.is_over_rate()
    }

    /// The socket took `count` bytes of what [`Shard::outgoing`] showed.
    pub fn handle_written(&mut self, connection: ConnectionId, count: usize, now: Time) {
        let low_water = self.config.limits.outgoing_bytes_max as usize / 2;
        let Some(state) = self.connections.get_mut(connection) else {
            return;
        };
        state.acks_unsent = 0;
        state.trace_sent(count);
        if count > 0 && state.outgoing.len() > self.config.limits.outgoing_bytes_max as usize {
            // It reads, and its own packets wait because of us: it is not silent.
            state.last_packet = now;
        }
        if let Some(buffer) = state.outgoing.advance(count) {
            self.pool.take_back(buffer);
        }
        if state.outgoing.len() <= low_water {
            if let Some(session) = state.session() {
                self.pump(session, now);
            }
        }
    }

    /// The socket is gone; the driver names the id no more. What was read of it before is handled
    /// first, in later turns if need be; the shard may still ask for the id, which then means nothing.
    pub fn handle_closed(&mut self, connection: ConnectionId, cause: CloseCause, now: Time) {
        if self.closes_later(connection, cause) {
            return;
        }
        let Some(mut state) = self.connections.remove(connection) else {
            return;
        };
        self.trace_closed(&state, cause, now);
        if state.is_half_open {
            self.half_open.leave(state.origin.listener);
        }
        let proof = state.login.as_ref().and_then(|login| login.timer);
        for timer in [state.timer, proof].into_iter().flatten() {
            self.timers.cancel(timer);
        }
        ClientMeters::release(state.meters.take(), &mut self.timers);
        if let Some(session) = state.session() {
            debug_assert_ne!(
                cause,
                CloseCause::Asked,
                "a live connection was not asked to close"
            );
            self.detach(session, end::WillFate::Publish, now);
        }
    }

    /// Inputs of this turn are done: work that is batched per turn happens here.
    pub fn end_turn(&mut self, now: Time) {
        self.catch_up(now);
        self.advance_leaving();
        self.disconnect_overflowed(now);
        if self.has_rechecks() {
            self.advance_rechecks(now);
        }
        self.raise_barrier();
        self.advance_walks(now);
        if self.peers.data_is_full() || self.peers.control_is_full() {
            self.peers_full_at = Some(now);
        }
    }

    /// Next thing to do besides sending.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Next connection that has new bytes to send. The driver sends [`Shard::outgoing`] and reports
    /// with [`Shard::handle_written`]; if the socket would block it waits for room and goes on
    /// sending by itself. A connection may be named again while it is blocked.
    pub fn poll_transmit(&mut self) -> Option<ConnectionId> {
        while let Some(id) = self.dirty.pop() {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.dirty = false;
                if !connection.outgoing.is_empty() {
                    return Some(id);
                }
            }
        }
        None
    }

    /// Fills `slices` with what waits to be sent on a connection, in order; returns how many.
    #[must_use]
    pub fn outgoing<'a>(&'a self, connection: ConnectionId, slices: &mut [IoSlice<'a>]) -> usize {
        self.connections
            .get(connection)
            .map_or(0, |connection| connection.outgoing.slices(slices))
    }

    /// Next block for a peer. Call only while the ring has room: a polled block is gone from here.
    pub fn poll_block(&mut self, to: ShardId, lane: Lane) -> Option<Block> {
        self.peers.poll(to, lane)
    }

    /// When [`Shard::handle_timeout`] is due at the latest; a time that has passed means there is
    /// work left now, so do not park.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let has_more = self.walks.has_ready() || self.work.is_left() || self.has_leaving();
        if has_more || self.has_rechecks() {
            return Some(Time::ZERO);
        }
        self.timers.next_deadline()
    }

    /// Counters since start.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Connections open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Sessions held now, connected or not.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Retained messages whose home is this shard.
    #[must_use]
    pub fn retained_messages(&self) -> usize {
        self.retained.len()
    }

    /// True while this connection must wait for peers to take what it has published.
    fn holds_back(&self, connection: &Connection) -> bool {
        (connection.publishes && self.peers.data_is_full()) || self.peers.control_is_full()
    }

    fn limits(&self) -> &Limits {
        &self.config.limits
    }

    fn policy(&self, listener: ListenerId) -> &ListenerPolicy {
        &self.config.listeners[listener.index()]
    }

    /// Puts a connection on the list of those to transmit.
    fn mark_dirty(connection: &mut Connection, id: ConnectionId, dirty: &mut Vec<ConnectionId>) {
        if !connection.dirty {
            connection.dirty = true;
            dirty.push(id);
        }
    }
}

/// This shard's share of a limit of the whole broker: its part and an eighth, because client ids do
/// not spread evenly, and at least 16.
fn share_of(max: u32, shards: u32) -> u32 {
    if shards == 1 {
        return max;
    }
    let part = max.div_ceil(shards);
    part.saturating_add((part / 8).max(16)).min(max)
}
