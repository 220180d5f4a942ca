//! The coordinator's side of one agent: greeting, clock offset, orders one way and figures the other.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags, Timespec};

use super::frame::{self, FromAgent, PeerLost, ToAgent, FRAME_MAX, PROTOCOL, SILENCE_MAX};
use super::offset::{estimate, Exchange, Offset};
use super::report::{self, Reports};
use super::token::Token;
use crate::engine::clock::local_ns;
use crate::engine::control::{Control, Interval, Order};
use crate::engine::{End, LostGenerator, Report};
use crate::meter::Count;
use crate::plan::{Share, Step};
use crate::results::AgentResult;

/// How long an agent may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Exchanges of which the one with the shortest round trip counts.
const EXCHANGES: usize = 20;
/// Signs of life are sent this often.
const PING_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether the agent is done.
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// An agent that waits for a run.
pub(super) struct Link {
    stream: TcpStream,
    pub(super) result: AgentResult,
}

/// What the threads of a run need.
struct Running {
    link: Link,
    /// Frames to the agent, one at a time.
    writer: Mutex<TcpStream>,
    control: Arc<Control>,
    share: Share,
    over: AtomicBool,
}

/// Where an agent's figures go during the run.
#[derive(Clone)]
pub(super) struct Channels {
    pub(super) lost: Sender<LostGenerator>,
    pub(super) intervals: Sender<Interval>,
}

impl Link {
    /// Connects, says the token and compares clocks.
    pub(super) fn connect(address: &str, token: &Token) -> Result<Self, String> {
        let resolved = address
            .to_socket_addrs()
            .map_err(|error| format!("--agents {address}: {error}; give HOST:PORT"))?
            .next()
            .ok_or_else(|| format!("--agents {address}: no address"))?;
        let unreachable = |error: std::io::Error| {
            format!("agent {address}: {error}: is `mqload agent` running there?")
        };
        let stream = TcpStream::connect_timeout(&resolved, CONNECT_TIME).map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        stream
            .set_write_timeout(Some(SILENCE_MAX))
            .map_err(unreachable)?;
        let mut link = Self {
            stream,
            result: AgentResult {
                address: address.to_string(),
                ..AgentResult::default()
            },
        };
        link.send(&ToAgent::Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_string(),
            token: token.as_str().to_string(),
        })?;
        match link.read()? {
            FromAgent::Welcome { kernel, cpu_model } => {
                link.result.kernel = kernel;
                link.result.cpu_model = cpu_model;
            }
            other => return Err(link.unexpected(&other)),
        }
        let offset = link.compare_clocks(&link.stream)?;
        link.result.clock_offset_ns = offset.offset_ns;
        link.result.uncertainty_ns = offset.uncertainty_ns;
        Ok(link)
    }

    /// Hands out the agent's share of a run.
    pub(super) fn hand_out(
        &self,
        arguments: &[String],
        share: Share,
        began_ns: u64,
    ) -> Result<(), String> {
        self.send(&ToAgent::Run {
            arguments: arguments.to_vec(),
            index: share.index,
            count: share.count,
            ahead_ns: self.result.clock_offset_ns.wrapping_neg(),
            began_ns,
        })
    }

    /// Waits until the agent's workers wait for orders.
    pub(super) fn await_ready(&mut self) -> Result<(), String> {
        loop {
            match self.read()? {
                FromAgent::Ready { workers, clients } => {
                    self.result.workers = workers;
                    self.result.clients = u64::from(clients);
                    return Ok(());
                }
                FromAgent::Counts(_) => {}
                other => return Err(self.unexpected(&other)),
            }
        }
    }

    fn send(&self, frame: &ToAgent) -> Result<(), String> {
        frame::write(&self.stream, frame).map_err(|gone| self.sentence(&gone))
    }

    fn read(&self) -> Result<FromAgent, String> {
        frame::read(&self.stream, FRAME_MAX, SILENCE_MAX).map_err(|gone| self.sentence(&gone))
    }

    fn sentence(&self, gone: &PeerLost) -> String {
        format!("agent {} {}", self.result.address, gone.0)
    }

    fn unexpected(&self, frame: &FromAgent) -> String {
        let address = &self.result.address;
        match frame {
            FromAgent::Refused { sentence } => format!("agent {address} refused: {sentence}"),
            _ => format!("agent {address} answered what was not asked"),
        }
    }

    /// Asks for the agent's time again and again. Answers to others' pings are passed over.
    fn compare_clocks(&self, writer: &TcpStream) -> Result<Offset, String> {
        let mut exchanges = Vec::new();
        while exchanges.len() < EXCHANGES {
            let sent = local_ns();
            frame::write(writer, &ToAgent::Ping { sent_ns: sent })
                .map_err(|gone| self.sentence(&gone))?;
            loop {
                match self.read()? {
                    FromAgent::Pong { sent_ns, agent_ns } if sent_ns == sent => {
                        exchanges.push(Exchange {
                            sent_ns,
                            agent_ns,
                            received_ns: local_ns(),
                        });
                        break;
                    }
                    FromAgent::Pong { .. } | FromAgent::Counts(_) => {}
                    other => return Err(self.unexpected(&other)),
                }
            }
        }
        Ok(estimate(&exchanges).unwrap_or_default())
    }

    /// Starts the threads that carry orders and figures; the end gives the reports, and what is known
    /// about the agent.
    pub(super) fn start(
        self,
        control: &Arc<Control>,
        share: Share,
        channels: Channels,
        results: &Arc<Mutex<Vec<AgentResult>>>,
    ) -> Result<End, String> {
        let writer = self.stream.try_clone();
        let running = Arc::new(Running {
            writer: Mutex::new(writer.map_err(|error| error.to_string())?),
            control: Arc::clone(control),
            share,
            over: AtomicBool::new(false),
            link: self,
        });
        let pushing = Arc::clone(&running);
        let push = std::thread::spawn(move || pushing.push());
        let results = Arc::clone(results);
        let pull = std::thread::spawn(move || {
            let (reports, result) = running.pull(&channels);
            running.over.store(true, Ordering::Release);
            (reports, result)
        });
        Ok(Box::new(move || {
            let failed = |_| "a thread of an agent has failed".to_string();
            let (reports, result) = pull.join().map_err(failed)?;
            push.join().map_err(failed)?;
            results
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(result);
            Ok(reports)
        }))
    }
}

impl Running {
    fn send(&self, frame: &ToAgent) -> Result<(), PeerLost> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        frame::write(&writer, frame)
    }

    /// Carries orders to the agent, and signs of life.
    fn push(&self) {
        let wake = self.control.wake_descriptor(self.share.index as usize);
        let (mut taken, mut pinged) = (0, Instant::now());
        while !self.over.load(Ordering::Acquire) {
            let mut descriptors = [PollFd::new(&wake, PollFlags::IN)];
            // An interruption is a look, too.
            if poll(&mut descriptors, Some(&LOOK_EVERY)).is_ok_and(|ready| ready > 0) {
                let _ = rustix::io::read(wake, &mut [0; 8]);
            }
            let mut sent = Ok(());
            while sent.is_ok() && self.control.posted() > taken {
                sent = self.send(&order_frame(self.control.order(taken)));
                taken += 1;
            }
            if sent.is_ok() && pinged.elapsed() > PING_EVERY {
                pinged = Instant::now();
                sent = self.send(&ToAgent::Ping {
                    sent_ns: local_ns(),
                });
            }
            if sent.is_err() {
                // The other thread sees it and says so.
                let _ = self.link.stream.shutdown(std::net::Shutdown::Both);
                return;
            }
        }
    }

    /// Takes the agent's figures to the end of the run.
    fn pull(&self, channels: &Channels) -> (Vec<Report>, AgentResult) {
        let mut result = self.link.result.clone();
        let mut reports = Reports::default();
        let ended = loop {
            match self.take(channels, &mut reports) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(why) => break Err(why),
            }
        };
        let board = &self.control.boards[self.share.index as usize];
        let reports = match ended {
            Ok(()) => {
                result.clock_drift_ns = self.drift();
                self.say_goodbye();
                reports.into_reports()
            }
            Err(why) => {
                let _ = self.link.stream.shutdown(std::net::Shutdown::Both);
                result.lost = Some(why.clone());
                let sentence = format!(
                    "{why}: its figures are those up to then, and of messages from or to its clients \
                     nothing is known"
                );
                let share = self.share;
                // The coordinator lives as long as its agents unless it panicked.
                let _ = channels.lost.send(LostGenerator { sentence, share });
                report::remains(board.read(), result.workers)
            }
        };
        let total = |count: Count| {
            let counts = reports.iter().map(|report| report.meter.counts.get(count));
            counts.sum()
        };
        result.published = total(Count::Published);
        result.received = total(Count::Received);
        (reports, result)
    }

    /// Takes one frame; false when it was the last.
    fn take(&self, channels: &Channels, reports: &mut Reports) -> Result<bool, String> {
        let worker = self.share.index as usize;
        let mad = |why: String| format!("agent {} sent {why}", self.link.result.address);
        match self.link.read()? {
            FromAgent::Counts(counts) => {
                let counts = report::counts(&counts).map_err(mad)?;
                let board = &self.control.boards[worker];
                let mut known = board.read();
                // Counters never fall.
                for (known, told) in known.0.iter_mut().zip(counts.0) {
                    *known = told.max(*known);
                }
                board.publish(&known);
            }
            FromAgent::Timings(kinds, counts) => {
                let interval = Interval {
                    worker,
                    timings: report::timings(&kinds).map_err(mad)?,
                    counts: report::counts(&counts).map_err(mad)?,
                };
                let _ = channels.intervals.send(interval); // as above
            }
            FromAgent::Pong { .. } => {}
            FromAgent::Done => return Ok(false),
            other @ (FromAgent::Refused { .. }
            | FromAgent::Welcome { .. }
            | FromAgent::Ready { .. }) => return Err(self.link.unexpected(&other)),
            part => reports.take(part).map_err(mad)?,
        }
        Ok(true)
    }

    /// How far the clocks have moved apart; 0 when the agent does not say any more.
    fn drift(&self) -> i64 {
        let Ok(writer) = self.link.stream.try_clone() else {
            return 0;
        };
        let _alone = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = self.link.compare_clocks(&writer);
        offset.map_or(0, |offset| {
            offset
                .offset_ns
                .wrapping_sub(self.link.result.clock_offset_ns)
        })
    }

    /// Ends the connection when the agent is ready for the next.
    fn say_goodbye(&self) {
        if self.send(&ToAgent::Bye).is_ok() {
            while self.link.read().is_ok() {}
        }
    }
}

fn order_frame(order: Option<Order>) -> ToAgent {
    match order {
        Some(Order::Do {
            step,
            place,
            start_ns,
        }) => match (&*step, place) {
            // The coordinator drains after the loss of an agent, too, when it is not in the plan.
            (Step::Drain { .. }, _) => ToAgent::Drain,
            (_, Some(step)) => ToAgent::Do { step, start_ns },
            (_, None) => ToAgent::RoundTrip,
        },
        Some(Order::Cut) => ToAgent::Cut,
        Some(Order::Finish) | None => ToAgent::Finish,
    }
}
