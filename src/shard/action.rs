//! Actions: requests of a shard to its driver besides sending bytes and blocks.

use std::collections::VecDeque;
use std::sync::Arc;

use super::latency::Latency;
use super::notices::Notices;
use super::queries::captures::Captures;
use super::{Notice, Origin, Stats};
use crate::auth::{Question, Request};
use crate::cluster::lanes::Peer;
use crate::ids::{ConnectionId, ShardId};

/// Why a connection was closed, as seen by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseCause {
    /// The client closed its end.
    EndOfStream,
    /// The socket failed.
    Failed,
    /// A client of MQTT-SN was silent too long, or did not answer.
    Lost,
    /// The driver carried out a [`Action::Close`] or [`Action::Abort`].
    Asked,
}

/// A request to the driver besides sending bytes and blocks.
#[derive(Debug)]
pub enum Action {
    /// Send what is outgoing, shut the writing side, discard what still arrives until the client
    /// closes (so that a reason code is not lost to a reset), then close and call
    /// [`Shard::handle_closed`](super::Shard::handle_closed). The shard follows with `Abort` when this takes too long.
    Close(ConnectionId),
    /// Close at once and call [`Shard::handle_closed`](super::Shard::handle_closed).
    Abort(ConnectionId),
    /// The session's home is another shard: stop watching the socket and move it there together with
    /// these bytes. The id is free at once (no `handle_closed`). The driver of `to` calls
    /// [`Shard::handle_opened`](super::Shard::handle_opened) with `origin` and [`Shard::handle_bytes`](super::Shard::handle_bytes) with `bytes`.
    HandOff {
        connection: ConnectionId,
        to: ShardId,
        origin: Origin,
        bytes: Vec<u8>,
    },
    /// Another node serves it: the same, to there. The socket and its layers stay here, and what comes by either end is
    /// passed on to the other.
    Relay {
        connection: ConnectionId,
        to: Arc<Peer>,
        origin: Origin,
        bytes: Vec<u8>,
    },
    /// Authenticate a client on a thread that may block, and call [`Shard::handle_authenticated`](super::Shard::handle_authenticated).
    /// The connection may be closed by then.
    Authenticate(ConnectionId, Box<Question>),
    /// Ask the authorization service what a client may do, and call [`Shard::handle_authorized`](super::Shard::handle_authorized). Each
    /// connection has at most one request outstanding, and may be closed by then.
    Authorize(ConnectionId, Box<Request>),
    /// Something an operator should be able to see.
    Notice(Notice),
}

/// Actions for the driver, counters, times taken and notices. Lives on: the shard.
pub(super) struct Outbox {
    pub(super) actions: VecDeque<Action>,
    pub(super) notices: Notices,
    pub(super) stats: Stats,
    pub(super) latency: Latency,
    /// Connections are reported one by one.
    pub(super) traces: bool,
    /// `None`: no operator is shown packets.
    pub(super) captures: Option<Box<Captures>>,
}

impl Outbox {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            actions: VecDeque::new(),
            notices: Notices::new(seed),
            stats: Stats::default(),
            latency: Latency::default(),
            traces: false,
            captures: None,
        }
    }
}
