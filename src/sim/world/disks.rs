//! Disks that fill up and have room again, and writes that fail.

use super::World;
use crate::shard::Shard;
use crate::sim::random::Random;
use crate::time::{Span, Time};

/// The disks of one of so many runs with journals fill up.
const FULL_ONCE_IN: usize = 2;
/// Times at which they do, at most.
const FULL_TIMES_MAX: usize = 3;
/// Steps for which they have no more room, at most.
const FULL_STEPS: usize = 2_000;
/// Segments for which there is room all the same, at most.
const SPARE_MAX: usize = 3;
/// Writes fail in one of so many runs with journals, and then one of so many writes, so many times at most.
const FAILS_ONCE_IN: usize = 3;
const FAILING_ONCE_IN: usize = 100;
const FAILURES_MAX: usize = 2;
/// Segments of a shard without which no process starts.
const STARTS_WITH: usize = 2;

/// When the disks have no room. All are one.
pub(super) struct Disks {
    random: Random,
    /// From a step until another, the first one last.
    full: Vec<(usize, usize)>,
    /// The step at which there is room again.
    until: Option<usize>,
    /// They fill up at some time.
    fill_up: bool,
    /// For which a client waits for them at least.
    timeout: Span,
}

/// What the disks do, as the surroundings of the shards see it.
pub(super) struct DiskFaults {
    random: Random,
    /// So many writes may fail yet.
    failures: usize,
    /// One has: the process ends.
    has_failed: bool,
    /// Shards that have no room for a further segment.
    short: usize,
    /// Since this tick every shard has room and has learned it of the others; `None`: not yet.
    pub(super) roomy_since: Option<u64>,
    /// The last tick at which some log took nothing more.
    used_up_at: Option<u64>,
}

impl Disks {
    pub(super) fn new(
        random: &mut Random,
        (has_journals, timeout): (bool, Span),
        steps: usize,
    ) -> Self {
        let mut random = Random::new(random.draw());
        let times = match has_journals && random.once_in(FULL_ONCE_IN) {
            true => 1 + random.below(FULL_TIMES_MAX),
            false => 0,
        };
        let mut full: Vec<(usize, usize)> = (0..times)
            .map(|_| {
                let from = random.below(steps);
                (from, from + random.below(FULL_STEPS))
            })
            .collect();
        full.sort_unstable_by(|one, other| other.cmp(one));
        Self {
            random,
            fill_up: !full.is_empty(),
            full,
            until: None,
            timeout,
        }
    }
}

impl DiskFaults {
    pub(super) fn new(random: &mut Random, has_journals: bool) -> Self {
        let mut random = Random::new(random.draw());
        let fail = has_journals && random.once_in(FAILS_ONCE_IN);
        let failures = if fail {
            1 + random.below(FAILURES_MAX)
        } else {
            0
        };
        Self {
            random,
            failures,
            has_failed: false,
            short: 0,
            roomy_since: Some(0),
            used_up_at: None,
        }
    }

    pub(super) fn fails(&mut self) -> bool {
        let fails = self.failures > 0 && self.random.once_in(FAILING_ONCE_IN);
        self.failures -= usize::from(fails);
        fails
    }

    pub(super) fn note_failed(&mut self) {
        self.has_failed = true;
    }

    pub(super) fn note_full(&mut self, is_full: bool) {
        self.roomy_since = None;
        if is_full {
            self.short += 1;
        } else {
            self.short -= 1;
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Another process continues.
    pub(super) fn forget_process(&mut self) {
        self.has_failed = false;
        self.short = 0;
    }
}

impl World {
    /// The disks fill up at this step, or there is room again.
    pub(in crate::sim) fn fill_disks(&mut self, step: usize) {
        if self.disks.until.is_some_and(|until| until <= step) {
            self.make_room();
        }
        if self
            .disks
            .full
            .last()
            .is_some_and(|(from, _)| *from <= step)
        {
            let (_, until) = self.disks.full.pop().expect("there is one");
            self.disks.until = Some(until.max(step + 1));
            self.limit_disks(0);
        }
    }

    /// No more segments than there are, and a few.
    fn limit_disks(&mut self, more: usize) {
        let spare = self.disks.random.below(SPARE_MAX + 1);
        self.core.segments_max = self.core.segments() + more + spare;
        let max = self.core.segments_max;
        self.note(|| format!("the disk has room for {max} segments"));
    }

    fn make_room(&mut self) {
        self.disks.until = None;
        self.core.segments_max = usize::MAX;
        self.note(|| "the disk has room".into());
    }

    /// The process ends. What the next one begins with has room: else it would not start.
    pub(super) fn unlimit_disks(&mut self) {
        self.core.environment.disks.forget_process();
        self.core.segments_max = usize::MAX;
    }

    pub(super) fn limit_disks_again(&mut self) {
        if self.disks.until.is_some() {
            self.limit_disks(STARTS_WITH * self.core.shards.len());
        }
    }

    /// Nothing more is wrong with the disks from here on.
    pub(in crate::sim) fn mend_disks(&mut self) {
        self.disks.full.clear();
        self.core.environment.disks.failures = 0;
        self.make_room();
    }

    /// Notes that every shard has room, and has learned it of all others; or that one has none at all.
    pub(super) fn note_room(&mut self) {
        if self.core.shards.iter().any(Shard::has_no_room_left) {
            self.core.environment.disks.used_up_at = Some(self.tick().tick);
        }
        let disks = &self.core.environment.disks;
        if disks.roomy_since.is_none()
            && disks.short == 0
            && self.core.are_rings_empty()
            && self.core.shards.iter().all(Shard::has_room_everywhere)
        {
            self.set_roomy();
        }
    }

    /// Everything has come to rest: what is refused from here on is refused without a reason.
    pub(super) fn note_room_at_rest(&mut self) {
        let disks = &self.core.environment.disks;
        if disks.roomy_since.is_none() && disks.short == 0 {
            self.set_roomy();
        }
    }

    fn set_roomy(&mut self) {
        let tick = self.tick().tick;
        self.core.environment.disks.roomy_since = Some(tick);
    }

    /// The disk may have had no room at some time since then, as some shard saw it.
    pub(in crate::sim) fn may_lack_room(&self, since: u64) -> bool {
        let roomy_since = self.core.environment.disks.roomy_since;
        roomy_since.is_none_or(|tick| since < tick)
    }

    /// Who has waited since then for what is to be written may be disconnected.
    pub(in crate::sim) fn has_waited_for_room(&self, since: Time) -> bool {
        self.now() >= since + self.disks.timeout
    }

    /// Some log may have taken nothing more at some time since then.
    pub(in crate::sim) fn may_have_been_used_up(&self, since: u64) -> bool {
        let used_up_at = self.core.environment.disks.used_up_at;
        used_up_at.is_some_and(|tick| tick >= since)
            || self.core.shards.iter().any(Shard::has_no_room_left)
    }

    /// The disks of this run fill up at some time.
    pub(in crate::sim) fn has_full_disks(&self) -> bool {
        self.disks.fill_up
    }
}
