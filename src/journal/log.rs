//! The writing end: places for records, frames one at a time, segments in order.

use std::collections::VecDeque;

use super::frame::{padded_bytes, FrameHeader, FrameWrite, FRAME_HEADER_BYTES};
use super::position::{Lsn, Position, SegmentNumber};
use super::record::Record;
use super::recovery::Recovered;
use super::segment::{DataId, SegmentHeader, BLOCK_BYTES};
use crate::time::WallTime;

/// A frame with so many bytes of records takes no more. Beyond 64 KiB a commit costs what its bytes cost.
const FRAME_BYTES_TARGET: usize = 256 << 10;

/// Room ahead of the log, which lasts only when segments are prepared in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// A further segment is ready.
    Ready,
    /// The log is in the last segment that is ready, or waits for one.
    Low,
}

/// Records on their way to the disk. Lives on: its shard. Bounded by [`unwritten_bytes`](Self::unwritten_bytes),
/// which the shard looks at before it reads more from those who need the log.
#[derive(Debug)]
pub struct Log {
    data: DataId,
    shard: u16,
    boot: u32,
    segment_bytes: u32,
    /// Where the next frame begins if it fits.
    end: Position,
    /// Of the frame that was placed last.
    last: Lsn,
    /// For the frame that is sealed next.
    chain: u64,
    /// Frames up to this one are on the disk, and perhaps nowhere else.
    durable: Lsn,
    /// Up to this one a frame on the disk names them as durable, or the one being written does: proof that they were
    /// whole.
    proven: Lsn,
    /// The last frame with records.
    recorded: Lsn,
    /// Frames that have a place; only the last one takes more records. The first one is being written when
    /// `is_writing`.
    placed: VecDeque<Draft>,
    is_writing: bool,
    /// Of frames that must be in another place as well.
    copies: Option<Copies>,
    /// Segments up to this one may be written.
    prepared: SegmentNumber,
    unwritten_bytes: usize,
    /// A buffer to be used again.
    spare: Vec<u8>,
}

/// What another place has of the log.
#[derive(Debug)]
struct Copies {
    /// Frames up to this one.
    through: Lsn,
    /// Frames on the disk that it lacks, and the bytes of their records.
    lacking: VecDeque<(Lsn, usize)>,
}

/// A frame that has a place and is not sealed.
#[derive(Debug)]
struct Draft {
    lsn: Lsn,
    /// Of the frame, not of its first record.
    place: Position,
    body: Vec<u8>,
    records: u32,
}

impl Draft {
    fn end(&self) -> u32 {
        self.place.offset + u32_of(padded_bytes(self.body.len()))
    }

    fn starts_segment(&self) -> bool {
        self.place.offset == u32_of(BLOCK_BYTES)
    }
}

impl Log {
    /// A log that begins at the end that a recovery has found, in a segment of its own.
    #[must_use]
    pub fn new(data: DataId, shard: u16, segment_bytes: u32, recovered: &Recovered) -> Self {
        Self {
            data,
            shard,
            boot: recovered.boot + 1,
            segment_bytes,
            // A full segment: the first frame goes to the next one.
            end: Position {
                segment: recovered.last_segment,
                offset: segment_bytes,
            },
            last: recovered.last,
            chain: recovered.chain,
            durable: recovered.last,
            proven: recovered.last,
            recorded: recovered.last,
            placed: VecDeque::new(),
            is_writing: false,
            copies: None,
            prepared: recovered.last_segment,
            unwritten_bytes: 0,
            spare: Vec::new(),
        }
    }

    /// From here on a frame is [durable](Self::durable) when another place has it as well. That has what was recovered.
    pub fn await_copies(&mut self) {
        self.copies = Some(Copies {
            through: self.durable,
            lacking: VecDeque::new(),
        });
    }

    /// Adds a record; it is durable when its frame is ([`durable`](Self::durable)).
    pub fn append(&mut self, record: &Record<'_>) -> (Lsn, Position) {
        self.unwritten_bytes += record.bytes();
        let is_open = self.placed.len() > usize::from(self.is_writing);
        let open = self.placed.back_mut().filter(|_| is_open);
        let fits = open.as_ref().is_some_and(|draft| {
            let body_bytes = draft.body.len() + record.bytes();
            let end = draft.place.offset as usize + padded_bytes(body_bytes);
            body_bytes <= FRAME_BYTES_TARGET && end <= self.segment_bytes as usize
        });
        let draft = match open {
            Some(draft) if fits => draft,
            _ => self.place_frame(record.bytes()),
        };
        let offset = draft.place.offset as usize + FRAME_HEADER_BYTES + draft.body.len();
        let position = Position {
            segment: draft.place.segment,
            offset: u32_of(offset),
        };
        record.put(&mut draft.body);
        draft.records += 1;
        let lsn = draft.lsn;
        self.recorded = lsn;
        (lsn, position)
    }

    /// Whether nothing behind the last records shows that they were written whole, and there is room for it.
    #[must_use]
    pub fn wants_mark(&self) -> bool {
        self.placed.is_empty()
            && self.recorded > self.proven
            && self.room() >= 2 * BLOCK_BYTES as u64
    }

    /// Adds a frame without records, which says that those before it are durable.
    pub fn mark(&mut self) {
        if self.wants_mark() {
            self.place_frame(0);
        }
    }

    /// A new frame behind the last one. One that is larger than a segment gets a segment of its own.
    fn place_frame(&mut self, body_bytes: usize) -> &mut Draft {
        if let Some(draft) = self.placed.back() {
            self.end.offset = draft.end();
        }
        let fits =
            self.end.offset as usize + padded_bytes(body_bytes) <= self.segment_bytes as usize;
        if !fits {
            self.end.segment = self.end.segment.next();
            self.end.offset = u32_of(BLOCK_BYTES);
        }
        self.last = self.last.next();
        self.placed.push_back(Draft {
            lsn: self.last,
            place: self.end,
            body: std::mem::take(&mut self.spare),
            records: 0,
        });
        self.placed.back_mut().expect("just pushed")
    }

    /// The next frame to be written and flushed. `None`: nothing to write, one is on its way, or its segment
    /// is not ready.
    pub fn next_write(&mut self, wall: WallTime) -> Option<FrameWrite<'_>> {
        if self.is_writing {
            return None;
        }
        let draft = self.placed.front()?;
        if draft.place.segment > self.prepared {
            return None;
        }
        let starts_segment = draft.starts_segment();
        let header = FrameHeader {
            body_bytes: u32_of(draft.body.len()),
            lsn: draft.lsn,
            segment: draft.place.segment,
            boot: self.boot,
            chain: self.chain,
            durable: self.durable,
            wall,
            records: draft.records,
            body_crc: crc32c::crc32c(&draft.body),
        };
        let segment_header = starts_segment.then_some(SegmentHeader {
            data: self.data,
            shard: self.shard,
            segment: draft.place.segment,
            boot: self.boot,
            first: draft.lsn,
            chain: self.chain,
        });
        if self.placed.len() == 1 {
            self.end.offset = draft.end(); // it takes no more records
        }
        self.is_writing = true;
        self.proven = self.durable;
        self.chain = header.chain_after();
        Some(FrameWrite {
            header,
            segment_header,
            offset: if starts_segment {
                0
            } else {
                draft.place.offset
            },
            body: &draft.body,
        })
    }

    /// The frame of [`next_write`](Self::next_write) is on the disk.
    ///
    /// # Panics
    /// When none is on its way.
    pub fn handle_written(&mut self) -> Lsn {
        assert!(self.is_writing, "no frame is on its way");
        self.is_writing = false;
        let draft = self.placed.pop_front().expect("one is being written");
        let bytes = draft.body.len();
        self.durable = draft.lsn;
        match &mut self.copies {
            Some(copies) if copies.through < draft.lsn => {
                copies.lacking.push_back((draft.lsn, bytes));
            }
            _ => self.unwritten_bytes -= bytes,
        }
        if draft.body.capacity() <= 2 * FRAME_BYTES_TARGET {
            self.spare = draft.body;
            self.spare.clear();
        }
        self.durable()
    }

    /// Another place has frames up to this one, which may not be on the disk yet.
    pub fn handle_copied(&mut self, through: Lsn) {
        let Some(copies) = &mut self.copies else {
            return;
        };
        copies.through = copies.through.max(through);
        while let Some((lsn, bytes)) = copies.lacking.front().copied() {
            if lsn > copies.through {
                break;
            }
            copies.lacking.pop_front();
            self.unwritten_bytes -= bytes;
        }
    }

    /// Segments up to this one exist and are empty.
    pub fn handle_prepared(&mut self, through: SegmentNumber) {
        self.prepared = self.prepared.max(through);
    }

    #[must_use]
    pub fn space(&self) -> Space {
        if self.prepared > self.end.segment {
            Space::Ready
        } else {
            Space::Low
        }
    }

    /// Bytes that frames can be placed in before another segment has to be prepared.
    #[must_use]
    pub fn room(&self) -> u64 {
        let ahead = u64::from(self.prepared.0.saturating_sub(self.end.segment.0));
        let here = u64::from(self.segment_bytes.saturating_sub(self.end.offset));
        let is_prepared = self.end.segment <= self.prepared;
        ahead * u64::from(self.segment_bytes) + if is_prepared { here } else { 0 }
    }

    /// Nothing more can be written before another segment is prepared.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.room() < BLOCK_BYTES as u64
    }

    /// Of each segment, but for one of a frame that is larger.
    #[must_use]
    pub fn segment_bytes(&self) -> u32 {
        self.segment_bytes
    }

    /// The segment that frames are placed in.
    #[must_use]
    pub fn segment(&self) -> SegmentNumber {
        self.end.segment
    }

    /// From the beginning of a segment to where the next frame is placed.
    #[must_use]
    pub fn bytes_since(&self, segment: SegmentNumber) -> u64 {
        let whole = u64::from(self.end.segment.0.saturating_sub(segment.0));
        whole * u64::from(self.segment_bytes) + u64::from(self.end.offset)
    }

    /// The last frame that is on the disk, and wherever else it must be.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        let through = self.copies.as_ref().map(|copies| copies.through);
        through.map_or(self.durable, |through| through.min(self.durable))
    }

    /// The last frame that has a place: when it is durable, all records are.
    #[must_use]
    pub fn last(&self) -> Lsn {
        self.last
    }

    /// What has been given this place is on the disk.
    #[must_use]
    pub fn has_written(&self, position: Position) -> bool {
        let first = self.placed.front();
        first.is_none_or(|draft| position < draft.place)
    }

    /// Bytes of records that are not [durable](Self::durable).
    #[must_use]
    pub fn unwritten_bytes(&self) -> usize {
        self.unwritten_bytes
    }
}

/// Offsets and lengths within a segment.
fn u32_of(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("frames and segments are below 4 GiB")
}
