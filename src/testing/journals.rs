//! Journals of the shards, each on a disk in memory.

use super::{Disk, Environment, Event, Sector, World};
use crate::journal::{DataId, Log, Recovered, SegmentNumber};
use crate::mutant::{is_on, Mutant};
use crate::shard::{Durability, ReadBack};
use crate::time::{Span, Time};

/// A frame that is larger gets a larger segment.
pub(super) const SEGMENT_BYTES: usize = 256 << 10;
pub(super) const DATA: DataId = DataId(*b"data of a world.");
/// From one write to the next while no further segment can be made, as in the driver.
const SHORT_INTERVAL: Span = Span::from_millis(50);

/// What a shard's journal is written to.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) disk: Disk,
    /// Segments up to this one are there.
    prepared: SegmentNumber,
    /// Turns until the write under way is durable; `None`: it is when the test says so.
    turns_left: Option<u32>,
    /// Pieces that are being read, and the turns that takes.
    reads: Vec<(ReadBack, u32)>,
    /// There was no room for a segment, and the shard was notified.
    is_short: bool,
    /// No write begins before.
    due: Time,
}

impl Journal {
    pub(super) fn new(disk: Disk, recovered: &Recovered) -> Self {
        Self {
            disk,
            prepared: recovered.last_segment,
            turns_left: None,
            reads: Vec::new(),
            is_short: false,
            due: Time::ZERO,
        }
    }

    /// Its write has failed: the process is to end.
    pub(super) fn has_failed(&self) -> bool {
        self.disk.is_writing() && self.turns_left.is_none()
    }
}

impl<E: Environment> World<E> {
    /// Identity of the data directory.
    #[must_use]
    pub fn data_id() -> DataId {
        DATA
    }

    /// Every shard has a journal from here on, on an empty disk.
    pub fn begin_journals(&mut self, durability: Durability) {
        for shard in 0..self.shards.len() {
            self.begin_journal(shard, Disk::default(), &Recovered::default(), durability);
        }
    }

    /// A shard continues where a recovery of its disk has ended.
    pub fn begin_journal(
        &mut self,
        shard: usize,
        disk: Disk,
        recovered: &Recovered,
        durability: Durability,
    ) {
        let log = Log::new(DATA, shard as u16, self.segment_bytes as u32, recovered);
        self.shards[shard].begin_journal(log, durability);
        self.journals.resize_with(self.shards.len(), || None);
        self.journals[shard] = Some(Journal::new(disk, recovered));
    }

    /// Segments of all disks.
    #[must_use]
    pub fn segments(&self) -> usize {
        let journals = self.journals.iter().flatten();
        journals
            .map(|journal| journal.disk.segments().count())
            .sum()
    }

    /// The disk of a shard that has a journal: to look at, to crash, to take away.
    pub fn disk_mut(&mut self, shard: usize) -> Option<&mut Disk> {
        let journal = self.journals.get_mut(shard)?.as_mut()?;
        Some(&mut journal.disk)
    }

    /// The write under way on a shard's disk is durable, and the shard is notified; false when there is none.
    pub fn complete_write(&mut self, shard: usize) -> bool {
        let disk = self.disk_mut(shard).filter(|disk| disk.is_writing());
        let Some(disk) = disk else {
            return false;
        };
        disk.complete();
        self.committed(shard);
        true
    }

    fn committed(&mut self, shard: usize) {
        self.shards[shard].handle_committed(self.now);
        let needed = self.shards[shard].poll_retired();
        if let (Some(needed), Some(disk)) = (needed, self.disk_mut(shard)) {
            disk.remove_before(needed);
        }
        self.happened(Event::Committed { shard });
    }

    /// The end of a write, which may have failed: nothing is reported to the shard then, and its process ends.
    fn end_write(&mut self, shard: usize) {
        if !self.environment.write_fails(shard) {
            self.complete_write(shard);
            return;
        }
        let Some(Some(journal)) = self.journals.get_mut(shard) else {
            return;
        };
        if is_on(Mutant::AckFailedWrite) {
            journal.disk.crash(|_| Sector::Lost);
            return self.committed(shard);
        }
        journal.turns_left = None;
        self.happened(Event::WriteFailed { shard });
    }

    /// The disk continues, and takes the next frame if there is one.
    pub(super) fn commit(&mut self, shard: usize) -> bool {
        let Some(Some(journal)) = self.journals.get_mut(shard) else {
            return false;
        };
        let mut moved = false;
        if let (true, Some(left)) = (journal.disk.is_writing(), &mut journal.turns_left) {
            *left = left.saturating_sub(1);
            moved = true;
            if *left == 0 {
                self.end_write(shard);
            }
        }
        self.prepare_segments(shard);
        moved |= self.read_back(shard);
        moved | self.begin_write(shard)
    }

    /// Reads continue, and those that are complete come back to the shard.
    fn read_back(&mut self, shard: usize) -> bool {
        let Some(Some(journal)) = self.journals.get_mut(shard) else {
            return false;
        };
        let it = &mut self.shards[shard];
        let mut moved = false;
        for (_, left) in &mut journal.reads {
            *left = left.saturating_sub(1);
            moved = true;
        }
        let done = journal.reads.iter().position(|(_, left)| *left == 0);
        if let Some(done) = done {
            let (read, _) = journal.reads.remove(done);
            let (from, bytes) = (read.offset as usize, read.bytes as usize);
            let disk = match read.former {
                Some(former) => self.former_disks.get(usize::from(former)),
                None => Some(&journal.disk),
            };
            let segment = disk.and_then(|disk| disk.segment(read.segment));
            let found = segment.and_then(|segment| segment.get(from..from + bytes));
            if let Err(error) = it.handle_read(read.id, found.unwrap_or_default(), self.now) {
                self.environment.is_broken(error.to_string());
            }
        }
        while self.environment.reads_logs() {
            let Some(read) = self.shards[shard].poll_read() else {
                break;
            };
            moved = true;
            let turns = self.environment.read_turns(shard);
            journal.reads.push((read, turns));
        }
        moved
    }

    /// Segments ahead of need, while there is room for them. When there was none, one more has to be there before all is
    /// well again, as in the driver.
    fn prepare_segments(&mut self, shard: usize) {
        loop {
            let free = self.segments_max.saturating_sub(self.segments());
            let Some(Some(journal)) = self.journals.get_mut(shard) else {
                return;
            };
            let it = &mut self.shards[shard];
            let Some(wanted) = it.segment_wanted() else {
                return;
            };
            let was_short = journal.is_short;
            let has_all = journal.prepared.0 >= wanted.0 + u32::from(was_short);
            if has_all || free < 1 + usize::from(was_short) {
                journal.is_short = !has_all;
                if journal.is_short != was_short {
                    let is_full = journal.is_short;
                    it.handle_disk_full(is_full, self.now);
                    self.happened(Event::DiskFull { shard, is_full });
                }
                return;
            }
            journal.prepared = journal.prepared.next();
            journal
                .disk
                .prepare(journal.prepared, self.segment_bytes, None);
            it.handle_segment_ready(journal.prepared);
        }
    }

    fn begin_write(&mut self, shard: usize) -> bool {
        let Some(Some(journal)) = self.journals.get_mut(shard) else {
            return false;
        };
        if journal.due > self.now {
            return false;
        }
        let Some(write) = self.shards[shard].poll_journal() else {
            return false;
        };
        if journal.is_short {
            journal.due = self.now + SHORT_INTERVAL;
        }
        journal.disk.write(&write);
        journal.turns_left = self.environment.commit_turns(shard);
        self.happened(Event::Writes { shard });
        true
    }
}
