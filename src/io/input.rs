//! Input of a shard: connections, bytes, blocks of peers.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{recv, shutdown, RecvFlags, Shutdown};

use super::driver::Driver;
use super::layers::Layers;
use super::listener::{self, Listening, BACKLOG};
use super::mesh::Arrival;
use super::passing::MovedSocket;
use super::queues::Queue;
use super::shares::OthersShare;
use super::sockets::{Ending, Socket};
use crate::ids::{ConnectionId, ListenerId};
use crate::shard::{CloseCause, Origin, RemoteEnd, Shard};
use crate::time::{Span, Time};

/// Connections accepted in one turn, if their share of it lasts so long.
const TURN_ACCEPTS: usize = 64;
/// Blocks taken of each peer and lane in one turn.
const TURN_BLOCKS: usize = 8;
/// Pause after accepting failed for lack of descriptors or memory.
const ACCEPT_PAUSE: Span = Span::from_millis(100);
/// Connections on their way to one peer above which no more are accepted.
const MOVING_MAX: usize = 1_024;
/// Established connections read between two looks at the clock.
const LOOK_EVERY: usize = 16;
/// Bytes discarded of a closing connection before it is cut: a client that was in the middle of a
/// large packet can still read the reason.
const DISCARD_MAX: u32 = 4 << 20;
/// Reads after a write failed: what the client sent before it closed is still valid.
const LAST_READS: usize = 64;

impl Driver {
    /// Accepts what waits while there is time for it.
    fn accept(&mut self, share: OthersShare, now: Time) -> bool {
        if self.accept_after.is_some_and(|after| now < after) {
            return false;
        }
        self.accept_after = None;
        if self.mesh.moving() >= MOVING_MAX {
            return false;
        }
        let mut accepted = 0;
        for index in 0..self.listeners.len() {
            while self.acceptable[index] && accepted < TURN_ACCEPTS {
                if accepted > 0 && !share.has_accept(self.clock.now()) {
                    break;
                }
                let Some(listener) = &self.listeners[index].socket else {
                    self.acceptable[index] = false; // removed with a completion on its way
                    break;
                };
                match listener::accept(listener) {
                    Ok(Some((descriptor, peer))) => {
                        accepted += 1;
                        self.accepted += 1;
                        let gate = &self.listeners[index].gate;
                        let source = peer.ip().filter(|ip| !gate.is_proxy(*ip));
                        if source.is_some_and(|ip| self.logins.is_banned(ip, now)) {
                            self.driver_stats.banned += 1;
                            continue; // logged when the address was banned
                        }
                        self.admit(descriptor, peer, ListenerId(index as u16), now);
                    }
                    Ok(None) => {
                        self.acceptable[index] = false;
                        let listener = listener.as_fd();
                        self.poller.watch_acceptable(listener, index as u32);
                    }
                    Err(error) => {
                        self.driver_stats.accept_failed += 1;
                        self.accept_errors.log(now, |suppressed| {
                            tracing::warn!(
                                suppressed,
                                "cannot accept connections: {error}; if descriptors ran out, \
                                 raise their limit: ulimit -n (or LimitNOFILE= in a systemd unit)"
                            );
                        });
                        self.accept_after = Some(now + ACCEPT_PAUSE);
                        return accepted > 0;
                    }
                }
            }
        }
        accepted > 0
    }

    /// Takes an accepted socket, within the limits of its listener and of the broker. A refused one is
    /// closed without a reply: that would be work.
    fn admit(&mut self, descriptor: OwnedFd, peer: RemoteEnd, listener: ListenerId, now: Time) {
        let Listening { gate, factory, .. } = &self.listeners[listener.index()];
        if let Err(refusal) = gate.admit(peer.ip(), now) {
            let total = gate.refused(refusal);
            self.refusals[refusal as usize].log(now, |suppressed| {
                tracing::warn!(
                    suppressed,
                    total,
                    "connection of {peer} refused: {}",
                    gate.describe(refusal)
                );
            });
            return;
        }
        if !self.mesh.shared().count_opened() {
            gate.leave();
            self.driver_stats.connections_max += 1;
            self.accept_errors.log(now, |suppressed| {
                let max = self.mesh.shared().connections_max();
                tracing::warn!(
                    suppressed,
                    "connection of {peer} refused: connections-max is reached: {max}"
                );
            });
            return;
        }
        tracing::debug!("connection of {peer} opened on {}", gate.name());
        let stack = factory.stack(peer.ip());
        let layers = stack.map(|stack| Box::new(Layers::new(stack)));
        let Some(id) = self.open(descriptor, Origin::new(peer, listener), layers, now) else {
            return;
        };
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.listed = true; // most have sent something by now
            self.others.push(id);
        }
    }

    /// A connection of this listener is closed.
    pub(super) fn count_closed(&self, listener: ListenerId) {
        self.mesh.shared().count_closed();
        // None: the broker stops and has closed its listeners.
        if let Some(listening) = self.listeners.get(listener.index()) {
            listening.gate.leave();
        }
    }

    /// Takes a socket into the shard; refused, it closes.
    pub(super) fn open(
        &mut self,
        descriptor: OwnedFd,
        origin: Origin,
        layers: Option<Box<Layers>>,
        now: Time,
    ) -> Option<ConnectionId> {
        let listener = origin.listener;
        let Some(id) = self.shard.handle_opened(origin, now) else {
            self.count_closed(listener);
            return None;
        };
        self.poller.watch_readable(descriptor.as_fd(), id);
        self.looks.add(id, layers.as_deref(), now);
        self.sockets
            .insert(Socket::new(descriptor, id, listener, layers));
        Some(id)
    }

    /// Connections that had come when the others' round began may still wait to be accepted.
    pub(super) fn must_accept(&self) -> bool {
        let can_accept = self.accept_after.is_none() && self.mesh.moving() < MOVING_MAX;
        can_accept && self.acceptable.contains(&true) && self.accepted < BACKLOG as usize
    }

    /// Reads established connections that may have bytes, each once, within the turn's budget.
    pub(super) fn read_established(&mut self, now: Time) -> bool {
        if self.shard.is_turn_spent() {
            return true;
        }
        let Self {
            established,
            shard,
            sockets,
            ..
        } = self;
        established.ask_held(|id| Some(wants_input(shard, sockets.get(id)?)));
        let mut left = self.turns.budget();
        let mut busy = false;
        for count in 1..=self.established.len() {
            let has_time = count % LOOK_EVERY != 0 || self.shares.has_established(self.clock.now());
            if left == 0 || !has_time || self.shard.is_turn_spent() {
                return true;
            }
            let Some(id) = self.established.pop() else {
                break;
            };
            match self.read_if_wanted(id, now) {
                Some(count) => left = left.saturating_sub(count),
                None => continue,
            }
            busy = true;
        }
        busy
    }

    /// Gives all others their share of the turn: sockets waiting to be accepted, and connections that are
    /// not established yet or not any more.
    pub(super) fn read_others(&mut self, now: Time) -> bool {
        if self.shard.is_turn_spent() {
            return true;
        }
        self.ask_held_others();
        let count = self.leaving.len() + self.others.len();
        if count == 0 && !self.acceptable.contains(&true) {
            return false;
        }
        let established_left = !self.established.is_empty();
        let begins = self.clock.now();
        let Some(share) = self.shares.others_begin(established_left, begins) else {
            return true;
        };
        let mut busy = self.accept(share, now);
        if busy && self.accepted <= BACKLOG as usize {
            self.others.extend_round(); // they had come before, and may have sent something
        }
        let mut left = self.turns.budget();
        for count in 0..self.leaving.len() + self.others.len() {
            let has_time = count == 0 || share.has_read(self.clock.now());
            if left == 0 || !has_time || self.shard.is_turn_spent() {
                busy = true;
                break;
            }
            // By turns, while there are both.
            let first = if count % 2 == 0 {
                self.leaving.pop().or_else(|| self.others.pop())
            } else {
                self.others.pop().or_else(|| self.leaving.pop())
            };
            let Some(id) = first else {
                break;
            };
            if let Some(count) = self.read_if_wanted(id, now) {
                left = left.saturating_sub(count);
                busy = true;
            }
        }
        let ends = self.clock.now();
        self.shares.others_end(share, ends);
        busy
    }

    /// Asks held connections that are not established; one that has become so changes queues.
    fn ask_held_others(&mut self) {
        let Self {
            established,
            leaving,
            others,
            shard,
            sockets,
            ..
        } = self;
        leaving.ask_held(|id| Some(wants_input(shard, sockets.get(id)?)));
        others.ask_held(|id| {
            let wants_input = wants_input(shard, sockets.get(id)?);
            if wants_input && shard.is_established(id) {
                established.push(id); // its authentication result has arrived meanwhile
                return None;
            }
            Some(wants_input)
        });
    }

    /// Reads a socket once, unless its connection does not want input: then it is held. `None`:
    /// nothing was done.
    fn read_if_wanted(&mut self, id: ConnectionId, now: Time) -> Option<usize> {
        let socket = self.sockets.get(id)?;
        if wants_input(&self.shard, socket) {
            return Some(self.read_one(id, now));
        }
        self.queue_of(id).hold(id);
        None
    }

    /// Where a connection waits to be read.
    fn queue_of(&mut self, id: ConnectionId) -> &mut Queue {
        let is_hung_up = self.sockets.get(id).is_some_and(|socket| socket.hangup);
        match self.shard.is_established(id) {
            true if is_hung_up => &mut self.leaving,
            true => &mut self.established,
            false => &mut self.others,
        }
    }

    /// Reads a socket once and returns how much. It stays listed while there may be more: a short
    /// read has emptied it, and what comes later raises a new event, unless the end has been seen
    /// behind the bytes, which does not come again.
    fn read_one(&mut self, id: ConnectionId, now: Time) -> usize {
        let Some(socket) = self.sockets.get_mut(id) else {
            return 0;
        };
        if std::mem::take(&mut socket.was_moved) {
            self.upgrade.waits.has_read();
        }
        let size = self.buffer.len().min(self.turns.budget());
        let buffer = &mut self.buffer[..size];
        let received = recv(&socket.descriptor, buffer, RecvFlags::DONTWAIT);
        match received {
            Ok((0, _)) => {
                self.judge_end(id, now);
                self.stream_ended(id, now);
            }
            Ok((count, _)) => {
                self.memory.has_read(count);
                let more = count == size || socket.hangup;
                socket.listed = more;
                if socket.ending == Ending::Open {
                    let is_layered = socket.layers.is_some();
                    self.take_in(id, count, is_layered, now);
                    self.act(now);
                    if is_layered {
                        self.settle_layers(id, now);
                    }
                } else {
                    socket.discarded = socket.discarded.saturating_add(count as u32);
                    if socket.discarded > DISCARD_MAX {
                        self.gone(id, CloseCause::Asked, now);
                    }
                }
                if more && self.sockets.get(id).is_some() {
                    self.queue_of(id).push(id); // perhaps another one than before
                }
                return count;
            }
            Err(Errno::AGAIN) => socket.listed = false,
            Err(Errno::INTR) => self.queue_of(id).push(id),
            Err(_) => self.gone(id, CloseCause::Failed, now),
        }
        0
    }

    /// Gives the first `count` bytes of the buffer to the shard, through the layers if there are any.
    fn take_in(&mut self, id: ConnectionId, count: usize, is_layered: bool, now: Time) {
        if is_layered {
            self.receive_layered(id, count, now);
        } else {
            self.shard.handle_bytes(id, &self.buffer[..count], now);
        }
    }

    /// The client has closed its side. It may still read, so the outgoing bytes of a closing connection
    /// are sent first.
    pub(super) fn stream_ended(&mut self, id: ConnectionId, now: Time) {
        match self.sockets.get_mut(id) {
            // Stays marked as listed without being so: there is nothing more to read.
            Some(socket) if socket.ending == Ending::Flushing => socket.ending = Ending::LastBytes,
            _ => self.gone(id, CloseCause::EndOfStream, now),
        }
    }

    /// A write failed: the client has closed, but bytes it sent before may still be in the socket.
    pub(super) fn write_failed(&mut self, id: ConnectionId, now: Time) {
        for _ in 0..LAST_READS {
            let Some(socket) = self.sockets.get_mut(id) else {
                return;
            };
            if socket.ending != Ending::Open || !wants_input(&self.shard, socket) {
                break;
            }
            match recv(
                &socket.descriptor,
                &mut self.buffer[..],
                RecvFlags::DONTWAIT,
            ) {
                Ok((count, _)) if count > 0 => {
                    let is_layered = socket.layers.is_some();
                    self.take_in(id, count, is_layered, now);
                }
                _ => break,
            }
        }
        self.gone(id, CloseCause::Failed, now);
    }

    /// Closes the socket and reports the end to the shard.
    pub(super) fn gone(&mut self, id: ConnectionId, cause: CloseCause, now: Time) {
        let Some(mut socket) = self.sockets.remove(id) else {
            return;
        };
        match (&mut socket.layers, cause) {
            (Some(layers), CloseCause::EndOfStream) => {
                Self::send_close_notify(&mut self.scratch, &socket.descriptor, layers);
            }
            (Some(layers), CloseCause::Failed) => {
                let _ = layers.stack.end_of_stream(); // for the layers: a bridge learns in what it was
            }
            _ => {}
        }
        self.count_closed(socket.listener);
        self.poller.forget(id, socket.blocked);
        let cause = if socket.ending == Ending::Open {
            cause
        } else {
            CloseCause::Asked
        };
        // A poll still holds the socket until the ring has seen `forget`: end it for the client now.
        let _ = shutdown(&socket.descriptor, Shutdown::Both);
        self.shard.handle_closed(id, cause, now);
    }

    /// Takes what peers have sent, the same number from each.
    pub(super) fn take_blocks(&mut self, now: Time) -> bool {
        let mut moved = Vec::new();
        let mut crossed = Vec::new();
        let (mut taken, mut deepest) = (0, 0);
        for position in 0..self.mesh.peers() {
            let shard = &mut self.shard;
            let wants_data = shard.wants_publications(self.mesh.peer(position));
            let found = self
                .mesh
                .take(position, TURN_BLOCKS, wants_data, |from, arrival| {
                    match arrival {
                        Arrival::Block(lane, block) => shard.handle_block(from, lane, block, now),
                        Arrival::Socket(socket) => moved.push(socket),
                        Arrival::Crossings(crossings) => crossed.push((from, crossings)),
                    }
                    shard.wants_publications(from)
                });
            taken += found;
            deepest = deepest.max(found);
        }
        if deepest > 0 {
            self.measures.ring_depth.record(deepest as u64);
        }
        for socket in moved {
            self.receive_socket(*socket, now);
        }
        for (from, crossings) in crossed {
            self.receive_crossings(from, crossings, now);
        }
        taken > 0
    }

    /// Opens a connection that has moved here; its bytes are handled before any that are still to be read.
    pub(super) fn receive_socket(&mut self, moved: MovedSocket, now: Time) {
        let MovedSocket {
            socket,
            origin,
            layers,
            bytes,
        } = moved;
        if let Some(id) = self.open(socket, origin, layers, now) {
            self.shard.handle_bytes(id, &bytes, now);
            self.act(now);
            self.settle_layers(id, now);
        }
    }
}

/// False while a connection's bytes are to stay in its socket.
fn wants_input(shard: &Shard, socket: &Socket) -> bool {
    let layers = socket.layers.as_ref();
    socket.ending != Ending::Open
        || (shard.wants_input(socket.id) && layers.is_none_or(|layers| layers.wants_input()))
}
