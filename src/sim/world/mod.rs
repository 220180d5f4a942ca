//! Shards, tiny rings and connections in virtual time: each shard takes the steps of its turns in the order
//! of production, in an order among the shards and with faults that are drawn from the seed.

mod accounts;
mod crash;
mod disks;
mod faults;
mod hand_over;
mod queries;
mod record;
mod sockets;
mod upgrade;

pub(in crate::sim) use accounts::PASSWORD;

use crash::Crashes;
use disks::{DiskFaults, Disks};
use faults::Faults;
use hand_over::HandOvers;

use std::collections::VecDeque;

use super::history::At;
use super::parameters::Parameters;
use super::random::{Purpose, Random};
use super::STEPS;
use crate::limits::Limits;
use crate::shard::{Durability, Heard, Shard, Stats, TurnStep, TURN};
use crate::testing::{self, Setup};
use crate::time::{Span, Time, WallTime};

use upgrade::Upgrades;

pub struct World {
    core: testing::World<Faults>,
    parameters: Parameters,
    schedule: Random,
    logins: Random,
    clocks: Random,
    hand_overs: HandOvers,
    upgrades: Upgrades,
    crashes: Crashes,
    disks: Disks,
    /// By how much the wall clock was set ahead so far, in a run with journals.
    wall_ahead: Span,
    /// By shard: the step of its turn that comes next, as a place in [`TURN`].
    next: Vec<usize>,
    /// By shard: it has done something since its actions were last carried out.
    may_ask: Vec<bool>,
    /// Longest time between two steps now, in nanoseconds.
    step_max_ns: u64,
    /// By shard: until when clients were heard, as last passed to it.
    heard: Vec<Time>,
    /// By shard: when another time was passed to it, and which, of those that its timers may not have seen.
    looked_at: Vec<VecDeque<(Time, Time)>>,
    /// By shard: until when its timers have fired.
    timed_until: Vec<Time>,
}

/// So much later a shard looks again at a deadline that it could not decide, at most.
const LOOK_AGAIN: Span = Span::from_millis(100);
/// Turns, counted in events, between two audits of a shard's bounds.
const AUDIT_EVERY: u64 = 16;
/// A timer wheel may need several looks after a jump; a ready walk keeps the shard due permanently.
const TIMER_ROUNDS: usize = 50;
/// Longest time between two steps while everything comes to rest.
const SETTLE_STEP_NS: u64 = 20_000;
/// Steps between two looks whether everything has come to rest, and how often to look.
const SETTLE_STEPS: usize = 64;
const SETTLE_ROUNDS: usize = 50_000;
/// Of the times at which time passes.
const WALL_IS_SET_ONCE_IN: usize = 100;
/// The same with journals, and how far ahead it is set most of the time.
const JOURNALS_WALL_ONCE_IN: usize = 500;
const WALL_AHEAD_MAX_MS: u64 = 3_000;
/// Steps that a shard takes at once, at most, before others may come in between.
const STEPS_AT_ONCE: usize = 8;

impl World {
    #[must_use]
    pub fn new(parameters: &Parameters, limits: Limits, seed: u64) -> Self {
        let setup = Setup {
            limits,
            placement_seed: seed,
            seed,
            ..Setup::new(parameters.shards)
        };
        let mut crashes = Crashes::new(Random::of(seed, Purpose::Crashes), setup.clone(), STEPS);
        let mut disks = Random::of(seed, Purpose::Disks);
        let mut faults = Faults::new(
            parameters,
            &setup.limits,
            Random::of(seed, Purpose::Faults),
            DiskFaults::new(&mut disks, crashes.has_journals),
        );
        let timeout = Span::from_secs(setup.limits.disk_full_timeout_s.into());
        let disks = Disks::new(&mut disks, (crashes.has_journals, timeout), STEPS);
        faults.commits = crashes.has_journals.then(|| crashes.commits());
        let mut core = testing::World::new(setup, faults);
        if crashes.has_journals {
            core.segment_bytes = crashes.segment_bytes();
            core.begin_journals(Durability::Commit);
        }
        for shard in &mut core.shards {
            shard.set_turn_work(parameters.turn_work);
            if let Some((slack, turn)) = parameters.cleaning {
                shard.set_cleaning(slack, turn);
            }
        }
        let count = core.shards.len();
        Self {
            parameters: parameters.clone(),
            schedule: Random::of(seed, Purpose::Schedule),
            logins: Random::of(seed, Purpose::Logins),
            clocks: Random::of(seed, Purpose::Clocks),
            hand_overs: HandOvers::new(Random::of(seed, Purpose::HandOvers)),
            upgrades: Upgrades::new(Random::of(seed, Purpose::Upgrades)),
            crashes,
            disks,
            wall_ahead: Span::ZERO,
            next: vec![0; count],
            may_ask: vec![false; count],
            step_max_ns: parameters.step_max_ns,
            heard: vec![core.now; count],
            looked_at: vec![VecDeque::new(); count],
            timed_until: vec![core.now; count],
            core,
        }
    }

    #[must_use]
    pub fn now(&self) -> Time {
        self.core.now
    }

    pub(super) fn shards(&self) -> usize {
        self.core.shards.len()
    }

    /// Keeps this many of the last events.
    pub fn trace(&mut self, events: usize) {
        self.core.environment.record.kept_max = events;
    }

    pub fn take_trace(&mut self) -> Vec<String> {
        self.core.environment.record.take_last()
    }

    /// Broken bounds of shards.
    pub(super) fn take_failures(&mut self) -> Vec<String> {
        self.core.environment.record.take_failures()
    }

    /// Of everything that has happened.
    pub(super) fn hash(&self) -> u64 {
        self.core.environment.record.hash()
    }

    /// Notes an event, if a trace is kept.
    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        self.core.environment.record.note(self.core.now, text);
    }

    /// A new event.
    pub(super) fn tick(&mut self) -> At {
        let record = &mut self.core.environment.record;
        record.tick += 1;
        At {
            tick: record.tick,
            now: self.core.now,
        }
    }

    /// Every shard's timers have fired up to here.
    pub(super) fn timed_until(&self) -> Time {
        self.timed_until.iter().copied().min().unwrap_or(Time::FAR)
    }

    /// Sum of a counter over the shards.
    pub(super) fn counted(&self, counter: impl Fn(&Stats) -> u64) -> u64 {
        let shards = self.core.shards.iter().map(Shard::stats);
        shards.chain(&self.crashes.ended).map(counter).sum()
    }

    /// Time passes, or one shard continues its turn for a few steps.
    pub fn step(&mut self) {
        if self.schedule.once_in(4) {
            let span = Span(self.schedule.draw() % self.step_max_ns);
            self.core.now = self.core.now + span;
            self.set_wall();
            return;
        }
        let shard = self.schedule.below(self.core.shards.len());
        for _ in 0..=self.schedule.below(STEPS_AT_ONCE) {
            self.advance(shard);
            if self.core.environment.disks.has_failed() {
                return; // the process ends
            }
        }
    }

    /// The wall clock is set now and then, forward or back: nothing that clients see may follow it while their
    /// process runs.
    fn set_wall(&mut self) {
        if self.crashes.has_journals {
            if self.crashes.sets_wall && self.clocks.once_in(JOURNALS_WALL_ONCE_IN) {
                self.set_wall_of_journals();
            }
        } else if self.clocks.once_in(WALL_IS_SET_ONCE_IN) {
            let wall = WallTime(self.clocks.draw() >> self.clocks.below(64));
            self.core.set_wall(wall);
            self.note(|| format!("the wall clock is set to {} ms", wall.0));
        }
    }

    /// With journals, time that a process does not see passes by the wall clock.
    fn set_wall_of_journals(&mut self) {
        let before = self.core.clocks().wall;
        let random = &mut self.clocks;
        let wall = match random.below(8) {
            0 => before
                .0
                .saturating_add(random.draw() >> (24 + random.below(40))),
            1..4 => before
                .0
                .saturating_add(1 + random.draw() % WALL_AHEAD_MAX_MS),
            _ => before
                .0
                .saturating_sub(random.draw() >> (20 + random.below(44))),
        };
        let ahead = Span::from_millis(wall.saturating_sub(before.0));
        self.wall_ahead = Span(self.wall_ahead.0.saturating_add(ahead.0));
        self.core.set_wall(WallTime(wall));
        self.note(|| format!("the wall clock is set from {} to {wall} ms", before.0));
    }

    /// So much more time than has passed may have passed for a process that began since.
    pub(in crate::sim) fn wall_ahead(&self) -> Span {
        self.wall_ahead
    }

    /// The wall clock is set now and then, and there are journals.
    pub(in crate::sim) fn sets_wall(&self) -> bool {
        self.crashes.has_journals && self.crashes.sets_wall
    }

    /// Steps until nothing moves any more; false: it does not come to rest.
    pub fn settle(&mut self) -> bool {
        // No timeout is to expire while the rest waits.
        self.step_max_ns = SETTLE_STEP_NS;
        for _ in 0..SETTLE_ROUNDS {
            for _ in 0..SETTLE_STEPS {
                self.step();
            }
            if self.is_quiet() && !self.all_turn() {
                if let Err(broken) = Shard::audit_replicas(&self.core.shards) {
                    self.core.environment.record.fail(broken);
                }
                self.note_room_at_rest();
                return true;
            }
        }
        false
    }

    /// As many steps of each shard as a turn has; true when one of them did something.
    fn all_turn(&mut self) -> bool {
        let mut moved = false;
        for shard in 0..self.core.shards.len() {
            for _ in TURN {
                moved |= self.advance(shard);
            }
        }
        moved
    }

    /// Lets time pass at once, as a suspended machine would; then all timers fire that are due.
    pub fn jump(&mut self, span: Span) {
        self.core.now = self.core.now + span;
        self.note(|| format!("time jumps by {} ms", span.as_millis()));
        for shard in 0..self.core.shards.len() {
            for _ in 0..TIMER_ROUNDS {
                if !self.take_step(shard, TurnStep::Timeouts) {
                    break;
                }
            }
            self.take_step(shard, TurnStep::Actions);
        }
    }

    /// Notifies one shard that the broker stops.
    pub(super) fn shut_down(&mut self, shard: usize) {
        self.note(|| format!("shard {shard} is told to stop"));
        self.core.environment.accounts.stop(shard);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.core.shards.iter().all(Shard::is_stopped)
    }

    fn is_quiet(&self) -> bool {
        let links = &self.core.links;
        self.core.are_rings_empty()
            && !self.core.shards.iter().any(Shard::awaits_peers)
            && self.core.shards.iter().all(Shard::is_committed)
            && self.core.environment.accounts.is_at_rest()
            && !links.iter().any(sockets::can_go_on)
            && links
                .iter()
                .all(|link| link.at.is_none() || (!link.is_closed_by_client && link.unread() == 0))
            && self
                .core
                .next_deadline()
                .is_none_or(|due| due > self.core.now)
    }

    /// What waits in the broker, for a failure's report.
    pub(super) fn describe(&self) -> Vec<String> {
        let links = self.core.links.iter().enumerate();
        let open = links.filter(|(_, link)| link.at.is_some());
        let mut lines: Vec<String> = open
            .map(|(index, link)| {
                let (up, down) = (link.unread(), link.received.len());
                let (at, blocked) = (link.at, link.is_blocked);
                format!("connection {index} at {at:?}: {up} bytes up, {down} down, {blocked}")
            })
            .collect();
        lines.extend(self.core.shards.iter().flat_map(Shard::describe));
        lines
    }

    fn audit(&mut self, shard: usize) {
        if let Err(broken) = self.core.shards[shard].audit() {
            let text = format!("shard {shard}: {broken}");
            self.core.environment.record.fail(text);
        }
    }

    /// A shard takes the next step of its turn; true when it did something.
    fn advance(&mut self, shard: usize) -> bool {
        let step = TURN[self.next[shard]];
        self.next[shard] = (self.next[shard] + 1) % TURN.len();
        let moved = self.take_step(shard, step);
        if self.next[shard] == 0 {
            self.note_settled();
            self.note_room();
            if self.tick().tick.is_multiple_of(AUDIT_EVERY) {
                self.audit(shard);
            }
        }
        moved
    }

    fn take_step(&mut self, shard: usize, step: TurnStep) -> bool {
        self.core.environment.record.add((shard, step));
        match step {
            TurnStep::Inbox => self.post_commands(shard),
            TurnStep::Timeouts => self.judge_deadlines(shard),
            _ => {}
        }
        // Their packets are handled at the end of the turn: their silence so far was ours.
        let paused = match step {
            TurnStep::EndTurn => self.paused(shard),
            _ => Vec::new(),
        };
        let moved = self.core.step(shard, step);
        for link in paused {
            self.core.environment.seen[link].read_at = self.core.now;
        }
        self.note_acted(shard, step);
        self.note_ended();
        moved
    }

    /// Deadlines of clients are checked against what the shard has read.
    fn judge_deadlines(&mut self, shard: usize) {
        // The time never goes back, also when a connection that was held back can be read again.
        let heard = self.heard_until(shard).max(self.heard[shard]);
        self.core.shards[shard].handle_heard(Heard {
            established: heard,
            others: heard,
            excused_until: Time::ZERO,
        });
        self.heard[shard] = heard;
        // A deadline that had not been heard of is looked at again a little later.
        let looked_at = &mut self.looked_at[shard];
        if looked_at.back().is_none_or(|(_, before)| *before < heard) {
            looked_at.push_back((self.core.now, heard));
        }
        while let Some((at, heard)) = looked_at.front().copied() {
            if at + LOOK_AGAIN > self.core.now {
                break;
            }
            self.timed_until[shard] = heard;
            looked_at.pop_front();
        }
    }

    /// What a shard asks for in these steps is carried out in a later one; after a read, at once.
    fn note_acted(&mut self, shard: usize, step: TurnStep) {
        match step {
            TurnStep::Inbox | TurnStep::PeerBlocks | TurnStep::Timeouts | TurnStep::EndTurn => {
                self.may_ask[shard] = true;
            }
            TurnStep::Actions => {
                self.may_ask[shard] = false;
                self.core.environment.acted_at[shard] = self.core.now;
            }
            _ => {}
        }
    }
}
