//! The start of the broker, and its end.

use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::sync::Arc;

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

use super::broker::Broker;
use super::clock::Clock;
use super::cluster::{Cluster, Farewell};
use super::controls::{Ask, Controls};
use super::errors::StartError;
use super::fd_store;
use super::file_watch::FileWatch;
use super::inherited::Inherited;
use super::listener_set::ListenerSet;
use super::logins::{LoginSetup, Logins};
use super::mesh::Mesh;
use super::recovery::Journal;
use super::reload::{Configuration, Reload};
use super::service_manager::ServiceManager;
use super::shard_threads::{join_all, start_shards, Made};
use super::shared::SharedState;
use super::upgrade::{greet, read_later, see_off, take_over, HandedSockets, Taking, Upgrade};
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
use crate::shard::{Block, PlacementSeed, Shard, ShardConfig};
use crate::time::Span;
use crate::transport::LayerFactory;

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
    let mut taking = Taking::begin()?;
    let outcome = run_with(startup, configuration, serve, &mut taking);
    if let (Err(error), Some(taking)) = (&outcome, &taking) {
        taking.refuse(&error.to_string());
    }
    outcome
}

/// `taking`: everything of another process, until it is here.
fn run_with(
    startup: &Startup,
    configuration: Box<dyn Configuration>,
    serve: impl FnOnce(&Broker) -> Result<(), StartError>,
    taking: &mut Option<Taking>,
) -> Result<(), StartError> {
    let (factories, inherited, (shared, cluster), manager) = prepare(startup)?;
    let clock = Clock::start();
    let secret = draw_secret()?;
    let (logins, rules) = start_logins(startup, secret, &shared, clock)?;
    let (handed, lock) = greet(startup.run.data_dir.clone(), &shared, taking)?;
    let journal = open_journal(startup, &shared, cluster.as_ref(), lock)?;
    memory_watch::watch_memory(Arc::clone(&shared), startup.shards)?;
    let (ask, asked) = mpsc::channel();
    let controls = Arc::new(Controls::new(ask.clone()));
    let files = watch_for_requests(startup, &shared, ask)?;
    let (intervals, changes) = mpsc::channel();
    let seeds = ahash::RandomState::new();
    let config = shard_config(startup, journal.as_deref(), seeds.hash_one("maps"))?;
    let broker = Broker::new(&shared, &logins, &controls, clock);
    let mut serve = Some(serve);
    if let Some(serve) = serve.take_if(|_| taking.is_none()) {
        serve(&broker)?;
    }
    let maker = Maker {
        config: Arc::clone(&config),
        seeds,
        clock,
        journal: journal.clone(),
        rules,
        is_filled: taking.is_some(),
        traces: logging::tells_connections(),
        is_node: cluster.is_some(),
    };
    let begun = journal.as_deref().filter(|_| !maker.is_filled);
    let make = move |id| maker.make(id);
    let open = || {
        let from = (inherited, handed);
        open_listeners(startup, factories, from, (&shared, &controls, begun))
    };
    let (meshes, farewell) = connect_shards(&shared, cluster, &config, clock)?;
    let services = (&shared, &logins, clock);
    let (threads, listeners) = start_shards(&startup.cores, meshes, services, make, open)?;
    take_over(taking, (&shared, &config), &listeners, journal.as_deref())?;
    fd_store::keep(listeners.kept_ones());
    note_late(serve.map(|serve| serve(&broker)));
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
        journal,
    };
    reload::watch(asked, reload)?;
    open_for_clients(startup, &broker, changes)?;
    manager.ready();
    join_all(threads)?;
    end(&shared, farewell)
}

/// The data directory, if there is one; in a cluster as that has it.
fn open_journal(
    startup: &Startup,
    shared: &Arc<SharedState>,
    cluster: Option<&Cluster>,
    lock: Option<OwnedFd>,
) -> Result<Option<Arc<Journal>>, StartError> {
    let run = &startup.run;
    let lock = match cluster {
        Some(cluster) => lock.or(cluster.prepare(run)?),
        None => lock,
    };
    let journal = Journal::open(run, startup.shards, shared, lock)?;
    Ok(match (journal, cluster) {
        (Some(journal), Some(cluster)) => {
            let copies = cluster.copy(run, journal.data(), shared)?;
            Some(Arc::new(journal.with_copies(copies)))
        }
        (journal, _) => journal.map(Arc::new),
    })
}

/// The rings between shards, of which the link of a cluster has the last ends.
fn connect_shards(
    shared: &Arc<SharedState>,
    cluster: Option<Cluster>,
    config: &Arc<ShardConfig>,
    clock: Clock,
) -> Result<(Vec<Mesh<Block>>, Option<Farewell>), StartError> {
    let mut meshes = mesh::connect(shared);
    let begin = |cluster: Cluster| cluster.begin(&mut meshes, config, clock);
    let farewell = cluster.map(begin).transpose()?;
    Ok((meshes, farewell))
}

/// Services that begin after the clients of another process are here.
fn note_late(served: Option<Result<(), StartError>>) {
    if let Some(Err(error)) = served {
        tracing::error!("upgrade: clients are served, and there is no admin listener: {error}");
    }
}

/// What listeners need, the sockets that were open before, and what the threads share.
type Prepared = (
    Vec<Arc<LayerFactory>>,
    Inherited,
    (Arc<SharedState>, Option<Cluster>),
    ServiceManager,
);

/// Nothing is opened yet.
fn prepare(startup: &Startup) -> Result<Prepared, StartError> {
    huge_pages::refuse();
    raise_descriptor_limit(startup)?;
    probe_io_uring()?;
    // Files are read first: a mistake in them is reported before anything listens.
    let factories = tls_files::factories(&startup.listeners)?;
    let inherited = Inherited::take(&startup.listeners)?;
    describe_shards(startup);
    let (shared, cluster) = shared_state(startup)?;
    let manager = ServiceManager::start(&shared)?;
    Ok((factories, inherited, (shared, cluster), manager))
}

/// The shards have ended.
fn end(shared: &SharedState, farewell: Option<Farewell>) -> Result<(), StartError> {
    if let Some(farewell) = farewell {
        farewell.say();
    }
    match shared.has_left() {
        true => see_off(shared),
        false => {
            shared.remove_socket_files();
            Ok(())
        }
    }
}

fn draw_secret() -> std::io::Result<[u8; 32]> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    Ok(secret)
}

fn open_listeners(
    startup: &Startup,
    factories: Vec<Arc<LayerFactory>>,
    open: (Inherited, HandedSockets),
    (shared, controls, journal): (&SharedState, &Controls, Option<&Journal>),
) -> Result<ListenerSet, StartError> {
    journal.map_or(Ok(()), Journal::all_have_begun)?;
    let listeners = ListenerSet::open(&startup.listeners, factories, open, startup.shards)?;
    listeners.count_in(shared);
    controls.set_listeners(listeners.states());
    Ok(listeners)
}

/// Makes the shards, each on its own thread.
#[derive(Clone)]
struct Maker {
    config: Arc<ShardConfig>,
    seeds: ahash::RandomState,
    clock: Clock,
    journal: Option<Arc<Journal>>,
    rules: Arc<Rules>,
    is_filled: bool,
    traces: bool,
    /// Of a cluster.
    is_node: bool,
}

impl Maker {
    fn make(&self, id: ShardId) -> Result<Made, StartError> {
        let (clock, rules) = (self.clock, &self.rules);
        let mut shard = Shard::new(id, &self.config, self.seeds.hash_one(id), clock.now());
        if self.is_node {
            shard.join_exchange(); // before anything is restored
        }
        if self.traces {
            shard.trace_connections();
        }
        let mut made = Made {
            upgrade: Upgrade::new(self.is_filled),
            ..Made::of(shard)
        };
        match &self.journal {
            None => {}
            Some(journal) if self.is_filled => {
                made.upgrade.read_log = Some(read_later(journal, id, rules, clock));
            }
            Some(journal) => {
                let begun = journal.begin(id, &mut made.shard, rules, clock)?;
                made.commits = Some(journal.make_ready(id, &mut made.shard, begun)?);
            }
        }
        Ok(made)
    }
}

/// What the shards share, and the link of a cluster, if this is a node of one: its servers are checked before anything listens.
fn shared_state(startup: &Startup) -> Result<(Arc<SharedState>, Option<Cluster>), StartError> {
    let cluster = Cluster::connect(&startup.run)?;
    let shared = SharedState::new(startup.shards)?
        .with_connections_max(startup.limits.connections_max)
        .with_options(startup.run.clone());
    let shared = match cluster {
        Some(_) => shared.with_exchange()?,
        None => shared,
    };
    Ok((Arc::new(shared), cluster))
}

/// Signals, and files that have changed: each asks for a reload.
fn watch_for_requests(
    startup: &Startup,
    shared: &Arc<SharedState>,
    ask: mpsc::Sender<Ask>,
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
