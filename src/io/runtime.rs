//! Starts one executor per shard and waits for them.

use std::sync::mpsc;
use std::sync::Arc;

use glommio::{CpuSet, ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

use super::broker::Broker;
use super::clock::Clock;
use super::commits::Commits;
use super::controls::Controls;
use super::driver::{Driver, Setup};
use super::errors::StartError;
use super::file_watch::FileWatch;
use super::inbox::ShardCommand;
use super::inherited::Inherited;
use super::listener_set::ListenerSet;
use super::logins::{LoginSetup, Logins};
use super::recovery::Journal;
use super::reload::{Configuration, Reload};
use super::service_manager::ServiceManager;
use super::shared::SharedState;
use super::{
    bridges, file_watch, huge_pages, logging, memory_watch, mesh, reload, signals, sys, tls_files,
};
use crate::admin_options::AdminOptions;
use crate::auth::{self, Rules};
use crate::bridge::{own_terms, Bridge, LocalLimits};
use crate::ids::ShardId;
use crate::limits::Limits;
use crate::listener::Listener;
use crate::run_options::RunOptions;
use crate::shard::{PlacementSeed, Shard, ShardConfig};
use crate::time::Span;

/// Memory glommio registers per executor for file I/O, of which a broker does almost none; the
/// default of 10 MiB would not fit the usual locked-memory limit.
const EXECUTOR_IO_MEMORY: usize = 64 << 10;
/// Entries of glommio's own rings: they carry one wake-up.
const EXECUTOR_RING: usize = 64;
/// Descriptors a process needs besides its clients' sockets: some fixed ones, and per shard the
/// rings, eventfds and timers of its executor.
const DESCRIPTORS_BESIDES: u64 = 32;
const DESCRIPTORS_PER_SHARD: u64 = 16;

/// What to start.
#[derive(Clone, Debug)]
pub struct Startup {
    pub listeners: Vec<Listener>,
    pub bridges: Vec<Bridge>,
    pub shards: u16,
    /// Cores to pin to, at least one per shard; empty: shards are not pinned.
    pub cores: Vec<usize>,
    /// Cores' worth of time there is.
    pub available: usize,
    pub limits: Limits,
    pub auth: auth::Files,
    pub run: RunOptions,
    pub admin: AdminOptions,
}

/// Runs the broker until it is asked to stop. `configuration` is read again at SIGHUP; `serve` starts services beside
/// the shards before these run.
pub fn run(
    startup: &Startup,
    configuration: Box<dyn Configuration>,
    serve: impl FnOnce(&Broker) -> Result<(), StartError>,
) -> Result<(), StartError> {
    raise_descriptor_limit(startup)?;
    probe_io_uring()?;
    // Files are read first: a mistake in them is reported before anything listens.
    let factories = tls_files::factories(&startup.listeners)?;
    let inherited = Inherited::take(&startup.listeners)?;
    describe_shards(startup);
    let shared = shared_state(startup)?;
    huge_pages::refuse_where_small(shared.memory().as_ref(), startup.shards);
    let manager = ServiceManager::start(&shared)?;
    let journal = Journal::open(&startup.run, startup.shards, &shared)?.map(Arc::new);
    memory_watch::watch_memory(Arc::clone(&shared))?;
    let (ask, asked) = mpsc::channel();
    let controls = Arc::new(Controls::new(ask.clone()));
    let files = watch_for_requests(startup, &shared, ask)?;
    let (intervals, changes) = mpsc::channel();
    let seeds = ahash::RandomState::new();
    let config = shard_config(startup, journal.as_deref(), seeds.hash_one("maps"))?;
    let clock = Clock::start();
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(std::io::Error::from)?;
    let (logins, rules) = start_logins(startup, secret, &shared, clock)?;
    let broker = Broker::new(&shared, &logins, &controls, clock);
    serve(&broker)?;
    let traces = logging::tells_connections();
    let own_journal = journal.clone();
    let own_config = Arc::clone(&config);
    let make = move |id: ShardId| {
        let mut shard = Shard::new(id, &own_config, seeds.hash_one(id), clock.now());
        if traces {
            shard.trace_connections();
        }
        let commits = own_journal
            .as_ref()
            .map(|journal| journal.begin(id, &mut shard, &rules, clock));
        Ok((shard, commits.transpose()?))
    };
    let open = || {
        if let Some(journal) = &journal {
            journal.all_have_begun()?;
        }
        let listeners =
            ListenerSet::open(&startup.listeners, factories, inherited, startup.shards)?;
        listeners.count_in(&shared);
        controls.set_listeners(listeners.states());
        Ok(listeners)
    };
    let (threads, listeners) = start_shards(&startup.cores, &shared, &logins, clock, make, open)?;
    let reload = Reload {
        configuration,
        listeners,
        shard_config: config,
        logins,
        secret,
        shared: Arc::clone(&shared),
        broker: broker.clone(),
        controls: Arc::clone(&controls),
        files,
        sys_intervals: intervals,
    };
    reload::watch(asked, reload)?;
    open_for_clients(startup, &broker, changes)?;
    manager.ready();
    join_all(threads)?;
    shared.remove_socket_files();
    Ok(())
}

/// Waits for the shards' threads.
fn join_all(threads: Vec<ExecutorJoinHandle<()>>) -> Result<(), StartError> {
    for (index, thread) in (0..).zip(threads) {
        thread
            .join()
            .map_err(|error| StartError::of_executor(index, error))?;
    }
    Ok(())
}

fn shared_state(startup: &Startup) -> Result<Arc<SharedState>, StartError> {
    let shared = SharedState::new(startup.shards)?
        .with_connections_max(startup.limits.connections_max)
        .with_options(startup.run.clone());
    Ok(Arc::new(shared))
}

/// Signals, and files that have changed: each asks for a reload.
fn watch_for_requests(
    startup: &Startup,
    shared: &Arc<SharedState>,
    ask: mpsc::Sender<()>,
) -> Result<FileWatch, StartError> {
    let files = FileWatch::start(ask.clone())?;
    if startup.run.watch_files {
        let Startup {
            listeners,
            auth,
            admin,
            ..
        } = startup;
        files.watch(file_watch::files_of(listeners, auth, admin));
    }
    signals::watch(Arc::clone(shared), ask)?;
    Ok(files)
}

fn shard_config(
    startup: &Startup,
    journal: Option<&Journal>,
    hash_seed: u64,
) -> std::io::Result<Arc<ShardConfig>> {
    let placement_seed = match journal {
        Some(journal) => journal.placement_seed(),
        None => {
            let mut seed = [0; 16];
            getrandom::fill(&mut seed)?;
            PlacementSeed(seed)
        }
    };
    Ok(Arc::new(ShardConfig {
        shards: startup.shards,
        limits: startup.limits.clone(),
        listeners: startup.listeners.iter().map(|l| l.policy.clone()).collect(),
        placement_seed,
        hash_seed,
        own_terms: own_terms(&startup.bridges),
    }))
}

/// The last step of the start.
fn open_for_clients(
    startup: &Startup,
    broker: &Broker,
    sys_intervals: mpsc::Receiver<Span>,
) -> Result<(), StartError> {
    // What is published once the broker is ready is kept for them.
    start_bridges(startup, broker)?;
    broker.shared().set_ready();
    sys::start(broker.clone(), sys_intervals)?;
    sys::follow_log(broker.clone());
    tracing::info!("ready");
    Ok(())
}

fn start_bridges(startup: &Startup, broker: &Broker) -> Result<(), StartError> {
    let limits = LocalLimits::of(&startup.limits);
    bridges::renew(broker, &startup.bridges, limits)?;
    broker.shared().bridges().await_sessions();
    Ok(())
}

/// Reads the rules, starts the authentication threads, and sends the rules to every shard's inbox.
fn start_logins(
    startup: &Startup,
    secret: [u8; 32],
    shared: &Arc<SharedState>,
    clock: Clock,
) -> Result<(Arc<Logins>, Arc<Rules>), StartError> {
    let rules = auth::load(&startup.auth, secret).map_err(StartError::of_files)?;
    let rules = Arc::new(rules);
    let setup = LoginSetup {
        login_timeout: Span::from_secs(u64::from(startup.limits.connect_timeout_s)),
        available: startup.available,
        secret,
    };
    let logins = Logins::new(&setup, shared, clock);
    logins.publish(&rules)?;
    Ok((logins, rules))
}

/// What a shard's thread begins with.
type Made = (Shard, Option<Commits>);

/// Starts one thread per shard and returns when all of them run and listen. `make` builds a shard on its own
/// thread; when all of them may let clients in, `open` opens the listeners.
pub(super) fn start_shards(
    cores: &[usize],
    shared: &Arc<SharedState>,
    logins: &Arc<Logins>,
    clock: Clock,
    make: impl Fn(ShardId) -> Result<Made, StartError> + Clone + Send + 'static,
    open: impl FnOnce() -> Result<ListenerSet, StartError>,
) -> Result<(Vec<ExecutorJoinHandle<()>>, ListenerSet), StartError> {
    let pinnable = CpuSet::online().is_ok(); // needs /sys, which a container may hide
    let (report, reports) = mpsc::channel();
    let mut threads = Vec::new();
    for (index, mesh) in (0..).zip(mesh::connect(shared)) {
        let core = cores.get(usize::from(index)).copied().filter(|_| pinnable);
        let make = make.clone();
        let logins = Arc::clone(logins);
        let report = report.clone();
        let id = ShardId(index);
        let thread = LocalExecutorBuilder::new(core.map_or(Placement::Unbound, Placement::Fixed))
            .name(&format!("shard-{index}"))
            .io_memory(EXECUTOR_IO_MEMORY)
            .ring_depth(EXECUTOR_RING)
            .spawn(move || async move {
                let _guard = AbortOnPanic;
                let driver = make(id).and_then(|(shard, commits)| {
                    let setup = Setup {
                        shard,
                        commits,
                        id,
                        mesh,
                        logins,
                        clock,
                        pinned: core.is_some(),
                    };
                    Driver::new(setup).map_err(|error| StartError::of_ring(&error))
                });
                // Sending fails when another shard has ended the start.
                match driver {
                    Ok(driver) => driver.run(move || drop(report.send((index, None)))),
                    Err(error) => drop(report.send((index, Some(error)))),
                }
            })
            .map_err(|error| StartError::of_executor(index, error))?;
        threads.push(Some(thread));
    }
    drop(report);
    wait_for_all(&mut threads, reports)?;
    let listeners = open()?;
    for id in (0..shared.shards()).map(ShardId) {
        shared.send(id, ShardCommand::Listen(listeners.for_a_shard(id)?));
    }
    Ok((threads.into_iter().flatten().collect(), listeners))
}

/// What a shard's thread has come to.
type Report = (u16, Option<StartError>);

/// Waits until every shard has reported, and for the first that has failed at most.
fn wait_for_all(
    threads: &mut [Option<ExecutorJoinHandle<()>>],
    reports: mpsc::Receiver<Report>,
) -> Result<(), StartError> {
    let mut running = vec![false; threads.len()];
    for (index, failed) in reports {
        match failed {
            None => running[usize::from(index)] = true,
            Some(error) => return Err(error),
        }
    }
    // An executor that could not be made has dropped its end of the channel without a report.
    let Some(index) = running.iter().position(|runs| !runs) else {
        return Ok(());
    };
    let failed = threads[index].take().map(ExecutorJoinHandle::join);
    Err(match failed {
        Some(Err(error)) => StartError::of_executor(index as u16, error),
        _ => StartError::Shard(index as u16, "it ended at once".into()),
    })
}

/// The start-up line about shards.
fn describe_shards(startup: &Startup) {
    let (shards, available) = (startup.shards, startup.available);
    let cores = startup.cores.iter().take(usize::from(shards));
    let cores: Vec<String> = cores.map(ToString::to_string).collect();
    if !cores.is_empty() {
        tracing::info!("shards: {shards}, pinned to cores {}", cores.join(", "));
    } else if usize::from(shards) > available {
        tracing::warn!(
            "shards: {shards} on {available} cores, not pinned: more shards than cores is meant for \
             tests"
        );
    } else {
        tracing::info!("shards: {shards} on {available} cores, not pinned");
    }
}

/// The broker cannot run without one of its shards. In release builds every panic aborts anyway.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("ringmq: a shard has failed; the broker cannot go on without it");
            std::process::abort();
        }
    }
}

/// Whether a ring can be made here; the error is a sentence with what to change.
///
/// # Errors
/// It cannot.
pub fn io_uring_works() -> Result<(), String> {
    probe_io_uring().map_err(|error| error.to_string())
}

/// Tries a ring before anything else starts, so that its absence is reported in one sentence.
fn probe_io_uring() -> Result<(), StartError> {
    io_uring::IoUring::new(8)
        .map(drop)
        .map_err(|error| StartError::of_ring(&error))
}

/// Connections for which the limit of open files leaves room; `None`: it is not limited.
#[must_use]
pub fn connections_allowed(shards: u16) -> Option<u32> {
    let most = getrlimit(Resource::Nofile).maximum?;
    let room = most.saturating_sub(descriptors_besides(shards));
    Some(u32::try_from(room).unwrap_or(u32::MAX))
}

fn descriptors_besides(shards: u16) -> u64 {
    DESCRIPTORS_BESIDES + DESCRIPTORS_PER_SHARD * u64::from(shards)
}

/// Raises the soft limit of open files to the hard one; reports when that is too low.
fn raise_descriptor_limit(startup: &Startup) -> Result<(), StartError> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let mut effective = current;
    if current != maximum {
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => effective = maximum,
            Err(error) => tracing::warn!("cannot raise the limit of open files: {error}"),
        }
    }
    let connections = u64::from(startup.limits.connections_max);
    let besides = descriptors_besides(startup.shards);
    let wanted = connections + besides;
    if let Some(limit) = effective.filter(|limit| *limit < besides) {
        // Now and in a sentence: glommio panics when its first executor finds no descriptor left.
        let text = format!("{limit} may be open, the start takes up to {besides}");
        return Err(StartError::Descriptors(text));
    }
    if let Some(limit) = effective.filter(|limit| *limit < wanted) {
        tracing::warn!(
            "the limit of open files ({limit}) allows about {} connections, connections-max is \
             {connections}; to use all of it: ulimit -n {wanted} (or LimitNOFILE={wanted} in a \
             systemd unit)",
            limit.saturating_sub(besides),
        );
    }
    Ok(())
}
