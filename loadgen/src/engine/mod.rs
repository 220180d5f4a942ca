//! Carries out a plan: one executor per worker, clients spread over them.

mod backoff;
mod churn;
pub mod clock;
pub(crate) mod control;
mod deadlines;
pub(crate) mod executor;
mod late;
mod life;
mod moves;
mod reconnect;
mod schedule;
mod slot;
mod sockets;
mod steps;
mod targets;
mod think;
mod turns;
mod work;
mod worker;
mod wrapped;

use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;

use crate::meter::Timings;
use crate::plan::{Options, Share};
use crate::poller::ring_sentence;
use control::{Control, Interval, Order};
pub(crate) use executor::cores_for;
use executor::Executor;
use worker::{Exchange, Worker};
pub(crate) use worker::{Remark, Report};

/// Waits for the end of workers that have the order to finish.
pub(crate) type End = Box<dyn FnOnce() -> Result<Vec<Report>, String>>;

/// A generator that ended before its run, and its clients.
pub(crate) struct LostGenerator {
    pub(crate) sentence: String,
    pub(crate) share: Share,
}

/// What workers leave.
pub(crate) struct Outcome {
    pub(crate) reports: Vec<Report>,
    /// Timings that were not taken yet.
    pub(crate) intervals: Vec<Interval>,
    pub(crate) lost: Vec<LostGenerator>,
}

/// How long those who gather figures must allow for the way of orders and figures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delays {
    /// From an order to its start, so that all have it.
    pub(crate) start_ns: u64,
    /// After the end of a second, so that all have handed its timings over.
    pub(crate) second_ns: u64,
    /// How long figures must stay the same before they are taken to be of one time.
    pub(crate) settle_ns: u64,
}

/// Within one process.
const NEAR: Delays = Delays {
    start_ns: 20_000_000,
    second_ns: 10_000_000,
    settle_ns: 0,
};

/// Running workers: threads of this process, or agents.
pub(crate) struct Workers {
    pub(crate) ends: Vec<End>,
    pub(crate) delays: Delays,
    /// Agents that were lost.
    pub(crate) lost: Receiver<LostGenerator>,
    pub(crate) intervals: Receiver<Interval>,
    /// Ways back for empty timings.
    pub(crate) empties: Vec<Sender<Timings>>,
    /// What is to be known about how they run.
    pub(crate) remark: Option<String>,
}

impl Workers {
    /// Starts one worker per place of `control` and returns when all of them run; without cores they
    /// are not pinned.
    pub(crate) fn start(control: &Arc<Control>, options: &Options) -> Result<Self, String> {
        // Where io_uring is denied, its executors panic.
        let (backend, remark) = options.backend.choose(control.wake_descriptor(0))?;
        let (full, intervals) = channel();
        let (started, starts) = channel();
        let (mut executors, mut empties) = (Vec::new(), Vec::new());
        for id in 0..control.workers() {
            let (back, empty) = channel();
            empties.push(back);
            let (full, started) = (full.clone(), started.clone());
            let control = Arc::clone(control);
            let core = options.cores.get(id).copied();
            let name = format!("worker-{id}");
            executors.push(Executor::start(&name, core, backend, move || {
                let worker = Worker::new(control, id, backend, Exchange { full, empty });
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
        let end = |executor: Executor<Option<Report>>| -> End {
            Box::new(move || Ok(executor.join()?.into_iter().collect()))
        };
        Ok(Self {
            ends: executors.into_iter().map(end).collect(),
            delays: NEAR,
            lost: channel().1,
            intervals,
            empties,
            remark,
        })
    }

    /// Waits for the workers, which have the order to finish. Their last timings come with them.
    pub(crate) fn join(self) -> Result<Outcome, String> {
        let mut reports = Vec::new();
        for end in self.ends {
            reports.extend(end()?);
        }
        Ok(Outcome {
            reports,
            intervals: self.intervals.try_iter().collect(),
            lost: self.lost.try_iter().collect(),
        })
    }
}
