//! Which sockets are ready: one io_uring per shard beside the executor's own.
//!
//! Readable sockets are watched by one multishot poll each, edge by edge, so a busy connection costs
//! no system call to watch. Writability is asked for only after a write would block. A shard with
//! nothing to do sleeps in this ring: whatever can wake it is a completion here.
//!
//! Sleeping in the executor's ring until this one signals an eventfd was tried and dropped: under load
//! (Linux 6.18) the executor's read of the eventfd now and then stayed pending with the counter
//! raised, and the shard slept for ever.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{cqueue, opcode, squeue, IoUring};

use crate::ids::ConnectionId;
use crate::time::Span;

/// Entries submitted at once; more are submitted in several calls.
const SUBMISSIONS: u32 = 1_024;
/// Completions held before the kernel keeps a list of its own.
const COMPLETIONS: u32 = 8_192;

const POLL_IN: u32 = libc_poll::IN | libc_poll::RDHUP;

/// Event bits of `poll(2)` and `epoll_ctl(2)`, part of the kernel's interface.
mod libc_poll {
    pub(super) const IN: u32 = 0x001;
    pub(super) const OUT: u32 = 0x004;
    pub(super) const RDHUP: u32 = 0x2000;
    /// End of stream, error, or both sides closed.
    pub(super) const ENDED: u32 = RDHUP | 0x008 | 0x010;
    /// Only one of several waiters is woken.
    pub(super) const EXCLUSIVE: u32 = 1 << 28;
}

/// What a completion is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// There are bytes, or (the flag) the other side has ended the stream.
    Readable(ConnectionId, bool),
    Writable(ConnectionId),
    /// Index of the listener.
    Acceptable(u32),
    /// A peer or a signal woke the shard.
    Woken,
}

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

/// True when `generation` is the one that a completion's 30 bits name.
pub(super) fn same_generation(generation: u32, named: u32) -> bool {
    generation & GENERATION_MASK == named
}

pub(super) struct Poller {
    ring: IoUring,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let build = |coop: bool| {
            let mut builder = IoUring::builder();
            builder.setup_cqsize(COMPLETIONS);
            if coop {
                // Linux 5.19: completions wait for our next system call instead of interrupting.
                builder.setup_coop_taskrun().setup_taskrun_flag();
            }
            builder.build(SUBMISSIONS)
        };
        Ok(Self {
            ring: build(true).or_else(|_| build(false))?,
        })
    }

    /// Watches the eventfd that peers write to wake this shard. It is never read: each write is an
    /// edge.
    pub(super) fn watch_wake(&mut self, wake: BorrowedFd<'_>) {
        let entry = opcode::PollAdd::new(Fd(wake.as_raw_fd()), libc_poll::IN)
            .multi(true)
            .build();
        self.push(entry.user_data(WAKE));
    }

    /// Watches a socket for bytes until [`Poller::forget`] or a completion without more to follow.
    pub(super) fn watch_readable(&mut self, socket: BorrowedFd<'_>, id: ConnectionId) {
        let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), POLL_IN)
            .multi(true)
            .build();
        self.push(entry.user_data(connection_data(READ, id)));
    }

    /// Asks once for room to write.
    pub(super) fn watch_writable(&mut self, socket: BorrowedFd<'_>, id: ConnectionId) {
        let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), libc_poll::OUT).build();
        self.push(entry.user_data(connection_data(WRITE, id)));
    }

    /// Asks once for a connection to accept; of several shards asking one is told.
    pub(super) fn watch_acceptable(&mut self, listener: BorrowedFd<'_>, index: u32) {
        let events = libc_poll::IN | libc_poll::EXCLUSIVE;
        let entry = opcode::PollAdd::new(Fd(listener.as_raw_fd()), events).build();
        self.push(entry.user_data(ACCEPT << KIND_SHIFT | u64::from(index)));
    }

    /// Stops watching a connection: a poll holds its socket open.
    pub(super) fn forget(&mut self, id: ConnectionId, awaits_room: bool) {
        let read = opcode::PollRemove::new(connection_data(READ, id)).build();
        self.push(read.user_data(IGNORED));
        if awaits_room {
            let write = opcode::PollRemove::new(connection_data(WRITE, id)).build();
            self.push(write.user_data(IGNORED));
        }
    }

    pub(super) fn forget_listener(&mut self, index: u32) {
        let entry = opcode::PollRemove::new(ACCEPT << KIND_SHIFT | u64::from(index)).build();
        self.push(entry.user_data(IGNORED));
    }

    /// Sleeps until there is a completion, at most for `timeout`.
    pub(super) fn wait(&mut self, timeout: Option<Span>) {
        let submitter = self.ring.submitter();
        // Interruptions and timeouts are wake-ups like others.
        let _ = match timeout {
            None => submitter.submit_and_wait(1),
            Some(Span(wait)) => {
                let (seconds, nanos) = (wait / 1_000_000_000, wait % 1_000_000_000);
                let time = Timespec::new().sec(seconds).nsec(nanos as u32);
                submitter.submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        };
    }

    /// Hands all requests to the kernel, and lets it post what it has held back.
    pub(super) fn submit(&mut self) {
        let (pending, held_back) = {
            let submission = self.ring.submission();
            (
                submission.len(),
                submission.taskrun() || submission.cq_overflow(),
            )
        };
        if pending > 0 || held_back {
            // EBUSY and EINTR leave the entries in place for the next turn.
            let _ = self.ring.submit();
        }
    }

    /// Takes the completions there are. The flag tells whether the watch goes on by itself.
    pub(super) fn reap(&mut self, mut handle: impl FnMut(Event, bool)) -> usize {
        let mut count = 0;
        for completion in self.ring.completion() {
            let data = completion.user_data();
            let goes_on = cqueue::more(completion.flags());
            // A removed poll completes too; its connection's generation tells it is stale.
            let event = match data >> KIND_SHIFT {
                READ => {
                    let ended = completion.result() as u32 & libc_poll::ENDED != 0;
                    Event::Readable(connection_of(data), ended)
                }
                WRITE => Event::Writable(connection_of(data)),
                ACCEPT => Event::Acceptable(data as u32),
                _ if data == WAKE => Event::Woken,
                _ => continue,
            };
            count += 1;
            handle(event, goes_on);
        }
        count
    }

    fn push(&mut self, entry: squeue::Entry) {
        loop {
            // SAFETY: polls name a descriptor and no memory.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            let _ = self.ring.submit();
        }
    }
}

fn connection_of(data: u64) -> ConnectionId {
    ConnectionId {
        index: data as u32,
        generation: (data >> 32) as u32 & GENERATION_MASK,
    }
}
