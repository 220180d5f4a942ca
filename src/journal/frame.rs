//! Frames: the records of one commit, with what proves that they are whole and where they belong.

use super::position::{Lsn, SegmentNumber};
use super::segment::{SegmentHeader, BLOCK_BYTES};
use crate::time::WallTime;

pub(super) const FRAME_HEADER_BYTES: usize = 64;
const MAGIC: u32 = 0x524d_5146; // "FQMR" in the file

/// What stands before the records of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Of the records, without header and padding.
    pub(super) body_bytes: u32,
    pub(super) lsn: Lsn,
    pub(super) segment: SegmentNumber,
    /// Number of the start of the process that wrote it.
    pub(super) boot: u32,
    /// [`chain_after`] the frame before: a frame that is missing, doubled or in another's place breaks it.
    pub(super) chain: u64,
    /// What the writer knew to be durable when it sealed this frame: proof that those frames were whole.
    pub(super) durable: Lsn,
    pub(super) wall: WallTime,
    pub(super) records: u32,
    pub(super) body_crc: u32,
}

impl FrameHeader {
    pub(super) fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut out = [0; FRAME_HEADER_BYTES];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&MAGIC.to_le_bytes());
        put(&self.body_bytes.to_le_bytes());
        put(&self.lsn.0.to_le_bytes());
        put(&self.segment.0.to_le_bytes());
        put(&self.boot.to_le_bytes());
        put(&self.chain.to_le_bytes());
        put(&self.durable.0.to_le_bytes());
        put(&self.wall.0.to_le_bytes());
        put(&self.records.to_le_bytes());
        put(&self.body_crc.to_le_bytes());
        let crc = crc32c::crc32c(&out[..56]);
        out[56..60].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None`: no header of a frame, or a damaged one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; FRAME_HEADER_BYTES] = bytes.first_chunk()?;
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|index| bytes[at + index]));
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let is_header = word(0) == MAGIC && word(56) == crc32c::crc32c(&bytes[..56]);
        is_header.then(|| Self {
            body_bytes: word(4),
            lsn: Lsn(long(8)),
            segment: SegmentNumber(word(16)),
            boot: word(20),
            chain: long(24),
            durable: Lsn(long(32)),
            wall: WallTime(long(40)),
            records: word(48),
            body_crc: word(52),
        })
    }

    /// Bytes on disk: header, records, and zeros up to the next block.
    pub(super) fn padded_bytes(&self) -> usize {
        padded_bytes(self.body_bytes as usize)
    }

    /// What the next frame's header must name.
    pub(super) fn chain_after(&self) -> u64 {
        // The header has the checksum of the body and the chain so far, so the two numbers stand for both.
        let header = self.encode();
        let low = crc32c::crc32c(&header);
        let high = crc32c::crc32c_append(!low, &header);
        u64::from(high) << 32 | u64::from(low)
    }
}

/// Bytes on disk of a frame with so many bytes of records.
pub(super) fn padded_bytes(body_bytes: usize) -> usize {
    (FRAME_HEADER_BYTES + body_bytes).next_multiple_of(BLOCK_BYTES)
}

/// A frame that is to be written and flushed at once, and before it, where it is the first of its segment,
/// the segment's header.
#[derive(Clone, Copy, Debug)]
pub struct FrameWrite<'a> {
    pub(super) header: FrameHeader,
    pub(super) segment_header: Option<SegmentHeader>,
    pub(super) offset: u32,
    pub(super) body: &'a [u8],
}

impl FrameWrite<'_> {
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.header.lsn
    }

    #[must_use]
    pub fn segment(&self) -> SegmentNumber {
        self.header.segment
    }

    /// Where to write, from the start of the segment; a multiple of [`BLOCK_BYTES`].
    #[must_use]
    pub fn offset(&self) -> u32 {
        self.offset
    }

    /// Bytes to write, a multiple of [`BLOCK_BYTES`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        let before = self.segment_header.map_or(0, |_| BLOCK_BYTES);
        before + self.header.padded_bytes()
    }

    /// Of these bytes, those before the zeros at their end.
    #[must_use]
    pub fn bytes_before_padding(&self) -> usize {
        let before = self.segment_header.map_or(0, |_| BLOCK_BYTES);
        before + FRAME_HEADER_BYTES + self.body.len()
    }

    /// Puts them into `out`, which has [`bytes`](Self::bytes) bytes.
    pub fn copy_to(&self, out: &mut [u8]) {
        assert_eq!(out.len(), self.bytes(), "the buffer is for another frame");
        let frame = match &self.segment_header {
            None => out,
            Some(header) => {
                let (block, frame) = out.split_at_mut(BLOCK_BYTES);
                header.encode(block);
                frame
            }
        };
        let (header, rest) = frame.split_at_mut(FRAME_HEADER_BYTES);
        header.copy_from_slice(&self.header.encode());
        let (body, padding) = rest.split_at_mut(self.body.len());
        body.copy_from_slice(self.body);
        padding.fill(0);
    }
}
