//! All frames that a segment holds, also behind damage: what a look at a log shows, and what its repair would lose.
//!
//! Nothing here says that a frame counts; only [`Recovery`](super::Recovery) does.

use super::frame::{FrameHeader, FRAME_HEADER_BYTES};
use super::position::{Lsn, Position, SegmentNumber};
use super::record::Record;
use super::segment::BLOCK_BYTES;

/// A frame whose header is readable.
#[derive(Clone, Copy, Debug)]
pub struct SeenFrame<'a> {
    pub lsn: Lsn,
    pub at: Position,
    /// Records it should have.
    pub records: u32,
    /// `None`: they are not those that were written.
    body: Option<&'a [u8]>,
}

impl<'a> SeenFrame<'a> {
    /// Its records are those that were written.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.body.is_some()
    }

    /// Where its bytes begin and end in the segment, without the zeros behind it; none when it is not whole.
    #[must_use]
    pub fn range(&self) -> (usize, usize) {
        let start = self.at.offset as usize;
        let bytes = self.body.map_or(0, |body| FRAME_HEADER_BYTES + body.len());
        (start, start + bytes)
    }

    /// Its records with their positions; none when it is not whole.
    pub fn each_record(&self, visit: &mut dyn FnMut(Position, Record<'a>)) {
        let body = self.body.unwrap_or_default();
        let mut rest = body;
        while let Some((record, behind)) = Record::split_first(rest) {
            let offset = FRAME_HEADER_BYTES + body.len() - rest.len();
            let offset = self.at.offset + offset as u32; // both are within the segment
            visit(Position { offset, ..self.at }, record);
            rest = behind;
        }
    }
}

/// The frames of a segment that are readable, from a position on, in the order of their places. Those that an earlier
/// use of its file has left are passed over.
pub fn survey<'a>(
    segment: SegmentNumber,
    bytes: &'a [u8],
    from: u32,
) -> impl Iterator<Item = SeenFrame<'a>> {
    let mut offset = (from as usize).next_multiple_of(BLOCK_BYTES);
    std::iter::from_fn(move || loop {
        let rest = bytes.get(offset..).filter(|rest| !rest.is_empty())?;
        let place = u32::try_from(offset).ok()?;
        offset += BLOCK_BYTES;
        let Some(frame) = FrameHeader::decode(rest).filter(|frame| frame.segment == segment) else {
            continue;
        };
        let body = rest.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        let body = body.get(..frame.body_bytes as usize);
        let body = body.filter(|body| crc32c::crc32c(body) == frame.body_crc);
        if body.is_some() {
            offset = place as usize + frame.padded_bytes();
        }
        let at = Position {
            segment,
            offset: place,
        };
        return Some(SeenFrame {
            lsn: frame.lsn,
            at,
            records: frame.records,
            body,
        });
    })
}
