//! Sockets between clients and shards: partial reads and writes, ends seen late, no room.

use std::collections::VecDeque;
use std::io::IoSlice;

use super::{origin, World};
use crate::ids::ConnectionId;
use crate::shard::CloseCause;
use crate::sim::random::Random;
use crate::time::Time;

const NS_PER_S: u64 = 1_000_000_000;
/// No packet of a client is larger.
const PACKET_MAX: u64 = 400;

/// A client's end of a connection.
#[derive(Debug)]
pub(super) struct Socket {
    /// Shard and id; `None` once the broker's end is closed or on its way to another shard.
    pub(super) at: Option<(usize, ConnectionId)>,
    /// On its way to a shard, with the bytes it had read.
    pub(super) moving: bool,
    pub(super) to_broker: VecDeque<u8>,
    pub(super) to_client: VecDeque<u8>,
    pub(super) closed_by_broker: bool,
    pub(super) closed_by_client: bool,
    /// The broker has more to send than the socket holds.
    pub(super) is_blocked: bool,
    /// When the broker had done with it.
    pub(super) gone_at: Option<Time>,
    /// The shard has seen its end and has packets of it left for its next turns.
    pub(super) ending: Option<(usize, ConnectionId)>,
    /// When the broker last read from it.
    pub(super) read_at: Time,
    /// When the broker had last read everything.
    pub(super) emptied_at: Time,
    /// Since when there is something that it has not read.
    pub(super) unread_since: Option<Time>,
    pub(super) opened_at: Time,
    /// The broker has answered its CONNECT; bytes read since then.
    pub(super) is_answered: bool,
    pub(super) read_since: u64,
}

impl Socket {
    /// The broker waited for room, and there is some.
    pub(super) fn can_go_on(&self) -> bool {
        self.is_blocked && self.at.is_some() && self.to_client.is_empty()
    }
}

impl World {
    /// A client connects to some shard.
    pub fn open(&mut self, random: &mut Random) -> usize {
        let shard = random.below(self.shards.len());
        let at = self.shards[shard]
            .handle_opened(origin(), self.now)
            .map(|id| (shard, id));
        self.sockets.push(Socket {
            closed_by_broker: at.is_none(),
            at,
            moving: false,
            to_broker: VecDeque::new(),
            to_client: VecDeque::new(),
            closed_by_client: false,
            is_blocked: false,
            gone_at: at.is_none().then_some(self.now),
            ending: None,
            read_at: self.now,
            emptied_at: self.now,
            unread_since: None,
            opened_at: self.now,
            is_answered: false,
            read_since: 0,
        });
        self.sockets.len() - 1
    }

    pub fn send(&mut self, socket: usize, bytes: &[u8]) {
        let now = self.now;
        let socket = &mut self.sockets[socket];
        socket.unread_since.get_or_insert(now);
        socket.to_broker.extend(bytes);
    }

    /// Some of what has arrived at the client; `None` when the broker has closed and all is read.
    pub fn receive(&mut self, socket: usize, random: &mut Random) -> Option<Vec<u8>> {
        let piece_max = self.parameters.piece_max;
        let socket = &mut self.sockets[socket];
        if socket.to_client.is_empty() {
            return (!socket.closed_by_broker).then(Vec::new);
        }
        let count = socket.to_client.len().min(1 + random.below(piece_max));
        Some(socket.to_client.drain(..count).collect())
    }

    /// Something has arrived at the client.
    pub(in crate::sim) fn has_bytes(&self, socket: usize) -> bool {
        !self.sockets[socket].to_client.is_empty()
    }

    /// No client has anything more to read.
    pub(in crate::sim) fn is_delivered(&self) -> bool {
        let mut open = self.sockets.iter().filter(|socket| socket.at.is_some());
        open.all(|socket| !socket.is_blocked && socket.to_client.is_empty())
    }

    /// The client closes without a word; what it sent may or may not be read.
    pub fn cut(&mut self, socket: usize) {
        self.sockets[socket].closed_by_client = true;
        self.sockets[socket].to_client.clear();
    }

    /// The broker has closed its end.
    pub(in crate::sim) fn is_closed(&self, socket: usize) -> bool {
        self.sockets[socket].closed_by_broker
    }

    /// The broker has done with the socket, wherever it was.
    pub(in crate::sim) fn gone_at(&self, socket: usize) -> Option<Time> {
        self.sockets[socket].gone_at
    }

    /// When the broker last read from the socket; `None`: there is more to read.
    pub(in crate::sim) fn read_at(&self, socket: usize) -> Option<Time> {
        let socket = &self.sockets[socket];
        let (shard, id) = socket.at?;
        let is_read = socket.to_broker.is_empty() && !self.shards[shard].is_paused(id);
        is_read.then_some(socket.read_at)
    }

    /// What had arrived at a shard by then was read, but for connections that it does not want to read.
    pub(super) fn heard_until(&self, shard: usize) -> Time {
        let unread = |socket: &Socket| {
            let at = socket.at.filter(|(at, _)| *at == shard);
            let since = socket.unread_since?;
            // Whoever waits only for the next turn is not read because of us.
            let counts =
                |id| self.shards[shard].is_turn_spent() || self.shards[shard].wants_input(id);
            at.filter(|(_, id)| counts(*id)).map(|_| since)
        };
        let earliest = self.sockets.iter().filter_map(unread).min();
        earliest.map_or(self.now, |at| at.min(self.now))
    }

    /// When the broker had last read all of a socket that it could read now, and since when there is
    /// something it has not read.
    pub(in crate::sim) fn unread(&self, socket: usize) -> Option<(Time, Time)> {
        let socket = &self.sockets[socket];
        let (shard, id) = socket.at?;
        let can_read = self.shards[shard].wants_input(id);
        // Older bytes were passed over once because their connection did not want them.
        let unread = socket
            .unread_since
            .filter(|at| *at >= self.timed_until[shard]);
        unread
            .filter(|_| can_read)
            .map(|at| (socket.emptied_at, at))
    }

    /// The sockets of a shard of which packets wait for its next turn.
    pub(super) fn paused(&self, shard: usize) -> Vec<usize> {
        let paused = |socket: &Socket| {
            let at = socket.at.filter(|(at, _)| *at == shard);
            at.is_some_and(|(_, id)| self.shards[shard].is_paused(id))
        };
        let sockets = self.sockets.iter().enumerate();
        sockets
            .filter(|(_, socket)| paused(socket))
            .map(|(index, _)| index)
            .collect()
    }

    /// A client has read: the broker goes on sending to it.
    pub(super) fn unblock(&mut self, random: &mut Random) -> bool {
        if self.sockets.is_empty() {
            return false;
        }
        let index = random.below(self.sockets.len());
        let socket = &mut self.sockets[index];
        let room = self.parameters.socket_room;
        if !socket.is_blocked || (socket.to_client.len() >= room && !socket.closed_by_client) {
            return false;
        }
        socket.is_blocked = false;
        let Some((shard, id)) = socket.at else {
            return false;
        };
        self.transmit(shard, id, random);
        true
    }

    /// Bytes of one client reach its shard, or its end does.
    pub(super) fn feed(&mut self, random: &mut Random) -> bool {
        if self.sockets.is_empty() {
            return false;
        }
        let index = random.below(self.sockets.len());
        let socket = &mut self.sockets[index];
        let Some((shard, id)) = socket.at else {
            return false;
        };
        if socket.to_broker.is_empty() || (socket.closed_by_client && random.once_in(3)) {
            if socket.closed_by_client {
                socket.at = None;
                socket.ending = Some((shard, id));
                self.note(|| format!("shard {shard} sees the end of connection {index}"));
                self.shards[shard].handle_closed(id, CloseCause::EndOfStream, self.now);
                self.note_ended();
                return true;
            }
            return false;
        }
        if !self.shards[shard].wants_input(id) {
            return false;
        }
        let count = socket
            .to_broker
            .len()
            .min(1 + random.below(self.parameters.piece_max));
        let piece: Vec<u8> = socket.to_broker.drain(..count).collect();
        socket.read_at = self.now;
        if socket.to_broker.is_empty() {
            socket.emptied_at = self.now;
            socket.unread_since = None;
        }
        if socket.is_answered {
            socket.read_since += count as u64;
        }
        self.note(|| format!("shard {shard} reads {count} bytes of connection {index}"));
        self.check_rate(index, count as u64);
        self.shards[shard].handle_bytes(id, &piece, self.now);
        // Actions must be carried out before anything else touches the connection.
        self.act(shard);
        true
    }

    /// No more was read than its rate allows since it was opened, and what may come at once, before the
    /// bytes that are read now. What is not a whole packet does not count yet.
    fn check_rate(&mut self, index: usize, count: u64) {
        let Some(per_s) = self.bytes_per_s else {
            return;
        };
        let socket = &self.sockets[index];
        let elapsed = self.now.since(socket.opened_at).0 + NS_PER_S;
        let most = elapsed.saturating_mul(u64::from(per_s)) / NS_PER_S + PACKET_MAX;
        let before = socket.read_since.saturating_sub(count);
        if before > most && self.failures.len() < 10 {
            let text = format!("connection {index}: {before} bytes read, its rate allows {most}");
            self.failures.push(text);
        }
    }

    /// Sockets whose last packets have been handled are gone now.
    pub(super) fn note_ended(&mut self) {
        for socket in &mut self.sockets {
            let ended = socket
                .ending
                .filter(|(at, id)| !self.shards[*at].is_paused(*id));
            if ended.is_some() {
                socket.ending = None;
                socket.gone_at = Some(self.now);
            }
        }
    }

    pub(super) fn socket_at(&self, shard: usize, id: ConnectionId) -> Option<usize> {
        self.sockets
            .iter()
            .position(|socket| socket.at == Some((shard, id)))
    }

    pub(super) fn flush(&mut self, shard: usize, id: ConnectionId, socket: usize) {
        loop {
            let bytes = self.outgoing(shard, id);
            if bytes.is_empty() {
                return;
            }
            self.shards[shard].handle_written(id, bytes.len(), self.now);
            self.sockets[socket].to_client.extend(bytes);
            self.sockets[socket].is_answered = true;
        }
    }

    pub(super) fn outgoing(&self, shard: usize, id: ConnectionId) -> Vec<u8> {
        let mut slices: [IoSlice<'_>; 8] = std::array::from_fn(|_| IoSlice::new(&[]));
        let count = self.shards[shard].outgoing(id, &mut slices);
        slices[..count]
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect()
    }

    /// The socket takes what it has room for, in pieces of any size.
    pub(super) fn transmit(&mut self, shard: usize, id: ConnectionId, random: &mut Random) {
        let Some(socket) = self.socket_at(shard, id) else {
            return;
        };
        while !self.sockets[socket].is_blocked {
            let bytes = self.outgoing(shard, id);
            if bytes.is_empty() {
                return;
            }
            let held = self.sockets[socket].to_client.len();
            let room = self.parameters.socket_room.saturating_sub(held);
            if room == 0 {
                self.sockets[socket].is_blocked = true;
                return;
            }
            let piece = 1 + random.below(4 * self.parameters.piece_max);
            let count = bytes.len().min(piece).min(room);
            self.shards[shard].handle_written(id, count, self.now);
            if !self.sockets[socket].closed_by_client {
                self.sockets[socket].to_client.extend(&bytes[..count]);
                self.sockets[socket].is_answered = true;
            }
        }
    }
}
