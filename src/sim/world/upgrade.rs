//! Another process takes over everything at any step, or dies meanwhile: no client may see a difference, but those are
//! cut whose connections have no image.

use super::crash::COMMITTED_TURNS_MAX;
use super::World;
use crate::sim::random::Random;
use crate::testing::{Fate, Setup};

/// One of so many runs has upgrades.
const ONCE_IN: usize = 3;
/// And then one in so many steps.
const STEPS_BETWEEN: [usize; 2] = [300, 3_000];
/// One of so many new processes dies.
const DIES_ONCE_IN: usize = 3;

/// Turns after which some end that have another number of logs.
const CUT_SHORT_TURNS: usize = 30;
/// One of so many new processes has another number of shards.
const SHARDS_CHANGE_ONCE_IN: usize = 4;

/// When it happens.
pub(super) struct Upgrades {
    random: Random,
    /// Once in so many steps; 0: never.
    once_in: usize,
    pub(super) count: usize,
}

impl Upgrades {
    pub(super) fn new(mut random: Random) -> Self {
        let once_in = match random.once_in(ONCE_IN) {
            true => STEPS_BETWEEN[random.below(2)],
            false => 0,
        };
        Self {
            random,
            once_in,
            count: 0,
        }
    }
}

impl World {
    /// How many processes have taken over.
    pub(in crate::sim) fn upgraded(&self) -> usize {
        self.upgrades.count
    }

    /// Now and then.
    pub(in crate::sim) fn upgrade_some(&mut self) {
        let Upgrades {
            random, once_in, ..
        } = &mut self.upgrades;
        // Of a process that is to end, none takes over.
        if *once_in == 0 || !random.once_in(*once_in) || self.core.environment.disks.has_failed() {
            return;
        }
        let fate = match random.once_in(DIES_ONCE_IN) {
            true => Fate::Dies(random.below(101)),
            false => Fate::Serves,
        };
        let seed = random.draw();
        let former = self.crashes.setup();
        let shards = match random.once_in(SHARDS_CHANGE_ONCE_IN) {
            true => 1 + random.below(5) as u16,
            false => former.shards,
        };
        let rules = self.rules_of_next(None);
        let setup = Setup {
            shards,
            seed,
            now: self.core.now,
            wall: self.core.clocks().wall,
            rules,
            ..former
        };
        match self.core.upgrade(&setup, fate) {
            Err(error) => self.core.environment.record.fail(error),
            Ok(None) => self.note(|| format!("no other process takes over ({fate:?})")),
            Ok(Some(stats)) => {
                self.crashes.ended.extend(stats);
                self.begin_upgraded(&setup);
                self.upgrades.count += 1;
                self.core.environment.record.add("upgraded");
                self.note(|| format!("another process takes over, with {shards} shards"));
            }
        }
    }

    /// Logs of another number of shards are given up when all of it is in the new ones, and no client is served before. Some
    /// processes end first, and then those logs count.
    pub(super) fn adopt_upgraded(&mut self) {
        if !self.core.takes_over() {
            return;
        }
        let random = &mut self.upgrades.random;
        let turns = match random.once_in(DIES_ONCE_IN) {
            true => random.below(CUT_SHORT_TURNS),
            false => COMMITTED_TURNS_MAX,
        };
        if self.commit_all(turns) {
            self.core.adopt();
        } else {
            self.core.environment.record.add("upgrades cut short");
            self.core.environment.disks.note_failed(); // the process ends
        }
    }
}
