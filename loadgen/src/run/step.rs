//! One step of a run: its order to the workers, its end, and its figures.

use std::sync::Arc;
use std::time::Duration;

use super::totals::BrokerSamples;
use super::Run;
use crate::engine::clock::now_ns;
use crate::engine::control::{Board, Order};
use crate::live;
use crate::meter::{Count, Counts, Timings};
use crate::plan::{Group, LoadStep, Step};
use crate::results::IdleCost;

/// How often the coordinator looks.
const TICK: Duration = Duration::from_millis(20);
/// What workers find late by themselves comes before the coordinator's own verdict.
const GRACE: Duration = Duration::from_secs(2);
/// A stage that ends by messages waits for what belongs to it until nothing comes for so long.
const SETTLED: Duration = Duration::from_millis(500);
/// How long a cut may take.
const CUT_MAX: Duration = Duration::from_secs(5);

/// The step that the workers are at.
pub(super) struct Current {
    step: Arc<Step>,
    name: String,
    /// Number of its order.
    order: usize,
    pub(super) start_ns: u64,
    /// Silence allowed by plan, beside the time that a broker may take to answer.
    planned_silence: Duration,
    before: Counts,
}

/// Counters as the coordinator last read them.
pub(super) struct Reading {
    pub(super) now_ns: u64,
    pub(super) counts: Counts,
    /// Since the last progress.
    pub(super) silence: Duration,
}

impl Run {
    /// Takes the workers through a step.
    pub(super) fn step(&mut self, place: Option<usize>, step: Step) {
        let current = self.begin_step(place, step);
        self.await_end(&current);
        self.end_step(&current);
    }

    fn begin_step(&mut self, place: Option<usize>, step: Step) -> Current {
        let before = match step {
            Step::Load(_) => self.cut(),
            _ => self.counts(),
        };
        let start_ns = now_ns() + self.workers.delays.start_ns;
        if matches!(step, Step::Load(_)) && self.totals.load_s == 0.0 {
            self.totals.load_counts.0 = before;
        }
        self.restarts.done_in_step = 0;
        self.stage = stage_name(&step).map(|_| Timings::default());
        let planned_silence = match &step {
            Step::Connect { group, per_s } => {
                let clients = f64::from(self.control.plan.groups[*group].clients);
                Duration::from_secs_f64(per_s.map_or(0.0, |rate| clients / rate))
            }
            _ => planned_time(&step).unwrap_or_default(),
        };
        let step = Arc::new(step);
        let order = self.control.post(Order::Do {
            step: Arc::clone(&step),
            place,
            start_ns,
        });
        Current {
            name: step_name(&step),
            step,
            order,
            start_ns,
            planned_silence,
            before,
        }
    }

    /// Waits until the workers have ended the step, or the run ends early.
    fn await_end(&mut self, current: &Current) {
        let planned_ns = planned_time(&current.step).unwrap_or_default().as_nanos() as u64;
        let ends_ns = current.start_ns + planned_ns;
        let mut progress = (now_ns(), current.before);
        loop {
            std::thread::sleep(TICK);
            let now_ns = now_ns();
            let counts = self.counts();
            let left_s = ends_ns.saturating_sub(now_ns) as f64 / 1e9 + self.later_s;
            self.take_intervals();
            self.tick(&current.name, now_ns, (left_s > 0.0).then_some(left_s));
            if self.signals.has_interrupted() {
                self.totals.stop("interrupted".into());
                return;
            }
            if let Ok(lost) = self.workers.lost.try_recv() {
                self.totals.lose(lost);
                return;
            }
            self.crash(current, now_ns);
            if has_progressed(&progress.1, &counts) || self.restarts.is_down() {
                progress = (now_ns, counts);
            }
            let reading = Reading {
                now_ns,
                counts,
                silence: Duration::from_nanos(now_ns - progress.0),
            };
            let is_over = match &*current.step {
                Step::AwaitTakeover { group } => self.is_taken_over(*group, &reading),
                Step::Drain { quiet } => self.is_drain_over(*quiet, &reading),
                _ => self.is_step_over(current, &reading),
            };
            if is_over {
                return;
            }
        }
    }

    /// Kills the broker when the step says so, and waits for its return.
    fn crash(&mut self, current: &Current, now_ns: u64) {
        let Step::Load(LoadStep {
            crashes: Some(crashes),
            ..
        }) = &*current.step
        else {
            return;
        };
        let since = Duration::from_nanos(now_ns.saturating_sub(current.start_ns));
        let at_s = now_ns.saturating_sub(self.began_ns) as f64 / 1e9;
        let target = &self.control.plan.connection.targets[0];
        match self.restarts.watch(crashes, since, at_s, target) {
            Ok(false) => {}
            Ok(true) => self.totals.broker = self.restarts.pid.and_then(BrokerSamples::take),
            Err(sentence) => self.totals.stop(sentence),
        }
    }

    /// All old connections have ended, or the broker had its time.
    fn is_taken_over(&self, group: usize, reading: &Reading) -> bool {
        let clients = u64::from(self.control.plan.groups[group].clients);
        reading.counts.get(Count::TakenOver) >= clients
            || reading.silence > self.control.plan.connection.timeout
    }

    /// All workers have ended the step, all connections are lost, or the broker does not answer.
    fn is_step_over(&mut self, current: &Current, reading: &Reading) -> bool {
        let Reading {
            counts, silence, ..
        } = reading;
        if self.totals.stopped.is_some() {
            return true;
        }
        if self.restarts.is_down() {
            return false;
        }
        let has_ended = |board: &Board| board.read().get(Count::StepsEnded) >= current.order as u64;
        if self.control.boards.iter().all(has_ended) {
            return true;
        }
        // Clients may also have left, as the plan has it.
        let was_lost = counts.get(Count::Disconnected) > 0;
        let all_lost = was_lost && live::connected(counts) == 0;
        if all_lost && matches!(*current.step, Step::Load(_)) && !self.may_reconnect() {
            self.totals.stopped = Some("all connections were lost".into());
            return true;
        }
        let timeout = self.control.plan.connection.timeout;
        let is_silent = *silence > timeout + GRACE + current.planned_silence;
        if is_silent {
            self.totals.stopped = Some(format!(
                "the broker did not answer for {:.0} s ({})",
                timeout.as_secs_f64(),
                current.name
            ));
        }
        is_silent
    }

    /// Adds the figures of a step that is over to the totals.
    fn end_step(&mut self, current: &Current) {
        let before = current.before;
        let after = match &*current.step {
            Step::Load(load) => {
                let ended_ns = self.await_settled(load.messages.is_some(), current);
                let after = self.cut();
                let took = Duration::from_nanos(ended_ns.saturating_sub(current.start_ns));
                // Ends by time are seen a little late.
                self.totals.load_s += took.min(load.time).as_secs_f64();
                self.totals.load_counts.1 = after;
                self.totals.load_ended_ns = ended_ns;
                let times = (current.start_ns, ended_ns);
                self.end_stage(load.name.as_deref(), times, (&before, &after));
                after
            }
            _ => self.counts(),
        };
        match &*current.step {
            Step::Connect { .. } => {
                if self.only_fetched_tickets(&before, &after) {
                    self.totals.broker.iter_mut().for_each(BrokerSamples::begin);
                } else {
                    let came = after.get(Count::Connected) - before.get(Count::Connected);
                    let took_ns = now_ns().saturating_sub(current.start_ns);
                    self.totals.connected += came;
                    self.totals.connect_s += took_ns as f64 / 1e9;
                }
                self.check_connected(&before, &after);
            }
            Step::Hold { .. } => self.totals.idle = self.idle_cost(&after),
            _ => {}
        }
    }

    pub(super) fn may_reconnect(&self) -> bool {
        self.control.plan.connection.reconnect_per_s.is_some()
    }

    /// Counters of now with all timings up to now: workers hand both over.
    fn cut(&mut self) -> Counts {
        let order = self.control.post(Order::Cut) as u64;
        let began = now_ns();
        let has_cut = |board: &Board| board.read().get(Count::StepsEnded) >= order;
        while !self.control.boards.iter().all(has_cut)
            && now_ns() - began < CUT_MAX.as_nanos() as u64
            && self.totals.missing.is_empty()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.take_intervals();
        self.cut_counts()
    }

    /// Waits for acknowledgements and deliveries of a load that ends by its messages; the time of the last.
    fn await_settled(&mut self, ends_by_messages: bool, current: &Current) -> u64 {
        let planned = planned_time(&current.step).unwrap_or_default();
        let ends_ns = current.start_ns + planned.as_nanos() as u64;
        let mut progress = (now_ns(), self.counts());
        while ends_by_messages && self.totals.stopped.is_none() {
            let (now, counts) = (now_ns(), self.counts());
            if has_progressed(&progress.1, &counts) {
                progress = (now, counts);
            }
            let silence = now - progress.0;
            if self.is_drained(&counts) || now >= ends_ns || silence > SETTLED.as_nanos() as u64 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
            self.take_intervals();
            self.tick(&current.name, now, None);
        }
        progress.0
    }

    /// Keeps the figures of a stage under its name.
    fn end_stage(
        &mut self,
        name: Option<&str>,
        (start_ns, end_ns): (u64, u64),
        counts: (&Counts, &Counts),
    ) {
        if let (Some(name), Some(mut timings)) = (name, self.stage.take()) {
            let start_s = start_ns.saturating_sub(self.began_ns) as f64 / 1e9;
            let end_s = end_ns.saturating_sub(self.began_ns) as f64 / 1e9;
            let stage = live::stage(name, (start_s, end_s), counts, &mut timings);
            self.totals.stages.push(stage);
        }
    }

    fn idle_cost(&self, counts: &Counts) -> Option<IdleCost> {
        self.baseline?.cost(live::connected(counts))
    }

    /// In a run about resumed sessions: no client had a session to resume yet.
    fn only_fetched_tickets(&self, before: &Counts, after: &Counts) -> bool {
        let tls = self.control.plan.connection.transport.tls.as_ref();
        let resumed = |counts: &Counts| counts.get(Count::HandshakesResumed);
        tls.is_some_and(crate::transport::TlsSetup::must_resume)
            && resumed(before) == resumed(after)
    }

    /// A run in which no client could connect ends.
    fn check_connected(&mut self, before: &Counts, after: &Counts) {
        let came = after.get(Count::Connected) - before.get(Count::Connected);
        let failed = after.get(Count::ConnectFailed) - before.get(Count::ConnectFailed);
        if came == 0 && failed > 0 && self.totals.stopped.is_none() {
            self.totals.stopped = Some(format!("none of {failed} clients could connect"));
        }
    }

    /// Everything expected has come.
    pub(super) fn is_drained(&self, counts: &Counts) -> bool {
        let is_received = self.receivers.is_some_and(|receivers| {
            let received = counts.get(Count::Received) - counts.get(Count::Foreign);
            received >= counts.get(Count::Published) * receivers
        });
        let promises = |group: &Group| {
            group
                .publishing
                .as_ref()
                .is_some_and(|publishing| publishing.qos != ringmq::mqtt::Qos::AtMostOnce)
        };
        let awaits_acks = self.control.plan.groups.iter().any(promises);
        is_received
            && (!awaits_acks || counts.get(Count::Acknowledged) >= counts.get(Count::Published))
    }
}

/// True when something was answered or received since.
fn has_progressed(before: &Counts, now: &Counts) -> bool {
    [
        Count::Connected,
        Count::Subscribed,
        Count::Unsubscribed,
        Count::Acknowledged,
        Count::Received,
        Count::Closed,
        Count::Pinged,
    ]
    .into_iter()
    .any(|count| before.get(count) != now.get(count))
}

/// What a step is called in the line each second.
fn step_name(step: &Step) -> String {
    stage_name(step).unwrap_or(step.kind()).to_string()
}

fn stage_name(step: &Step) -> Option<&str> {
    match step {
        Step::Load(load) => load.name.as_deref(),
        _ => None,
    }
}

/// Time of a step by plan.
pub(super) fn planned_time(step: &Step) -> Option<Duration> {
    match step {
        Step::Load(load) => Some(load.time),
        Step::Hold { time } => Some(*time),
        _ => None,
    }
}
