//! Interface between driver and shard.
//!
//! [`Shard`] is the one that ships; the driver's own tests put a small stand-in in its place. Each
//! method is the contract of the method of the same name there.

use std::io::IoSlice;
use std::sync::Arc;

use crate::auth::{AuthzDecisions, Rules, Verdict};
use crate::ids::{ConnectionId, ShardId};
use crate::mqtt::ReasonCode;
use crate::shard::{
    Action, Block, CloseCause, Heard, Lane, Origin, Pressure, RemoteEnd, Shard, Stats,
};
use crate::time::{Clocks, Time};

pub(super) trait Driven: 'static {
    type Block: Send + 'static;

    fn handle_opened(&mut self, origin: Origin, now: Time) -> Option<ConnectionId>;
    fn handle_origin(
        &mut self,
        connection: ConnectionId,
        peer: Option<RemoteEnd>,
        identity: Option<Box<str>>,
    );
    fn handle_broken(&mut self, connection: ConnectionId, text: &str, now: Time);
    fn wants_input(&self, connection: ConnectionId) -> bool;
    fn is_established(&self, connection: ConnectionId) -> bool;
    fn is_turn_spent(&self) -> bool;
    fn handle_heard(&mut self, heard: Heard);
    /// Not of a stand-in.
    fn handle_clocks(&mut self, _clocks: Clocks) {}
    fn handle_bytes(&mut self, connection: ConnectionId, bytes: &[u8], now: Time);
    fn handle_written(&mut self, connection: ConnectionId, count: usize, now: Time);
    fn handle_closed(&mut self, connection: ConnectionId, cause: CloseCause, now: Time);
    fn handle_authenticated(&mut self, connection: ConnectionId, verdict: Verdict, now: Time);
    fn handle_authorized(&mut self, connection: ConnectionId, decisions: AuthzDecisions, now: Time);
    fn handle_rules(&mut self, rules: Arc<Rules>);
    fn handle_block(&mut self, from: ShardId, lane: Lane, block: Self::Block, now: Time);
    fn wants_publications(&self, from: ShardId) -> bool;
    fn handle_timeout(&mut self, now: Time);
    fn handle_pressure(&mut self, pressure: Pressure);
    fn handle_shutdown(&mut self, now: Time);
    fn end_turn(&mut self, now: Time);
    fn poll_action(&mut self) -> Option<Action>;
    fn poll_transmit(&mut self) -> Option<ConnectionId>;
    fn outgoing<'a>(&'a self, connection: ConnectionId, slices: &mut [IoSlice<'a>]) -> usize;
    /// Not of a stand-in.
    fn end_reason(&self, _connection: ConnectionId) -> Option<ReasonCode> {
        None
    }
    fn poll_block(&mut self, to: ShardId, lane: Lane) -> Option<Self::Block>;
    fn poll_timeout(&self) -> Option<Time>;
    fn is_stopped(&self) -> bool;
    /// Connections and sessions.
    fn held(&self) -> usize;
    fn stats(&self) -> &Stats;
}

impl Driven for Shard {
    type Block = Block;

    fn handle_opened(&mut self, origin: Origin, now: Time) -> Option<ConnectionId> {
        self.handle_opened(origin, now)
    }
    fn handle_origin(
        &mut self,
        connection: ConnectionId,
        peer: Option<RemoteEnd>,
        identity: Option<Box<str>>,
    ) {
        self.handle_origin(connection, peer, identity);
    }
    fn handle_broken(&mut self, connection: ConnectionId, text: &str, now: Time) {
        self.handle_broken(connection, text, now);
    }
    fn wants_input(&self, connection: ConnectionId) -> bool {
        self.wants_input(connection)
    }
    fn is_established(&self, connection: ConnectionId) -> bool {
        self.is_established(connection)
    }
    fn is_turn_spent(&self) -> bool {
        self.is_turn_spent()
    }
    fn handle_heard(&mut self, heard: Heard) {
        self.handle_heard(heard);
    }
    fn handle_clocks(&mut self, clocks: Clocks) {
        self.handle_clocks(clocks);
    }
    fn handle_bytes(&mut self, connection: ConnectionId, bytes: &[u8], now: Time) {
        self.handle_bytes(connection, bytes, now);
    }
    fn handle_written(&mut self, connection: ConnectionId, count: usize, now: Time) {
        self.handle_written(connection, count, now);
    }
    fn handle_closed(&mut self, connection: ConnectionId, cause: CloseCause, now: Time) {
        self.handle_closed(connection, cause, now);
    }
    fn handle_authenticated(&mut self, connection: ConnectionId, verdict: Verdict, now: Time) {
        self.handle_authenticated(connection, verdict, now);
    }
    fn handle_authorized(
        &mut self,
        connection: ConnectionId,
        decisions: AuthzDecisions,
        now: Time,
    ) {
        self.handle_authorized(connection, decisions, now);
    }
    fn handle_rules(&mut self, rules: Arc<Rules>) {
        self.handle_rules(rules);
    }
    fn handle_block(&mut self, from: ShardId, lane: Lane, block: Block, now: Time) {
        self.handle_block(from, lane, block, now);
    }
    fn wants_publications(&self, from: ShardId) -> bool {
        self.wants_publications(from)
    }
    fn handle_timeout(&mut self, now: Time) {
        self.handle_timeout(now);
    }
    fn handle_pressure(&mut self, pressure: Pressure) {
        self.handle_pressure(pressure);
    }
    fn handle_shutdown(&mut self, now: Time) {
        self.handle_shutdown(now);
    }
    fn end_turn(&mut self, now: Time) {
        self.end_turn(now);
    }
    fn poll_action(&mut self) -> Option<Action> {
        self.poll_action()
    }
    fn poll_transmit(&mut self) -> Option<ConnectionId> {
        self.poll_transmit()
    }
    fn outgoing<'a>(&'a self, connection: ConnectionId, slices: &mut [IoSlice<'a>]) -> usize {
        self.outgoing(connection, slices)
    }
    fn end_reason(&self, connection: ConnectionId) -> Option<ReasonCode> {
        self.end_reason(connection)
    }
    fn poll_block(&mut self, to: ShardId, lane: Lane) -> Option<Block> {
        self.poll_block(to, lane)
    }
    fn poll_timeout(&self) -> Option<Time> {
        self.poll_timeout()
    }
    fn is_stopped(&self) -> bool {
        self.is_stopped()
    }
    fn held(&self) -> usize {
        self.connections() + self.sessions()
    }
    fn stats(&self) -> &Stats {
        self.stats()
    }
}
