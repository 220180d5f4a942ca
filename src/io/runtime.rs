//! Starts one executor per shard and waits for them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::sync::Arc;
use std::time::Duration;

use glommio::{CpuSet, ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

use super::broker::Broker;
use super::clock::Clock;
use super::commits::Commits;
use super::controls::{Controls, Reloaded};
use super::driver::{Driver, Setup};
use super::errors::StartError;
use super::gate::Gate;
use super::inbox::ShardCommand;
use super::listener::Listening;
use super::logins::{LoginSetup, Logins};
use super::memory::Memory;
use super::recovery::Journal;
use super::shared::SharedState;
use super::{file_watch, listener, logging, memory_watch, mesh, reload, signals, sys, unix};
use crate::auth::{self, Rules};
use crate::ids::ShardId;
use crate::limits::Limits;
use crate::listener::{Address, Listener};
use crate::run_options::RunOptions;
use crate::shard::{PlacementSeed, Shard, ShardConfig};
use crate::time::Span;
use crate::transport::LayerFactory;

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
    pub shards: u16,
    /// Cores to pin to, at least one per shard; empty: shards are not pinned.
    pub cores: Vec<usize>,
    /// Cores' worth of time there is.
    pub available: usize,
    pub limits: Limits,
    pub auth: auth::Files,
    pub run: RunOptions,
}

/// Runs the broker until it is asked to stop. `serve` starts services beside the shards before these run.
pub fn run(
    startup: &Startup,
    serve: impl FnOnce(&Broker) -> Result<(), StartError>,
) -> Result<(), StartError> {
    raise_descriptor_limit(startup)?;
    probe_io_uring()?;
    // Files are read first: a mistake in them is reported before anything listens.
    let factories = reload::factories(&startup.listeners)?;
    describe_shards(startup);
    let options = &startup.run;
    let shared = SharedState::new(startup.shards)?
        .with_connections_max(startup.limits.connections_max)
        .with_memory(Memory::new(options.memory_max, Path::new("/")))
        .with_options(options.clone());
    let shared = Arc::new(shared);
    let journal = Journal::open(options, startup.shards, &shared)?.map(Arc::new);
    memory_watch::watch_memory(Arc::clone(&shared))?;
    let (ask, asked) = mpsc::channel();
    if options.watch_files {
        let files = file_watch::files_of(&startup.listeners, &startup.auth);
        file_watch::watch(files, ask.clone())?;
    }
    let controls = Arc::new(Controls::new(startup.listeners.clone(), ask.clone()));
    let shutdown_timeout = Duration::from_secs(options.shutdown_timeout.as_secs());
    signals::watch(Arc::clone(&shared), shutdown_timeout, ask)?;
    let seeds = ahash::RandomState::new();
    let config = shard_config(startup, journal.as_deref(), seeds.hash_one("maps"))?;
    let clock = Clock::start();
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(std::io::Error::from)?;
    let (logins, rules) = start_logins(startup, secret, &shared, clock)?;
    let (files, services) = (
        startup.auth.clone(),
        (Arc::clone(&logins), Arc::clone(&shared)),
    );
    let reload_rules =
        move |done: &mut Vec<Reloaded>| reload_rules(&services, &files, secret, done);
    let tables = startup.listeners.clone();
    let own = (Arc::clone(&shared), Arc::clone(&controls));
    reload::watch(asked, tables, own, reload_rules)?;
    let broker = Broker::new(&shared, &logins, &controls, clock);
    serve(&broker)?;
    let traces = logging::tells_connections();
    let own_journal = journal.clone();
    let make = move |id: ShardId| {
        let mut shard = Shard::new(id, &config, seeds.hash_one(id), clock.now());
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
        let listeners = open_listeners(&startup.listeners, factories)?;
        shared.keep_socket_files(socket_files_of(&startup.listeners));
        let gates = listeners.iter().map(|own| Arc::clone(&own.gate));
        shared.counters().set_gates(gates.collect());
        Ok(listeners)
    };
    let threads = start_shards(&startup.cores, &shared, &logins, clock, make, open)?;
    open_for_clients(&broker, &shared)?;
    for (index, thread) in (0..).zip(threads) {
        thread
            .join()
            .map_err(|error| StartError::of_executor(index, error))?;
    }
    shared.remove_socket_files();
    Ok(())
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
        listeners: startup.listeners.iter().map(|l| l.policy).collect(),
        placement_seed,
        hash_seed,
    }))
}

/// The last step of the start.
fn open_for_clients(broker: &Broker, shared: &SharedState) -> Result<(), StartError> {
    shared.set_ready();
    let sys_interval = shared.options().sys_interval;
    if sys_interval > Span::ZERO {
        sys::start(broker.clone(), sys_interval)?;
    }
    tracing::info!("ready");
    Ok(())
}

/// Files of Unix sockets that are listened on: they go with the process.
fn socket_files_of(listeners: &[Listener]) -> Vec<unix::SocketFile> {
    let files = listeners.iter().filter_map(|own| match &own.address {
        Address::Unix(path) => unix::SocketFile::of(path),
        Address::Ip(_) => None,
    });
    files.collect()
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
    let logins = Logins::start(Arc::clone(&rules), &setup, shared, clock)?;
    logins.publish(&rules);
    Ok((logins, rules))
}

/// Reads the files again; what does not load leaves the old rules.
fn reload_rules(
    (logins, shared): &(Arc<Logins>, Arc<SharedState>),
    files: &auth::Files,
    secret: [u8; 32],
    done: &mut Vec<Reloaded>,
) {
    let what = String::from("accounts and rules");
    match auth::load(files, secret) {
        Ok(rules) => {
            done.push(Reloaded {
                what,
                problem: None,
            });
            logins.publish(&Arc::new(rules));
            tracing::info!("accounts and rules were read again");
        }
        Err(problems) => {
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let problem = Some(all.join("; "));
            done.push(Reloaded { what, problem });
            for problem in problems {
                tracing::error!("{problem}");
            }
            tracing::error!("the old accounts and rules stay in force");
        }
    }
    shared.reload_services();
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
    open: impl FnOnce() -> Result<Vec<Listening>, StartError>,
) -> Result<Vec<ExecutorJoinHandle<()>>, StartError> {
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
        let own = listeners.iter().map(Listening::try_clone);
        shared.send(id, ShardCommand::Listen(own.collect::<Result<_, _>>()?));
    }
    Ok(threads.into_iter().flatten().collect())
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

/// Tries a ring before anything else starts, so that its absence is reported in one sentence.
fn probe_io_uring() -> Result<(), StartError> {
    io_uring::IoUring::new(8)
        .map(drop)
        .map_err(|error| StartError::of_ring(&error))
}

/// Opens the listeners; `factories` make what their connections need.
fn open_listeners(
    configured: &[Listener],
    factories: Vec<Arc<LayerFactory>>,
) -> Result<Vec<Listening>, StartError> {
    let addresses: Vec<SocketAddr> = configured
        .iter()
        .filter_map(|listener| match listener.address {
            Address::Ip(address) => Some(address),
            Address::Unix(_) => None,
        })
        .collect();
    let mut listeners = Vec::new();
    for (configured, factory) in configured.iter().zip(factories) {
        let Listener { address, .. } = configured;
        let with = configured.transport.describe();
        let (socket, name) = match address {
            Address::Ip(ip) => {
                // `[::]` serves IPv4, too, unless a listener of its own does.
                let has_ipv4 = |other: &SocketAddr| other.is_ipv4() && other.port() == ip.port();
                let ipv6_only = ip.port() != 0 && addresses.iter().any(has_ipv4);
                let socket = listener::open_patiently(*ip, ipv6_only)
                    .map_err(|error| StartError::of_listener(address, error))?;
                let name = listener::address(&socket)?.to_string();
                tracing::info!("listening on {name}{with}");
                (socket, name)
            }
            Address::Unix(path) => {
                let socket =
                    unix::open_patiently(path, configured.owner.as_deref(), configured.mode)
                        .map_err(|text| StartError::Unix(address.to_string(), text))?;
                tracing::info!("listening on {address}{with}");
                (socket, address.to_string())
            }
        };
        listeners.push(Listening {
            socket,
            factory,
            gate: Arc::new(Gate::new(configured, name)),
        });
    }
    warn_of_short_backlog();
    Ok(listeners)
}

fn warn_of_short_backlog() {
    let somaxconn = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    let somaxconn = somaxconn.ok().and_then(|text| text.trim().parse().ok());
    if let Some(most) = somaxconn.filter(|most: &i32| *most < listener::BACKLOG) {
        tracing::warn!(
            "at most {most} connections may wait to be accepted, in a storm of them clients will \
             wait and retry; to allow {wanted}: sysctl net.core.somaxconn={wanted}",
            wanted = listener::BACKLOG
        );
    }
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
