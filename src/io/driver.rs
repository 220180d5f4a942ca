//! Drives one shard: readiness in, bytes through, blocks to peers, sleep when there is nothing to do.
//!
//! One turn reads what is ready within a budget, lets the shard do its work, and then sends once per
//! connection and once per peer. Under load there is no sleep and no wake-up.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{
    recv, send, sendmsg, shutdown, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown,
};

use super::clock::Clock;
use super::listener;
use super::mesh::{ControlItem, Mesh, MovedSocket};
use super::poller::{Event, Poller};
use super::sockets::{Ending, Socket, Sockets};
use crate::ids::{ConnectionId, ShardId};
use crate::limits::{READ_BUFFER, TURN_BYTES};
use crate::shard::{Action, CloseCause, Lane, Shard};
use crate::time::{Span, Time};

/// Connections accepted in one turn.
const TURN_ACCEPTS: usize = 64;
/// Blocks taken of each peer and lane in one turn.
const TURN_BLOCKS: usize = 8;
/// Segments sent with one call.
const SLICES: usize = 32;
/// Pause after accepting failed for lack of descriptors or memory.
const ACCEPT_PAUSE: Span = Span::from_millis(100);
/// Connections on their way to one peer above which no more are accepted.
const MOVING_MAX: usize = 1_024;
/// How soon a full ring is tried again.
const RING_RETRY: Span = Span::from_millis(1);
/// A pinned shard looks around this long before it parks: shorter than a wake-up costs twice.
const SPIN: Span = Span(30_000);

/// What a driver is given at start.
pub(super) struct Setup {
    pub(super) shard: Shard,
    pub(super) id: ShardId,
    pub(super) listeners: Vec<OwnedFd>,
    pub(super) mesh: Arc<Mesh>,
    pub(super) clock: Clock,
    /// Has a core of its own, so it may spin.
    pub(super) pinned: bool,
}

pub(super) struct Driver {
    shard: Shard,
    id: ShardId,
    mesh: Arc<Mesh>,
    clock: Clock,
    pinned: bool,
    poller: Poller,
    sockets: Sockets,
    /// Sockets that may have bytes, in turn.
    readable: VecDeque<ConnectionId>,
    /// Sockets with bytes whose connection does not want input now.
    held_back: Vec<ConnectionId>,
    writable: Vec<ConnectionId>,
    listeners: Vec<OwnedFd>,
    acceptable: Vec<bool>,
    accept_after: Option<Time>,
    /// Connections waiting for room in a control ring, by peer.
    moving: Vec<VecDeque<Box<MovedSocket>>>,
    buffer: Box<[u8]>,
    stopping: bool,
    counted: bool,
    quiet_since: Option<Time>,
}

impl Driver {
    /// Call on the executor that will run it.
    pub(super) fn new(setup: Setup) -> std::io::Result<Self> {
        let Setup {
            shard,
            id,
            listeners,
            mesh,
            clock,
            pinned,
        } = setup;
        let mut poller = Poller::new()?;
        poller.watch_wake(mesh.wake_descriptor(id));
        for (index, listener) in listeners.iter().enumerate() {
            poller.watch_acceptable(listener.as_fd(), index as u32);
        }
        Ok(Self {
            shard,
            id,
            clock,
            pinned,
            poller,
            sockets: Sockets::default(),
            readable: VecDeque::new(),
            held_back: Vec::new(),
            writable: Vec::new(),
            acceptable: vec![false; listeners.len()],
            listeners,
            accept_after: None,
            moving: (0..mesh.shards()).map(|_| VecDeque::new()).collect(),
            mesh,
            buffer: vec![0; READ_BUFFER].into(),
            stopping: false,
            counted: false,
            quiet_since: None,
        })
    }

    /// Runs until the broker stops, without giving the executor control in between: it has nothing
    /// else to run, and under load it now and then put a task that had yielded to sleep for ever.
    pub(super) fn run(mut self) {
        loop {
            let now = self.clock.now();
            let busy = self.turn(now);
            if self.is_finished() {
                return;
            }
            if busy {
                self.quiet_since = None;
            } else if self.may_spin(now) {
                std::hint::spin_loop();
            } else {
                self.park(now);
                self.quiet_since = None;
            }
        }
    }

    /// One pass over everything; true when there was something to do.
    fn turn(&mut self, now: Time) -> bool {
        let mut busy = self.reap() > 0;
        busy |= self.begin_stop(now);
        busy |= self.accept(now);
        busy |= self.read(now);
        busy |= self.take_blocks(now);
        if self.shard.poll_timeout().is_some_and(|due| due <= now) {
            self.shard.handle_timeout(now);
            busy = true;
        }
        self.shard.end_turn(now);
        self.write_unblocked(now);
        // Sending frees room, which may let the shard do and send more; twice is enough, what is
        // left belongs to the next turn.
        for _ in 0..2 {
            busy |= self.act(now);
            busy |= self.transmit(now);
        }
        busy |= self.send_blocks();
        self.poller.submit();
        busy
    }

    fn reap(&mut self) -> usize {
        let Self {
            poller,
            sockets,
            readable,
            writable,
            acceptable,
            ..
        } = self;
        let mut rearm = Vec::new();
        let mut rewatch_wake = false;
        let count = poller.reap(|event, goes_on| match event {
            Event::Readable(named, ended) => {
                let Some(socket) = sockets.named(named) else {
                    return;
                };
                socket.ended |= ended;
                if !goes_on {
                    rearm.push(socket.id);
                }
                if !socket.listed {
                    socket.listed = true;
                    readable.push_back(socket.id);
                }
            }
            Event::Writable(named) => {
                let Some(socket) = sockets.named(named) else {
                    return;
                };
                socket.blocked = false;
                writable.push(socket.id);
            }
            Event::Acceptable(index) => {
                if let Some(flag) = acceptable.get_mut(index as usize) {
                    *flag = true;
                }
            }
            Event::Woken => rewatch_wake |= !goes_on,
        });
        if rewatch_wake {
            self.poller.watch_wake(self.mesh.wake_descriptor(self.id));
        }
        for id in rearm {
            if let Some(socket) = self.sockets.get_mut(id) {
                self.poller.watch_readable(socket.descriptor.as_fd(), id);
            }
        }
        count
    }

    fn accept(&mut self, now: Time) -> bool {
        if self.accept_after.is_some_and(|after| now < after) {
            return false;
        }
        self.accept_after = None;
        if self.moving.iter().any(|queue| queue.len() >= MOVING_MAX) {
            return false;
        }
        let mut accepted = 0;
        for index in 0..self.listeners.len() {
            while self.acceptable[index] && accepted < TURN_ACCEPTS {
                match listener::accept(&self.listeners[index]) {
                    Ok(Some((descriptor, address))) => {
                        accepted += 1;
                        self.open(descriptor, address, now);
                    }
                    Ok(None) => {
                        self.acceptable[index] = false;
                        let listener = self.listeners[index].as_fd();
                        self.poller.watch_acceptable(listener, index as u32);
                    }
                    Err(error) => {
                        tracing::warn!(
                            "cannot accept connections: {error}; if descriptors ran out, raise \
                             the limit with: ulimit -n"
                        );
                        self.accept_after = Some(now + ACCEPT_PAUSE);
                        return accepted > 0;
                    }
                }
            }
        }
        accepted > 0
    }

    /// Takes a socket into the shard.
    fn open(
        &mut self,
        descriptor: OwnedFd,
        address: SocketAddr,
        now: Time,
    ) -> Option<ConnectionId> {
        let id = self.shard.handle_opened(address, now)?;
        self.poller.watch_readable(descriptor.as_fd(), id);
        self.sockets.insert(Socket {
            descriptor,
            id,
            address,
            listed: false,
            ended: false,
            blocked: false,
            ending: Ending::Open,
        });
        Some(id)
    }

    /// Reads the sockets that may have bytes, each once, within the turn's budget.
    fn read(&mut self, now: Time) -> bool {
        for id in std::mem::take(&mut self.held_back) {
            self.readable.push_back(id);
        }
        let mut left = TURN_BYTES;
        let mut busy = false;
        for _ in 0..self.readable.len() {
            if left == 0 {
                return true;
            }
            let Some(id) = self.readable.pop_front() else {
                break;
            };
            let Some(socket) = self.sockets.get_mut(id) else {
                continue;
            };
            if socket.ending == Ending::Open && !self.shard.wants_input(id) {
                self.held_back.push(id);
                continue;
            }
            busy = true;
            let buffer = &mut self.buffer[..];
            match recv(&socket.descriptor, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => self.gone(id, CloseCause::EndOfStream, now),
                Ok((count, _)) => {
                    left = left.saturating_sub(count);
                    if count == READ_BUFFER || socket.ended {
                        // The end of the stream raises no further event: read on until it comes.
                        self.readable.push_back(id);
                    } else {
                        socket.listed = false; // drained: the next bytes raise a new event
                    }
                    if socket.ending == Ending::Open {
                        self.shard.handle_bytes(id, &self.buffer[..count], now);
                        self.act(now);
                    }
                }
                Err(Errno::AGAIN) => socket.listed = false,
                Err(Errno::INTR) => self.readable.push_back(id),
                Err(_) => self.gone(id, CloseCause::Failed, now),
            }
        }
        busy
    }

    /// The socket is of no more use.
    fn gone(&mut self, id: ConnectionId, cause: CloseCause, now: Time) {
        let Some(socket) = self.sockets.remove(id) else {
            return;
        };
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

    fn take_blocks(&mut self, now: Time) -> bool {
        let mut busy = false;
        let own = self.id;
        for from in (0..self.mesh.shards())
            .map(ShardId)
            .filter(|from| *from != own)
        {
            let mut taken = false;
            for _ in 0..TURN_BLOCKS {
                let Some(item) = self.mesh.take_control(from, self.id) else {
                    break;
                };
                taken = true;
                match item {
                    ControlItem::Block(block) => {
                        self.shard.handle_block(from, Lane::Control, block, now);
                    }
                    ControlItem::Socket(moved) => self.receive_socket(*moved, now),
                }
            }
            for _ in 0..TURN_BLOCKS {
                let Some(block) = self.mesh.take_data(from, self.id) else {
                    break;
                };
                taken = true;
                self.shard.handle_block(from, Lane::Data, block, now);
            }
            if taken {
                // It may have parked with more to send than the ring had room for.
                self.mesh.wake(from);
                busy = true;
            }
        }
        busy
    }

    fn receive_socket(&mut self, moved: MovedSocket, now: Time) {
        if let Some(id) = self.open(moved.socket, moved.address, now) {
            self.shard.handle_bytes(id, &moved.bytes, now);
            self.act(now);
        }
    }

    /// Carries out what the shard asks for.
    fn act(&mut self, now: Time) -> bool {
        let mut busy = false;
        while let Some(action) = self.shard.poll_action() {
            busy = true;
            match action {
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
                    bytes,
                } => {
                    if let Some(socket) = self.sockets.remove(connection) {
                        self.poller.forget(connection, socket.blocked);
                        let Socket {
                            descriptor,
                            address,
                            ..
                        } = socket;
                        let moved = MovedSocket {
                            socket: descriptor,
                            address,
                            bytes,
                        };
                        self.moving[to.index()].push_back(Box::new(moved));
                    }
                }
                Action::Notice(notice) => super::logging::notice(&notice),
            }
        }
        busy
    }

    fn write_unblocked(&mut self, now: Time) {
        for id in std::mem::take(&mut self.writable) {
            self.write(id, now);
        }
    }

    fn transmit(&mut self, now: Time) -> bool {
        let mut busy = false;
        while let Some(id) = self.shard.poll_transmit() {
            busy = true;
            self.write(id, now);
        }
        busy
    }

    /// Sends what waits on a connection until none is left or the socket has no room.
    fn write(&mut self, id: ConnectionId, now: Time) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        while !socket.blocked {
            let mut slices: [IoSlice<'_>; SLICES] = std::array::from_fn(|_| IoSlice::new(&[]));
            let count = self.shard.outgoing(id, &mut slices);
            if count == 0 {
                break;
            }
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let sent = if count == 1 {
                send(&socket.descriptor, &slices[0], flags)
            } else {
                let mut none = SendAncillaryBuffer::default();
                sendmsg(&socket.descriptor, &slices[..count], &mut none, flags)
            };
            match sent {
                Ok(sent) => self.shard.handle_written(id, sent, now),
                Err(Errno::AGAIN) => {
                    socket.blocked = true;
                    self.poller.watch_writable(socket.descriptor.as_fd(), id);
                }
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.gone(id, CloseCause::Failed, now);
                    return;
                }
            }
        }
        if socket.ending == Ending::Flushing && !socket.blocked {
            socket.ending = Ending::Lingering;
            let _ = shutdown(&socket.descriptor, Shutdown::Write);
            if !socket.listed {
                socket.listed = true;
                self.readable.push_back(id);
            }
        }
    }

    fn send_blocks(&mut self) -> bool {
        let mut busy = false;
        let own = self.id;
        for to in (0..self.mesh.shards()).map(ShardId).filter(|to| *to != own) {
            let mut sent = false;
            while let Some(moved) = self.moving[to.index()].pop_front() {
                if let Err(moved) = self.mesh.send_socket(self.id, to, moved) {
                    self.moving[to.index()].push_front(moved);
                    break;
                }
                sent = true;
            }
            for lane in [Lane::Control, Lane::Data] {
                while self.mesh.has_room(self.id, to, lane) {
                    let Some(block) = self.shard.poll_block(to, lane) else {
                        break;
                    };
                    self.mesh.send_block(self.id, to, lane, block);
                    sent = true;
                }
            }
            if sent {
                self.mesh.wake(to);
            }
            busy |= sent;
        }
        busy
    }

    /// Begins to stop when asked to; true when it does.
    fn begin_stop(&mut self, now: Time) -> bool {
        if self.stopping || !self.mesh.is_stopping() {
            return false;
        }
        self.stopping = true;
        for index in 0..self.listeners.len() {
            self.poller.forget_listener(index as u32);
        }
        self.listeners.clear();
        self.acceptable.clear();
        self.shard.handle_shutdown(now);
        true
    }

    /// A stopped shard goes on draining its rings until all have stopped.
    fn is_finished(&mut self) -> bool {
        if !self.counted && self.stopping && self.shard.is_stopped() {
            self.counted = true;
            self.mesh.count_stopped();
        }
        self.counted && self.mesh.all_stopped()
    }

    fn may_spin(&mut self, now: Time) -> bool {
        let since = *self.quiet_since.get_or_insert(now);
        self.pinned && now.since(since) < SPIN
    }

    /// Sleeps until a completion, a peer or a deadline wakes the shard. The executor sleeps with it:
    /// it has nothing else to run.
    fn park(&mut self, now: Time) {
        let blocked = self.shard.has_blocks() || self.moving.iter().any(|queue| !queue.is_empty());
        // A ring that has room again wakes nobody, so what waits for room is tried again soon.
        let retry = blocked.then_some(now + RING_RETRY);
        let deadline = [self.shard.poll_timeout(), self.accept_after, retry];
        let deadline = deadline.into_iter().flatten().min();
        self.mesh.announce_park(self.id);
        // Whatever was sent before the announcement is seen here; what comes later wakes.
        let has_work = self.mesh.has_items(self.id)
            || (self.mesh.is_stopping() && !self.stopping)
            || (self.counted && self.mesh.all_stopped());
        if !has_work {
            self.poller
                .wait(deadline.map(|deadline| deadline.since(now)));
        }
        self.mesh.announce_awake(self.id);
    }
}
