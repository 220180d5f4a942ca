//! Carries out a plan: one pinned executor per worker, clients spread over them.

pub mod clock;
pub(crate) mod control;
pub(crate) mod poller;
mod schedule;
mod slot;
mod sockets;
mod steps;
mod worker;

use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::time::Duration;

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

use crate::meter::Timings;
use control::{Control, Interval};
pub(crate) use worker::Report;
use worker::{Exchange, Worker};

/// glommio's memory and ring for its one read: the defaults would not fit the usual limit of locked
/// memory.
const EXECUTOR_IO_MEMORY: usize = 64 << 10;
const EXECUTOR_RING: usize = 64;

/// Workers going on.
pub(crate) struct Workers {
    handles: Vec<ExecutorJoinHandle<Result<Report, String>>>,
    pub(crate) intervals: Receiver<Interval>,
    /// Ways back for empty timings.
    pub(crate) empties: Vec<Sender<Timings>>,
}

impl Workers {
    /// Starts one worker per place of `control`; without cores they are not pinned.
    pub(crate) fn start(control: &Arc<Control>, cores: &[usize]) -> Result<Self, String> {
        let (full, intervals) = channel();
        let (mut handles, mut empties) = (Vec::new(), Vec::new());
        for id in 0..control.workers() {
            let (back, empty) = channel();
            empties.push(back);
            let full = full.clone();
            let control = Arc::clone(control);
            let handle = executor(&format!("worker-{id}"), cores.get(id).copied())
                .spawn(move || async move {
                    let exchange = Exchange { full, empty };
                    let worker = Worker::new(control, id, exchange).map_err(|error| ring_sentence(&error))?;
                    Ok(worker.run().await)
                })
                .map_err(|error| format!("cannot start a worker: {error}"))?;
            handles.push(handle);
        }
        Ok(Self {
            handles,
            intervals,
            empties,
        })
    }

    /// Waits for the workers, which have been told to finish. Their last timings come with them.
    pub(crate) fn join(self) -> Result<(Vec<Report>, Vec<Interval>), String> {
        let join = |handle: ExecutorJoinHandle<Result<Report, String>>| {
            handle.join().map_err(|error| format!("a worker failed: {error}"))?
        };
        let reports = self.handles.into_iter().map(join).collect::<Result<_, _>>()?;
        Ok((reports, self.intervals.try_iter().collect()))
    }
}

/// An executor pinned to a core.
pub(crate) fn executor(name: &str, core: Option<usize>) -> LocalExecutorBuilder {
    LocalExecutorBuilder::new(core.map_or(Placement::Unbound, Placement::Fixed))
        .name(name)
        .io_memory(EXECUTOR_IO_MEMORY)
        .ring_depth(EXECUTOR_RING)
        .preempt_timer(Duration::from_millis(1))
}

/// Why io_uring is not there, and what to change.
pub(crate) fn ring_sentence(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::OutOfMemory {
        return format!("io_uring cannot lock its memory ({error}); raise the limit with: ulimit -l 65536");
    }
    format!("io_uring is not available ({error}); mqload needs Linux 5.13 or later with kernel.io_uring_disabled = 0")
}
