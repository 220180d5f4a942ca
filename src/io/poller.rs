//! Readiness of sockets: one io_uring per shard beside the executor's own. mqload's workers use it, too.
//!
//! Readable sockets are watched by one multishot poll each, edge by edge, so a busy connection costs
//! no system call to watch. Writability is asked for only after a write would block. The shard sleeps
//! in this ring; its eventfd, by which peers wake it, is watched like a socket.
//!
//! A poll holds its socket open after the descriptor is closed, until it is removed. Every request
//! names its connection by index and generation, so that what completes late is recognised.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{cqueue, opcode, squeue, IoUring};

use crate::ids::ConnectionId;
use crate::time::Span;

/// Entries submitted at once; more are submitted in several calls.
const SUBMISSIONS: u32 = 1_024;
/// Completions held before the kernel keeps a list of its own.
const COMPLETIONS: u32 = 8_192;

/// Calls that collect completions in one turn: what they post has room in the ring.
const COLLECTS_MAX: usize = 256;

/// Event bits of `poll(2)` and `epoll_ctl(2)`, part of the kernel's interface.
mod bits {
    pub(super) const IN: u32 = 0x001;
    pub(super) const OUT: u32 = 0x004;
    pub(super) const ERR: u32 = 0x008;
    pub(super) const HUP: u32 = 0x010;
    pub(super) const RDHUP: u32 = 0x2000;
    /// Only one of several waiters is woken.
    pub(super) const EXCLUSIVE: u32 = 1 << 28;
}

/// What a completion is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// `hangup`: the stream's end or an error is behind the bytes, so a short read does not mean
    /// that the next one would have to wait. `watched`: the multishot poll stays armed.
    Readable {
        id: ConnectionId,
        hangup: bool,
        watched: bool,
    },
    Writable(ConnectionId),
    /// Index of the listener.
    Acceptable(u32),
}

// User data of a request: kind (2 bits), generation (30), index (32).
const KIND_SHIFT: u32 = 62;
const READ: u64 = 0;
const WRITE: u64 = 1;
const ACCEPT: u64 = 2;
const OTHER: u64 = 3;
const WAKE: u64 = OTHER << KIND_SHIFT | 1;
const IGNORED: u64 = OTHER << KIND_SHIFT;
const GENERATION_MASK: u32 = (1 << 30) - 1;

fn connection_data(kind: u64, id: ConnectionId) -> u64 {
    kind << KIND_SHIFT | u64::from(id.generation & GENERATION_MASK) << 32 | u64::from(id.index)
}

fn connection_of(data: u64) -> ConnectionId {
    ConnectionId {
        index: data as u32,
        generation: (data >> 32) as u32 & GENERATION_MASK,
    }
}

/// True when `generation` is the one that a completion's 30 bits name.
#[must_use]
pub fn same_generation(generation: u32, named: u32) -> bool {
    generation & GENERATION_MASK == named
}

pub struct Poller {
    ring: IoUring,
    /// Written to by other threads; its owner outlives the poller.
    wake: RawFd,
    /// Requests for which the ring has no room and the kernel no time now (EBUSY).
    waiting: VecDeque<squeue::Entry>,
}

impl Poller {
    /// Call on the thread that will use it. Writes to the eventfd `wake` end a [`Poller::wait`].
    ///
    /// # Errors
    /// The kernel does not give a ring.
    pub fn new(wake: BorrowedFd<'_>) -> io::Result<Self> {
        let ring = build(|builder| {
            // Linux 6.1: completions are posted when we ask for them and at no other time, so that
            // several events of one socket become one.
            builder.setup_single_issuer().setup_defer_taskrun();
            builder.setup_taskrun_flag();
        })
        .or_else(|_| {
            // Linux 5.19: completions wait for our next system call instead of interrupting.
            build(|builder| {
                builder.setup_coop_taskrun().setup_taskrun_flag();
            })
        })
        .or_else(|_| build(|_| {}))?;
        let mut poller = Self {
            ring,
            wake: wake.as_raw_fd(),
            waiting: VecDeque::new(),
        };
        poller.watch_wake();
        Ok(poller)
    }

    /// Every write to the eventfd is an event of its own; the counter is never read.
    fn watch_wake(&mut self) {
        let entry = opcode::PollAdd::new(Fd(self.wake), bits::IN)
            .multi(true)
            .build();
        self.push(entry.user_data(WAKE));
    }

    /// Watches a socket for bytes until [`Poller::forget`] or a completion that is not `watched`.
    pub fn watch_readable(&mut self, socket: BorrowedFd<'_>, id: ConnectionId) {
        let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), bits::IN | bits::RDHUP)
            .multi(true)
            .build();
        self.push(entry.user_data(connection_data(READ, id)));
    }

    /// Asks once for room to write.
    pub fn watch_writable(&mut self, socket: BorrowedFd<'_>, id: ConnectionId) {
        let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), bits::OUT).build();
        self.push(entry.user_data(connection_data(WRITE, id)));
    }

    /// Asks once for a connection to accept; of several shards asking one is woken. Asking again puts
    /// the shard behind the others, so they take turns.
    pub fn watch_acceptable(&mut self, listener: BorrowedFd<'_>, index: u32) {
        let events = bits::IN | bits::EXCLUSIVE;
        let entry = opcode::PollAdd::new(Fd(listener.as_raw_fd()), events).build();
        self.push(entry.user_data(ACCEPT << KIND_SHIFT | u64::from(index)));
    }

    /// Stops watching a connection.
    pub fn forget(&mut self, id: ConnectionId, awaits_room: bool) {
        self.cancel(connection_data(READ, id));
        if awaits_room {
            self.cancel(connection_data(WRITE, id));
        }
    }

    pub fn forget_listener(&mut self, index: u32) {
        self.cancel(ACCEPT << KIND_SHIFT | u64::from(index));
    }

    /// Ends a poll. Not with POLL_REMOVE: that one fails with EALREADY, and the poll stays armed and holds
    /// its socket open, when an event for it is on its way.
    fn cancel(&mut self, data: u64) {
        let entry = opcode::AsyncCancel::new(data).build();
        self.push(entry.user_data(IGNORED));
    }

    /// Hands all requests to the kernel, and lets it post what it has held back.
    pub fn submit(&mut self) {
        if !self.waiting.is_empty() {
            self.fill();
        }
        let (pending, held_back) = {
            let submission = self.ring.submission();
            (
                submission.len(),
                submission.taskrun() || submission.cq_overflow(),
            )
        };
        if pending > 0 || held_back {
            // EBUSY, EAGAIN and EINTR leave the entries in place for the next turn.
            let _ = self.ring.submit();
        }
        // Since Linux 6.12 a call posts some twenty completions and leaves the rest. All of them are
        // wanted: an established connection's may be the last of ten thousand.
        for _ in 1..COLLECTS_MAX {
            if !self.ring.submission().taskrun() {
                return;
            }
            let _ = self.ring.submit();
        }
    }

    /// Takes the completions there are; returns how many concern us.
    pub fn reap(&mut self, mut handle: impl FnMut(Event)) -> usize {
        let mut count = 0;
        let mut wake_watched = true;
        for completion in self.ring.completion() {
            let (data, result) = (completion.user_data(), completion.result());
            let watched = cqueue::more(completion.flags());
            // A removed poll completes too; by its connection's generation it is recognised as stale.
            let event = match data >> KIND_SHIFT {
                READ => Event::Readable {
                    id: connection_of(data),
                    hangup: result < 0
                        || result as u32 & (bits::RDHUP | bits::HUP | bits::ERR) != 0,
                    watched,
                },
                WRITE => Event::Writable(connection_of(data)),
                ACCEPT => Event::Acceptable(data as u32),
                _ => {
                    wake_watched &= data != WAKE || watched;
                    continue;
                }
            };
            count += 1;
            handle(event);
        }
        if !wake_watched {
            self.watch_wake();
        }
        count
    }

    /// Sleeps until there are completions, a peer writes to the eventfd, or the time is over.
    pub fn wait(&mut self, longest: Option<Span>) {
        if !self.waiting.is_empty() {
            return; // what they ask for could be what we would wait for
        }
        let timespec = longest.map(|Span(wait)| {
            let (seconds, nanos) = (wait / 1_000_000_000, wait % 1_000_000_000);
            Timespec::new().sec(seconds).nsec(nanos as u32)
        });
        let arguments = match &timespec {
            Some(timespec) => SubmitArgs::new().timespec(timespec),
            None => SubmitArgs::new(),
        };
        // Fails when the time is over (ETIME) and when a signal came (EINTR): both end the sleep.
        let _ = self.ring.submitter().submit_with_args(1, &arguments);
    }

    /// Releases the sockets whose polls were ended, so that their ports are free when the process exits,
    /// and not a little later.
    pub fn finish(&mut self) {
        self.wait(Some(Span(0)));
    }

    /// Submits when the ring is full; entries for which there is still no room wait.
    fn push(&mut self, entry: squeue::Entry) {
        self.waiting.push_back(entry);
        if !self.fill() {
            let _ = self.ring.submit();
            self.fill();
        }
    }

    /// Moves waiting entries into the ring; false when it is full.
    fn fill(&mut self) -> bool {
        let mut submission = self.ring.submission();
        while let Some(entry) = self.waiting.front() {
            // SAFETY: polls and cancellations name a descriptor or a number and no memory.
            if unsafe { submission.push(entry) }.is_err() {
                return false;
            }
            self.waiting.pop_front();
        }
        true
    }
}

fn build(set_up: impl FnOnce(&mut io_uring::Builder)) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(COMPLETIONS);
    set_up(&mut builder);
    builder.build(SUBMISSIONS)
}
