//! Journals whose commits take their time, and processes that end at any step: writes under way are torn, every
//! connection is cut, and shards made anew continue from their disks.

use std::collections::VecDeque;

use super::World;
use crate::limits::QueuePolicy;
use crate::shard::{Durability, Stats, TurnStep, TURN};
use crate::sim::random::Random;
use crate::sim::rules::RuleSet;
use crate::testing::{Sector, Setup};
use crate::time::{Span, WallTime};

/// One of so many runs has journals.
const JOURNALS_ONCE_IN: usize = 4;
/// One of so many crashes is to fall between the commits of two shards, for which it waits so many steps at most.
const APART_ONCE_IN: usize = 2;
const APART_STEPS: usize = 500;
/// The disks of one of so many runs with journals are not equally fast.
const OWN_PACE_ONCE_IN: usize = 2;
/// One of so many crashes is followed by another one, soon.
const AGAIN_ONCE_IN: usize = 3;
/// Steps until then, at most.
const AGAIN_STEPS: usize = 60;
/// One of so many processes has another number of shards than the one before.
const SHARDS_CHANGE_ONCE_IN: usize = 4;
/// Bits that are flipped in each log at each crash.
const FLIPS: usize = 4;
/// Parts the chance of that from others.
const CUTS: u64 = 0x6375_7473;
/// One of so many take-overs of another number of shards is cut short, after so many turns at most.
const CUT_SHORT_ONCE_IN: usize = 3;
const CUT_SHORT_TURNS: usize = 30;
/// Turns in which what other logs held must be on the new disks.
pub(super) const COMMITTED_TURNS_MAX: usize = 10_000;
/// The wall clock is set in one of so many runs with journals, and then between two of so many processes.
const SETS_WALL_ONCE_IN: usize = 2;
const SETS_WALL_BETWEEN_ONCE_IN: usize = 2;
/// Turns that a write takes at most, on a disk of each kind.
const PACES: [usize; 3] = [1, 4, 40];
/// Disks with a pace of their own.
const DISKS: usize = 8;
/// Longest time between two processes, in milliseconds.
const DOWN_MAX_MS: usize = 2_000;

/// No queue of a run becomes longer.
const QUEUE_ENOUGH: u32 = 1_000;

/// When it happens.
pub(super) struct Crashes {
    random: Random,
    /// Of take-overs of another number of shards that are cut short.
    cuts: Random,
    /// The shards have journals.
    pub(super) has_journals: bool,
    /// The wall clock is set while they have them.
    pub(super) sets_wall: bool,
    /// The steps from which on the process is to end, the last one first.
    at: Vec<usize>,
    /// The next one waits until what one shard has committed is not committed by another.
    waits: bool,
    /// What all shards are made of.
    setup: Setup,
    /// Of the shards of earlier processes.
    pub(super) ended: Vec<Stats>,
}

impl Crashes {
    pub(super) fn new(mut random: Random, setup: Setup, steps: usize) -> Self {
        // A client whose connection ends whenever its queue is full loses the acknowledgements held for it each
        // time, sends the same again, and may never come to an end when it receives what it sends.
        let limits = &setup.limits;
        let may_starve = limits.queue_policy == QueuePolicy::Disconnect
            && limits.queue_messages_max < QUEUE_ENOUGH;
        let has_journals = random.once_in(JOURNALS_ONCE_IN) && !may_starve;
        let count = if has_journals { random.below(4) } else { 0 };
        // Most is published in the first part of a run: half of them are there, or in the first part of that.
        let mut at: Vec<usize> = (0..count)
            .map(|_| {
                let part = random.below(4);
                random.below(steps >> part)
            })
            .collect();
        at.sort_unstable_by(|one, other| other.cmp(one));
        Self {
            sets_wall: random.once_in(SETS_WALL_ONCE_IN),
            waits: random.once_in(APART_ONCE_IN),
            random,
            cuts: Random::new(setup.seed ^ CUTS),
            has_journals,
            at,
            setup,
            ended: Vec::new(),
        }
    }

    /// What all shards are made of.
    pub(super) fn setup(&self) -> Setup {
        self.setup.clone()
    }

    /// Small segments, so that turns are parted among them.
    pub(super) fn segment_bytes(&mut self) -> usize {
        [8 << 10, 8 << 10, 64 << 10][self.random.below(3)]
    }

    /// How many turns a write takes at most, by shard, and the chance that decides it.
    pub(super) fn commits(&mut self) -> Commits {
        let random = &mut self.random;
        let first = random.below(PACES.len());
        let has_own = random.once_in(OWN_PACE_ONCE_IN);
        let most = std::array::from_fn(|_| match has_own {
            true => PACES[random.below(PACES.len())],
            false => PACES[first],
        });
        Commits {
            random: Random::new(random.draw()),
            most,
        }
    }
}

/// How long disks take.
pub(super) struct Commits {
    random: Random,
    most: [usize; DISKS],
}

impl Commits {
    pub(super) fn turns(&mut self, shard: usize) -> u32 {
        1 + self.random.below(self.most[shard % DISKS]) as u32
    }
}

impl World {
    pub(in crate::sim) fn has_journals(&self) -> bool {
        self.crashes.has_journals
    }

    /// The process ends now, if it is to end at this step or its disk has failed; the next one has other rules if there
    /// are some. True when it did.
    pub(in crate::sim) fn crash_at(
        &mut self,
        step: usize,
        rules: impl FnOnce() -> Option<RuleSet>,
    ) -> bool {
        let is_due = self.is_crash_due(step);
        if is_due {
            self.crashes.at.pop();
        }
        let ends = is_due || self.core.environment.disks.has_failed();
        if ends {
            self.crash(rules());
            let Crashes {
                random, at, waits, ..
            } = &mut self.crashes;
            *waits = random.once_in(APART_ONCE_IN);
            if random.once_in(AGAIN_ONCE_IN) {
                at.push(step + 1 + random.below(AGAIN_STEPS));
                at.sort_unstable_by(|one, other| other.cmp(one));
                at.dedup();
            }
        }
        ends
    }

    fn is_crash_due(&mut self, step: usize) -> bool {
        let is_between = self.is_between_commits();
        let Crashes { at, waits, .. } = &self.crashes;
        at.last()
            .is_some_and(|at| *at <= step && (!waits || is_between || *at + APART_STEPS <= step))
    }

    /// A shard has committed something in this step, and another one is about to.
    fn is_between_commits(&mut self) -> bool {
        let Some(committed) = self.core.environment.committed.take() else {
            return false;
        };
        let mut others = (0..self.core.shards.len()).filter(|shard| *shard != committed);
        others.any(|shard| self.core.disk_mut(shard).is_some_and(|it| it.is_writing()))
    }

    fn crash(&mut self, rules: Option<RuleSet>) {
        self.core.environment.record.add("crashes");
        self.note(|| "the process ends".into());
        let random = &mut self.crashes.random;
        for shard in 0..self.core.shards.len() {
            // All of a write may be on the disk although its completion was not reported, or none of it.
            let kept = random.below(4);
            if let Some(disk) = self.core.disk_mut(shard) {
                disk.crash(|_| match kept {
                    0 => Sector::Kept,
                    1 => Sector::Lost,
                    _ => [Sector::Kept, Sector::Lost, Sector::Torn][random.below(3)],
                });
            }
            let draw = |below| random.below(below);
            if let Err(error) = self.core.examine(shard, FLIPS, draw) {
                self.core.environment.record.fail(error);
            }
        }
        if random.once_in(SHARDS_CHANGE_ONCE_IN) {
            self.crashes.setup.shards = 1 + random.below(5) as u16;
        }
        let down = Span::from_millis(random.below(DOWN_MAX_MS) as u64);
        if self.crashes.sets_wall && random.once_in(SETS_WALL_BETWEEN_ONCE_IN) {
            self.set_wall_of_journals();
        }
        let rules = self.rules_of_next(rules);
        let random = &mut self.crashes.random;
        let setup = Setup {
            seed: random.draw(),
            now: self.core.now + down,
            wall: self.wall_after(down),
            rules,
            ..self.crashes.setup.clone()
        };
        let stats = self.core.shards.iter().map(|shard| *shard.stats());
        self.crashes.ended.extend(stats);
        self.forget_process(&setup);
        self.unlimit_disks();
        let result = self.core.restart(&setup, Durability::Commit);
        if let Err(error) = result.and_then(|()| self.take_over(setup)) {
            self.core.environment.record.fail(error);
        }
        self.set_work();
        self.limit_disks_again();
        let shards = self.core.shards.len();
        self.note(|| format!("another process continues, with {shards} shards"));
    }

    /// The logs of another number of shards are needed until all of it is in the new ones. Some processes end before
    /// that, and the next one has yet another number.
    fn take_over(&mut self, mut setup: Setup) -> Result<(), String> {
        while self.core.takes_over() {
            let cuts = &mut self.crashes.cuts;
            let turns = match cuts.once_in(CUT_SHORT_ONCE_IN) {
                true => cuts.below(CUT_SHORT_TURNS),
                false => COMMITTED_TURNS_MAX,
            };
            if self.commit_all(turns) {
                self.core.adopt();
            } else if turns == COMMITTED_TURNS_MAX {
                return Err("what other logs held is not committed".into());
            } else {
                self.core.environment.record.add("take-overs cut short");
                let cuts = &mut self.crashes.cuts;
                self.crashes.setup.shards = 1 + cuts.below(5) as u16;
                setup.shards = self.crashes.setup.shards;
                setup.seed = cuts.draw();
                self.forget_process(&setup);
                self.core.restart(&setup, Durability::Commit)?;
            }
        }
        Ok(())
    }

    /// In so many turns; false: they were too few.
    pub(super) fn commit_all(&mut self, turns: usize) -> bool {
        for _ in 0..turns {
            for shard in 0..self.core.shards.len() {
                for step in TURN.iter().filter(|step| **step != TurnStep::Timeouts) {
                    self.core.step(shard, *step);
                }
                self.core.complete_write(shard);
            }
            // As the driver asks: after a turn, which puts what was restored into the log.
            if self.core.has_taken_over() {
                return true;
            }
        }
        false
    }

    fn wall_after(&self, down: Span) -> WallTime {
        let wall = self.core.clocks().wall;
        WallTime(wall.0.saturating_add(down.as_millis()))
    }

    /// Another process has taken over: connections continue, but those that had no image.
    pub(super) fn begin_upgraded(&mut self, setup: &Setup) {
        self.crashes.setup.shards = setup.shards;
        let links = 0..self.core.environment.seen.len();
        let gone: Vec<_> = links
            .filter(|link| self.core.links[*link].at.is_none())
            .collect();
        self.begin_process(setup, gone);
        if self.has_journals() {
            self.unlimit_disks();
            self.adopt_upgraded();
            self.limit_disks_again();
        }
        self.set_work();
    }

    /// As much in each turn as this run has.
    fn set_work(&mut self) {
        for shard in &mut self.core.shards {
            shard.set_turn_work(self.parameters.turn_work);
            if let Some((slack, turn)) = self.parameters.cleaning {
                shard.set_cleaning(slack, turn);
            }
        }
    }

    /// Forgets connections and the state of the shards' turns.
    fn forget_process(&mut self, setup: &Setup) {
        let all = (0..self.core.environment.seen.len()).collect();
        self.begin_process(setup, all);
    }

    /// `closed`: links without a connection.
    fn begin_process(&mut self, setup: &Setup, closed: Vec<usize>) {
        let (now, count) = (setup.now, usize::from(setup.shards));
        let timed_until = self.timed_until();
        let faults = &mut self.core.environment;
        faults.ending.clear();
        faults.accounts.begin(count);
        for link in closed {
            if faults.seen[link].gone_at.is_none() {
                faults.note_gone(link, now);
            }
        }
        faults.acted_at = vec![now; count];
        self.heard.resize(count, now);
        self.timed_until.resize(count, timed_until);
        self.next = vec![0; count];
        self.may_ask = vec![true; count];
        self.looked_at = vec![VecDeque::new(); count];
    }
}
