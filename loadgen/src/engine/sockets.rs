//! A worker's sockets: open, read, write, close.

use std::cmp::Reverse;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use rustix::io::Errno;
use rustix::net::{recv, send, shutdown, sockopt, RecvFlags, SendFlags, Shutdown};

use super::clock::now_ns;
use super::control::SECOND_NS;
use super::slot::{connect_sentence, open, Slot};
use super::worker::{Worker, READ_BUFFER};
use crate::client::{Client, Promise, State};
use crate::meter::{Count, Timing};
use crate::sources::source_of;

/// Bytes read in one turn, so that messages due are not kept waiting.
const TURN_BYTES: usize = 1 << 20;
/// Buffers kept for later, and the largest of them.
const POOL_MAX: usize = 1_024;
const POOLED_BYTES_MAX: usize = 1 << 20;
/// A slow reader takes its rate in this many parts per second.
const RESTS_PER_S: u64 = 20;

impl Worker {
    /// Begins to connect a client, which was to be done at `asked_ns`.
    pub(super) fn open(&mut self, slot: usize, asked_ns: u64, now: u64) {
        let (_, target) = self.target_of(slot);
        let client = &self.slots[slot].client;
        let common = &self.control.plan.connection;
        // Every generator has addresses of its own.
        let own_number = self.control.plan.share.place(client.number);
        let source = source_of(&common.sources, u64::from(own_number));
        let place = &mut self.slots[slot];
        place.client.open(asked_ns);
        let group = usize::from(place.client.group);
        if !self.control.plan.groups[group].is_taken_over {
            let began = self.control.takeovers.get(place.client.index as usize);
            began.inspect(|began| began.store(now, Ordering::Release));
        }
        match open(target, source) {
            Ok(socket) => {
                place.generation = (place.generation + 1) & ((1 << 30) - 1);
                place.blocked = true;
                place.ending = false;
                place.ended = false;
                place.last_sent_ns = now;
                let id = place.id(slot);
                self.poller.watch_writable(socket.as_fd(), id);
                place.socket = Some(socket);
                self.deadlines.add(id, Promise::ConnAck, now);
            }
            Err(sentence) => self.lost(slot, sentence),
        }
    }

    pub(super) fn handle_writable(&mut self, slot: usize, now: u64) {
        let place = &self.slots[slot];
        if place.client.state == State::Opening && place.link.is_none() {
            self.opened(slot, now);
        } else {
            let place = &mut self.slots[slot];
            if !place.dirty {
                place.dirty = true;
                self.dirty.push(slot as u32);
            }
        }
    }

    /// The transport is open, or has failed.
    fn opened(&mut self, slot: usize, now: u64) {
        let place = &mut self.slots[slot];
        let Some(socket) = &place.socket else {
            return;
        };
        if let Ok(Err(error)) | Err(error) = sockopt::socket_error(socket) {
            let (_, target) = self.target_of(slot);
            self.lost(slot, connect_sentence(error, target));
            return;
        }
        let id = place.id(slot);
        self.poller.watch_readable(socket.as_fd(), id);
        if !self.begin_link(slot, now) {
            self.with(slot, now, |client, cx| client.connect(cx.plan));
        }
    }

    /// A connection has ended without being asked to.
    pub(super) fn lost(&mut self, slot: usize, sentence: String) {
        if self.try_next(slot, &sentence) {
            return;
        }
        let state = self.slots[slot].client.state;
        let group = usize::from(self.slots[slot].client.group);
        let is_taken_over = self.control.plan.groups[group].is_taken_over && state == State::Ready;
        if is_taken_over && !self.slots[slot].ending {
            self.taken_over(slot);
        }
        if self.slots[slot].ending || is_taken_over {
            self.count(Count::Closed);
            self.close(slot);
            return;
        }
        if state == State::Ready {
            self.count(Count::Disconnected);
            self.with(slot, now_ns(), |client, cx| client.broken(false, cx));
            let client = &mut self.slots[slot].client;
            (client.was_lost, client.is_away) = (true, true);
        }
        self.close(slot);
        if self.schedule_reconnect(slot, state, now_ns()) {
            self.meter.interruption(sentence);
            return;
        }
        if state != State::Ready {
            self.count(Count::ConnectFailed);
        }
        self.error(sentence);
    }

    /// A new connection with the same identifier has made the broker end this one.
    fn taken_over(&mut self, slot: usize) {
        self.count(Count::TakenOver);
        let index = self.slots[slot].client.index as usize;
        let began = self.control.takeovers.get(index);
        let began_ns = began.map_or(0, |began| began.load(Ordering::Acquire));
        if began_ns > 0 {
            let took = now_ns().saturating_sub(began_ns);
            self.meter.time(Timing::Takeover, took);
        }
    }

    /// Closes a connection as it is.
    pub(super) fn close(&mut self, slot: usize) {
        let place = &mut self.slots[slot];
        let id = place.id(slot);
        if let Some(socket) = place.socket.take() {
            self.poller.forget(id, place.blocked);
            // The ring holds the socket until it has seen `forget`: end it for the broker now.
            let _ = shutdown(&socket, Shutdown::Both);
        }
        place.sent = 0;
        place.link = None;
        place.partial = Vec::new();
        place.client.closed();
        if place.client.out.capacity() > 0 {
            self.pool.push(std::mem::take(&mut place.client.out));
        }
        self.settle(slot);
        self.closed_by_churn(slot);
        self.sleep_after_life(slot, now_ns());
    }

    /// The client's part in the step is over.
    pub(super) fn settle(&mut self, slot: usize) {
        let client = &mut self.slots[slot].client;
        if !client.settled {
            client.settled = true;
            self.work.unsettled -= 1;
        }
    }

    /// Reads each socket that may have bytes once, within the turn's budget.
    pub(super) fn read(&mut self) -> bool {
        let now = now_ns();
        while self
            .resting
            .peek()
            .is_some_and(|resting| resting.0 .0 <= now)
        {
            if let Some(Reverse((_, slot))) = self.resting.pop() {
                self.readable.push_back(slot);
            }
        }
        let mut left = TURN_BYTES;
        let mut busy = false;
        for _ in 0..self.readable.len() {
            if left == 0 {
                return true;
            }
            let Some(slot) = self.readable.pop_front() else {
                break;
            };
            busy = true;
            left = left.saturating_sub(self.read_one(slot as usize));
        }
        busy
    }

    /// Reads one socket once; the bytes read.
    fn read_one(&mut self, slot: usize) -> usize {
        let place = &mut self.slots[slot];
        let Some(socket) = &place.socket else {
            place.listed = false;
            return 0;
        };
        let is_wrapped = place.link.is_some();
        let kept = if is_wrapped { 0 } else { place.partial.len() };
        let group = usize::from(place.client.group);
        let slow = self.control.plan.groups[group].read_bytes_per_s;
        let room = match slow {
            Some(rate) => ((rate / RESTS_PER_S).max(1) as usize).min(READ_BUFFER - kept),
            None => READ_BUFFER - kept,
        };
        self.buffer[..kept].copy_from_slice(&place.partial[..kept]);
        match recv(
            socket,
            &mut self.buffer[kept..kept + room],
            RecvFlags::DONTWAIT,
        ) {
            Ok((0, _)) => {
                place.listed = false;
                let sentence = ended("the broker closed a connection", place);
                self.lost(slot, sentence);
                0
            }
            Ok((count, _)) => {
                if let Some(rate) = slow {
                    let rest = count as u64 * SECOND_NS / rate.max(1);
                    self.resting.push(Reverse((now_ns() + rest, slot as u32)));
                } else if count == room || place.ended {
                    self.readable.push_back(slot as u32);
                } else {
                    place.listed = false; // drained: the next bytes raise a new event
                }
                self.meter.counts.add(Count::BytesReceived, count as u64);
                if is_wrapped {
                    self.handle_wrapped(slot, count);
                } else {
                    self.handle_buffer(slot, kept + count);
                }
                count
            }
            Err(Errno::AGAIN) => {
                place.listed = false;
                0
            }
            Err(Errno::INTR) => {
                self.readable.push_back(slot as u32);
                0
            }
            Err(error) => {
                place.listed = false;
                self.failed(slot, error);
                0
            }
        }
    }

    /// Gives `buffer[..end]` to a client, which has seen the beginning of it before.
    fn handle_buffer(&mut self, slot: usize, end: usize) {
        let buffer = std::mem::take(&mut self.buffer);
        self.handle_bytes(slot, &buffer[..end]);
        self.buffer = buffer;
    }

    /// Gives bytes to a client, those that it has seen before and kept first.
    pub(super) fn handle_bytes(&mut self, slot: usize, bytes: &[u8]) {
        let now = now_ns(); // once per read: what has come is received
        let was_ready = self.slots[slot].client.state == State::Ready;
        let result = self.with(slot, now, |client, cx| client.handle_bytes(bytes, cx));
        let place = &mut self.slots[slot];
        match result {
            Ok(used) => {
                place.partial.clear();
                place.partial.extend_from_slice(&bytes[used..]);
                if used == bytes.len() {
                    place.partial = Vec::new();
                }
                if place.partial.len() >= READ_BUFFER {
                    self.lost(
                        slot,
                        "the broker sent a packet with a head of over 256 KB".to_string(),
                    );
                }
            }
            Err(error) => {
                // An answer, even one that refuses, is no reason to ask elsewhere.
                place.attempts_left = 0;
                self.lost(slot, error.0);
            }
        }
        if !was_ready && self.slots[slot].client.state == State::Ready {
            self.look_for_silence(slot, now);
            self.reconnected(slot, now);
        }
        self.after_bytes(slot, now);
    }

    /// Sends what clients have put together in this turn, one write each.
    pub(super) fn flush(&mut self, now: u64) -> bool {
        let dirty = std::mem::take(&mut self.dirty);
        for slot in &dirty {
            self.slots[*slot as usize].dirty = false;
            self.write(*slot as usize, now);
        }
        let busy = !dirty.is_empty();
        if self.dirty.is_empty() {
            let mut dirty = dirty;
            dirty.clear();
            self.dirty = dirty; // keeps its memory
        }
        busy
    }

    fn write(&mut self, slot: usize, now: u64) {
        let place = &mut self.slots[slot];
        if place.link.is_some() {
            return self.write_wrapped(slot, now);
        }
        let Some(socket) = &place.socket else {
            return;
        };
        let waiting = &place.client.out[place.sent..];
        self.meter
            .counts
            .raise(Count::SendQueueMax, waiting.len() as u64);
        if waiting.is_empty() {
            return;
        }
        match send(socket, waiting, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => {
                self.meter.counts.add(Count::BytesSent, count as u64);
                place.last_sent_ns = now;
                if count == waiting.len() {
                    place.sent = 0;
                    self.sent_all(slot);
                } else {
                    place.sent += count;
                    self.await_room(slot);
                }
            }
            Err(Errno::AGAIN) => self.await_room(slot),
            Err(Errno::INTR) => {
                place.dirty = true;
                self.dirty.push(slot as u32);
            }
            Err(error) => self.failed(slot, error),
        }
    }

    /// A socket cannot be read or written any more.
    pub(super) fn failed(&mut self, slot: usize, error: Errno) {
        let sentence = ended(&format!("a connection failed: {error}"), &self.slots[slot]);
        self.lost(slot, sentence);
    }

    pub(super) fn await_room(&mut self, slot: usize) {
        let place = &mut self.slots[slot];
        if place.sent > 64 << 10 && place.sent * 2 > place.client.out.len() {
            place.client.out.drain(..place.sent);
            place.sent = 0;
        }
        place.blocked = true;
        let id = place.id(slot);
        if let Some(socket) = &place.socket {
            self.poller.watch_writable(socket.as_fd(), id);
        }
    }

    /// Gives the buffer back.
    pub(super) fn sent_all(&mut self, slot: usize) {
        let place = &mut self.slots[slot];
        let mut buffer = std::mem::take(&mut place.client.out);
        buffer.clear();
        if self.pool.len() < POOL_MAX && buffer.capacity() <= POOLED_BYTES_MAX {
            self.pool.push(buffer);
        }
        if place.ending {
            self.count(Count::Closed);
            self.close(slot);
        } else {
            self.after_sent(slot);
        }
    }

    /// Has the client's silence looked for. It is, three eighths of the keep alive apart, so it lasts
    /// three quarters of that at most.
    fn look_for_silence(&mut self, slot: usize, now: u64) {
        let place = &self.slots[slot];
        let check_ns = silence_ns(&place.client);
        if check_ns > 0 {
            let due = now + check_ns;
            self.pings.push(Reverse((due, place.id(slot))));
        }
    }

    /// Sends PINGREQ where a client has been silent for too long.
    pub(super) fn ping(&mut self, now: u64) -> bool {
        let mut busy = false;
        while self.pings.peek().is_some_and(|ping| ping.0 .0 <= now) {
            let Some(Reverse((_, id))) = self.pings.pop() else {
                break;
            };
            let slot = id.index as usize;
            let place = &self.slots[slot];
            if place.generation != id.generation || place.client.state != State::Ready {
                continue;
            }
            if place.last_sent_ns + silence_ns(&place.client) <= now {
                self.with(slot, now, |client, cx| client.ping(cx));
            }
            self.look_for_silence(slot, now);
            busy = true;
        }
        busy
    }
}

/// Sentence about the end of a connection, with a hint before MQTT has begun.
fn ended(what: &str, place: &Slot) -> String {
    let hint = match (place.client.state, &place.link) {
        (State::Opening, Some(_)) => {
            " in the handshake of TLS or WebSocket: is it what its port speaks?"
        }
        (State::AwaitsConnAck, None) => " before CONNACK: does its port speak plain MQTT?",
        _ => "",
    };
    format!("{what}{hint}")
}

fn silence_ns(client: &Client) -> u64 {
    u64::from(client.keep_alive_s) * SECOND_NS * 3 / 8
}
