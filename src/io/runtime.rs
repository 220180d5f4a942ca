//! Starts one pinned executor per shard and waits for them.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement};
use rustix::io::Errno;
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

use super::clock::Clock;
use super::driver::{Driver, Setup};
use super::listener;
use super::mesh::Mesh;
use super::signals;
use crate::ids::ShardId;
use crate::limits::Limits;
use crate::shard::{Shard, ShardConfig};

/// Memory glommio registers per executor for file I/O, of which a broker does almost none; the
/// default of 10 MiB would not fit the usual locked-memory limit.
const EXECUTOR_IO_MEMORY: usize = 64 << 10;
/// Entries of glommio's own rings: they carry one wake-up.
const EXECUTOR_RING: usize = 64;
/// Descriptors a process needs besides its clients' sockets.
const DESCRIPTORS_BESIDES: u64 = 64;

/// What to start.
#[derive(Clone, Debug)]
pub struct Startup {
    pub listeners: Vec<SocketAddr>,
    pub shards: u16,
    /// Cores to pin to, one per shard; empty: shards are not pinned.
    pub cores: Vec<usize>,
    pub limits: Limits,
    /// From the first signal to the end of the process.
    pub shutdown_timeout: Duration,
}

/// Why the broker did not start, with what to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {0}: the port is in use; stop the other program or choose another port with --listen")]
    PortInUse(SocketAddr),
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, Errno),
    #[error("io_uring is not available ({0}); ringmq needs Linux 5.13 or later with kernel.io_uring_disabled = 0 (sysctl), and a container's seccomp profile must allow io_uring_setup, io_uring_enter and io_uring_register")]
    NoIoUring(String),
    #[error("io_uring cannot lock its memory ({0}); raise the limit with: ulimit -l 65536 (or LimitMEMLOCK= in a systemd unit)")]
    LockedMemory(String),
    #[error("cannot start shard {0}: {1}")]
    Shard(u16, String),
    #[error("cannot prepare to start: {0}")]
    System(#[from] std::io::Error),
    #[error("cannot prepare to start: {0}")]
    Call(#[from] Errno),
}

/// Runs the broker until it is told to stop.
pub fn run(startup: &Startup) -> Result<(), StartError> {
    raise_descriptor_limit(&startup.limits);
    probe_io_uring()?;
    let mut listeners = Vec::new();
    for address in &startup.listeners {
        let listener = listener::open(*address).map_err(|error| match error {
            Errno::ADDRINUSE => StartError::PortInUse(*address),
            other => StartError::Listen(*address, other),
        })?;
        let bound = listener::local_address(&listener).unwrap_or(*address);
        tracing::info!("listening on {bound}");
        listeners.push(listener);
    }
    tracing::info!("{}", describe_shards(startup));
    let mesh = Arc::new(Mesh::new(startup.shards)?);
    signals::watch(Arc::clone(&mesh), startup.shutdown_timeout)?;
    let seeds = ahash::RandomState::new();
    let config = Arc::new(ShardConfig {
        shards: startup.shards,
        limits: startup.limits.clone(),
        placement_seed: seeds.hash_one("placement"),
    });
    let clock = Clock::start();
    let mut handles = Vec::new();
    for index in 0..startup.shards {
        let own = listeners
            .iter()
            .map(OwnedFd::try_clone)
            .collect::<Result<Vec<_>, _>>()?;
        let core = startup.cores.get(usize::from(index)).copied();
        let mesh = Arc::clone(&mesh);
        let config = Arc::clone(&config);
        let seed = seeds.hash_one(index);
        let placement = core.map_or(Placement::Unbound, Placement::Fixed);
        let handle = LocalExecutorBuilder::new(placement)
            .name(&format!("shard-{index}"))
            .io_memory(EXECUTOR_IO_MEMORY)
            .ring_depth(EXECUTOR_RING)
            .preempt_timer(Duration::from_millis(1))
            .spawn(move || async move {
                let id = ShardId(index);
                let shard = Shard::new(id, &config, seed, clock.now());
                let pinned = core.is_some();
                let setup = Setup {
                    shard,
                    id,
                    listeners: own,
                    mesh,
                    clock,
                    pinned,
                };
                match Driver::new(setup) {
                    Ok(driver) => {
                        driver.run();
                        Ok(())
                    }
                    Err(error) => Err(ring_error(&error)),
                }
            })
            .map_err(|error| StartError::Shard(index, error.to_string()))?;
        handles.push(handle);
    }
    drop(listeners);
    for (index, handle) in (0..).zip(handles) {
        match handle.join() {
            Ok(result) => result?,
            Err(error) => return Err(StartError::Shard(index, error.to_string())),
        }
    }
    Ok(())
}

/// The start-up line about shards.
fn describe_shards(startup: &Startup) -> String {
    let shards = startup.shards;
    let available = super::available_cores().len();
    if !startup.cores.is_empty() {
        let cores: Vec<String> = startup.cores.iter().map(ToString::to_string).collect();
        let used = &cores[..cores.len().min(usize::from(shards))];
        return format!("{shards} shard(s), pinned to core(s) {}", used.join(", "));
    }
    if usize::from(shards) > available {
        return format!(
            "{shards} shards on {available} core(s): more shards than cores is meant for tests, they \
             are not pinned"
        );
    }
    format!("{shards} shard(s), not pinned")
}

/// Tries a ring before anything else starts, so that its absence is said in one sentence.
fn probe_io_uring() -> Result<(), StartError> {
    io_uring::IoUring::new(8)
        .map(drop)
        .map_err(|error| ring_error(&error))
}

fn ring_error(error: &std::io::Error) -> StartError {
    match error.kind() {
        std::io::ErrorKind::OutOfMemory => StartError::LockedMemory(error.to_string()),
        _ => StartError::NoIoUring(error.to_string()),
    }
}

/// Raises the soft limit of open files to the hard one, and says so when that is too low.
fn raise_descriptor_limit(limits: &Limits) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!("cannot raise the limit of open files: {error}");
        }
    }
    let wanted = u64::from(limits.connections_max) + DESCRIPTORS_BESIDES;
    if maximum.is_some_and(|maximum| maximum < wanted) {
        tracing::warn!(
            "the limit of open files ({}) is below connections-max ({}); to use all of it: ulimit \
             -n {wanted} (or LimitNOFILE= in a systemd unit)",
            maximum.unwrap_or(0),
            limits.connections_max,
        );
    }
}
