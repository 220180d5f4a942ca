//! The shard's io_uring: readiness of sockets, and operations on files. mqload's workers use it, too.
//!
//! Readable sockets are watched by one multishot poll each, edge by edge, so a busy connection costs
//! no system call to watch. Writability is asked for only after a write would block. The shard sleeps
//! in this ring; its eventfd, by which peers wake it, is watched like a socket.
//!
//! A poll holds its socket open after the descriptor is closed, until it is removed. Every request
//! names its connection by index and generation, so that what completes late is recognised.
//!
//! Operations on files ([`super::operations`]) own their memory until they are complete. Their completions end a
//! sleep as those of sockets do, and are taken with [`Poller::take_completion`].

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{cqueue, opcode, squeue, IoUring};
use rustix::fs::OFlags;

use super::aligned_buffer::AlignedBuffer;
use super::operations::{Carrier, Completion, Operations};
use crate::ids::ConnectionId;
use crate::time::Span;

/// Entries submitted at once; more are submitted in several calls.
const SUBMISSIONS: u32 = 1_024;
/// Completions held before the kernel keeps a list of its own.
const COMPLETIONS: u32 = 8_192;

/// Calls that collect completions in one turn: what they post has room in the ring.
const COLLECTS_MAX: usize = 256;
/// When the ring ends, waits of this length, and how many of them, for operations that are on their way: a
/// disk that does not answer must not keep a process from ending.
const LAST_WAIT: Span = Span::from_millis(100);
const LAST_WAITS: usize = 50;

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
/// And the operation's number.
const OPERATION: u64 = OTHER << KIND_SHIFT | 1 << 32;
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
    operations: Operations,
    /// Of operations, not yet taken.
    completions: VecDeque<Completion>,
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
            operations: Operations::default(),
            completions: VecDeque::new(),
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

    /// Writes all of the buffer, which [`Completion::Written`] gives back once it is durable.
    pub fn write(
        &mut self,
        file: &Arc<OwnedFd>,
        buffer: AlignedBuffer,
        offset: u64,
        carrier: Carrier,
        tag: u64,
    ) {
        let (number, entry) = self.operations.write(file, buffer, (offset, carrier), tag);
        self.push(entry.user_data(OPERATION | u64::from(number)));
    }

    /// Reads as much as the buffer has room for; [`Completion::Read`] gives it back.
    pub fn read(&mut self, file: &Arc<OwnedFd>, buffer: AlignedBuffer, offset: u64, tag: u64) {
        let (number, entry) = self.operations.read(file, buffer, offset, tag);
        self.push(entry.user_data(OPERATION | u64::from(number)));
    }

    /// Opens a file to be read; answered by [`Completion::Opened`].
    pub fn open(&mut self, path: CString, flags: OFlags, tag: u64) {
        let (number, entry) = self.operations.open(path, flags, tag);
        self.push(entry.user_data(OPERATION | u64::from(number)));
    }

    /// Makes durable what has been written to the file; answered by [`Completion::Flushed`].
    pub fn flush(&mut self, file: &Arc<OwnedFd>, tag: u64) {
        let (number, entry) = self.operations.flush(file, tag);
        self.push(entry.user_data(OPERATION | u64::from(number)));
    }

    /// The next operation that was complete when [`Poller::reap`] looked.
    pub fn take_completion(&mut self) -> Option<Completion> {
        self.completions.pop_front()
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
                _ if data >= OPERATION => {
                    let completion = self.operations.complete(data as u32, result);
                    self.completions.push_back(completion);
                    count += 1;
                    continue;
                }
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
            // SAFETY: polls and cancellations name a descriptor or a number and no memory. Memory of an
            // operation and its open file are owned by `operations` until its completion is reaped, and
            // nothing else can reach them; when the ring is dropped before that, they are leaked.
            if unsafe { submission.push(entry) }.is_err() {
                return false;
            }
            self.waiting.pop_front();
        }
        true
    }
}

impl Drop for Poller {
    /// The kernel carries out what it has been given even when the ring is closed: it has to answer before,
    /// or the memory is never freed.
    fn drop(&mut self) {
        for number in self.operations.numbers() {
            self.cancel(OPERATION | u64::from(number));
        }
        for _ in 0..LAST_WAITS {
            if self.operations.is_empty() {
                return;
            }
            self.submit();
            self.wait(Some(LAST_WAIT));
            self.reap(|_| ());
        }
        self.operations.leak();
    }
}

fn build(set_up: impl FnOnce(&mut io_uring::Builder)) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(COMPLETIONS);
    set_up(&mut builder);
    builder.build(SUBMISSIONS)
}
