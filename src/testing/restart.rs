//! A process that ends without a word, and another that continues from its disks.

use super::journals::{Journal, DATA};
use super::rings::Rings;
use super::{shards_of, Disk, Environment, Setup, World};
use crate::ids::ShardId;
use crate::journal::{Log, Recovered, Recovery};
use crate::shard::{Durability, KeptState, Shard, StateFold, TurnStep, TURN};
use crate::time::{Clocks, Time, WallTime};

/// Turns in which the filters of all sessions must have reached every shard.
const TURNS_MAX: usize = 100_000;

impl<E: Environment> World<E> {
    /// Every connection is cut, and whatever is not on a disk is lost: what a crash leaves of the writes under way
    /// was decided before ([`Disk::crash`]). Shards made anew continue from the disks. Links stay, with the bytes
    /// that had arrived at their clients.
    ///
    /// # Errors
    /// What is on a disk cannot be what a shard has written there.
    pub fn restart(&mut self, setup: &Setup, durability: Durability) -> Result<(), String> {
        let disks = self.journals.drain(..).flatten().map(|it| it.disk);
        let disks: Vec<Disk> = disks.collect();
        // Logs of another number of shards are the truth until they are given up.
        let before = match std::mem::take(&mut self.former_disks) {
            formers if formers.is_empty() => disks,
            formers => formers,
        };
        self.end_process(setup);
        let (bytes, now) = (self.segment_bytes, self.now);
        let terms = (durability, bytes, self.set, now);
        self.journals = recover(&mut self.shards, &before, terms)?;
        if before.len() != self.shards.len() {
            self.former_disks = before;
        }
        self.announce_restored()
    }

    /// Everything that the logs of another number of shards held is in the new ones, and on their disks. Then they may
    /// be [given up](Self::adopt).
    #[must_use]
    pub fn has_taken_over(&self) -> bool {
        self.shards.iter().all(Shard::is_committed)
    }

    /// There are logs of another number of shards, which are the truth.
    #[must_use]
    pub fn takes_over(&self) -> bool {
        !self.former_disks.is_empty()
    }

    /// The logs of another number of shards are removed: from here on the new ones are the truth.
    pub fn adopt(&mut self) {
        self.former_disks.clear();
    }

    fn end_process(&mut self, setup: &Setup) {
        for link in &mut self.links {
            link.at = None;
            link.is_moving = false;
            link.is_blocked = false;
            link.is_closed_by_broker = true;
        }
        self.now = setup.now;
        self.set = Clocks {
            monotonic: setup.now,
            wall: setup.wall,
        };
        self.shards = shards_of(setup);
        self.renew_gateways();
        self.attached = vec![Vec::new(); self.shards.len()];
        self.rings = Rings::new(setup.shards);
        for shard in &mut self.shards {
            shard.handle_clocks(self.set);
        }
    }

    /// Nothing is published before all shards know the filters of what was restored.
    fn announce_restored(&mut self) -> Result<(), String> {
        for _ in 0..TURNS_MAX {
            if !self.shards.iter().any(Shard::awaits_peers) {
                return Ok(());
            }
            for shard in 0..self.shards.len() {
                for step in TURN.iter().filter(|step| **step != TurnStep::Timeouts) {
                    self.step(shard, *step);
                }
            }
        }
        Err("what was restored does not become known".into())
    }
}

/// Shards made anew continue from the disks of earlier ones, which stay as they are.
pub(super) fn recover(
    shards: &mut [Shard],
    before: &[Disk],
    (durability, segment_bytes, clocks, now): (Durability, usize, Clocks, Time),
) -> Result<Vec<Option<Journal>>, String> {
    let goes_on = before.len() == shards.len();
    let mut journals = Vec::new();
    for (number, it) in shards.iter_mut().enumerate() {
        let (recovered, state, disk) = if goes_on {
            let (recovered, state) = read(it.begin_fold(), &before[number], number)?;
            let mut disk = before[number].clone();
            disk.retain(&recovered.used);
            (recovered, state, disk)
        } else {
            let mut wall = WallTime::default();
            let states = before.iter().enumerate();
            let states = states.map(|(of, disk)| {
                let fold = it.begin_fold_of_former(ShardId(of as u16));
                let (recovered, state) = read(fold, disk, of)?;
                wall = wall.max(recovered.wall);
                Ok(state)
            });
            let states: Result<Vec<_>, String> = states.collect();
            let state = KeptState::of_several(states?);
            let recovered = Recovered {
                wall,
                ..Recovered::default()
            };
            (recovered, state, Disk::default())
        };
        let log = Log::new(DATA, number as u16, segment_bytes as u32, &recovered);
        it.begin_journal(log, durability);
        journals.push(Some(Journal::new(disk, &recovered)));
        // As at the start of a process: what is written down is never due later than it was.
        it.handle_clocks(clocks.reading_since(recovered.wall));
        it.restore(state, now);
    }
    Ok(journals)
}

pub(super) fn read(
    mut fold: StateFold,
    disk: &Disk,
    number: usize,
) -> Result<(Recovered, KeptState), String> {
    let mut recovery = Recovery::new(DATA, number as u16);
    let mut wrong = None;
    for (segment, bytes) in disk.segments() {
        let visit = &mut |at, record: crate::journal::Record<'_>| {
            if let Err(error) = fold.record(at, record) {
                wrong.get_or_insert(error.to_string());
            }
        };
        let read = recovery.segment(segment, bytes, visit);
        read.map_err(|error| format!("the log of shard {number}: {error}"))?;
    }
    match wrong {
        Some(error) => Err(format!("the log of shard {number}: {error}")),
        None => Ok((recovery.finish(), fold.finish())),
    }
}
