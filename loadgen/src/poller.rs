//! Readiness of sockets: by io_uring, or by epoll where io_uring is denied, as most containers have it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ringmq::ids::ConnectionId;
use ringmq::io::poller::{Event, Poller as Ring};
use ringmq::time::Span;
use rustix::buffer::spare_capacity;
use rustix::event::{epoll, Timespec};
use rustix::io::Errno;
use rustix::time::{
    timerfd_create, timerfd_settime, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags,
};

/// What sockets are watched by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// io_uring, or epoll where that is denied
    #[default]
    Auto,
    #[value(name = "io_uring", alias = "io-uring")]
    IoUring,
    Epoll,
}

impl Backend {
    /// Which of both there is; with a sentence when that is not what `Auto` would rather have.
    ///
    /// # Errors
    /// A sentence when io_uring is asked for and there is none.
    pub(crate) fn choose(self, wake: BorrowedFd<'_>) -> Result<(Self, Option<String>), String> {
        if self == Self::Epoll {
            return Ok((self, None));
        }
        match Ring::new(wake) {
            Ok(_) => Ok((Self::IoUring, None)),
            Err(error) if self == Self::Auto && is_denied(&error) => {
                Ok((Self::Epoll, Some(epoll_sentence(&error))))
            }
            Err(error) => Err(ring_sentence(&error)),
        }
    }
}

fn is_denied(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    !matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

fn epoll_sentence(error: &io::Error) -> String {
    format!(
        "sockets are watched by epoll, since io_uring is not available ({error}): mqload does less per core so. A \
         container needs a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register \
         (docker run --security-opt seccomp=FILE), and the host kernel.io_uring_disabled = 0"
    )
}

/// Why io_uring is not there, and what to change.
pub(crate) fn ring_sentence(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::NOMEM) => locked_memory(&error.to_string()),
        Some(Errno::MFILE | Errno::NFILE) => format!(
            "no file descriptor is left for io_uring ({error}); raise the limit with: ulimit -n 65536"
        ),
        _ => format!(
            "io_uring is not available ({error}); it needs Linux 5.13 or later with \
             kernel.io_uring_disabled = 0 (sysctl), and a container's seccomp profile must allow \
             io_uring_setup, io_uring_enter and io_uring_register; --backend epoll does without"
        ),
    }
}

pub(crate) fn locked_memory(error: &str) -> String {
    format!(
        "io_uring cannot lock its memory ({error}); raise the limit with: ulimit -l 65536, give fewer \
         --threads, or do without (--backend epoll)"
    )
}

/// The one or the other, with the same calls.
pub(crate) enum Poller {
    Ring(Box<Ring>),
    Epoll(Box<Epoll>),
}

impl Poller {
    /// Call on the thread that will use it. Writes to the eventfd `wake` end a [`Poller::wait`].
    pub(crate) fn new(backend: Backend, wake: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(match backend {
            Backend::Epoll => Self::Epoll(Box::new(Epoll::new(wake)?)),
            Backend::Auto | Backend::IoUring => Self::Ring(Box::new(Ring::new(wake)?)),
        })
    }

    /// Watches a socket for bytes until [`Poller::forget`] or an event that is not `watched`.
    pub(crate) fn watch_readable(&mut self, socket: BorrowedFd<'_>, id: ConnectionId) {
        match self {
            Self::Ring(ring) => ring.watch_readable(socket, id),
            Self::Epoll(own) => own.watch(socket, id, |asked| asked.bytes = true),
        }
    }

    /// Asks once for room to write.
    pub(crate) fn watch_writable(&mut self, socket: BorrowedFd<'_>, id: ConnectionId) {
        match self {
            Self::Ring(ring) => ring.watch_writable(socket, id),
            Self::Epoll(own) => own.watch(socket, id, |asked| asked.room = true),
        }
    }

    /// Asks once for a connection to accept.
    pub(crate) fn watch_acceptable(&mut self, listener: BorrowedFd<'_>, index: u32) {
        match self {
            Self::Ring(ring) => ring.watch_acceptable(listener, index),
            Self::Epoll(own) => own.register(listener, LISTENER | u64::from(index)),
        }
    }

    /// Stops watching a connection, whose socket is closed next.
    pub(crate) fn forget(&mut self, id: ConnectionId, awaits_room: bool) {
        match self {
            Self::Ring(ring) => ring.forget(id, awaits_room),
            Self::Epoll(own) => *own.asked(id) = Asked::default(),
        }
    }

    /// Hands all requests to the kernel.
    pub(crate) fn submit(&mut self) {
        if let Self::Ring(ring) = self {
            ring.submit();
        }
    }

    /// Takes the events there are; returns how many concern us.
    pub(crate) fn reap(&mut self, handle: impl FnMut(Event)) -> usize {
        match self {
            Self::Ring(ring) => ring.reap(handle),
            Self::Epoll(own) => own.reap(handle),
        }
    }

    /// Sleeps until there are events, a write to the eventfd, or the time is over.
    pub(crate) fn wait(&mut self, longest: Option<Span>) {
        match self {
            Self::Ring(ring) => ring.wait(longest),
            Self::Epoll(own) => own.wait(longest),
        }
    }
}

/// Events of one call.
const EVENTS: usize = 1_024;
/// Calls of one turn.
const CALLS_MAX: usize = 16;

// Data of an event: what it is of (2 bits), generation (30), index (32).
const KIND_SHIFT: u32 = 62;
const LISTENER: u64 = 1 << KIND_SHIFT;
const OTHER: u64 = 2 << KIND_SHIFT;
const GENERATION_MASK: u32 = (1 << 30) - 1;

/// Events that are asked for, of a connection.
#[derive(Clone, Copy, Default)]
struct Asked {
    generation: u32,
    bytes: bool,
    room: bool,
}

/// Sockets are registered once, edge by edge, for everything; what was not asked for is passed over. Closing a
/// socket ends its registration.
pub(crate) struct Epoll {
    epoll: OwnedFd,
    /// epoll_wait(2) has milliseconds; the timer has nanoseconds.
    timer: OwnedFd,
    /// By index.
    asked: Vec<Asked>,
    /// Not yet taken.
    events: Vec<epoll::Event>,
}

impl Epoll {
    fn new(wake: BorrowedFd<'_>) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let mut own = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            timer,
            asked: Vec::new(),
            events: Vec::with_capacity(EVENTS),
        };
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        for descriptor in [wake, own.timer.as_fd()] {
            epoll::add(
                &own.epoll,
                descriptor,
                epoll::EventData::new_u64(OTHER),
                flags,
            )?;
        }
        own.asked.shrink_to_fit();
        Ok(own)
    }

    fn asked(&mut self, id: ConnectionId) -> &mut Asked {
        let index = id.index as usize;
        if self.asked.len() <= index {
            self.asked.resize(index + 1, Asked::default());
        }
        &mut self.asked[index]
    }

    fn watch(&mut self, socket: BorrowedFd<'_>, id: ConnectionId, ask: impl FnOnce(&mut Asked)) {
        let generation = id.generation & GENERATION_MASK;
        let asked = self.asked(id);
        if asked.generation != generation {
            *asked = Asked {
                generation,
                ..Asked::default()
            };
        }
        ask(asked);
        self.register(socket, u64::from(generation) << 32 | u64::from(id.index));
    }

    /// Registers a descriptor, or has it reported again what is there already.
    fn register(&mut self, descriptor: BorrowedFd<'_>, data: u64) {
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(data);
        if epoll::modify(&self.epoll, descriptor, data, flags) == Err(Errno::NOENT) {
            // Fails when there is no memory or the limit of watches is reached; then its deadlines speak.
            let _ = epoll::add(&self.epoll, descriptor, data, flags);
        }
    }

    fn reap(&mut self, mut handle: impl FnMut(Event)) -> usize {
        let mut count = 0;
        for _ in 0..CALLS_MAX {
            if self.events.is_empty() {
                self.collect(Some(&NO_TIME));
            }
            let is_all = self.events.len() < EVENTS;
            for at in 0..self.events.len() {
                count += self.take(self.events[at], &mut handle);
            }
            self.events.clear();
            if is_all {
                break;
            }
        }
        count
    }

    fn take(&mut self, event: epoll::Event, handle: &mut impl FnMut(Event)) -> usize {
        let (data, flags) = (event.data.u64(), event.flags);
        match data >> KIND_SHIFT << KIND_SHIFT {
            0 => {}
            LISTENER => {
                handle(Event::Acceptable(data as u32));
                return 1;
            }
            _ => return 0,
        }
        let id = ConnectionId {
            index: data as u32,
            generation: (data >> 32) as u32,
        };
        let ends = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        let hangup = flags.intersects(ends);
        let asked = self.asked(id);
        if asked.generation != id.generation {
            return 0; // an earlier use of its place
        }
        let has_bytes = asked.bytes && (hangup || flags.contains(epoll::EventFlags::IN));
        let room = epoll::EventFlags::OUT | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        let has_room = asked.room && flags.intersects(room);
        asked.room &= !has_room;
        if has_room {
            handle(Event::Writable(id));
        }
        if has_bytes {
            handle(Event::Readable {
                id,
                hangup,
                watched: true,
            });
        }
        usize::from(has_room) + usize::from(has_bytes)
    }

    fn wait(&mut self, longest: Option<Span>) {
        if !self.events.is_empty() {
            return;
        }
        if longest == Some(Span(0)) {
            return self.collect(Some(&NO_TIME));
        }
        if let Some(Span(ns)) = longest {
            let time = Itimerspec {
                it_interval: NO_TIME,
                it_value: Timespec {
                    tv_sec: (ns / 1_000_000_000) as i64,
                    tv_nsec: (ns % 1_000_000_000) as i64,
                },
            };
            // Without a timer there is no sleep either.
            if timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &time).is_err() {
                return self.collect(Some(&NO_TIME));
            }
        }
        self.collect(None);
    }

    fn collect(&mut self, time: Option<&Timespec>) {
        // Fails when a signal came, which ends the sleep.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut self.events), time);
    }
}

const NO_TIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_says_what_to_change() {
        let rows = [
            (Errno::PERM, "kernel.io_uring_disabled"),
            (Errno::NOSYS, "Linux 5.13"),
            (Errno::NOMEM, "ulimit -l"),
            (Errno::MFILE, "ulimit -n"),
        ];
        for (errno, advice) in rows {
            let text = ring_sentence(&errno.into());
            assert!(text.contains(advice), "{errno:?}: {text}");
        }
        assert!(epoll_sentence(&Errno::PERM.into()).contains("seccomp"));
        assert!(!is_denied(&Errno::MFILE.into()) && is_denied(&Errno::PERM.into()));
    }

    /// Both report the same of a connection: room, bytes, its end.
    #[test]
    fn both_tell_the_same() {
        use std::io::{Read, Write};
        for backend in [Backend::IoUring, Backend::Epoll] {
            let wake = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
            let mut poller = Poller::new(backend, wake.as_fd()).unwrap();
            let (mut near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
            let id = ConnectionId {
                index: 3,
                generation: 7,
            };
            poller.watch_writable(near.as_fd(), id);
            assert_eq!(next(&mut poller), Event::Writable(id), "{backend:?}");
            poller.watch_readable(near.as_fd(), id);
            far.write_all(b"x").unwrap();
            let readable = |hangup| Event::Readable {
                id,
                hangup,
                watched: true,
            };
            assert_eq!(next(&mut poller), readable(false), "{backend:?}");
            assert_eq!(near.read(&mut [0; 9]).unwrap(), 1);
            drop(far);
            let Event::Readable { hangup, .. } = next(&mut poller) else {
                panic!("{backend:?}");
            };
            assert!(hangup, "{backend:?}");
            poller.forget(id, false);
            poller.submit();
            // Its time ends a sleep, and so does a write to the eventfd.
            poller.wait(Some(Span(1_000)));
            rustix::io::write(&wake, &1_u64.to_ne_bytes()).unwrap();
            poller.wait(None);
        }
    }

    fn next(poller: &mut Poller) -> Event {
        let mut found = None;
        while found.is_none() {
            poller.submit();
            poller.wait(None);
            poller.reap(|event| found = found.or(Some(event)));
        }
        found.unwrap()
    }
}
