//! Carries out a plan: one executor per worker, clients spread over them.

pub mod clock;
pub(crate) mod control;
pub(crate) mod executor;
pub(crate) mod poller;
mod reconnect;
mod schedule;
mod slot;
mod sockets;
mod steps;
mod worker;

use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;

use crate::meter::Timings;
use control::{Control, Interval, Order};
pub(crate) use executor::cores_for;
use executor::{ring_sentence, Executor};
pub(crate) use worker::Report;
use worker::{Exchange, Worker};

/// Workers going on.
pub(crate) struct Workers {
    executors: Vec<Executor<Option<Report>>>,
    pub(crate) intervals: Receiver<Interval>,
    /// Ways back for empty timings.
    pub(crate) empties: Vec<Sender<Timings>>,
}

impl Workers {
    /// Starts one worker per place of `control` and returns when all of them run; without cores they
    /// are not pinned.
    pub(crate) fn start(control: &Arc<Control>, cores: &[usize]) -> Result<Self, String> {
        let (full, intervals) = channel();
        let (started, starts) = channel();
        let (mut executors, mut empties) = (Vec::new(), Vec::new());
        for id in 0..control.workers() {
            let (back, empty) = channel();
            empties.push(back);
            let (full, started) = (full.clone(), started.clone());
            let control = Arc::clone(control);
            let core = cores.get(id).copied();
            executors.push(Executor::start(&format!("worker-{id}"), core, move || {
                let worker = Worker::new(control, id, Exchange { full, empty });
                let failed = worker.as_ref().err().map(ring_sentence);
                let _ = started.send(failed); // read until all have started or one has failed
                drop(started);
                worker.ok().map(Worker::run)
            })?);
        }
        drop(started);
        let mut running = 0;
        for failed in starts {
            if let Some(sentence) = failed {
                control.post(Order::Finish);
                return Err(sentence);
            }
            running += 1;
        }
        if running < executors.len() {
            // An executor that could not be made has ended without a word from its worker.
            control.post(Order::Finish);
            for executor in executors {
                executor.join()?;
            }
            return Err("a worker ended at once".into());
        }
        Ok(Self {
            executors,
            intervals,
            empties,
        })
    }

    /// Waits for the workers, which have been told to finish. Their last timings come with them.
    pub(crate) fn join(self) -> Result<(Vec<Report>, Vec<Interval>), String> {
        let mut reports = Vec::new();
        for executor in self.executors {
            reports.extend(executor.join()?);
        }
        Ok((reports, self.intervals.try_iter().collect()))
    }
}
