//! Pairs of sockets: one end carries the bytes of a stream of QUIC, the other one is a connection of a shard.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};

use bytes::{Buf, Bytes};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    recv, shutdown, socketpair, sockopt, AddressFamily, RecvFlags, Shutdown, SocketFlags,
    SocketType,
};

use super::layers::{push, Pushed};
use super::poller::{same_generation, Poller};
use crate::ids::ConnectionId;
use crate::time::{Span, Time};
use crate::transport::quic::{Key, Quic, QuicStats, Read};

/// Beside the indexes of connections: one end of a pair.
const PAIR: u32 = 1 << 31;
/// For the last bytes of all connections when the process ends.
pub(super) const LAST_WORDS: Span = Span::from_secs(1);
/// What the kernel keeps of a pair, each way.
const PAIR_BUFFER: usize = 64 << 10;
/// Bytes carried each way for one stream before the others.
const CARRIED_AT_ONCE: usize = 64 << 10;
/// Bytes of one read.
const READ: usize = 16 << 10;

/// One stream, tied to a pair.
pub(super) struct Pair {
    pub(super) listener: u16,
    pub(super) key: Key,
    pub(super) end: OwnedFd,
    /// Of the client, for which the pair has no room yet.
    pub(super) up: Bytes,
    /// Of the broker, for which the stream has no room yet.
    pub(super) down: Vec<u8>,
    pub(super) is_readable: bool,
    /// A poll for room is in the ring.
    pub(super) is_blocked: bool,
    /// Nothing more comes from the client, or goes to the broker.
    pub(super) is_up_done: bool,
    pub(super) is_down_done: bool,
    /// Its connection has ended: bytes that have come are still passed on.
    pub(super) is_ended: bool,
    pub(super) is_listed: bool,
}

impl Pair {
    /// `end` is ours; the other one is a connection of the broker.
    pub(super) fn new((listener, key): (u16, Key), end: OwnedFd) -> Self {
        Self {
            listener,
            key,
            end,
            up: Bytes::new(),
            down: Vec::new(),
            is_readable: false,
            is_blocked: false,
            is_up_done: false,
            is_down_done: false,
            is_ended: false,
            is_listed: false,
        }
    }

    /// From the stream to the broker; true when there is more.
    pub(super) fn carry_up(&mut self, quic: &mut Quic, now: Time) -> bool {
        let mut left = CARRIED_AT_ONCE;
        while !self.is_up_done && !self.is_blocked {
            if self.up.is_empty() {
                if left == 0 {
                    return true;
                }
                match quic.read(self.key, READ.min(left), now) {
                    Read::Bytes(bytes) => self.up = bytes,
                    Read::Nothing => return false,
                    Read::End => {
                        self.is_up_done = true;
                        let _ = shutdown(&self.end, Shutdown::Write); // it may be closed already
                        return false;
                    }
                }
                left -= self.up.len();
            }
            match push(&self.end, &self.up) {
                Pushed::All => self.up = Bytes::new(),
                Pushed::Part(count) => {
                    self.up.advance(count);
                    self.is_blocked = true;
                }
                // The broker reads no more.
                Pushed::Failed => {
                    self.up = Bytes::new();
                    self.is_up_done = true;
                }
            }
        }
        false
    }

    /// From the broker to the stream; true when there is more.
    pub(super) fn carry_down(&mut self, quic: &mut Quic, buffer: &mut [u8], now: Time) -> bool {
        let mut left = CARRIED_AT_ONCE;
        loop {
            if !self.down.is_empty() {
                let taken = quic.write(self.key, &self.down, now);
                self.down.drain(..taken);
                if !self.down.is_empty() {
                    return false; // an event says when there is room
                }
                self.down = Vec::new();
            }
            if !self.is_readable || self.is_down_done {
                return false;
            }
            if left == 0 {
                return true;
            }
            let room = READ.min(buffer.len());
            match recv(&self.end, &mut buffer[..room], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => self.is_down_done = true,
                Ok((_, count)) => {
                    left = left.saturating_sub(count);
                    let taken = quic.write(self.key, &buffer[..count], now);
                    self.down.extend_from_slice(&buffer[taken..count]);
                }
                Err(Errno::AGAIN) => self.is_readable = false,
                Err(Errno::INTR) => {}
                Err(_) => self.is_down_done = true,
            }
        }
    }
}

/// Two ends of a stream within this process.
pub(super) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (own, plain) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    for end in [&own, &plain] {
        sockopt::set_socket_send_buffer_size(end, PAIR_BUFFER)?;
    }
    Ok((own, plain))
}

/// The connections of QUIC of one shard. Lives on: its driver.
#[derive(Default)]
pub(super) struct Quics {
    /// By listener number.
    pub(super) rows: Vec<Option<Quic>>,
    /// By place, with how many were there.
    pub(super) pairs: Vec<(u32, Option<Pair>)>,
    free: Vec<u32>,
    pub(super) places: HashMap<(u16, Key), u32>,
    /// May have something to carry.
    pub(super) listed: VecDeque<u32>,
    /// When the process ends whatever clients have acknowledged.
    last: Option<Time>,
}

impl Quics {
    pub(super) fn next(&self) -> Option<Time> {
        let rows = self.rows.iter().flatten();
        let due = rows.filter_map(Quic::poll_timeout);
        due.chain(self.last).min()
    }

    pub(super) fn has(&self, index: usize) -> bool {
        self.rows.get(index).is_some_and(Option::is_some)
    }

    pub(super) fn stats(&self) -> QuicStats {
        let mut all = QuicStats::default();
        self.rows
            .iter()
            .flatten()
            .for_each(|row| all.add(row.stats()));
        all
    }

    /// No connection has anything left to say, or there was time enough for it.
    pub(super) fn is_at_rest(&mut self, now: Time) -> bool {
        let mut rows = self.rows.iter().flatten();
        let last = *self.last.get_or_insert(now + LAST_WORDS);
        now >= last || self.places.is_empty() && rows.all(Quic::is_quiet)
    }

    /// Waits so long for what shards still have to say; false: none has, or clients have no room for it.
    pub(super) fn await_last(&self, ms: u64) -> bool {
        let pairs = self.pairs.iter().filter_map(|(_, pair)| pair.as_ref());
        let silent = pairs.filter(|pair| pair.down.is_empty());
        let mut ends: Vec<_> = silent
            .map(|pair| PollFd::from_borrowed_fd(pair.end.as_fd(), PollFlags::IN))
            .collect();
        let patience = Timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000 * ms.min(999) as i64,
        };
        !ends.is_empty() && poll(&mut ends, Some(&patience)).is_ok()
    }

    /// A completion is about one of these pairs; true when it is.
    pub(super) fn is_ready(&mut self, id: ConnectionId, has_room: bool) -> bool {
        if id.index & PAIR == 0 {
            return false;
        }
        let place = id.index & !PAIR;
        let row = self.pairs.get_mut(place as usize);
        if let Some((generation, Some(pair))) = row {
            if same_generation(*generation, id.generation) {
                match has_room {
                    true => pair.is_blocked = false,
                    false => pair.is_readable = true,
                }
                self.list(place);
            }
        }
        true
    }

    /// The end of a pair whose poll is to be renewed.
    pub(super) fn end_of(&self, id: ConnectionId) -> Option<&OwnedFd> {
        let (generation, pair) = self.pairs.get((id.index & !PAIR) as usize)?;
        let is_same = same_generation(*generation, id.generation);
        pair.as_ref().filter(|_| is_same).map(|pair| &pair.end)
    }

    pub(super) fn list(&mut self, place: u32) {
        if let Some((_, Some(pair))) = self.pairs.get_mut(place as usize) {
            if !std::mem::replace(&mut pair.is_listed, true) {
                self.listed.push_back(place);
            }
        }
    }

    pub(super) fn note_ended(&mut self, of: (u16, Key)) {
        let Some(place) = self.places.get(&of).copied() else {
            return;
        };
        if let Some((_, Some(pair))) = self.pairs.get_mut(place as usize) {
            pair.is_ended = true;
        }
        self.list(place);
    }

    pub(super) fn insert(&mut self, pair: Pair, poller: &mut Poller) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.pairs.push((0, None));
            self.pairs.len() as u32 - 1
        });
        self.places.insert((pair.listener, pair.key), place);
        let row = &mut self.pairs[place as usize];
        let id = id_of(place, row.0);
        poller.watch_readable(pair.end.as_fd(), id);
        row.1 = Some(pair);
    }

    pub(super) fn remove(&mut self, place: u32, poller: &mut Poller) {
        let (generation, row) = &mut self.pairs[place as usize];
        let id = id_of(place, *generation);
        if let Some(pair) = row.take() {
            *generation = generation.wrapping_add(1);
            self.places.remove(&(pair.listener, pair.key));
            self.free.push(place);
            poller.forget(id, pair.is_blocked);
        }
    }
}

pub(super) fn id_of(place: u32, generation: u32) -> ConnectionId {
    ConnectionId {
        index: PAIR | place,
        generation,
    }
}
