//! An agent's side of a run: its workers, with the coordinator's orders and figures sent to it.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::frame::{self, FromAgent, PeerLost, ToAgent, FRAME_MAX, SILENCE_MAX};
use super::{report, PlanOf, AGENTS_MAX};
use crate::engine::clock::{self, local_ns, now_ns};
use crate::engine::control::{Control, Order, SECOND_NS};
use crate::engine::Workers;
use crate::meter::{Count, Counts, Timings};
use crate::plan::{Options, Plan, Share, Step};
use crate::system;

/// How often counters are sent while they change.
const TICK: Duration = Duration::from_millis(20);
/// After the end of a second, so that all workers have handed its timings over.
const SECOND_GRACE_NS: u64 = 10_000_000;

/// Times of the coordinator that are further off than this are no times of a run.
const CLOCKS_NS: u64 = 60 * SECOND_NS;

/// A coordinator that has sent the token.
pub(super) struct Session<'a> {
    stream: &'a TcpStream,
    /// Frames to the coordinator, one at a time.
    writer: Mutex<TcpStream>,
}

/// The clock is this machine's again when the run is over.
struct ClockReset;

impl Drop for ClockReset {
    fn drop(&mut self) {
        clock::set_ahead_ns(0);
    }
}

impl<'a> Session<'a> {
    pub(super) fn new(stream: &'a TcpStream) -> Result<Self, PeerLost> {
        let writer = stream.try_clone();
        let writer = writer.map_err(|error| PeerLost(format!("cannot be served: {error}")))?;
        Ok(Self {
            stream,
            writer: Mutex::new(writer),
        })
    }

    fn send(&self, frame: &FromAgent) -> Result<(), PeerLost> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        frame::write(&writer, frame)
    }

    fn pong(&self, sent_ns: u64) -> Result<(), PeerLost> {
        let agent_ns = local_ns();
        self.send(&FromAgent::Pong { sent_ns, agent_ns })
    }

    /// Answers pings until there is a run, and runs it.
    pub(super) fn serve(&self, plan_of: PlanOf) -> Result<(), PeerLost> {
        let _clock = ClockReset;
        let (control, workers) = loop {
            match frame::read(self.stream, FRAME_MAX, SILENCE_MAX)? {
                ToAgent::Ping { sent_ns } => self.pong(sent_ns)?,
                ToAgent::Bye => return Ok(()),
                ToAgent::Run {
                    arguments,
                    index,
                    count,
                    ahead_ns,
                    began_ns,
                } => {
                    let share = Share { index, count };
                    let begun = plan_of(&arguments).and_then(|(plan, options)| {
                        begin(plan, &options, share, ahead_ns, began_ns)
                    });
                    match begun {
                        Ok(begun) => break begun,
                        Err(sentence) => return self.send(&FromAgent::Refused { sentence }),
                    }
                }
                _ => return Err(PeerLost("gave orders before a run".into())),
            }
        };
        let finish = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let orders = scope.spawn(|| {
                let ended = self.take_orders(&control, &finish);
                finish.store(true, Ordering::Release);
                control.post(Order::Finish);
                ended
            });
            let reported = self.report(&control, workers, &finish);
            if reported.is_err() {
                // The coordinator is lost: the reader must not wait for its orders either.
                let _ = self.stream.shutdown(std::net::Shutdown::Both);
            }
            let ended = orders.join();
            reported
                .and(ended.unwrap_or_else(|_| Err(PeerLost("cannot be served any more".into()))))
        })
    }

    /// Hands orders on, until the coordinator says good-bye.
    fn take_orders(&self, control: &Control, finish: &AtomicBool) -> Result<(), PeerLost> {
        loop {
            match frame::read(self.stream, FRAME_MAX, SILENCE_MAX)? {
                ToAgent::Ping { sent_ns } => self.pong(sent_ns)?,
                ToAgent::Do { step, start_ns } => {
                    let step = control.plan.steps.get(step).cloned();
                    let step = step.ok_or_else(|| PeerLost("gave an order of no step".into()))?;
                    if now_ns().abs_diff(start_ns) > CLOCKS_NS {
                        return Err(PeerLost("gave an order for another time".into()));
                    }
                    post(control, step, start_ns);
                }
                ToAgent::Drain => {
                    let quiet = Duration::ZERO; // how long it lasts is the coordinator's to know
                    post(control, Step::Drain { quiet }, now_ns());
                }
                ToAgent::RoundTrip => post(control, Step::Ping, now_ns()),
                ToAgent::Cut => drop(control.post(Order::Cut)),
                ToAgent::Finish => {
                    control.post(Order::Finish);
                    finish.store(true, Ordering::Release);
                }
                ToAgent::Bye => return Ok(()),
                ToAgent::Hello { .. } | ToAgent::Run { .. } => {
                    return Err(PeerLost("began a run within a run".into()))
                }
            }
        }
    }

    /// Sends figures while the run lasts, and the reports at its end.
    fn report(
        &self,
        control: &Control,
        mut workers: Workers,
        finish: &AtomicBool,
    ) -> Result<(), PeerLost> {
        let mut sent = SentFigures {
            counts: Counts::default(),
            timings: Timings::default(),
            cuts: vec![Counts::default(); control.workers()],
            second_ends_ns: control.second_ends_ns(now_ns()),
            is_sent: false,
        };
        let mut outcome = self.send(&FromAgent::Ready {
            workers: control.workers(),
            clients: control.plan.share.clients(control.plan.clients()),
        });
        while !finish.load(Ordering::Acquire) && outcome.is_ok() {
            std::thread::sleep(TICK);
            outcome = self.send_update(control, &mut workers, &mut sent);
        }
        if outcome.is_err() {
            control.post(Order::Finish); // the workers end with the coordinator
        }
        let joined = workers.join();
        outcome?;
        let joined = match joined {
            Ok(joined) => joined,
            Err(sentence) => return self.send(&FromAgent::Refused { sentence }),
        };
        for mut interval in joined.intervals {
            sent.timings.merge(&mut interval.timings);
            sent.cuts[interval.worker] = interval.counts;
        }
        self.send(&sent.frame())?;
        for report in &joined.reports {
            report::send(report, |frame| self.send(frame))?;
        }
        self.send(&FromAgent::Done)
    }

    fn send_update(
        &self,
        control: &Control,
        workers: &mut Workers,
        sent: &mut SentFigures,
    ) -> Result<(), PeerLost> {
        let counts = counts(control); // before the timings: what these count has been timed
        while let Ok(mut interval) = workers.intervals.try_recv() {
            sent.timings.merge(&mut interval.timings);
            sent.cuts[interval.worker] = interval.counts;
            interval.timings.clear();
            // A worker that has ended needs none.
            let _ = workers.empties[interval.worker].send(interval.timings);
        }
        let now = now_ns();
        let ends_second = now >= sent.second_ends_ns + SECOND_GRACE_NS;
        let ends_step = counts.get(Count::StepsEnded) > sent.counts.get(Count::StepsEnded);
        if ends_second {
            sent.second_ends_ns = control.second_ends_ns(now);
        }
        // Those of a step come before the word that it has ended.
        if ends_second || ends_step {
            self.send(&sent.frame())?;
            sent.timings.clear();
        }
        // At least once a second, as a sign of life.
        if ends_second || !sent.is_sent || counts.0 != sent.counts.0 {
            self.send(&FromAgent::Counts(counts.0.to_vec()))?;
            sent.counts = counts;
            sent.is_sent = true;
        }
        Ok(())
    }
}

fn post(control: &Control, step: Step, start_ns: u64) {
    control.post(Order::Do {
        step: Arc::new(step),
        place: None,
        start_ns,
    });
}

/// Figures as they were last sent to the coordinator.
struct SentFigures {
    counts: Counts,
    /// Of the current second, not sent yet.
    timings: Timings,
    /// Counters of each worker when it handed over its last timings.
    cuts: Vec<Counts>,
    second_ends_ns: u64,
    is_sent: bool,
}

impl SentFigures {
    fn frame(&mut self) -> FromAgent {
        let mut counts = Counts::default();
        self.cuts.iter().for_each(|own| counts.merge(own));
        report::timings_frame(&mut self.timings, &counts)
    }
}

/// Counters of all workers; a step has ended when the last has left it.
fn counts(control: &Control) -> Counts {
    let boards: Vec<Counts> = control.boards.iter().map(|board| board.read()).collect();
    let ended = boards.iter().map(|counts| counts.get(Count::StepsEnded));
    let mut counts = Counts::default();
    boards.iter().for_each(|board| counts.merge(board));
    counts.0[Count::StepsEnded as usize] = ended.min().unwrap_or(0);
    counts
}

/// Starts the workers of this agent's share, which wait for orders.
fn begin(
    mut plan: Plan,
    options: &Options,
    share: Share,
    ahead_ns: i64,
    began_ns: u64,
) -> Result<(Arc<Control>, Workers), String> {
    let is_share = share.count >= 1 && share.count as usize <= AGENTS_MAX;
    if !is_share || share.index >= share.count {
        return Err(format!("{} of {} is no share", share.index, share.count));
    }
    plan.share = share;
    system::allow_clients(u64::from(share.clients(plan.clients())))?;
    clock::set_ahead_ns(ahead_ns);
    let now = now_ns();
    if now.abs_diff(began_ns) > CLOCKS_NS {
        return Err("the clocks do not agree on the beginning of the run".into());
    }
    let mut control =
        Control::new(plan, options.threads).map_err(|error| format!("cannot begin: {error}"))?;
    control.began_ns = began_ns.min(now); // seconds are counted forwards
    let control = Arc::new(control);
    let workers = Workers::start(&control, options)?;
    Ok((control, workers))
}
