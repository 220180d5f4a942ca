//! Data path of connections with transport layers: the driver's part.
//!
//! The data path of a plain connection is in [`super::input`] and [`super::output`].

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};

use super::driver::Driver;
use super::layers::{push, End, Layers, Pushed};
use super::sockets::Ending;
use crate::ids::ConnectionId;
use crate::mqtt::ReasonCode;
use crate::shard::{CloseCause, RemoteEnd, Shard};
use crate::time::Time;
use crate::transport::{Farewell, LayerError, Scratch, Stack};

/// Segments wrapped with one call.
const SLICES: usize = 32;
/// Bytes wrapped with one call: what is kept of a socket without room is little more.
const WRAP_BYTES: usize = 64 << 10;
/// Answers of layers up to this size go out together with what is wrapped next.
const JOINED_MAX: usize = 4 << 10;

impl Driver {
    /// Gives the first `count` bytes of the buffer to the layers, and what they make of them to the shard.
    pub(super) fn receive_layered(&mut self, id: ConnectionId, count: usize, now: Time) {
        let Self {
            shard,
            sockets,
            buffer,
            scratch,
            listeners,
            logins,
            driver_stats,
            ..
        } = self;
        let bytes = &mut buffer[..count];
        let Some(socket) = sockets.get_mut(id) else {
            return;
        };
        let Some(layers) = &mut socket.layers else {
            return;
        };
        let gate = || listeners.get(socket.listener.index()).map(|l| &l.gate);
        match layers.stack.receive(bytes, scratch) {
            Err(error) => {
                if let Some(gate) = gate().filter(|_| !layers.stack.is_open()) {
                    gate.shaken(false);
                }
                layers.is_broken = true;
                layers.end = Some(End::Broken(error));
            }
            Ok(()) if layers.stack.is_ended() => layers.end = Some(End::PeerClosed),
            Ok(()) => {}
        }
        layers.unsent.extend_from_slice(&scratch.down);
        if let Some(client) = layers.stack.take_address() {
            let gate = gate();
            // It may name itself, as a health check, or another proxy.
            let is_proxy = gate.is_some_and(|gate| gate.is_proxy(client.ip()));
            let is_banned = !is_proxy && logins.is_banned(client.ip(), now);
            driver_stats.banned += u64::from(is_banned);
            let refused = match gate.map(|gate| gate.admit_named(client.ip(), now)) {
                _ if is_banned => Some("its address is banned".into()),
                Some(Err(refusal)) => gate.map(|gate| gate.describe(refusal)),
                _ => None,
            };
            if let Some(text) = refused {
                shard.handle_origin(id, Some(RemoteEnd::Ip(client)), None);
                layers.end = Some(End::Broken(LayerError(text)));
                return;
            }
        }
        if let Some(learned) = layers.stack.take_learned() {
            if let Some(gate) = gate() {
                gate.shaken(true);
            }
            shard.handle_origin(id, learned.address.map(RemoteEnd::Ip), learned.identity);
        }
        if layers.stack.is_spent() && layers.unsent.is_empty() {
            socket.layers = None;
        }
        if !scratch.up.is_empty() {
            shard.handle_bytes(id, &scratch.up, now);
        }
    }

    /// Lets what the layers have answered be sent, and acts upon the end they have seen.
    pub(super) fn settle_layers(&mut self, id: ConnectionId, now: Time) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return; // closed, or moved together with its layers
        };
        let Some(layers) = &mut socket.layers else {
            return;
        };
        let end = layers.end.take();
        if !layers.unsent.is_empty() {
            if end.is_none() {
                // With the shard's own answers, at the end of the turn.
                self.writable.push(id);
                return;
            }
            self.write(id, now);
        }
        match end {
            None => {}
            Some(End::PeerClosed) => self.stream_ended(id, now),
            Some(End::Broken(error)) => {
                self.shard.handle_broken(id, &error.0, now);
                self.act(now);
            }
        }
    }

    /// The stream has ended: inside a handshake or a unit of a layer, that is logged.
    pub(super) fn judge_end(&mut self, id: ConnectionId, now: Time) {
        let socket = self.sockets.get_mut(id);
        let Some(socket) = socket.filter(|socket| socket.ending == Ending::Open) else {
            return;
        };
        let Some(layers) = &mut socket.layers else {
            return;
        };
        if let Err(error) = layers.stack.end_of_stream() {
            let listener = self.listeners.get(socket.listener.index());
            if let Some(listener) = listener.filter(|_| !layers.stack.is_open()) {
                listener.gate.shaken(false);
            }
            self.shard.handle_broken(id, &error.0, now);
            self.act(now);
        }
    }

    /// Sends what waits on a connection with layers until none is left or the socket has no room.
    pub(super) fn write_layered(&mut self, id: ConnectionId, now: Time) {
        loop {
            let Some(socket) = self.sockets.get_mut(id) else {
                return;
            };
            let Some(layers) = socket.layers.as_mut().filter(|_| !socket.blocked) else {
                return;
            };
            // More is wrapped only while little waits; then both go out with one call, as the ticket of a
            // handshake and CONNACK do.
            let wrapped = if layers.unsent.len() <= JOINED_MAX {
                wrap(&self.shard, id, &mut layers.stack, &mut self.scratch)
            } else {
                self.scratch.down.clear();
                Ok(0)
            };
            let wrapped = match wrapped {
                // Bytes of the failed layer itself, an alert maybe, are the last and are still to be sent.
                Err(_) if layers.is_broken => {
                    self.scratch.down.clear();
                    Ok(0)
                }
                wrapped => wrapped,
            };
            match wrapped {
                Ok(0) if !layers.unsent.is_empty() => {}
                Ok(0) if socket.ending == Ending::Open || layers.close_notify_sent => {
                    self.all_written(id, now);
                    return;
                }
                Ok(0) => {
                    layers.close_notify_sent = true;
                    layers.stack.explain(farewell(self.shard.end_reason(id)));
                    layers.stack.close(&mut self.scratch);
                }
                Ok(count) => self.shard.handle_written(id, count, now),
                Err(_) => {
                    push(&socket.descriptor, &layers.unsent); // maybe an alert with the reason
                    self.gone(id, CloseCause::Failed, now);
                    return;
                }
            }
            let pushed = layers.push(&socket.descriptor, &self.scratch.down);
            match pushed {
                Pushed::All => {}
                Pushed::Part(_) => {
                    socket.blocked = true;
                    self.poller.watch_writable(socket.descriptor.as_fd(), id);
                }
                Pushed::Failed => {
                    self.write_failed(id, now);
                    return;
                }
            }
            self.take_owed(id, now);
        }
    }

    /// Answers a client that has closed its side with our close message, if the socket has room.
    pub(super) fn send_close_notify(
        scratch: &mut Scratch,
        descriptor: &OwnedFd,
        layers: &mut Layers,
    ) {
        if !layers.close_notify_sent && layers.unsent.is_empty() {
            layers.stack.close(scratch);
            push(descriptor, &scratch.down);
        }
    }
}

/// Close reason of the layers for our reason code; without one the client has closed first.
pub(super) fn farewell(reason: Option<ReasonCode>) -> Farewell {
    use ReasonCode as R;
    match reason {
        None | Some(R::Success) => Farewell::Done,
        Some(R::ServerShuttingDown) => Farewell::GoingAway,
        Some(R::PacketTooLarge) => Farewell::TooLarge,
        Some(R::ServerBusy | R::ServerUnavailable | R::QuotaExceeded) => Farewell::TryLater,
        Some(
            R::BadUserNameOrPassword
            | R::NotAuthorized
            | R::Banned
            | R::BadAuthenticationMethod
            | R::KeepAliveTimeout
            | R::SessionTakenOver
            | R::MessageRateTooHigh
            | R::AdministrativeAction
            | R::ConnectionRateExceeded
            | R::MaximumConnectTime,
        ) => Farewell::NotAllowed,
        Some(_) => Farewell::ProtocolError,
    }
}

/// Wraps what the shard has to send into `down` of `scratch`, as much as is sent at once; returns how
/// many of its bytes.
fn wrap(
    shard: &Shard,
    id: ConnectionId,
    stack: &mut Stack,
    scratch: &mut Scratch,
) -> Result<usize, LayerError> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let count = shard.outgoing(id, &mut slices);
    let mut cut = [IoSlice::new(&[]); SLICES];
    let mut offered = 0;
    for (slot, slice) in cut.iter_mut().zip(&slices[..count]) {
        let bytes = &slice[..slice.len().min(WRAP_BYTES - offered)];
        *slot = IoSlice::new(bytes);
        offered += bytes.len();
    }
    if offered > 0 {
        stack.send(&cut[..count], scratch)?;
    } else {
        scratch.down.clear();
    }
    Ok(offered)
}
