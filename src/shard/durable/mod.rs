//! Durable state: a shard's log, and what waits for it.
//!
//! Changes of sessions that outlive their connections, and of retained messages, are records of one turn;
//! [`Shard::end_turn`] appends them, [`Shard::poll_journal`] gives the frame that is to be written, and
//! [`Shard::handle_committed`] says that it is on the disk. A turn never waits. An acknowledgement
//! that depends on it is encoded at once and held back in its connection's outgoing bytes.
//!
//! Without a journal (no data directory) nothing here costs more than a look at an `Option`.

use crate::journal::{FrameWrite, Log, Lsn, SegmentNumber};
use crate::shard::Shard;
use crate::time::Time;

/// Segments that are prepared ahead of the one that is written.
const SEGMENTS_AHEAD: u32 = 2;

/// A shard's log and what waits for it. Lives on: the shard.
#[derive(Debug)]
pub(in crate::shard) struct Durable {
    pub(in crate::shard) log: Log,
}

impl Shard {
    /// From here on changes are written to `log`. What a recovery found has been restored before.
    pub fn begin_journal(&mut self, log: Log) {
        self.durable = Some(Box::new(Durable { log }));
    }

    /// The frame to be written and flushed next, after each [`end_turn`](Self::end_turn). `None`: nothing to
    /// write, one is on its way, or its segment is not ready.
    pub fn poll_journal(&mut self) -> Option<FrameWrite<'_>> {
        let wall = self.turn.clocks.wall;
        self.durable.as_deref_mut()?.log.next_write(wall)
    }

    /// The frame of [`poll_journal`](Self::poll_journal) is on the disk.
    pub fn handle_committed(&mut self, _now: Time) -> Lsn {
        let durable = self.durable.as_deref_mut();
        durable.expect("there is a journal").log.handle_written()
    }

    /// Segments up to this one exist and are empty.
    pub fn handle_segment_ready(&mut self, through: SegmentNumber) {
        if let Some(durable) = self.durable.as_deref_mut() {
            durable.log.handle_prepared(through);
        }
    }

    /// Segments up to this one should be prepared.
    #[must_use]
    pub fn segment_wanted(&self) -> Option<SegmentNumber> {
        let current = self.durable.as_deref()?.log.segment();
        Some(SegmentNumber(current.0 + SEGMENTS_AHEAD))
    }
}
