//! Takes workers through a plan's steps and puts their figures together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::engine::clock::now_ns;
use crate::engine::control::{Control, Order};
use crate::engine::{Report, Workers};
use crate::gathered::{Gathered, Watched};
use crate::idle::Baseline;
use crate::live;
use crate::meter::{Count, Counts, Timings};
use crate::plan::{Options, Plan, Step};
use crate::results::{IdleCost, RunResult};
use crate::{summary, system, verify};

/// A drain ends after this many times its quiet time, even while messages still come: a broker that
/// was flooded may deliver for minutes.
const DRAIN_FACTOR: u32 = 5;

/// A drain that is not in the plan.
const DRAIN_QUIET: Duration = Duration::from_secs(3);

/// How often the coordinator looks.
const TICK: Duration = Duration::from_millis(20);

struct Run {
    control: Arc<Control>,
    workers: Workers,
    gathered: Gathered,
    quiet: bool,
    baseline: Option<Baseline>,
    began_ns: u64,
    /// When the last line was written, and when the next is due.
    second_ns: u64,
    second_ends_ns: u64,
    second_counts: Counts,
    second_timings: Timings,
    /// Timings of the stage going on.
    stage: Option<Timings>,
    /// What the steps after this one take at least, in seconds.
    later_s: f64,
    receivers: Option<u64>,
    interrupted: Arc<AtomicBool>,
    /// The interruption has been noticed: another signal ends the process.
    is_seen: Arc<AtomicBool>,
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
    let workers = Workers::start(&control, &options.cores)?;
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
    let interrupted = Arc::new(AtomicBool::new(false));
    let is_seen = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // A second signal ends the process, but not one that comes with the first, as timeout(1) sends.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&is_seen))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupted)))
            .map_err(|error| format!("cannot watch for signals: {error}"))?;
    }
    let watched = options.broker_pid.and_then(|pid| {
        let first = system::process(pid)?;
        Some(Watched {
            pid,
            first,
            last: first,
            rss_kb_max: first.rss_kb,
        })
    });
    let mut run = Run {
        baseline,
        receivers: verify::receivers_per_message(&control.plan),
        workers,
        gathered: Gathered {
            seconds: Vec::new(),
            intervals: Vec::new(),
            timings: Timings::default(),
            load_s: 0.0,
            load_counts: Default::default(),
            stages: Vec::new(),
            connected: 0,
            connect_s: 0.0,
            idle: None,
            broker: watched,
            stopped: None,
            missing: Vec::new(),
        },
        quiet: options.quiet,
        second_ends_ns: control.second_ends_ns(control.began_ns),
        began_ns: control.began_ns,
        second_ns: control.began_ns,
        second_counts: Counts::default(),
        second_timings: Timings::default(),
        stage: None,
        later_s: 0.0,
        interrupted,
        is_seen,
        control,
    };
    let steps = run.control.plan.steps.clone();
    for (at, step) in steps.iter().enumerate() {
        let later = steps[at + 1..].iter().filter_map(lasts);
        run.later_s = later.sum::<Duration>().as_secs_f64();
        run.step(step.clone());
        if run.gathered.stopped.is_some() {
            break;
        }
    }
    if !run.gathered.missing.is_empty() {
        // What the others have on its way still counts.
        let quiet = DRAIN_QUIET;
        run.step(Step::Drain { quiet });
    }
    let (control, reports, gathered) = run.finish()?;
    let result = summary::result(
        &control.plan,
        options,
        &reports,
        gathered,
        started.as_millis() as u64,
    );
    Ok(result)
}

impl Run {
    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for board in &self.control.boards {
            counts.merge(&board.read());
        }
        counts
    }

    fn step(&mut self, step: Step) {
        let name = step_name(&step);
        let name = &name[..];
        let is_load = matches!(step, Step::Load(_));
        let start_ns = now_ns() + self.workers.delays.start_ns;
        let before = self.counts();
        if is_load && self.gathered.load_s == 0.0 {
            self.gathered.load_counts.0 = before;
        }
        self.stage = stage_name(&step).map(|_| Timings::default());
        let lasts = lasts(&step);
        let limit = match &step {
            Step::Connect { group, per_s } => {
                let ramp = per_s.map_or(0.0, |rate| {
                    f64::from(self.control.plan.groups[*group].clients) / rate
                });
                Duration::from_secs_f64(ramp)
            }
            _ => lasts.unwrap_or_default(),
        };
        let step = Arc::new(step);
        let order = self.control.post(Order::Do {
            step: Arc::clone(&step),
            start_ns,
        });
        let mut progress = (now_ns(), before);
        loop {
            std::thread::sleep(TICK);
            let now = now_ns();
            let counts = self.counts();
            let ends_ns = start_ns + lasts.unwrap_or_default().as_nanos() as u64;
            let left_s = ends_ns.saturating_sub(now) as f64 / 1e9 + self.later_s;
            let left = (left_s > 0.0).then_some(left_s);
            self.take_intervals();
            self.tick(name, now, left, &counts);
            if self.interrupted.load(Ordering::Relaxed) {
                self.is_seen.store(true, Ordering::Relaxed);
                self.gathered.stop("interrupted".into());
                break;
            }
            if let Ok(lost) = self.workers.lost.try_recv() {
                self.gathered.lose(lost);
                break;
            }
            if has_progressed(&progress.1, &counts) {
                progress = (now, counts);
            }
            let silence = Duration::from_nanos(now - progress.0);
            let may_return = self.control.plan.connection.reconnect_per_s.is_some();
            if let Step::Drain { quiet } = &*step {
                // Who is away may come back, and has something to send or to get.
                let waits =
                    may_return && counts.get(Count::Disconnected) > counts.get(Count::Reconnected);
                let is_still = silence.as_nanos() >= u128::from(self.workers.delays.settle_ns);
                // Counters of those who are gone say nothing any more.
                let are_whole = self.gathered.missing.is_empty();
                let is_drained = is_still && are_whole && self.is_drained(&counts);
                if !waits && (is_drained || silence > *quiet) {
                    break;
                }
                if now.saturating_sub(start_ns) > (*quiet * DRAIN_FACTOR).as_nanos() as u64 {
                    self.gathered.stop(format!(
                        "the broker was still delivering {:.0} s after the load had ended; what \
                         had not arrived by then counts as lost",
                        (*quiet * DRAIN_FACTOR).as_secs_f64()
                    ));
                    break;
                }
                continue;
            }
            let is_ended = |board: &crate::engine::control::Board| {
                board.read().get(Count::StepsEnded) >= order as u64
            };
            if self.control.boards.iter().all(is_ended) {
                break;
            }
            let nobody = counts.get(Count::Connected) > 0 && live::connected(&counts) == 0;
            if nobody && is_load && !may_return {
                self.gathered.stopped = Some("all connections were lost".into());
                break;
            }
            if silence > self.control.plan.connection.timeout + limit {
                let timeout = self.control.plan.connection.timeout.as_secs_f64();
                self.gathered.stopped = Some(format!(
                    "the broker did not answer for {timeout:.0} s ({name})"
                ));
                break;
            }
        }
        let after = self.counts();
        if is_load {
            let took = Duration::from_nanos(now_ns().saturating_sub(start_ns));
            // Ends by time are seen a little late.
            self.gathered.load_s += took.min(lasts.unwrap_or(took)).as_secs_f64();
            self.gathered.load_counts.1 = after;
            self.end_stage(stage_name(&step), start_ns, (&before, &after));
        }
        match *step {
            Step::Connect { .. } => {
                if self.only_fetched_tickets(&before, &after) {
                    self.gathered.broker.iter_mut().for_each(Watched::begin);
                } else {
                    let came = after.get(Count::Connected) - before.get(Count::Connected);
                    self.gathered.connected += came;
                    self.gathered.connect_s += now_ns().saturating_sub(start_ns) as f64 / 1e9;
                }
                self.check_connected(&before, &after);
            }
            Step::Hold { .. } => self.gathered.idle = self.idle_cost(&after),
            _ => {}
        }
    }

    /// Keeps the figures of a stage under its name.
    fn end_stage(&mut self, name: Option<&str>, start_ns: u64, counts: (&Counts, &Counts)) {
        self.take_intervals();
        if let (Some(name), Some(mut timings)) = (name, self.stage.take()) {
            let start_s = start_ns.saturating_sub(self.began_ns) as f64 / 1e9;
            let end_s = (now_ns() - self.began_ns) as f64 / 1e9;
            let stage = live::stage(name, (start_s, end_s), counts, &mut timings);
            self.gathered.stages.push(stage);
        }
    }

    fn idle_cost(&self, counts: &Counts) -> Option<IdleCost> {
        self.baseline?.cost(live::connected(counts))
    }

    /// In a run about resumed sessions: nobody could have one to resume yet.
    fn only_fetched_tickets(&self, before: &Counts, after: &Counts) -> bool {
        let tls = self.control.plan.connection.transport.tls.as_ref();
        let resumed = |counts: &Counts| counts.get(Count::HandshakesResumed);
        tls.is_some_and(crate::transport::TlsSetup::must_resume)
            && resumed(before) == resumed(after)
    }

    /// A run in which nobody could connect need not go on.
    fn check_connected(&mut self, before: &Counts, after: &Counts) {
        let came = after.get(Count::Connected) - before.get(Count::Connected);
        let failed = after.get(Count::ConnectFailed) - before.get(Count::ConnectFailed);
        if came == 0 && failed > 0 && self.gathered.stopped.is_none() {
            self.gathered.stopped = Some(format!("none of {failed} clients could connect"));
        }
    }

    /// Everything expected has come.
    fn is_drained(&self, counts: &Counts) -> bool {
        let is_received = self.receivers.is_some_and(|receivers| {
            counts.get(Count::Received) >= counts.get(Count::Published) * receivers
        });
        let promises = |group: &crate::plan::Group| {
            group
                .publishing
                .as_ref()
                .is_some_and(|publishing| publishing.qos != ringmq::mqtt::Qos::AtMostOnce)
        };
        let awaits_acks = self.control.plan.groups.iter().any(promises);
        is_received
            && (!awaits_acks || counts.get(Count::Acknowledged) >= counts.get(Count::Published))
    }

    /// Takes the timings that workers have handed over.
    fn take_intervals(&mut self) {
        while let Ok(mut interval) = self.workers.intervals.try_recv() {
            self.second_timings.merge(&mut interval.timings);
            if let Some(stage) = &mut self.stage {
                stage.merge(&mut interval.timings);
            }
            interval.timings.clear();
            // A worker that has ended needs none.
            let _ = self.workers.empties[interval.worker].send(interval.timings);
        }
    }

    fn tick(&mut self, name: &str, now: u64, left_s: Option<f64>, counts: &Counts) {
        if now < self.second_ends_ns + self.workers.delays.second_ns {
            return;
        }
        self.second_ends_ns = self.control.second_ends_ns(now);
        let seconds = (now - self.second_ns) as f64 / 1e9;
        let at_s = (now - self.began_ns) as f64 / 1e9;
        let second = live::second(
            at_s,
            seconds,
            &self.second_counts,
            counts,
            &mut self.second_timings,
        );
        if !self.quiet {
            eprintln!("{}", live::line(name, &second, left_s));
        }
        self.gathered.seconds.push(second);
        let (start, end) = (self.second_ns - self.began_ns, now - self.began_ns);
        self.gathered
            .end_interval(&mut self.second_timings, start, end);
        self.second_timings.clear();
        self.second_ns = now;
        self.second_counts = *counts;
        self.watch_broker();
    }

    fn watch_broker(&mut self) {
        if let Some(watched) = &mut self.gathered.broker {
            if let Some(process) = system::process(watched.pid) {
                watched.last = process;
                watched.rss_kb_max = watched.rss_kb_max.max(process.rss_kb);
            } else if self.gathered.stopped.is_none()
                && self.control.plan.connection.reconnect_per_s.is_none()
            {
                self.gathered.stopped =
                    Some(format!("the broker's process {} has ended", watched.pid));
            }
        }
    }

    fn finish(mut self) -> Result<(Arc<Control>, Vec<Report>, Gathered), String> {
        self.watch_broker();
        self.control.post(Order::Finish);
        let Self {
            control,
            workers,
            mut gathered,
            mut second_timings,
            began_ns,
            second_ns,
            ..
        } = self;
        let outcome = workers.join()?;
        for lost in outcome.lost {
            gathered.lose(lost);
        }
        for mut interval in outcome.intervals {
            second_timings.merge(&mut interval.timings);
        }
        let (start, end) = (second_ns - began_ns, now_ns() - began_ns);
        gathered.end_interval(&mut second_timings, start, end);
        Ok((control, outcome.reports, gathered))
    }
}

/// True when something was answered or received since.
fn has_progressed(before: &Counts, now: &Counts) -> bool {
    [
        Count::Connected,
        Count::ConnectFailed,
        Count::Subscribed,
        Count::Unsubscribed,
        Count::Acknowledged,
        Count::Received,
        Count::Closed,
    ]
    .into_iter()
    .any(|count| before.get(count) != now.get(count))
}

/// What a step is called in the line each second.
fn step_name(step: &Step) -> String {
    let name = match step {
        Step::Connect { .. } => "connect",
        Step::Subscribe { .. } => "subscribe",
        Step::Unsubscribe { .. } => "unsubscribe",
        Step::Load(_) => stage_name(step).unwrap_or("load"),
        Step::Drain { .. } => "drain",
        Step::Disconnect { .. } => "disconnect",
        Step::Abort { .. } => "abort",
        Step::Hold { .. } => "hold",
    };
    name.to_string()
}

fn stage_name(step: &Step) -> Option<&str> {
    match step {
        Step::Load(load) => load.name.as_deref(),
        _ => None,
    }
}

/// How long a step lasts by plan.
fn lasts(step: &Step) -> Option<Duration> {
    match step {
        Step::Load(load) => Some(load.time),
        Step::Hold { time } => Some(*time),
        _ => None,
    }
}
