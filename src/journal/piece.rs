//! Pieces of frames: messages of a bounded size for a place that has copies of a log.
//!
//! ```text
//! format u8 | zeros 3 | segment u32 | offset u32 | total u32 | at u32 | lsn u64 | bytes
//! ```
//! All numbers are little-endian. The bytes are those of the segment's file, without the zeros behind the frame: so the
//! files can be made of them again.

use super::position::{Lsn, SegmentNumber};

/// Of messages; another one is refused.
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 28;
/// Bytes of a frame in one message: with its header below 1 MiB, which NATS takes by default.
const PIECE_BYTES: usize = 512 << 10;

/// A frame, or a piece of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    pub lsn: Lsn,
    pub segment: SegmentNumber,
    /// Where the frame begins in its segment, with the segment's header if it is the first.
    pub offset: u32,
    /// Bytes of the frame.
    pub total: u32,
    /// Of these, where the piece begins.
    pub at: u32,
    pub bytes: &'a [u8],
}

impl<'a> Piece<'a> {
    /// The pieces of a frame, in order.
    pub fn all_of(
        (lsn, segment, offset): (Lsn, SegmentNumber, u32),
        bytes: &'a [u8],
    ) -> impl Iterator<Item = Self> {
        let total = bytes.len() as u32; // frames are below 4 GiB
        let pieces = bytes.chunks(PIECE_BYTES).enumerate();
        pieces.map(move |(index, bytes)| Self {
            lsn,
            segment,
            offset,
            total,
            at: (index * PIECE_BYTES) as u32, // below the total
            bytes,
        })
    }

    /// With it the frame is there.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.at as usize + self.bytes.len() == self.total as usize
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.bytes.len());
        out.extend_from_slice(&[FORMAT, 0, 0, 0]);
        for number in [self.segment.0, self.offset, self.total, self.at] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.lsn.0.to_le_bytes());
        out.extend_from_slice(self.bytes);
        out
    }

    /// `None`: it is no message of this format.
    #[must_use]
    pub fn decode(message: &'a [u8]) -> Option<Self> {
        let (header, bytes) = message.split_first_chunk::<HEADER_BYTES>()?;
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|index| header[at + index]));
        let piece = Self {
            segment: SegmentNumber(word(4)),
            offset: word(8),
            total: word(12),
            at: word(16),
            lsn: Lsn(u64::from(word(20)) | u64::from(word(24)) << 32),
            bytes,
        };
        let end = (piece.at as usize).checked_add(bytes.len())?;
        let is_whole = header[..4] == [FORMAT, 0, 0, 0] && end <= piece.total as usize;
        (is_whole && !bytes.is_empty()).then_some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_put_together_again() {
        let frame: Vec<u8> = (0..2 * PIECE_BYTES + 5).map(|n| n as u8).collect();
        let place = (Lsn(1 << 40), SegmentNumber(7), 4096);
        let mut again = Vec::new();
        for piece in Piece::all_of(place, &frame) {
            let message = piece.encode();
            let piece = Piece::decode(&message).unwrap();
            assert_eq!((piece.lsn, piece.segment, piece.offset), place);
            assert_eq!(piece.at as usize, again.len());
            again.extend_from_slice(piece.bytes);
            assert_eq!(piece.is_last(), again.len() == frame.len());
        }
        assert_eq!(again, frame);
    }

    #[test]
    fn what_is_none_is_refused() {
        let frame = [1; 10];
        let piece = Piece::all_of((Lsn(1), SegmentNumber(1), 0), &frame).next();
        let message = piece.unwrap().encode();
        assert!(Piece::decode(&message[..HEADER_BYTES]).is_none(), "empty");
        assert!(Piece::decode(&message[..3]).is_none());
        let mut other = message.clone();
        other[0] = 2;
        assert!(Piece::decode(&other).is_none(), "another format");
        let mut beyond = message;
        beyond[16] = 1;
        assert!(Piece::decode(&beyond).is_none(), "beyond its frame");
    }
}
