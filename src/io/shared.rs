//! State that the shards share: wake-up of parked shards, stop of all, and the number of connections of
//! all shards.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{fence, AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crossbeam::utils::CachePadded;
use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::{fcntl_setfl, OFlags};
use rustix::io::Errno;
use tokio::sync::mpsc::UnboundedSender;

use super::bridges::Roster;
use super::cluster_board::Board;
use super::counters::Counters;
use super::inbox::{Inbox, ShardCommand};
use super::memory::Memory;
use super::passing::RelayOrder;
use super::stage::Stage;
use super::unix::SocketFile;
use super::upgrade::{Relay, UpgradeOrder};
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

impl Parker {
    fn new() -> Result<CachePadded<Self>, Errno> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(CachePadded::new(Self::waking(eventfd)))
    }

    /// `eventfd`: what is written to wakes.
    fn waking(eventfd: OwnedFd) -> Self {
        Self {
            parked: AtomicBool::new(false),
            eventfd,
            inbox: Inbox::default(),
            is_unwritten: AtomicBool::new(false),
            answered: AtomicU64::new(0),
        }
    }
}

/// Shared by all shards and the signal thread.
///
/// A shard that finds nothing to do announces that it parks, looks once more at everything that
/// could have come meanwhile, and then waits for its eventfd. A thread that gives it work afterwards sees
/// the announcement and signals; under load no shard is parked and no wake-up is written.
pub(super) struct SharedState {
    /// Of shards.
    parkers: Vec<CachePadded<Parker>>,
    /// Of the exchange of a cluster, which is a peer of all shards.
    exchange: Option<CachePadded<Parker>>,
    /// The end of a pipe by which that is woken, until its thread takes it.
    exchange_wakes: Mutex<Option<OwnedFd>>,
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
    services: Mutex<Services>,
    /// Another process serves.
    has_left: AtomicBool,
    told: OnceLock<()>,
    /// What this process still does for its clients.
    relays: Mutex<Vec<Relay>>,
    /// Of a node of a cluster: its thread for clients of other nodes.
    pub(super) passes_on: OnceLock<UnboundedSender<RelayOrder>>,
    cluster: Arc<Board>,
}

/// Listening sockets of services beside the shards, by address.
#[derive(Default)]
struct Services {
    open: Vec<(String, OwnedFd)>,
    /// Of the process before, until they are asked for.
    handed: Vec<(String, OwnedFd)>,
}

impl SharedState {
    /// For another process; copies.
    pub(super) fn service_sockets(&self) -> Vec<(String, OwnedFd)> {
        let services = lock(&self.services);
        let open = services.open.iter();
        open.filter_map(|(address, socket)| Some((address.clone(), socket.try_clone().ok()?)))
            .collect()
    }

    /// Those that are open are asked for again.
    pub(super) fn hand_services_again(&self) {
        let services = &mut *lock(&self.services);
        services.handed.append(&mut services.open);
    }

    pub(super) fn keep_service_socket(&self, address: String, socket: OwnedFd) {
        lock(&self.services).open.push((address, socket));
    }

    pub(super) fn forget_service_socket(&self, address: &str) {
        lock(&self.services)
            .open
            .retain(|(other, _)| other != address);
    }

    pub(super) fn hand_services(&self, handed: Vec<(String, OwnedFd)>) {
        lock(&self.services).handed = handed;
    }

    pub(super) fn take_handed_service(&self, address: &str) -> Option<OwnedFd> {
        let handed = &mut lock(&self.services).handed;
        let place = handed.iter().position(|(other, _)| other == address)?;
        Some(handed.swap_remove(place).1)
    }

    /// Another process serves: the shards let go of everything, and end.
    pub(super) fn leave(&self, is_waited_for: bool) {
        self.has_left.store(true, Ordering::SeqCst);
        self.bridges.end();
        self.broadcast(|| ShardCommand::Upgrade(UpgradeOrder::Leave { is_waited_for }));
    }

    pub(super) fn keep_relays(&self, mut relays: Vec<Relay>) {
        lock(&self.relays).append(&mut relays);
    }

    pub(super) fn take_relays(&self) -> Vec<Relay> {
        std::mem::take(&mut lock(&self.relays))
    }

    /// The answer to who has asked for another process is on its way.
    pub(super) fn has_told(&self) {
        let _ = self.told.set(());
    }

    pub(super) fn await_told(&self) {
        self.told.wait();
    }

    pub(super) fn has_left(&self) -> bool {
        self.has_left.load(Ordering::SeqCst)
    }

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
        Ok(Self {
            parkers: (0..shards)
                .map(|_| Parker::new())
                .collect::<Result<_, Errno>>()?,
            exchange: None,
            exchange_wakes: Mutex::default(),
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
            services: Mutex::default(),
            has_left: AtomicBool::new(false),
            told: OnceLock::new(),
            relays: Mutex::default(),
            passes_on: OnceLock::new(),
            cluster: Arc::default(),
        })
    }

    /// The shards have one more peer, which is the exchange. A pipe wakes it, since its runtime waits for those.
    pub(super) fn with_exchange(mut self) -> std::io::Result<Self> {
        let (wakes, woken_by) = std::io::pipe()?;
        fcntl_setfl(&woken_by, OFlags::NONBLOCK)?; // no shard waits for it
        self.exchange = Some(CachePadded::new(Parker::waking(woken_by.into())));
        self.exchange_wakes = Mutex::new(Some(wakes.into()));
        Ok(self)
    }

    /// What the exchange is woken by: once.
    pub(super) fn take_exchange_wakes(&self) -> Option<OwnedFd> {
        lock(&self.exchange_wakes).take()
    }

    pub(super) fn shards(&self) -> u16 {
        self.parkers.len() as u16
    }

    /// Shards, and the exchange if there is one: each is a peer of all others.
    pub(super) fn peers(&self) -> u16 {
        self.shards() + u16::from(self.exchange.is_some())
    }

    /// Of a shard or of the exchange.
    fn parker(&self, peer: ShardId) -> &Parker {
        let of_shard = self.parkers.get(peer.index());
        let parker = of_shard.or(self.exchange.as_ref());
        parker.expect("beyond the shards there is the exchange at most")
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

    pub(super) fn cluster(&self) -> &Board {
        &self.cluster
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
        self.parker(shard).eventfd.as_fd()
    }

    /// Announces that `shard` is about to park. What is sent afterwards wakes it; what was sent before
    /// is seen by a check that follows.
    pub(super) fn announce_park(&self, shard: ShardId) {
        let parked = &self.parker(shard).parked;
        parked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub(super) fn announce_awake(&self, shard: ShardId) {
        let parked = &self.parker(shard).parked;
        parked.store(false, Ordering::Relaxed);
    }

    /// Wakes `shard` if it is parked: call after giving it something, once per batch.
    pub(super) fn wake(&self, shard: ShardId) {
        // Pairs with the fence of `announce_park`: either we see the announcement or the shard's
        // last look sees what we gave it.
        fence(Ordering::SeqCst);
        let parker = self.parker(shard);
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
