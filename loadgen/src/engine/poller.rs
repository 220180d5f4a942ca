//! Readiness of a worker's sockets, from one io_uring: a multishot poll per socket for bytes, a
//! single poll for room when a write found none, a multishot poll for the coordinator's wake-ups.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{cqueue, opcode, squeue, IoUring};

const SUBMISSIONS: u32 = 1_024;
const COMPLETIONS: u32 = 16_384;

/// Bits of `poll(2)`.
const IN: u32 = 0x001;
const OUT: u32 = 0x004;
const RDHUP: u32 = 0x2000;
/// ERR, HUP or RDHUP in the result of a poll.
const ENDED: i32 = 0x008 | 0x010 | RDHUP as i32;

/// Which use of which place a completion is about: a place is used again after its socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// False when the socket must be watched again.
    pub(crate) goes_on: bool,
    /// The other end has closed. One event may tell of bytes and of the end behind them.
    pub(crate) is_ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Readable(Token, Readiness),
    Writable(Token),
    Acceptable,
    /// Somebody wrote to the eventfd.
    Woken,
}

const GENERATION_MASK: u64 = (1 << 30) - 1;
const READ: u64 = 0;
const WRITE: u64 = 1 << 62;
const ACCEPT: u64 = 2 << 62;
const IGNORED: u64 = 3 << 62;
const WOKEN: u64 = IGNORED | 1;

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
}

impl Poller {
    /// Writes to the eventfd `wake` end a [`Poller::wait`].
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
        let mut poller = Self { ring };
        let poll = opcode::PollAdd::new(Fd(wake.as_raw_fd()), IN)
            .multi(true)
            .build();
        poller.push(poll.user_data(WOKEN));
        poller.submit();
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

    /// Sleeps until a completion comes or `wait_ns` are over.
    pub(crate) fn wait(&mut self, wait_ns: u64) {
        let (seconds, nanos) = (wait_ns / 1_000_000_000, wait_ns % 1_000_000_000);
        let timespec = Timespec::new().sec(seconds).nsec(nanos as u32);
        let arguments = SubmitArgs::new().timespec(&timespec);
        // ETIME is the end of the wait; after EINTR and EBUSY the next turn looks again.
        let _ = self.ring.submitter().submit_with_args(1, &arguments);
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
        for completion in self.ring.completion() {
            let data = completion.user_data();
            let event = match data & IGNORED {
                READ => {
                    let readiness = Readiness {
                        goes_on: cqueue::more(completion.flags()),
                        is_ended: completion.result() & ENDED != 0,
                    };
                    Event::Readable(token(data), readiness)
                }
                WRITE => Event::Writable(token(data)),
                ACCEPT => Event::Acceptable,
                _ if data == WOKEN => Event::Woken,
                _ => continue,
            };
            count += 1;
            handle(event);
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
