//! A run: workers go through the steps of a plan, and their figures become one result.

mod crash;
mod drain;
mod idle;
mod progress;
mod step;
mod summary;
mod totals;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::engine::clock::now_ns;
use crate::engine::control::{Control, Order};
use crate::engine::{Report, Workers};
use crate::meter::{Counts, Timings};
use crate::metrics::Live;
use crate::plan::{Options, Plan, Step};
use crate::results::RunResult;
use crate::{audience, live, system};
use crash::Restarts;
use idle::Baseline;
use progress::Progress;
use totals::{BrokerSamples, RunTotals};

/// A drain that is not in the plan.
const DRAIN_QUIET: Duration = Duration::from_secs(3);

struct Run {
    control: Arc<Control>,
    workers: Workers,
    totals: RunTotals,
    progress: Progress,
    live: Option<Arc<Live>>,
    baseline: Option<Baseline>,
    began_ns: u64,
    /// When the last line was written, and when the next is due.
    second_ns: u64,
    second_ends_ns: u64,
    second_counts: Counts,
    second_timings: Timings,
    /// Counters of each generator when it handed over its last timings: the one cut that seconds and
    /// stages are made of.
    cuts: Vec<Counts>,
    /// Timings of the current stage.
    stage: Option<Timings>,
    /// Least time of the steps after the current one, in seconds.
    later_s: f64,
    receivers: Option<u64>,
    /// When the current drain ends at the latest.
    drain_ends_ns: u64,
    signals: Signals,
    restarts: Restarts,
}

/// SIGINT and SIGTERM. A second signal ends the process, but not one that comes with the first, as
/// timeout(1) sends.
struct Signals {
    interrupted: Arc<AtomicBool>,
    /// The interruption has been noticed: another signal ends the process.
    is_seen: Arc<AtomicBool>,
}

impl Signals {
    fn watch() -> Result<Self, String> {
        let signals = Self {
            interrupted: Arc::default(),
            is_seen: Arc::default(),
        };
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            let is_seen = Arc::clone(&signals.is_seen);
            signal_hook::flag::register_conditional_default(signal, is_seen)
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&signals.interrupted)))
                .map_err(|error| format!("cannot watch for signals: {error}"))?;
        }
        Ok(signals)
    }

    fn has_interrupted(&self) -> bool {
        let interrupted = self.interrupted.load(Ordering::Relaxed);
        if interrupted {
            self.is_seen.store(true, Ordering::Relaxed);
        }
        interrupted
    }
}

/// Runs a plan to its end.
///
/// # Errors
/// A sentence when it cannot begin. What goes wrong later is in the result.
pub fn run(plan: Plan, options: &Options) -> Result<RunResult, String> {
    system::allow_clients(u64::from(plan.clients()))?;
    let baseline = Baseline::take(options.broker_pid);
    let control =
        Control::new(plan, options.threads).map_err(|error| format!("cannot begin: {error}"))?;
    let control = Arc::new(control);
    let workers = Workers::start(&control, options)?;
    carry_out(control, workers, options, Some(baseline))
}

/// Takes workers that wait for orders through the plan of `control`. With a `baseline`, clients are this
/// process's.
pub(crate) fn carry_out(
    control: Arc<Control>,
    workers: Workers,
    options: &Options,
    baseline: Option<Baseline>,
) -> Result<RunResult, String> {
    let started = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut run = Run {
        baseline,
        receivers: audience::receivers_per_message(&control.plan),
        totals: RunTotals {
            remark: workers.remark.clone(),
            broker: options.broker_pid.and_then(BrokerSamples::take),
            ..RunTotals::default()
        },
        workers,
        progress: Progress::new(options.quiet),
        live: options.live.clone(),
        second_ends_ns: control.second_ends_ns(control.began_ns),
        began_ns: control.began_ns,
        second_ns: control.began_ns,
        second_counts: Counts::default(),
        second_timings: Timings::default(),
        cuts: vec![Counts::default(); control.workers()],
        stage: None,
        later_s: 0.0,
        drain_ends_ns: u64::MAX,
        signals: Signals::watch()?,
        restarts: Restarts::of(options.broker_pid),
        control,
    };
    if let Some(live) = &run.live {
        live.begin(&run.control.plan, options);
    }
    run.take_steps();
    let (control, reports, totals) = run.finish()?;
    let started_unix_ms = started.as_millis() as u64;
    let result = summary::result(&control.plan, options, &reports, totals, started_unix_ms);
    Ok(result)
}

impl Run {
    /// Takes the workers through all steps, or up to the one that ends the run early.
    fn take_steps(&mut self) {
        let steps = self.control.plan.steps.clone();
        for (at, step) in steps.iter().enumerate() {
            let later = steps[at + 1..].iter().filter_map(step::planned_time);
            self.later_s = later.sum::<Duration>().as_secs_f64();
            match step {
                Step::Drain { quiet } => self.drain(at, *quiet),
                _ => self.step(Some(at), step.clone()),
            }
            if self.totals.stopped.is_some() {
                break;
            }
        }
        if !self.totals.missing.is_empty() {
            // What is on its way to the remaining generators still counts.
            let quiet = DRAIN_QUIET;
            self.drain_ends_ns = now_ns() + 5 * quiet.as_nanos() as u64;
            self.step(None, Step::Drain { quiet });
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for board in &self.control.boards {
            counts.merge(&board.read());
        }
        counts
    }

    /// Counters of the moments at which the timings taken so far were handed over.
    fn cut_counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.cuts.iter().for_each(|own| counts.merge(own));
        counts
    }

    /// Takes the timings that workers have handed over.
    fn take_intervals(&mut self) {
        while let Ok(mut interval) = self.workers.intervals.try_recv() {
            self.second_timings.merge(&mut interval.timings);
            self.cuts[interval.worker] = interval.counts;
            if let Some(stage) = &mut self.stage {
                stage.merge(&mut interval.timings);
            }
            interval.timings.clear();
            // A worker that has ended needs none.
            let _ = self.workers.empties[interval.worker].send(interval.timings);
        }
    }

    fn tick(&mut self, name: &str, now: u64, left_s: Option<f64>) {
        if now < self.second_ends_ns + self.workers.delays.second_ns {
            return;
        }
        self.second_ends_ns = self.control.second_ends_ns(now);
        let counts = self.cut_counts();
        let seconds = (now - self.second_ns) as f64 / 1e9;
        let at_s = (now - self.began_ns) as f64 / 1e9;
        let second = live::second(
            at_s,
            seconds,
            &self.second_counts,
            &counts,
            &mut self.second_timings,
        );
        self.progress.show(name, &second, left_s);
        if let Some(live) = &self.live {
            let broker = self.totals.broker.map(|broker| broker.last);
            let timings = &mut self.second_timings;
            live.second((name, left_s), &second, &counts, timings, broker);
        }
        self.totals.seconds.push(second);
        let (start, end) = (self.second_ns - self.began_ns, now - self.began_ns);
        self.totals
            .end_interval(&mut self.second_timings, start, end);
        self.second_timings.clear();
        self.second_ns = now;
        self.second_counts = counts;
        self.watch_broker();
    }

    fn watch_broker(&mut self) {
        let Some(broker) = &mut self.totals.broker else {
            return;
        };
        let may_restart = self.control.plan.connection.reconnect_per_s.is_some();
        if !broker.update() && self.totals.stopped.is_none() && !may_restart {
            let sentence = format!("the broker's process {} has ended", broker.pid);
            self.totals.stopped = Some(sentence);
        }
    }

    fn finish(mut self) -> Result<(Arc<Control>, Vec<Report>, RunTotals), String> {
        self.watch_broker();
        self.progress.end();
        self.control.post(Order::Finish);
        let Self {
            control,
            workers,
            mut restarts,
            mut totals,
            mut second_timings,
            began_ns,
            second_ns,
            ..
        } = self;
        let outcome = workers.join()?;
        for lost in outcome.lost {
            totals.lose(lost);
        }
        for mut interval in outcome.intervals {
            second_timings.merge(&mut interval.timings);
        }
        totals.ended_ns = now_ns();
        totals.restarts = std::mem::take(&mut restarts.done);
        let (start, end) = (second_ns - began_ns, totals.ended_ns - began_ns);
        totals.end_interval(&mut second_timings, start, end);
        Ok((control, outcome.reports, totals))
    }
}
