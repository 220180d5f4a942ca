//! Clients: connections, sessions, and the bytes between a socket and a packet.

pub(in crate::shard) mod activity;
pub(in crate::shard) mod connection;
pub(in crate::shard) mod flow;
pub(in crate::shard) mod full_queues;
#[cfg(test)]
mod full_queues_tests;
#[cfg(test)]
mod gathered_tests;
pub(in crate::shard) mod half_open;
pub(in crate::shard) mod heard;
pub(in crate::shard) mod hold;
pub(in crate::shard) mod image;
pub(in crate::shard) mod input;
mod interest;
pub(in crate::shard) mod lags;
pub(in crate::shard) mod leave;
pub(in crate::shard) mod linked;
pub(in crate::shard) mod live;
pub(in crate::shard) mod members;
pub(in crate::shard) mod meters;
pub(in crate::shard) mod origin;
pub(in crate::shard) mod outgoing;
mod pause;
pub(in crate::shard) mod phase;
pub(in crate::shard) mod pool;
pub(in crate::shard) mod pressure;
#[cfg(test)]
mod quota_tests;
pub(in crate::shard) mod rare;
mod rates;
mod renew;
pub(in crate::shard) mod session_entry;
pub(in crate::shard) mod teardown;
pub(in crate::shard) mod trace;
mod trace_lines;
pub(in crate::shard) mod view;

use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;

use crate::ids::{ConnectionId, SessionId};
use crate::prng::Prng;
use crate::shard::arena::Arena;
use crate::shard::ShardConfig;
use crate::time::Time;
use connection::Connection;
use full_queues::FullQueues;
use half_open::HalfOpen;
use heard::Heard;
use lags::Lags;
use leave::Leaving;
use live::Live;
use members::Members;
use meters::Metering;
use pool::Pool;
use pressure::Pressure;
use session_entry::SessionEntry;

/// Connections and sessions of one shard. Lives on: the shard.
pub(in crate::shard) struct Clients {
    pub(in crate::shard) connections: Arena<ConnectionId, Connection>,
    pub(in crate::shard) sessions: Arena<SessionId, SessionEntry>,
    pub(in crate::shard) by_client_id: HashMap<Rc<str>, SessionId, ahash::RandomState>,
    pub(in crate::shard) members: Members,
    /// Connections with a session, by protocol version.
    pub(in crate::shard) live: Live,
    /// Connections with bytes to transmit; each once.
    pub(in crate::shard) dirty: Vec<ConnectionId>,
    /// Sessions whose queue was full; each once.
    pub(in crate::shard) overflowed: Vec<SessionId>,
    pub(in crate::shard) pool: Pool,
    /// The packet being handled, when it is large and came in pieces.
    pub(in crate::shard) gathered: Option<Bytes>,
    /// Until when clients were heard.
    pub(in crate::shard) heard: Heard,
    /// Filters of sessions that have ended, to be taken out of the index.
    pub(in crate::shard) leaving: Leaving,
    /// Feeds assigned client ids.
    pub(in crate::shard) random: Prng,
}

impl Clients {
    pub(in crate::shard) fn new(hash_seed: u64, seed: u64) -> Self {
        Self {
            connections: Arena::default(),
            sessions: Arena::default(),
            by_client_id: HashMap::with_hasher(ahash::RandomState::with_seeds(hash_seed, 7, 8, 9)),
            members: Members::new(hash_seed),
            live: Live::default(),
            dirty: Vec::new(),
            overflowed: Vec::new(),
            pool: Pool::default(),
            gathered: None,
            heard: Heard::default(),
            leaving: Leaving::default(),
            random: Prng::new(seed | 1),
        }
    }
}

/// Admission control: limits of half-open connections, rates, pressure, shutdown.
/// Lives on: the shard.
pub(in crate::shard) struct Admission {
    pub(in crate::shard) half_open: HalfOpen,
    /// `None`: no rate is limited.
    pub(in crate::shard) metering: Option<Box<Metering>>,
    pub(in crate::shard) pressure: Pressure,
    pub(in crate::shard) full_queues: FullQueues,
    pub(in crate::shard) lags: Lags,
    /// When a shutdown that has begun disconnects clients.
    pub(in crate::shard) shutdown: Option<Time>,
}

impl Admission {
    pub(in crate::shard) fn new(config: &ShardConfig) -> Self {
        let (limits, listeners, shards) = (&config.limits, &config.listeners, config.shards);
        let metering = Metering::new(limits, listeners, shards);
        let paces = config.paces();
        let metering =
            metering.or_else(|| paces.then(|| Metering::for_paces(limits, listeners, shards)));
        Self {
            half_open: HalfOpen::new(config),
            metering,
            pressure: Pressure::default(),
            full_queues: FullQueues::default(),
            lags: Lags::default(),
            shutdown: None,
        }
    }
}
