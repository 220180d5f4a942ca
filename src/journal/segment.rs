//! Segments: files of one size that hold frames one after another and are used again.

use super::position::{Lsn, SegmentNumber};

/// Frames begin and end at multiples of this: what a device writes at once without reading before.
pub const BLOCK_BYTES: usize = 4096;
const MAGIC: u32 = 0x524d_5153; // "SQMR" in the file
/// Of segments, frames and records. A broker reads its own format only.
pub(super) const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 60;

/// Identity of a data directory: a segment of another one is not taken for one of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataId(pub [u8; 16]);

/// The first block of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) data: DataId,
    pub(super) shard: u16,
    pub(super) segment: SegmentNumber,
    pub(super) boot: u32,
    /// Of its first frame.
    pub(super) first: Lsn,
    /// What that frame's header names as its chain.
    pub(super) chain: u64,
}

/// What the first block of a segment's file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Header(SegmentHeader),
    /// A segment of a format that this version does not read.
    OtherFormat(u32),
    /// Zeros, or a header that was not written whole.
    Nothing,
}

impl SegmentHeader {
    pub(super) fn encode(&self, block: &mut [u8]) {
        block.fill(0);
        block[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        block[4..8].copy_from_slice(&FORMAT.to_le_bytes());
        block[8..24].copy_from_slice(&self.data.0);
        block[24..26].copy_from_slice(&self.shard.to_le_bytes());
        block[28..32].copy_from_slice(&self.segment.0.to_le_bytes());
        block[32..36].copy_from_slice(&self.boot.to_le_bytes());
        block[40..48].copy_from_slice(&self.first.0.to_le_bytes());
        block[48..56].copy_from_slice(&self.chain.to_le_bytes());
        let crc = crc32c::crc32c(&block[..56]);
        block[56..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    }

    pub(super) fn decode(bytes: &[u8]) -> Found {
        let Some(bytes) = bytes.first_chunk::<BLOCK_BYTES>() else {
            return Found::Nothing;
        };
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|index| bytes[at + index]));
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        if word(0) != MAGIC || word(56) != crc32c::crc32c(&bytes[..56]) {
            return Found::Nothing;
        }
        if word(4) != FORMAT {
            return Found::OtherFormat(word(4));
        }
        let mut data = [0; 16];
        data.copy_from_slice(&bytes[8..24]);
        Found::Header(Self {
            data: DataId(data),
            shard: u16::from_le_bytes([bytes[24], bytes[25]]),
            segment: SegmentNumber(word(28)),
            boot: word(32),
            first: Lsn(long(40)),
            chain: long(48),
        })
    }
}
