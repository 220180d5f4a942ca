//! Shards, tiny rings and sockets in virtual time, moved one small step at a time in an order drawn
//! from the seed.

mod accounts;
mod rings;
mod sockets;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

pub(in crate::sim) use accounts::PASSWORD;

use accounts::Accounts;
use rings::{Item, Moving};
use sockets::Socket;

use super::history::At;
use super::parameters::Parameters;
use super::random::Random;
use crate::ids::ShardId;
use crate::limits::Limits;
use crate::listener::ListenerPolicy;
use crate::shard::{
    Action, CloseCause, Heard, ListenerId, Origin, Peer, Shard, ShardConfig, Stats,
};
use crate::time::{Span, Time};

pub struct World {
    pub now: Time,
    shards: Vec<Shard>,
    /// By `(from * shards + to) * 2 + lane`.
    rings: Vec<VecDeque<Item>>,
    /// Sockets waiting for room in a control ring.
    moving: Vec<(usize, usize, Moving)>,
    sockets: Vec<Socket>,
    parameters: Parameters,
    accounts: Accounts,
    /// Most that is read of one client.
    bytes_per_s: Option<u32>,
    tick: u64,
    /// Longest time between two steps now, in nanoseconds.
    step_max_ns: u64,
    /// By shard: until when its timers have fired.
    timed_until: Vec<Time>,
    /// The last events, when somebody wants to see them.
    trace: VecDeque<String>,
    /// How many of them.
    trace_max: usize,
    /// Broken bounds of shards.
    pub failures: Vec<String>,
}

/// Steps between two audits of a shard's bounds.
const AUDIT_EVERY: u64 = 16;
/// A timer wheel may need several looks after a jump; a ready walk keeps the shard due for ever.
const TIMER_ROUNDS: usize = 50;
/// Longest time between two steps while everything comes to rest.
const SETTLE_STEP_NS: u64 = 20_000;
/// Steps between two looks whether everything has come to rest, and how often to look.
const SETTLE_STEPS: usize = 64;
const SETTLE_ROUNDS: usize = 50_000;

fn origin() -> Origin {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    Origin::new(Peer::Ip(address), ListenerId(0))
}

impl World {
    #[must_use]
    pub fn new(parameters: &Parameters, limits: Limits, seed: u64) -> Self {
        let shards = parameters.shards;
        let bytes_per_s = limits.client_rates.incoming.bytes_per_s;
        let config = Arc::new(ShardConfig {
            shards,
            limits,
            listeners: [ListenerPolicy::default()].into(),
            placement_seed: seed,
        });
        let now = Time(1_000_000_000);
        let count = usize::from(shards);
        Self {
            now,
            shards: (0..shards)
                .map(|id| {
                    let mut shard =
                        Shard::new(ShardId(id), &config, seed ^ u64::from(id) << 32, now);
                    shard.set_turn_work(parameters.turn_work);
                    shard
                })
                .collect(),
            rings: (0..count * count * 2).map(|_| VecDeque::new()).collect(),
            moving: Vec::new(),
            sockets: Vec::new(),
            parameters: parameters.clone(),
            accounts: Accounts::default(),
            bytes_per_s,
            tick: 0,
            step_max_ns: parameters.step_max_ns,
            timed_until: vec![now; count],
            trace: VecDeque::new(),
            trace_max: 0,
            failures: Vec::new(),
        }
    }

    /// Keeps this many of the last events.
    pub fn trace(&mut self, events: usize) {
        self.trace_max = events;
    }

    pub fn take_trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace).into()
    }

    /// Notes an event, if anybody wants to see it.
    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if self.trace_max == 0 {
            return;
        }
        if self.trace.len() == self.trace_max {
            self.trace.pop_front();
        }
        let (ms, tick) = (self.now.0 as f64 / 1e6, self.tick);
        self.trace
            .push_back(format!("{ms:>9.3} ms {tick:>6}  {}", text()));
    }

    /// A new event.
    pub(super) fn tick(&mut self) -> At {
        self.tick += 1;
        At {
            tick: self.tick,
            now: self.now,
        }
    }

    /// Every shard's timers have fired up to here.
    pub(super) fn timed_until(&self) -> Time {
        self.timed_until.iter().copied().min().unwrap_or(Time::FAR)
    }

    /// Sum of a counter over the shards.
    pub(super) fn counted(&self, counter: impl Fn(&Stats) -> u64) -> u64 {
        self.shards.iter().map(|shard| counter(shard.stats())).sum()
    }

    /// One small step of one thing; false when that thing had nothing to do.
    pub fn step(&mut self, random: &mut Random) -> bool {
        match random.below(5) {
            0 => self.feed(random),
            1 => self.turn(random.below(self.shards.len()), random),
            2 => self.take_item(random),
            3 => self.unblock(random),
            _ => {
                self.now = self.now + Span(random.draw() % self.step_max_ns);
                let shard = random.below(self.shards.len());
                self.timeouts(shard)
            }
        }
    }

    /// Steps until nothing moves any more; false: it does not come to rest.
    pub fn settle(&mut self, random: &mut Random) -> bool {
        // Nobody is to lose patience while the rest waits.
        self.step_max_ns = SETTLE_STEP_NS;
        for _ in 0..SETTLE_ROUNDS {
            for _ in 0..SETTLE_STEPS {
                self.step(random);
            }
            let shards = 0..self.shards.len();
            if self.is_quiet() && !shards.fold(false, |moved, s| self.turn(s, random) | moved) {
                return true;
            }
        }
        false
    }

    /// Lets time pass at once, as a suspended machine would; then all timers fire that are due.
    pub fn jump(&mut self, span: Span) {
        self.now = self.now + span;
        self.note(|| format!("time jumps by {} ms", span.as_millis()));
        for shard in 0..self.shards.len() {
            for _ in 0..TIMER_ROUNDS {
                if !self.timeouts(shard) {
                    break;
                }
            }
            self.act(shard);
        }
    }

    /// Tells one shard that the broker stops.
    pub(super) fn shut_down(&mut self, shard: usize) {
        self.note(|| format!("shard {shard} is told to stop"));
        self.shards[shard].handle_shutdown(self.now);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.shards.iter().all(Shard::is_stopped)
    }

    fn is_quiet(&self) -> bool {
        self.moving.is_empty()
            && self.has_accounts_at_rest()
            && !self.sockets.iter().any(Socket::can_go_on)
            && self.rings.iter().all(VecDeque::is_empty)
            && self.sockets.iter().all(|socket| {
                socket.at.is_none() || (!socket.closed_by_client && socket.to_broker.is_empty())
            })
            && self
                .shards
                .iter()
                .all(|s| s.poll_timeout().is_none_or(|due| due > self.now))
    }

    fn timeouts(&mut self, shard: usize) -> bool {
        let is_due = self.shards[shard]
            .poll_timeout()
            .is_some_and(|due| due <= self.now);
        // What was heard stays heard, also when somebody who was held back can be read again.
        let heard = self.heard_until(shard).max(self.timed_until[shard]);
        self.shards[shard].handle_heard(Heard {
            established: heard,
            others: heard,
            excused_until: Time::ZERO,
        });
        if is_due {
            self.shards[shard].handle_timeout(self.now);
            self.act(shard);
        }
        self.timed_until[shard] = heard;
        is_due
    }

    /// What waits in the broker, for a failure's report.
    pub(super) fn describe(&self) -> Vec<String> {
        let sockets = self.sockets.iter().enumerate();
        let open = sockets.filter(|(_, socket)| socket.at.is_some());
        let mut lines: Vec<String> = open
            .map(|(index, socket)| {
                let (up, down) = (socket.to_broker.len(), socket.to_client.len());
                let (at, blocked) = (socket.at, socket.is_blocked);
                format!("connection {index} at {at:?}: {up} bytes up, {down} down, {blocked}")
            })
            .collect();
        lines.extend(self.shards.iter().flat_map(Shard::describe));
        lines
    }

    fn audit(&mut self, shard: usize) {
        if let Err(broken) = self.shards[shard].audit() {
            if self.failures.len() < 10 {
                self.failures.push(format!("shard {shard}: {broken}"));
            }
        }
    }

    fn turn(&mut self, shard: usize, random: &mut Random) -> bool {
        let mut moved = self.timeouts(shard);
        self.take_rules(shard, random);
        self.judge_logins(shard, random);
        let paused = self.paused(shard);
        self.shards[shard].end_turn(self.now);
        for socket in paused {
            self.sockets[socket].read_at = self.now;
        }
        self.note_ended();
        moved |= self.act(shard);
        while let Some(id) = self.shards[shard].poll_transmit() {
            moved = true;
            self.transmit(shard, id, random);
        }
        moved |= self.act(shard);
        moved |= self.send_blocks(shard);
        self.note_settled();
        self.tick += 1;
        if self.tick % AUDIT_EVERY == 0 {
            self.audit(shard);
        }
        moved
    }

    fn act(&mut self, shard: usize) -> bool {
        let mut moved = false;
        while let Some(action) = self.shards[shard].poll_action() {
            moved = true;
            match action {
                Action::Notice(_) => {}
                Action::Authenticate(id, question) => self.ask_who(shard, id, *question),
                Action::Authorize(id, _) => {
                    self.failures
                        .push(format!("shard {shard} asks what {id:?} may do"));
                }
                Action::Close(id) | Action::Abort(id) => {
                    let Some(socket) = self.socket_at(shard, id) else {
                        continue;
                    };
                    self.note(|| format!("shard {shard} closes connection {socket}"));
                    self.flush(shard, id, socket);
                    self.sockets[socket].at = None;
                    self.sockets[socket].closed_by_broker = true;
                    self.sockets[socket].gone_at = Some(self.now);
                    self.shards[shard].handle_closed(id, CloseCause::Asked, self.now);
                }
                Action::HandOff {
                    connection,
                    to,
                    origin,
                    bytes,
                } => {
                    let Some(socket) = self.socket_at(shard, connection) else {
                        continue;
                    };
                    self.sockets[socket].at = None;
                    self.sockets[socket].moving = true;
                    let moving = Moving {
                        socket,
                        origin,
                        bytes,
                    };
                    self.moving.push((shard, to.index(), moving));
                }
            }
        }
        moved
    }
}
