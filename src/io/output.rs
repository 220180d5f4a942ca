//! Output of a shard: actions, bytes, blocks for peers.

use std::io::IoSlice;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{send, sendmsg, shutdown, SendAncillaryBuffer, SendFlags, Shutdown};

use super::driver::Driver;
use super::passing::{Counted, MovedSocket, RelayedClient};
use super::sends::SENDS;
use super::sockets::{Ending, Socket};
use crate::auth::Question;
use crate::cluster::lanes::Peer;
use crate::ids::{ConnectionId, ShardId};
use crate::shard::{Action, CloseCause, Origin, Shard};
use crate::time::Time;

/// Segments sent with one call.
const SLICES: usize = 32;

impl Driver {
    /// Carries out what the shard asks for.
    pub(super) fn act(&mut self, now: Time) -> bool {
        let mut busy = false;
        while let Some(action) = self.shard.poll_action() {
            busy = true;
            match action {
                Action::Close(id) | Action::Abort(id) if self.gateway.is_link(id) => {
                    self.gateway.handle_close(&mut self.shard, id, now);
                }
                Action::Close(id) => {
                    if let Some(socket) = self.sockets.get_mut(id) {
                        socket.ending = Ending::Flushing;
                    }
                    self.write(id, now);
                }
                Action::Abort(id) => self.gone(id, CloseCause::Asked, now),
                Action::HandOff {
                    connection,
                    to,
                    origin,
                    bytes,
                } => self.hand_off(connection, to, origin, bytes),
                Action::Relay {
                    connection,
                    to,
                    origin,
                    bytes,
                } => self.pass_on(connection, to, origin, bytes),
                Action::Authenticate(id, question) => self.ask_login(id, question, now),
                Action::Authorize(id, request) => {
                    self.logins.authorize(self.id, id, *request);
                }
                Action::Notice(notice) => super::logging::notice(&notice),
            }
        }
        busy
    }

    /// A failed login counts against the client's source address, unless that is the address of a trusted
    /// proxy which has named no client.
    fn ask_login(&mut self, id: ConnectionId, question: Box<Question>, now: Time) {
        let listener = match self.sockets.get(id) {
            Some(socket) => Some(socket.listener),
            None => self.gateway.listener_of(id),
        };
        let listening = listener.and_then(|listener| self.listeners.get(listener.index()));
        let source = question.address;
        // None: the broker stops and has closed its listeners.
        let source = source.filter(|ip| listening.is_some_and(|own| !own.gate.is_proxy(*ip)));
        if let Some(verdict) = self.logins.ask(self.id, id, question, source) {
            self.shard.handle_authenticated(id, verdict, now);
        }
    }

    /// Moves a connection to its home shard, with its layers and the bytes already read.
    fn hand_off(&mut self, id: ConnectionId, to: ShardId, origin: Origin, bytes: Vec<u8>) {
        let Some(socket) = self.sockets.remove(id) else {
            return; // failed meanwhile
        };
        self.poller.forget(id, socket.blocked);
        let Socket {
            descriptor, layers, ..
        } = socket;
        let moved = MovedSocket {
            socket: descriptor,
            origin,
            layers,
            bytes,
        };
        self.mesh.hand_off(to, Box::new(moved));
    }

    /// Gives a connection to the thread that passes it on to the node that serves it.
    fn pass_on(&mut self, id: ConnectionId, to: Arc<Peer>, origin: Origin, bytes: Vec<u8>) {
        let Some(socket) = self.sockets.remove(id) else {
            return; // failed meanwhile
        };
        self.poller.forget(id, socket.blocked);
        let gate = self.listeners.get(socket.listener.index());
        let gate = gate.map(|listening| Arc::clone(&listening.gate));
        let shared = self.mesh.shared_arc();
        let closed = move || {
            shared.count_closed();
            if let Some(gate) = gate {
                gate.leave();
            }
        };
        let client = RelayedClient {
            socket: socket.descriptor,
            layers: socket.layers,
            to,
            origin,
            bytes,
            counted: Counted::new(closed),
        };
        self.mesh.shared().pass_on(client);
    }

    /// Continues writing on connections whose sockets have become writable.
    pub(super) fn write_unblocked(&mut self, now: Time) {
        for id in std::mem::take(&mut self.writable) {
            self.write(id, now);
        }
    }

    /// Sends what waits on all connections, plain ones together.
    pub(super) fn transmit(&mut self, now: Time) -> bool {
        let mut busy = false;
        loop {
            let mut others = Vec::new();
            while self.batch.len() < SENDS {
                let Some(id) = self.shard.poll_transmit() else {
                    break;
                };
                busy = true;
                if self.is_plain(id) {
                    self.batch.push(id);
                } else if self.gateway.is_link(id) {
                    self.gateway.handle_transmit(&mut self.shard, id, now);
                } else {
                    others.push(id);
                }
            }
            if self.batch.is_empty() && others.is_empty() {
                return busy;
            }
            self.write_batch(now);
            for id in others {
                self.write(id, now);
            }
        }
    }

    /// True when all that waits on a connection can be sent as it lies there.
    fn is_plain(&self, id: ConnectionId) -> bool {
        let is_open = |socket: &Socket| socket.layers.is_none() && !socket.blocked;
        let mut slices = [IoSlice::new(&[]); 2];
        self.sockets.get(id).is_some_and(is_open) && self.shard.outgoing(id, &mut slices) == 1
    }

    /// Sends what waits on the connections of the batch in one call.
    fn write_batch(&mut self, now: Time) {
        let batch = std::mem::take(&mut self.batch);
        if batch.len() > 1 {
            let Self {
                sends,
                shard,
                sockets,
                ..
            } = self;
            // All have their socket: nothing has happened since it was looked at.
            sends.send(batch.iter().filter_map(|id| {
                let mut slices = [IoSlice::new(&[]); 1];
                let _one = shard.outgoing(*id, &mut slices); // looked at by `is_plain`
                Some((sockets.get(*id)?.descriptor.as_fd(), slices[0]))
            }));
        }
        for (position, id) in batch.iter().enumerate() {
            let count = self.sends.take_count(position);
            if count > 0 {
                self.shard.handle_written(*id, count, now);
            }
            self.write(*id, now); // what is left, and the reason why
        }
        self.batch = batch;
        self.batch.clear();
    }

    /// Sends what waits on a connection until none is left or the socket has no room.
    pub(super) fn write(&mut self, id: ConnectionId, now: Time) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if socket.layers.is_some() {
            self.write_layered(id, now);
            return;
        }
        while !socket.blocked {
            match send_some(&self.shard, socket) {
                Sent::Nothing => break,
                Sent::All(count) => self.shard.handle_written(id, count, now),
                Sent::Part(count) => {
                    socket.blocked = true;
                    self.poller.watch_writable(socket.descriptor.as_fd(), id);
                    if count > 0 {
                        self.shard.handle_written(id, count, now);
                    }
                }
                Sent::Failed => {
                    self.write_failed(id, now);
                    return;
                }
            }
        }
        if !socket.blocked {
            self.all_written(id, now);
        }
    }

    /// Continues the close of a connection whose outgoing bytes are all sent.
    pub(super) fn all_written(&mut self, id: ConnectionId, now: Time) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        match socket.ending {
            Ending::Open | Ending::Lingering => {}
            Ending::LastBytes => self.gone(id, CloseCause::Asked, now),
            Ending::Flushing => {
                socket.ending = Ending::Lingering;
                let _ = shutdown(&socket.descriptor, Shutdown::Write);
                if !socket.listed {
                    socket.listed = true;
                    self.others.push(id);
                }
            }
        }
    }

    pub(super) fn send_blocks(&mut self) -> bool {
        let Self {
            mesh,
            shard,
            gateway,
            ..
        } = self;
        mesh.send(
            |to, lane| shard.poll_block(to, lane),
            |to| gateway.poll_crossings(to),
        )
    }
}

/// What one call sent.
enum Sent {
    Nothing,
    All(usize),
    /// The socket has no more room.
    Part(usize),
    Failed,
}

fn send_some(shard: &Shard, socket: &Socket) -> Sent {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let count = shard.outgoing(socket.id, &mut slices);
    let slices = &slices[..count];
    let offered: usize = slices.iter().map(|slice| slice.len()).sum();
    if offered == 0 {
        return Sent::Nothing;
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    loop {
        let sent = match slices {
            [one] => send(&socket.descriptor, one, flags),
            many => {
                let mut none = SendAncillaryBuffer::default();
                sendmsg(&socket.descriptor, many, &mut none, flags)
            }
        };
        return match sent {
            Ok(count) if count == offered => Sent::All(count),
            Ok(count) => Sent::Part(count),
            Err(Errno::AGAIN) => Sent::Part(0),
            Err(Errno::INTR) => continue,
            Err(_) => Sent::Failed,
        };
    }
}
