//! State that the shards share: wake-up of parked shards, stop of all, and the number of connections of
//! all shards.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{fence, AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::utils::CachePadded;
use rustix::event::{eventfd, EventfdFlags};
use rustix::io::Errno;

use super::bridges::Roster;
use super::counters::Counters;
use super::inbox::{Inbox, ShardCommand};
use super::memory::Memory;
use super::stage::Stage;
use super::unix::SocketFile;
use crate::ids::ShardId;
use crate::run_options::RunOptions;

/// What a thread that panicked has left is whole: each change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Parker {
    parked: AtomicBool,
    eventfd: OwnedFd,
    /// Commands of services for the shard.
    inbox: Inbox,
    /// Of a shard that stops: its journal is not on the disk yet.
    is_unwritten: AtomicBool,
    /// The last question that the shard has answered, at the beginning of a turn.
    answered: AtomicU64,
}

/// Shared by all shards and the signal thread.
///
/// A shard that finds nothing to do announces that it parks, looks once more at everything that
/// could have come meanwhile, and then waits for its eventfd. A thread that gives it work afterwards sees
/// the announcement and signals; under load no shard is parked and no wake-up is written.
pub(super) struct SharedState {
    parkers: Vec<CachePadded<Parker>>,
    stopped: AtomicUsize,
    /// Connections of all shards: a limit of the whole broker is counted in one place. Touched when
    /// a connection opens or closes, never for a message.
    connections: CachePadded<AtomicUsize>,
    connections_max: AtomicUsize,
    /// `None`: there is no limit that is known.
    memory: Mutex<Option<Memory>>,
    options: Mutex<Arc<RunOptions>>,
    counters: Counters,
    /// How often counters were asked for.
    counter_requests: AtomicU64,
    is_ready: AtomicBool,
    is_stopping: AtomicBool,
    /// They go with the process.
    socket_files: Mutex<Vec<SocketFile>>,
    bridges: Roster,
}

impl SharedState {
    pub(super) fn connections_max(&self) -> usize {
        self.connections_max.load(Ordering::Relaxed)
    }

    /// Refuses connections beyond another number from now on.
    pub(super) fn set_connections_max(&self, max: u32) {
        self.connections_max.store(max as usize, Ordering::Relaxed);
    }

    /// Refuses connections beyond `max`.
    pub(super) fn with_connections_max(self, max: u32) -> Self {
        self.set_connections_max(max);
        self
    }

    pub(super) fn bridges(&self) -> &Roster {
        &self.bridges
    }

    /// What memory is measured against. Not for each message.
    pub(super) fn memory(&self) -> Option<Memory> {
        lock(&self.memory).clone()
    }

    pub(super) fn with_options(self, options: RunOptions) -> Self {
        self.set_options(options);
        self
    }

    /// Other options from now on. Shards take theirs with [`ShardCommand::Config`].
    pub(super) fn set_options(&self, options: RunOptions) {
        *lock(&self.memory) = Memory::new(options.memory_max, Path::new("/"));
        *lock(&self.options) = Arc::new(options);
    }

    pub(super) fn options(&self) -> Arc<RunOptions> {
        Arc::clone(&lock(&self.options))
    }

    /// Counts a connection that opens; false when there are as many as there may be.
    pub(super) fn count_opened(&self) -> bool {
        let is_open = self.connections.fetch_add(1, Ordering::Relaxed) < self.connections_max();
        if !is_open {
            self.count_closed();
        }
        is_open
    }

    pub(super) fn count_closed(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn new(shards: u16) -> Result<Self, Errno> {
        let parker = || {
            let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            Ok(CachePadded::new(Parker {
                parked: AtomicBool::new(false),
                eventfd,
                inbox: Inbox::default(),
                is_unwritten: AtomicBool::new(false),
                answered: AtomicU64::new(0),
            }))
        };
        Ok(Self {
            parkers: (0..shards)
                .map(|_| parker())
                .collect::<Result<_, Errno>>()?,
            stopped: AtomicUsize::new(0),
            connections: CachePadded::new(AtomicUsize::new(0)),
            connections_max: AtomicUsize::new(usize::MAX),
            memory: Mutex::default(),
            options: Mutex::default(),
            counters: Counters::default(),
            counter_requests: AtomicU64::new(0),
            is_ready: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            socket_files: Mutex::default(),
            bridges: Roster::default(),
        })
    }

    pub(super) fn shards(&self) -> u16 {
        self.parkers.len() as u16
    }

    pub(super) fn inbox(&self, shard: ShardId) -> &Inbox {
        &self.parkers[shard.index()].inbox
    }

    /// Gives a shard a command and wakes it. Waits while its inbox is full: not for shards.
    pub(super) fn send(&self, shard: ShardId, command: ShardCommand) {
        self.inbox(shard).send(command);
        self.wake(shard);
    }

    /// Without waiting; false when the shard's inbox is full.
    pub(super) fn try_send(&self, shard: ShardId, command: ShardCommand) -> bool {
        let is_taken = self.inbox(shard).try_send(command);
        self.wake(shard);
        is_taken
    }

    /// Clients are let in.
    pub(super) fn set_ready(&self) {
        self.is_ready.store(true, Ordering::Relaxed);
    }

    pub(super) fn stage(&self) -> Stage {
        let is_ready = self.is_ready.load(Ordering::Relaxed);
        match self.is_stopping.load(Ordering::Relaxed) {
            true => Stage::Stopping,
            false if is_ready => Stage::Ready,
            false => Stage::Starting,
        }
    }

    pub(super) fn keep_socket_files(&self, made: impl IntoIterator<Item = SocketFile>) {
        let mut files = lock(&self.socket_files);
        for file in made {
            if !files.contains(&file) {
                files.push(file); // those of a listener that stays come again
            }
        }
    }

    /// Of a socket that has been closed.
    pub(super) fn remove_socket_file(&self, path: &Path) {
        lock(&self.socket_files).retain(|file| {
            let is_other = !file.is_at(path);
            if !is_other {
                file.remove();
            }
            is_other
        });
    }

    pub(super) fn remove_socket_files(&self) {
        for file in &*lock(&self.socket_files) {
            file.remove();
        }
    }

    /// Gives every shard a command.
    pub(super) fn broadcast(&self, command: impl Fn() -> ShardCommand) {
        for shard in (0..self.shards()).map(ShardId) {
            self.send(shard, command());
        }
    }

    /// Gives every shard a command that has room for it, and waits for none.
    pub(super) fn offer(&self, command: impl Fn() -> ShardCommand) {
        for shard in (0..self.shards()).map(ShardId) {
            self.try_send(shard, command());
        }
    }

    /// A shard has begun a turn and found this question.
    pub(super) fn answer(&self, shard: ShardId, question: u64) {
        let parker = &self.parkers[shard.index()];
        parker.answered.store(question, Ordering::Relaxed);
    }

    /// The last question that all shards have answered.
    pub(super) fn answered(&self) -> u64 {
        let answers = self.parkers.iter();
        let answers = answers.map(|parker| parker.answered.load(Ordering::Relaxed));
        answers.min().unwrap_or_default()
    }

    /// Connections open now.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn eventfd(&self, shard: ShardId) -> BorrowedFd<'_> {
        self.parkers[shard.index()].eventfd.as_fd()
    }

    /// Announces that `shard` is about to park. What is sent afterwards wakes it; what was sent before
    /// is seen by a check that follows.
    pub(super) fn announce_park(&self, shard: ShardId) {
        let parked = &self.parkers[shard.index()].parked;
        parked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub(super) fn announce_awake(&self, shard: ShardId) {
        let parked = &self.parkers[shard.index()].parked;
        parked.store(false, Ordering::Relaxed);
    }

    /// Wakes `shard` if it is parked: call after giving it something, once per batch.
    pub(super) fn wake(&self, shard: ShardId) {
        // Pairs with the fence of `announce_park`: either we see the announcement or the shard's
        // last look sees what we gave it.
        fence(Ordering::SeqCst);
        let parker = &self.parkers[shard.index()];
        if parker.parked.load(Ordering::Relaxed) && parker.parked.swap(false, Ordering::Relaxed) {
            // The counter is never read; 2^64 wake-ups do not come.
            let _ = rustix::io::write(&parker.eventfd, &1_u64.to_ne_bytes());
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Asks all shards for their counters.
    pub(super) fn ask_counters(&self) {
        let request = self.counter_requests.fetch_add(1, Ordering::Relaxed) + 1;
        self.broadcast(|| ShardCommand::ReportCounters(request));
    }

    /// Asks all shards to stop.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.bridges.end();
        self.broadcast(|| ShardCommand::Stop);
    }

    /// While a shard stops: whether all it has to write is on the disk.
    pub(super) fn note_written(&self, shard: ShardId, is_written: bool) {
        let is_unwritten = &self.parkers[shard.index()].is_unwritten;
        is_unwritten.store(!is_written, Ordering::Relaxed);
    }

    /// The journals of all shards that stop are on the disk.
    pub(super) fn all_written(&self) -> bool {
        let mut parkers = self.parkers.iter();
        parkers.all(|parker| !parker.is_unwritten.load(Ordering::Relaxed))
    }

    /// A shard has stopped; it continues to serve its peers until all have.
    pub(super) fn count_stopped(&self) {
        if self.stopped.fetch_add(1, Ordering::SeqCst) + 1 < self.parkers.len() {
            return;
        }
        for shard in (0..self.shards()).map(ShardId) {
            // A shard whose inbox is full does not park, and looks by itself.
            self.inbox(shard).try_send(ShardCommand::AllStopped);
            self.wake(shard);
        }
    }

    pub(super) fn all_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst) == self.parkers.len()
    }
}
