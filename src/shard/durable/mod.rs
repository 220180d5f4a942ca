//! Durable state: a shard's log, and what waits for it.
//!
//! Changes of sessions that outlive their connections, and of retained messages, are records of one turn;
//! [`Shard::end_turn`] appends them, [`Shard::poll_journal`] gives the frame that is to be written, and
//! [`Shard::handle_committed`] says that it is on the disk. A turn never waits. An acknowledgement
//! that depends on it is encoded at once and held back in its connection's outgoing bytes.
//!
//! Without a journal (no data directory) nothing here costs more than a look at an `Option`.

mod adopt;
pub(in crate::shard) mod commits;
#[cfg(test)]
mod commits_tests;
mod copies;
mod crossing_records;
pub(in crate::shard) mod crossings;
#[cfg(test)]
mod crossings_tests;
mod cursors;
mod describe;
pub(in crate::shard) mod estates;
mod fold;
pub(in crate::shard) mod full;
mod full_cleaning;
#[cfg(test)]
mod full_room_tests;
#[cfg(test)]
mod full_tests;
pub(in crate::shard) mod held;
mod holds;
mod idle_cleaning;
mod kind;
pub(in crate::shard) mod ledger;
pub(in crate::shard) mod loads;
mod long_images;
mod moves;
mod pieces;
mod places;
mod pressure;
mod read_pieces;
mod read_session;
mod record;
mod replies;
mod restore;
mod restore_held;
mod seal;
pub(in crate::shard) mod ticket;
mod turn_records;
mod visits;

use std::collections::VecDeque;

pub use adopt::{Adoption, ReadPlace};
pub use describe::{Described, Field, Fields, KeptSummary, RecordReader};
pub use fold::{KeptSession, KeptState, StateFold};
pub use loads::{NotWritten, ReadBack};
pub use record::{Problem, RecordError};

use crate::ids::SessionId;
use crate::journal::{FrameWrite, Log, Lsn, SegmentNumber};
use crate::mutant::{is_on, Mutant};
use crate::shard::Shard;
use crate::time::Time;
use commits::Commits;
use copies::Copies;
use crossings::Announcements;
use cursors::Cursors;
use estates::Estates;
use full::FullDisk;
use held::Held;
use idle_cleaning::IdleCleaning;
use ledger::Ledger;
use loads::Loads;
use long_images::LongImage;
use moves::Moves;
use pressure::LogPressure;

/// Segments that are prepared ahead of the one that is written.
const SEGMENTS_AHEAD: u32 = 2;

/// A shard's log and what waits for it. Lives on: the shard.
#[derive(Debug)]
pub(in crate::shard) struct Durable {
    pub(in crate::shard) log: Log,
    pub(in crate::shard) ledger: Ledger,
    /// When a frame is on the disk, segments before this one are not needed. Both rise.
    retiring: VecDeque<(Lsn, SegmentNumber)>,
    /// The last of them.
    oldest: SegmentNumber,
    pub(in crate::shard) commits: Commits,
    pub(in crate::shard) pressure: LogPressure,
    pub(in crate::shard) full: FullDisk,
    durability: Durability,
    announcements: Announcements,
    /// For other shards.
    pub(in crate::shard) held: Held,
    /// Of what other shards hold for this one.
    pub(in crate::shard) cursors: Cursors,
    pub(in crate::shard) loads: Loads,
    moves: Moves,
    /// A session whose queue is written in pieces.
    long_image: Option<LongImage>,
    pub(in crate::shard) idle_cleaning: IdleCleaning,
    /// Of what waits in the logs of another number of shards.
    copies: Copies,
    pub(in crate::shard) estates: Estates,
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is sent when what it promises is on the disk.
    Commit,
    /// It is sent at once; what it promises is on the disk some time later.
    Interval,
}

impl Durable {
    pub(in crate::shard) fn durability(&self) -> Durability {
        self.durability
    }

    /// Nothing is left to be written.
    fn is_settled(&self) -> bool {
        !self.moves.has_loaded() && !self.has_changes()
    }

    /// Something has changed that is not in the log, and can be written now.
    fn has_changes(&self) -> bool {
        !(self.ledger.is_settled() || self.waits_for_copies())
            || self.held.has_unwritten()
            || self.cursors.has_taken()
    }

    /// Sessions whose messages lie in other logs cannot be written yet, and there is nothing else.
    fn waits_for_copies(&self) -> bool {
        self.copies.are_under_way() && self.ledger.has_images_only()
    }

    /// Notes from which segment on the log is needed once its last frame is on the disk.
    fn note_oldest(&mut self) {
        let oldest = self.ledger.oldest_needed(self.log.segment());
        if oldest > self.oldest {
            self.oldest = oldest;
            self.ledger.holds.retire_before(oldest);
            self.retiring.push_back((self.log.last(), oldest));
        }
    }
}

impl Shard {
    /// From here on changes are written to `log`, before there is anything here. What it holds is
    /// [restored](Self::restore) next.
    pub fn begin_journal(&mut self, log: Log, durability: Durability) {
        self.routes.retained.note_changes();
        self.durable = Some(Box::new(Durable {
            idle_cleaning: IdleCleaning::new(log.segment()),
            log,
            ledger: Ledger::new(self.config.hash_seed),
            retiring: VecDeque::new(),
            oldest: SegmentNumber(0),
            commits: Commits::new(self.id),
            pressure: LogPressure::default(),
            full: FullDisk::default(),
            durability,
            announcements: Announcements::default(),
            held: Held::new(self.mesh.peers.count(), self.config.hash_seed),
            cursors: Cursors::new(self.mesh.peers.count()),
            loads: Loads::new(self.config.hash_seed),
            moves: Moves::default(),
            long_image: None,
            copies: Copies::default(),
            estates: Estates::default(),
        }));
    }

    /// A session was made, or something beside its state has changed: its connection, its expiry, its will.
    pub(in crate::shard) fn journal_session(&mut self, session: SessionId) {
        let Some(durable) = self.durable.as_deref_mut() else {
            return;
        };
        if let Some(entry) = self.clients.sessions.get_mut(session) {
            let lane = self.routes.placement.lane_number(&entry.session.client_id);
            durable.ledger.session_changed(session, entry, lane);
        }
    }

    /// A session has ended.
    pub(in crate::shard) fn journal_end(&mut self, session: SessionId) {
        if let Some(durable) = self.durable.as_deref_mut() {
            durable.ledger.session_ended(session);
        }
    }

    /// The log is needed from this segment on, those before it are not. `None`: as before.
    pub fn poll_retired(&mut self) -> Option<SegmentNumber> {
        let durable = self.durable.as_deref_mut()?;
        let mut needed = None;
        while let Some((lsn, segment)) = durable.retiring.front().copied() {
            if lsn > durable.log.durable() {
                break;
            }
            durable.retiring.pop_front();
            needed = Some(segment);
        }
        needed
    }

    /// The frame to be written and flushed next, after each [`end_turn`](Self::end_turn). `None`: nothing to
    /// write, one is on its way, or its segment is not ready.
    pub fn poll_journal(&mut self) -> Option<FrameWrite<'_>> {
        let wall = self.turn.clocks.wall;
        self.durable.as_deref_mut()?.log.next_write(wall)
    }

    /// The frame of [`poll_journal`](Self::poll_journal) is on the disk: what waited for it may be sent, and
    /// peers are notified of what it has of theirs. Call it before blocks and bytes are sent.
    pub fn handle_committed(&mut self, now: Time) -> Lsn {
        let durable = self.durable.as_deref_mut();
        let lsn = durable.expect("there is a journal").log.handle_written();
        self.opened_to(now);
        lsn
    }

    /// The place that must have frames as well has them up to this one. To be called as
    /// [`handle_committed`](Self::handle_committed) is; they may come in either order.
    pub fn handle_copied(&mut self, through: Lsn, now: Time) {
        if let Some(durable) = self.durable.as_deref_mut() {
            durable.log.handle_copied(through);
            self.opened_to(now);
        }
    }

    fn opened_to(&mut self, now: Time) {
        self.open_commits();
        self.forward_held(now);
        self.announce_log_pressure(now);
    }

    /// Nothing happens: the log says once that its last records are durable, so that they are not taken for torn ones
    /// if they are damaged later.
    pub fn mark_journal(&mut self) {
        if let Some(durable) = self.durable.as_deref_mut() {
            durable.log.mark();
        }
    }

    /// See [`mark_journal`](Self::mark_journal).
    #[must_use]
    pub fn wants_mark(&self) -> bool {
        let log = self.durable.as_deref().map(|durable| &durable.log);
        log.is_some_and(Log::wants_mark)
    }

    /// All records are on the disk.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        let durable = self.durable.as_deref();
        durable.is_none_or(|durable| {
            let takes_over = durable.ledger.takes_over && !is_on(Mutant::AdoptEarly);
            durable.log.durable() == durable.log.last() && !takes_over
        })
    }

    /// Segments up to this one exist and are empty.
    pub fn handle_segment_ready(&mut self, through: SegmentNumber) {
        if let Some(durable) = self.durable.as_deref_mut() {
            durable.log.handle_prepared(through);
        }
    }

    /// Other bounds, so that tests meet them.
    #[cfg(any(test, feature = "testing"))]
    pub fn set_cleaning(&mut self, slack_bytes: u64, turn_bytes: usize) {
        if let Some(durable) = self.durable.as_deref_mut() {
            durable.ledger.cleaning = ledger::CleaningBounds {
                slack_bytes,
                turn_bytes,
            };
        }
    }

    /// Segments up to this one should be prepared.
    #[must_use]
    pub fn segment_wanted(&self) -> Option<SegmentNumber> {
        let current = self.durable.as_deref()?.log.segment();
        Some(SegmentNumber(current.0 + SEGMENTS_AHEAD))
    }
}

#[cfg(test)]
mod tests;
