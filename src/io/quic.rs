//! The driver's part of QUIC: datagrams in and out, and the bytes of streams.
//!
//! A connection of QUIC stays with the shard whose number is in its ids, since `quinn-proto` gives no connection to another
//! endpoint. Its MQTT is a connection of the client's home shard like any other: each stream is tied to one end of a pair of
//! sockets, and the other end is a plain connection that is handed off as a socket of TCP is. Room in the pair is the room
//! that the stream's window stands for, both ways.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Instant;

use super::datagrams::{send, BATCH};
use super::driver::Driver;
use super::listener::Listening;
use super::quic_pairs::{id_of, pair, Pair, Quics, LAST_WORDS};
use crate::ids::ListenerId;
use crate::shard::{Origin, RemoteEnd};
use crate::time::Time;
use crate::transport::quic::{Event, Key, Quic};

/// Calls for datagrams to be sent of one listener in one turn.
const TURN_SENDS: usize = 16;

impl Driver {
    /// Takes the listeners of QUIC among all; one that is removed leaves its connections as they are.
    pub(super) fn listen_for_quic(&mut self, listeners: &[Listening]) {
        let shards = self.mesh.shared().shards();
        let rows = &mut self.quics.rows;
        if rows.len() < listeners.len() {
            rows.resize_with(listeners.len(), || None);
        }
        for (row, listening) in rows.iter_mut().zip(listeners) {
            let Some(context) = listening.factory.quic() else {
                continue;
            };
            if let Some(row) = row {
                row.handle_context(context);
                continue;
            }
            let mut seed = [0; 32];
            if let Err(error) = getrandom::fill(&mut seed) {
                tracing::error!("QUIC: the kernel gives no random numbers: {error}");
                continue;
            }
            let began = Instant::now(); // stands for time 0; it is in no packet
            *row = Some(Quic::new(context, (self.id.0, shards), &seed, began));
        }
    }

    /// A batch of datagrams has come for a listener of QUIC.
    pub(super) fn take_quic_batch(&mut self, index: usize, now: Time) {
        let Self {
            datagrams,
            quics,
            listeners,
            logins,
            mesh,
            ..
        } = self;
        let Some(Some(quic)) = quics.rows.get_mut(index) else {
            return;
        };
        let gate = listeners.get(index).map(|listening| &listening.gate);
        let mut admit = |from: IpAddr| {
            let from = from.to_canonical();
            let Some(gate) = gate else {
                return false; // it was removed, or the broker stops
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
        for (from, bytes) in datagrams.batch.received() {
            quic.handle_datagram(from, bytes, &mut admit, now);
        }
        self.take_quic_events(index, now);
    }

    fn take_quic_events(&mut self, index: usize, now: Time) {
        while let Some(event) = self.quics.rows[index].as_mut().and_then(Quic::poll_event) {
            let of = |key: Key| (index as u16, key);
            match event {
                Event::Opened {
                    key,
                    address,
                    identity,
                } => self.open_stream(of(key), address, identity, now),
                Event::Readable(key) | Event::Writable(key) => {
                    if let Some(place) = self.quics.places.get(&of(key)).copied() {
                        self.quics.list(place);
                    }
                }
                Event::Ended { key, text } => {
                    tracing::debug!("a connection of QUIC has ended: {text}");
                    self.quics.note_ended(of(key));
                }
                Event::Failed { address, text } => {
                    tracing::debug!("connection of {address} over QUIC failed: {text}");
                    let listener = ListenerId(index as u16);
                    if let Some(listening) = self.listeners.get(index) {
                        listening.gate.shaken(false);
                    }
                    self.count_closed(listener);
                }
            }
        }
    }

    /// A client has opened its stream: its MQTT is a connection of this shard, until its home is known.
    fn open_stream(
        &mut self,
        (index, key): (u16, Key),
        address: SocketAddr,
        identity: Option<Box<str>>,
        now: Time,
    ) {
        let listener = ListenerId(index);
        if let Some(listening) = self.listeners.get(usize::from(index)) {
            listening.gate.shaken(true);
        }
        let Ok((end, plain)) = pair() else {
            self.driver_stats.accept_failed += 1;
            self.count_closed(listener);
            self.finish_stream((index, key), now);
            return;
        };
        let peer = (address.ip().to_canonical(), address.port()).into();
        let origin = Origin::new(RemoteEnd::Ip(peer), listener);
        let Some(id) = self.open(plain, origin, None, now) else {
            self.finish_stream((index, key), now);
            return;
        };
        self.shard.handle_origin(id, None, identity);
        let pair = Pair::new((index, key), end);
        self.quics.insert(pair, &mut self.poller);
    }

    fn finish_stream(&mut self, (index, key): (u16, Key), now: Time) {
        if let Some(Some(quic)) = self.quics.rows.get_mut(usize::from(index)) {
            quic.finish(key, now);
        }
    }

    /// Deadlines of connections, and the bytes of their streams. True when there was something to do.
    pub(super) fn turn_of_quic(&mut self, now: Time) -> bool {
        let mut busy = false;
        for index in 0..self.quics.rows.len() {
            let Some(quic) = &mut self.quics.rows[index] else {
                continue;
            };
            if quic.poll_timeout().is_some_and(|due| due <= now) {
                quic.handle_timeout(now);
                busy = true;
                self.take_quic_events(index, now);
            }
        }
        for _ in 0..self.quics.listed.len() {
            let Some(place) = self.quics.listed.pop_front() else {
                break;
            };
            busy = true;
            self.carry(place, now);
        }
        busy
    }

    fn carry(&mut self, place: u32, now: Time) {
        let Self {
            quics,
            buffer,
            poller,
            ..
        } = self;
        let Quics { rows, pairs, .. } = quics;
        let (generation, Some(pair)) = &mut pairs[place as usize] else {
            return;
        };
        let Some(Some(quic)) = rows.get_mut(usize::from(pair.listener)) else {
            return;
        };
        pair.is_listed = false;
        let was_blocked = pair.is_blocked;
        let has_more = pair.carry_up(quic, now) | pair.carry_down(quic, buffer, now);
        if pair.is_blocked && !was_blocked {
            poller.watch_writable(pair.end.as_fd(), id_of(place, *generation));
        }
        if pair.is_ended && pair.is_up_done {
            quics.remove(place, poller);
        } else if pair.is_down_done && pair.down.is_empty() {
            // The broker has closed its end, and the stream has all that it wrote.
            quic.finish(pair.key, now);
            quics.remove(place, poller);
        } else if has_more {
            quics.list(place);
        }
    }

    /// Sends what connections have to say; true when there was something.
    pub(super) fn send_quic(&mut self, now: Time) -> bool {
        let mut busy = false;
        for (index, row) in self.quics.rows.iter_mut().enumerate() {
            let Some(quic) = row else { continue };
            for _ in 0..TURN_SENDS {
                let has_more = quic.handle_turn(now);
                let outgoing: Vec<_> = quic.outgoing().collect();
                if outgoing.is_empty() {
                    break;
                }
                busy = true;
                if let Some(socket) = self.datagrams.socket(index) {
                    for batch in outgoing.chunks(BATCH) {
                        let datagrams = batch.iter().map(|one| (one.address, one.bytes));
                        send(socket, datagrams);
                    }
                }
                quic.handle_sent();
                if !has_more {
                    break;
                }
            }
        }
        busy
    }

    /// Another process has the sockets for datagrams, and nothing comes in any more: what shards have written for clients last
    /// goes out, as far as it may without an answer.
    pub(super) fn see_quic_off(&mut self) {
        let last = self.clock.now() + LAST_WORDS;
        loop {
            let now = self.clock.now();
            for place in 0..self.quics.pairs.len() as u32 {
                if let (_, Some(pair)) = &mut self.quics.pairs[place as usize] {
                    pair.is_readable = true;
                }
                self.carry(place, now);
            }
            self.send_quic(now);
            let left = last.since(now).as_millis();
            if left == 0 || !self.quics.await_last(left) {
                return;
            }
        }
    }

    /// This process serves no clients of QUIC any more, and says so to them.
    pub(super) fn close_quic(&mut self, now: Time) {
        for quic in self.quics.rows.iter_mut().flatten() {
            quic.close_all(now);
        }
        self.send_quic(now);
    }
}
