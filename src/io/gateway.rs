//! The driver's part of the gateway for MQTT-SN: datagrams in and out.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use super::datagrams::{send, BATCH};
use super::driver::Driver;
use super::listener::{self, Listening};
use crate::gateway::{Crossing, Outgoing};
use crate::ids::{ListenerId, ShardId};
use crate::time::Time;

/// Largest datagram that clients of QUIC are allowed to send.
const QUIC_DATAGRAM: usize = 1_472;
/// Calls for datagrams of one listener in one turn.
const TURN_BATCHES: usize = 4;

impl Driver {
    /// Takes the listeners of MQTT-SN among all.
    pub(super) fn listen_for_datagrams(&mut self, listeners: &[Listening]) {
        let datagrams = &mut self.datagrams;
        datagrams.readable.resize(listeners.len(), false);
        datagrams.sockets.resize_with(listeners.len(), || None);
        let mut largest = 0;
        for (socket, listening) in datagrams.sockets.iter_mut().zip(listeners) {
            let size = match (&listening.mqtt_sn, listening.factory.quic()) {
                (Some(settings), _) => usize::from(settings.datagram_max),
                (None, Some(_)) => QUIC_DATAGRAM,
                (None, None) => 0,
            };
            // Without a descriptor to spare the one there is stays in use.
            *socket = match &listening.socket {
                Some(own) if size > 0 => {
                    largest = largest.max(size);
                    own.try_clone().ok().or(socket.take())
                }
                _ => None,
            };
        }
        if largest > 0 {
            datagrams.batch.reserve(largest);
        }
        if self.gateway.has_groups() {
            let wanted = listeners.iter().map(|one| {
                let address = listener::address(one.socket.as_ref()?).ok()?;
                Some((one.mqtt_sn.as_ref()?.multicast?, address.ip()))
            });
            let wanted: Vec<_> = wanted.collect();
            datagrams.join(&wanted, &mut self.poller);
        }
        self.listen_for_quic(listeners);
        let settings = listeners.iter().map(|one| one.mqtt_sn.clone());
        self.gateway.handle_settings(settings.collect());
    }

    /// Receives datagrams, a few batches of each listener.
    pub(super) fn read_datagrams(&mut self, now: Time) -> bool {
        let mut busy = false;
        for index in 0..self.datagrams.readable.len() {
            busy |= self.read_group(index, now);
            for _ in 0..TURN_BATCHES {
                if !self.datagrams.readable[index] {
                    break;
                }
                busy = true;
                let is_left = self.stopping && !self.quics.has(index);
                if is_left || self.shard.is_turn_spent() {
                    break; // what waits is in the kernel
                }
                self.read_batch(index, now);
                self.act(now);
            }
        }
        busy && !self.stopping
    }

    /// Receives what has come to the group of a listener.
    fn read_group(&mut self, index: usize, now: Time) -> bool {
        if self.stopping || !self.datagrams.receive_of_group(index, &mut self.poller) {
            return false;
        }
        let gate = self.listeners.get(index).map(|listening| &listening.gate);
        for (from, bytes) in self.datagrams.batch.received() {
            let source = from.ip().to_canonical();
            if gate.is_some_and(|gate| gate.takes_datagram(source, now)) {
                let of = (ListenerId(index as u16), from);
                self.gateway.handle_group_datagram(of, bytes, now);
            }
        }
        true
    }

    fn read_batch(&mut self, index: usize, now: Time) {
        if !self.receive_batch(index) {
            return;
        }
        if self.quics.has(index) {
            self.take_quic_batch(index, now);
            return;
        }
        let Self {
            datagrams,
            gateway,
            shard,
            listeners,
            logins,
            mesh,
            ..
        } = self;
        let mut admit = |listener: ListenerId, from: IpAddr| {
            let from = from.to_canonical();
            let Some(Listening { gate, .. }) = listeners.get(listener.index()) else {
                return false;
            };
            if logins.is_banned(from, now) || gate.admit(Some(from), now).is_err() {
                return false;
            }
            let has_room = mesh.shared().count_opened();
            if !has_room {
                gate.leave();
            }
            has_room
        };
        let listener = ListenerId(index as u16);
        let gate = listeners.get(index).map(|listening| &listening.gate);
        for (from, bytes) in datagrams.batch.received() {
            let source = from.ip().to_canonical();
            if gate.is_some_and(|gate| gate.takes_datagram(source, now)) {
                gateway.handle_datagram(shard, (listener, from), bytes, &mut admit, now);
            }
        }
        gateway.handle_batch_end(shard, now);
        self.count_left();
    }

    /// Receives what waits for a listener; false: it was removed.
    fn receive_batch(&mut self, index: usize) -> bool {
        let datagrams = &mut self.datagrams;
        let Some(socket) = datagrams.sockets[index].as_ref() else {
            datagrams.readable[index] = false;
            return false;
        };
        // An error is one of an earlier datagram of ours, or there is nothing.
        let count = datagrams.batch.receive(socket.as_fd()).unwrap_or(0);
        if count < BATCH {
            datagrams.readable[index] = false;
            self.poller.watch_acceptable(socket.as_fd(), index as u32);
        }
        true
    }

    /// What gateways of other shards have for this one's.
    pub(super) fn receive_crossings(&mut self, from: ShardId, crossings: Vec<Crossing>, now: Time) {
        for crossing in crossings {
            self.gateway
                .handle_crossing(&mut self.shard, from, crossing, now);
        }
        self.gateway.handle_batch_end(&mut self.shard, now);
        self.count_left();
        self.act(now);
    }

    /// Deadlines of clients, and what their shard did not want before.
    pub(super) fn turn_of_gateway(&mut self, now: Time) -> bool {
        let is_due = self.gateway.poll_timeout().is_some_and(|due| due <= now);
        if is_due {
            self.gateway.handle_timeout(&mut self.shard, now);
        }
        let busy = self.gateway.handle_turn(&mut self.shard, now);
        self.count_left();
        busy || is_due
    }

    fn count_left(&mut self) {
        while let Some(listener) = self.gateway.poll_left() {
            self.count_closed(listener);
        }
    }

    /// Sends all datagrams there are, those of one listener that are behind each other together.
    pub(super) fn send_datagrams(&mut self) -> bool {
        let outgoing: Vec<Outgoing<'_>> = self.gateway.outgoing().collect();
        if outgoing.is_empty() {
            return false;
        }
        for same in outgoing.chunk_by(|one, next| one.listener == next.listener) {
            let Some(socket) = self.datagrams.socket(same[0].listener.index()) else {
                continue; // the listener was removed
            };
            for batch in same.chunks(BATCH) {
                let datagrams = batch.iter().map(|one| (one.address, one.bytes));
                let datagrams: Vec<(SocketAddr, &[u8])> = datagrams.collect();
                send(socket, datagrams.into_iter());
            }
        }
        self.gateway.handle_sent();
        self.count_left();
        true
    }
}
