//! Carries out a plan: one pinned thread per worker, clients spread over them.

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
use std::thread::JoinHandle;

use crate::meter::Timings;
use control::{Control, Interval};
pub(crate) use worker::Report;
use worker::{Exchange, Worker};

/// Workers going on.
pub(crate) struct Workers {
    handles: Vec<JoinHandle<Result<Report, String>>>,
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
            let core = cores.get(id).copied();
            let handle = thread(&format!("worker-{id}"), core, move || {
                let exchange = Exchange { full, empty };
                let worker =
                    Worker::new(control, id, exchange).map_err(|error| ring_sentence(&error))?;
                Ok(worker.run())
            })?;
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
        let join = |handle: JoinHandle<Result<Report, String>>| {
            handle.join().map_err(|_| "a worker failed".to_string())?
        };
        let reports = self
            .handles
            .into_iter()
            .map(join)
            .collect::<Result<_, _>>()?;
        Ok((reports, self.intervals.try_iter().collect()))
    }
}

/// A thread, pinned to a core when one is given.
pub(crate) fn thread<T: Send + 'static>(
    name: &str,
    core: Option<usize>,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, String> {
    let pinned = move || {
        if let Some(id) = core {
            core_affinity::set_for_current(core_affinity::CoreId { id });
        }
        body()
    };
    std::thread::Builder::new()
        .name(name.to_string())
        .spawn(pinned)
        .map_err(|error| format!("cannot start a thread: {error}"))
}

/// Why io_uring is not there, and what to change.
pub(crate) fn ring_sentence(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::OutOfMemory {
        return format!(
            "io_uring cannot lock its memory ({error}); raise the limit with: ulimit -l 65536"
        );
    }
    format!("io_uring is not available ({error}); mqload needs Linux 5.13 or later with kernel.io_uring_disabled = 0")
}
