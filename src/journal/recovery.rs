//! The reading end: a fold over segments that finds the end of the log.
//!
//! The log ends before the first frame that is not whole. What was being written when the process ended
//! was never acknowledged: such a *torn* end is forgotten. But a frame is only written when those before it are
//! on the disk, so when a later frame or segment of the log is there, the broken one was whole once and what
//! it holds may have been acknowledged. Then the log is *damaged*, and is refused rather than cut short.

use super::frame::{FrameHeader, FRAME_HEADER_BYTES};
use super::position::{Lsn, Position, SegmentNumber};
use super::record::Record;
use super::segment::{DataId, Found, SegmentHeader, BLOCK_BYTES, FORMAT};
use crate::time::WallTime;

/// Why a log is not read to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    #[error("frame {} ({at}) is damaged, though frame {} behind it shows that it was written whole", .lost.0, .proof.0)]
    Frame { at: Position, lost: Lsn, proof: Lsn },
    #[error("segment {} begins with frame {}, but the log before it ends with frame {}", .segment.0, .first.0, .last.0)]
    Gap {
        segment: SegmentNumber,
        first: Lsn,
        last: Lsn,
    },
    #[error("frame {} ({at}) is whole, but its records are not", .lsn.0)]
    Records { at: Position, lsn: Lsn },
    #[error("the log begins with frame {} in segment {}, and segment {} before it has no readable header", .first.0, .segment.0, .before.0)]
    Beginning {
        before: SegmentNumber,
        segment: SegmentNumber,
        first: Lsn,
    },
    #[error("segment {} belongs to another data directory or shard", .0.0)]
    Foreign(SegmentNumber),
    #[error("segment {} has format {found}, this version reads {FORMAT}", .segment.0)]
    Format { segment: SegmentNumber, found: u32 },
}

/// The end of a log: where a new [`Log`](super::Log) begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Of the last frame's writer.
    pub boot: u32,
    pub last: Lsn,
    pub chain: u64,
    /// The highest number that a segment's file has, used or prepared.
    pub last_segment: SegmentNumber,
    /// Segments of the log. Files with other numbers hold nothing, and must be removed before frames are
    /// appended: see [`Corrupt::Beginning`].
    pub used: Vec<SegmentNumber>,
    pub frames: u64,
    pub records: u64,
    /// The latest wall-clock time that a frame was sealed at: no time before it has passed since.
    pub wall: WallTime,
    /// Frames up to this one are named as durable by a later one or a segment: they were whole.
    pub proven: Lsn,
    /// Behind its last frame.
    pub end: Position,
    /// There a frame begins that was not written whole.
    pub is_torn: bool,
}

/// Reads one shard's segments in the order of their numbers.
#[derive(Debug)]
pub struct Recovery {
    data: DataId,
    shard: u16,
    end: Recovered,
    /// A segment without a header of its own, before the first that has one.
    unused: Option<SegmentNumber>,
}

impl Recovery {
    #[must_use]
    pub fn new(data: DataId, shard: u16) -> Self {
        Self {
            data,
            shard,
            end: Recovered::default(),
            unused: None,
        }
    }

    /// Takes the bytes of the segment with the next higher number and hands on its records.
    ///
    /// # Errors
    /// The log is damaged; what was handed on must not be used.
    pub fn segment(
        &mut self,
        number: SegmentNumber,
        bytes: &[u8],
        visit: &mut dyn FnMut(Position, Record<'_>),
    ) -> Result<(), Corrupt> {
        assert!(number > self.end.last_segment, "segments come in order");
        self.end.last_segment = number;
        let header = match SegmentHeader::decode(bytes) {
            // Prepared and not used, or its first write was torn.
            Found::Nothing => {
                self.unused = self.unused.or(Some(number));
                return self.look_behind(number, bytes, 0);
            }
            Found::OtherFormat(found) => {
                return Err(Corrupt::Format {
                    segment: number,
                    found,
                })
            }
            Found::Header(header) => header,
        };
        if header.data != self.data || header.shard != self.shard {
            return Err(Corrupt::Foreign(number));
        }
        if header.segment != number {
            self.unused = self.unused.or(Some(number)); // renamed to be used again, and not written since
            return Ok(());
        }
        self.begin(&header)?;
        self.frames(&header, bytes, visit)
    }

    /// A segment must go on where the one before it ends.
    fn begin(&mut self, header: &SegmentHeader) -> Result<(), Corrupt> {
        let Recovered {
            used, last, chain, ..
        } = &mut self.end;
        if used.is_empty() {
            // What was before has been retired, or there was nothing. A damaged header looks like no header.
            if let Some(before) = self.unused.filter(|_| header.first > Lsn(1)) {
                return Err(Corrupt::Beginning {
                    before,
                    segment: header.segment,
                    first: header.first,
                });
            }
            *last = Lsn(header.first.0.saturating_sub(1));
            *chain = header.chain;
        }
        let goes_on = header.first == self.end.last.next() && header.chain == self.end.chain;
        if !goes_on || header.boot < self.end.boot {
            return Err(Corrupt::Gap {
                segment: header.segment,
                first: header.first,
                last: self.end.last,
            });
        }
        self.end.proven = self.end.proven.max(self.end.last);
        self.end.boot = header.boot;
        self.end.used.push(header.segment);
        Ok(())
    }

    fn frames(
        &mut self,
        header: &SegmentHeader,
        bytes: &[u8],
        visit: &mut dyn FnMut(Position, Record<'_>),
    ) -> Result<(), Corrupt> {
        let mut offset = BLOCK_BYTES;
        while let Some((frame, body)) = self.next_frame(header, &bytes[offset..]) {
            let place = position(header.segment, offset);
            let mut records = body;
            let mut count = 0;
            while !records.is_empty() {
                let at = offset + FRAME_HEADER_BYTES + (body.len() - records.len());
                let Some((record, rest)) = Record::split_first(records) else {
                    break;
                };
                visit(position(header.segment, at), record);
                records = rest;
                count += 1;
            }
            if !records.is_empty() || count != frame.records {
                let lsn = frame.lsn;
                return Err(Corrupt::Records { at: place, lsn });
            }
            self.end.proven = self.end.proven.max(frame.durable);
            self.end.last = frame.lsn;
            self.end.chain = frame.chain_after();
            self.end.frames += 1;
            self.end.wall = self.end.wall.max(frame.wall);
            self.end.records += u64::from(count);
            offset += frame.padded_bytes();
            self.end.end = position(header.segment, offset);
            self.end.is_torn = false;
            if offset >= bytes.len() {
                return Ok(());
            }
        }
        let is_next = |frame: FrameHeader| {
            frame.segment == header.segment && frame.lsn == self.end.last.next()
        };
        let cut = &bytes[offset..];
        self.end.is_torn =
            !cut.len().is_multiple_of(BLOCK_BYTES) || FrameHeader::decode(cut).is_some_and(is_next);
        self.look_behind(header.segment, bytes, offset)
    }

    /// The frame that `bytes` begin with, when it is whole and the next of this log.
    fn next_frame<'a>(
        &self,
        segment: &SegmentHeader,
        bytes: &'a [u8],
    ) -> Option<(FrameHeader, &'a [u8])> {
        let frame = FrameHeader::decode(bytes)?;
        let belongs = frame.segment == segment.segment && frame.boot == segment.boot;
        let is_next = frame.lsn == self.end.last.next() && frame.chain == self.end.chain;
        let body_end = FRAME_HEADER_BYTES.checked_add(frame.body_bytes as usize)?;
        let body = bytes.get(FRAME_HEADER_BYTES..body_end)?;
        let is_whole = crc32c::crc32c(body) == frame.body_crc;
        (belongs && is_next && is_whole).then_some((frame, body))
    }

    /// Whether a frame behind the broken one, or behind a broken header, shows that it was whole once.
    fn look_behind(
        &self,
        segment: SegmentNumber,
        bytes: &[u8],
        broken: usize,
    ) -> Result<(), Corrupt> {
        let lost = self.end.last.next();
        for offset in (broken..bytes.len()).step_by(BLOCK_BYTES).skip(1) {
            let Some(frame) = FrameHeader::decode(&bytes[offset..]) else {
                continue;
            };
            let is_proof = frame.lsn > lost && frame.durable >= lost;
            if frame.segment == segment && is_proof {
                return Err(Corrupt::Frame {
                    at: position(segment, broken),
                    lost,
                    proof: frame.lsn,
                });
            }
        }
        Ok(())
    }

    /// The end, after the last segment.
    #[must_use]
    pub fn finish(self) -> Recovered {
        self.end
    }
}

fn position(segment: SegmentNumber, offset: usize) -> Position {
    let offset = u32::try_from(offset).expect("segments are below 4 GiB");
    Position { segment, offset }
}
