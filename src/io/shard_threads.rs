//! One thread with an executor for each shard: started together, and waited for.

use std::sync::mpsc;
use std::sync::Arc;

use glommio::{CpuSet, ExecutorJoinHandle, LocalExecutorBuilder, Placement};

use super::clock::Clock;
use super::commits::Commits;
use super::driver::{Driver, Setup};
use super::errors::StartError;
use super::inbox::ShardCommand;
use super::listener_set::ListenerSet;
use super::logins::Logins;
use super::mesh::Mesh;
use super::shared::SharedState;
use super::upgrade::Upgrade;
use crate::ids::ShardId;
use crate::shard::{Block, Shard};

/// Memory glommio registers per executor for file I/O, of which a broker does almost none; the
/// default of 10 MiB would not fit the usual locked-memory limit.
const EXECUTOR_IO_MEMORY: usize = 64 << 10;
/// Entries of glommio's own rings: they carry one wake-up.
const EXECUTOR_RING: usize = 64;
/// What a shard's thread begins with.
pub(super) struct Made {
    pub(super) shard: Shard,
    pub(super) commits: Option<Commits>,
    pub(super) upgrade: Upgrade,
}

impl Made {
    pub(super) fn of(shard: Shard) -> Self {
        Self {
            shard,
            commits: None,
            upgrade: Upgrade::default(),
        }
    }
}

/// Starts one thread per shard and returns when all of them run and listen. `make` builds a shard on its own
/// thread; when all of them may let clients in, `open` opens the listeners.
pub(super) fn start_shards(
    cores: &[usize],
    meshes: Vec<Mesh<Block>>,
    (shared, logins, clock): (&Arc<SharedState>, &Arc<Logins>, Clock),
    make: impl Fn(ShardId) -> Result<Made, StartError> + Clone + Send + 'static,
    open: impl FnOnce() -> Result<ListenerSet, StartError>,
) -> Result<(Vec<ExecutorJoinHandle<()>>, ListenerSet), StartError> {
    let pinnable = CpuSet::online().is_ok(); // needs /sys, which a container may hide
    let (report, reports) = mpsc::channel();
    let mut threads = Vec::new();
    for (index, mesh) in (0..).zip(meshes) {
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
                let driver = make(id).and_then(|made| {
                    let Made {
                        shard,
                        commits,
                        upgrade,
                    } = made;
                    let setup = Setup {
                        shard,
                        commits,
                        upgrade,
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

/// Waits for the shards' threads.
pub(super) fn join_all(threads: Vec<ExecutorJoinHandle<()>>) -> Result<(), StartError> {
    for (index, thread) in (0..).zip(threads) {
        thread
            .join()
            .map_err(|error| StartError::of_executor(index, error))?;
    }
    Ok(())
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
