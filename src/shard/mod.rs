//! A shard: everything one core owns, as a value.
//!
//! `handle_*` methods take what the world did, `poll_*` methods tell what it must do next. All are
//! synchronous and take the time from outside, so the io_uring driver, the simulator, fuzzers and
//! benches drive the same code.
//!
//! One turn of a driver: any number of `handle_*` calls, one [`Shard::end_turn`], then
//! [`Shard::poll_action`] until `None`, [`Shard::poll_transmit`] until `None`, and
//! [`Shard::poll_block`] for each peer and lane while its ring has room.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::ids::{ConnectionId, ShardId};
use crate::limits::Limits;
use crate::time::Time;

/// What every shard is told at start.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    pub shards: u16,
    pub limits: Limits,
    /// Same on all shards: placement of client ids and topics hashes with it.
    pub placement_seed: u64,
}

/// Two queues per ordered pair of shards: a flood of publications must not delay a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    Control,
    Data,
}

/// What crosses from one shard to another: many messages at once. Opaque to the driver.
#[derive(Debug)]
pub struct Block(());

/// Why a connection is gone, as seen by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// The client closed its end.
    EndOfStream,
    /// The socket failed.
    Failed,
    /// The driver carried out a [`Action::Close`] or [`Action::Abort`].
    Asked,
}

/// What the driver must do besides sending bytes and blocks.
#[derive(Debug)]
pub enum Action {
    /// Send what is outgoing, shut the writing side, discard what still arrives until the client
    /// closes (so that a reason code is not lost to a reset), then close and call
    /// [`Shard::handle_closed`]. The shard follows with `Abort` when this takes too long.
    Close(ConnectionId),
    /// Close at once and call [`Shard::handle_closed`].
    Abort(ConnectionId),
    /// The session's home is another shard: stop watching the socket and move it there together with
    /// these bytes. The id is free at once (no `handle_closed`). The driver of `to` calls
    /// [`Shard::handle_opened`] and [`Shard::handle_bytes`] with `bytes`.
    HandOff {
        connection: ConnectionId,
        to: ShardId,
        bytes: Vec<u8>,
    },
    /// Something an operator should be able to see.
    Notice(Notice),
}

/// Something refused, dropped or ended, for the log. The driver limits the rate.
#[derive(Clone, Debug)]
pub struct Notice {
    pub client_id: Option<Box<str>>,
    pub address: Option<SocketAddr>,
    pub text: String,
}

/// Everything one core owns.
pub struct Shard {}

#[allow(
    unused_variables,
    clippy::needless_pass_by_ref_mut,
    clippy::unused_self
)]
impl Shard {
    /// `seed` feeds the shard's own random draws (assigned client ids).
    #[must_use]
    pub fn new(id: ShardId, config: &Arc<ShardConfig>, seed: u64, now: Time) -> Self {
        unimplemented!()
    }

    /// A socket was accepted or handed over. `None`: the connection limit is reached, drop it.
    pub fn handle_opened(&mut self, address: SocketAddr, now: Time) -> Option<ConnectionId> {
        unimplemented!()
    }

    /// False while the driver should leave this connection's bytes in its socket: too much waits to
    /// be sent to it or to a peer shard, or it is closing. Ask before each read.
    #[must_use]
    pub fn wants_input(&self, connection: ConnectionId) -> bool {
        unimplemented!()
    }

    /// Bytes arrived, in order, cut anywhere.
    pub fn handle_bytes(&mut self, connection: ConnectionId, bytes: &[u8], now: Time) {
        unimplemented!()
    }

    /// The socket took `count` bytes of what [`Shard::outgoing`] showed.
    pub fn handle_written(&mut self, connection: ConnectionId, count: usize, now: Time) {
        unimplemented!()
    }

    /// The socket is gone; the id is free after this call.
    pub fn handle_closed(&mut self, connection: ConnectionId, cause: CloseCause, now: Time) {
        unimplemented!()
    }

    /// A block of a peer arrived. Blocks of one peer and lane arrive in order.
    pub fn handle_block(&mut self, from: ShardId, lane: Lane, block: Block, now: Time) {
        unimplemented!()
    }

    /// The time of [`Shard::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Time) {
        unimplemented!()
    }

    /// The broker stops: wills are published, clients told, connections closed.
    pub fn handle_shutdown(&mut self, now: Time) {
        unimplemented!()
    }

    /// Inputs of this turn are done: work that is batched per turn happens here.
    pub fn end_turn(&mut self, now: Time) {
        unimplemented!()
    }

    /// Next thing to do besides sending.
    pub fn poll_action(&mut self) -> Option<Action> {
        unimplemented!()
    }

    /// Next connection that has new bytes to send. The driver sends [`Shard::outgoing`] and reports
    /// with [`Shard::handle_written`]; if the socket would block it waits for room and goes on
    /// sending by itself. A connection may be named again while it is blocked.
    pub fn poll_transmit(&mut self) -> Option<ConnectionId> {
        unimplemented!()
    }

    /// Fills `slices` with what waits to be sent on a connection, in order; returns how many.
    #[must_use]
    pub fn outgoing<'a>(&'a self, connection: ConnectionId, slices: &mut [IoSlice<'a>]) -> usize {
        unimplemented!()
    }

    /// Next block for a peer. Call only while the ring has room: a polled block is gone from here.
    pub fn poll_block(&mut self, to: ShardId, lane: Lane) -> Option<Block> {
        unimplemented!()
    }

    /// When [`Shard::handle_timeout`] is due at the latest; a time that has passed means there is
    /// work left now, so do not park.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        unimplemented!()
    }

    /// After [`Shard::handle_shutdown`]: all said and done.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        unimplemented!()
    }
}
