//! Readiness of a worker's sockets, from an io_uring beside the executor's own: one multishot poll
//! per socket for bytes, a single poll for room when a write found none.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::types::{Fd, Timespec};
use io_uring::{cqueue, opcode, squeue, IoUring};

const SUBMISSIONS: u32 = 1_024;
const COMPLETIONS: u32 = 16_384;

/// Bits of `poll(2)`.
const IN: u32 = 0x001;
const OUT: u32 = 0x004;
const RDHUP: u32 = 0x2000;

/// Which use of which place a completion is about: a place is used again after its socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The flag is false when the socket must be watched again.
    Readable(Token, bool),
    Writable(Token),
    Acceptable,
    Deadline,
}

const GENERATION_MASK: u64 = (1 << 30) - 1;
const READ: u64 = 0;
const WRITE: u64 = 1 << 62;
const ACCEPT: u64 = 2 << 62;
const IGNORED: u64 = 3 << 62;
const DEADLINE: u64 = IGNORED | 1;

fn data(kind: u64, token: Token) -> u64 {
    kind | (u64::from(token.generation) & GENERATION_MASK) << 32 | u64::from(token.slot)
}

fn token(data: u64) -> Token {
    Token {
        slot: data as u32,
        generation: (data >> 32 & GENERATION_MASK) as u32,
    }
}

pub(crate) struct Poller {
    ring: IoUring,
    armed_ns: Option<u64>,
    timespec: Box<Timespec>,
}

impl Poller {
    /// Completions signal `wake` while [`Poller::signal_completions`] is on.
    pub(crate) fn new(wake: BorrowedFd<'_>) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(COMPLETIONS);
        // Linux 5.19 and later: completions wait for the next call instead of interrupting.
        builder.setup_coop_taskrun().setup_taskrun_flag();
        let ring = builder.build(SUBMISSIONS).or_else(|_| {
            let mut builder = IoUring::builder();
            builder.setup_cqsize(COMPLETIONS);
            builder.build(SUBMISSIONS)
        })?;
        ring.submitter().register_eventfd(wake.as_raw_fd())?;
        let mut poller = Self {
            ring,
            armed_ns: None,
            timespec: Box::new(Timespec::new()),
        };
        poller.signal_completions(false);
        Ok(poller)
    }

    pub(crate) fn watch_readable(&mut self, socket: BorrowedFd<'_>, token: Token) {
        let poll = opcode::PollAdd::new(Fd(socket.as_raw_fd()), IN | RDHUP).multi(true);
        self.push(poll.build().user_data(data(READ, token)));
    }

    pub(crate) fn watch_writable(&mut self, socket: BorrowedFd<'_>, token: Token) {
        let poll = opcode::PollAdd::new(Fd(socket.as_raw_fd()), OUT).build();
        self.push(poll.user_data(data(WRITE, token)));
    }

    pub(crate) fn watch_acceptable(&mut self, listener: BorrowedFd<'_>) {
        let poll = opcode::PollAdd::new(Fd(listener.as_raw_fd()), IN).build();
        self.push(poll.user_data(ACCEPT));
    }

    /// Ends the polls of a socket, which hold it open.
    pub(crate) fn forget(&mut self, token: Token) {
        for kind in [READ, WRITE] {
            let remove = opcode::PollRemove::new(data(kind, token)).build();
            self.push(remove.user_data(IGNORED));
        }
    }

    /// Makes sure that a completion comes at `deadline_ns` or before.
    pub(crate) fn wake_at(&mut self, deadline_ns: u64, now_ns: u64) {
        if self.armed_ns.is_some_and(|armed| armed <= deadline_ns) {
            return;
        }
        if self.armed_ns.is_some() {
            let remove = opcode::TimeoutRemove::new(DEADLINE).build();
            self.push(remove.user_data(IGNORED));
            self.submit();
        }
        let wait = deadline_ns.saturating_sub(now_ns);
        let (seconds, nanos) = (wait / 1_000_000_000, wait % 1_000_000_000);
        *self.timespec = Timespec::new().sec(seconds).nsec(nanos as u32);
        let entry = opcode::Timeout::new(&*self.timespec).build();
        self.push(entry.user_data(DEADLINE));
        self.submit(); // the kernel has copied the time when this returns
        self.armed_ns = Some(deadline_ns);
    }

    pub(crate) fn submit(&mut self) {
        let submission = self.ring.submission();
        let wanted = !submission.is_empty() || submission.taskrun() || submission.cq_overflow();
        drop(submission);
        if wanted {
            // EBUSY and EINTR leave the entries in place for the next turn.
            let _ = self.ring.submit();
        }
    }

    /// Takes the completions there are.
    pub(crate) fn reap(&mut self, mut handle: impl FnMut(Event)) -> usize {
        let mut count = 0;
        let armed = &mut self.armed_ns;
        for completion in self.ring.completion() {
            let data = completion.user_data();
            let event = match data & IGNORED {
                READ => Event::Readable(token(data), cqueue::more(completion.flags())),
                WRITE => Event::Writable(token(data)),
                ACCEPT => Event::Acceptable,
                _ if data == DEADLINE => {
                    if completion.result() != -125 {
                        *armed = None; // ran out rather than ECANCELED by us
                    }
                    Event::Deadline
                }
                _ => continue,
            };
            count += 1;
            handle(event);
        }
        count
    }

    pub(crate) fn has_completions(&mut self) -> bool {
        let submission = self.ring.submission();
        let held_back = submission.taskrun() || submission.cq_overflow();
        drop(submission);
        held_back || !self.ring.completion().is_empty()
    }

    pub(crate) fn signal_completions(&mut self, enabled: bool) {
        if enabled {
            self.ring.completion().enable_eventfd();
        } else {
            self.ring.completion().disable_eventfd();
        }
    }

    fn push(&mut self, entry: squeue::Entry) {
        loop {
            // SAFETY: polls name a descriptor and no memory; a timeout's time lives in
            // `self.timespec`, which nothing changes before it is submitted.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            let _ = self.ring.submit();
        }
    }
}
