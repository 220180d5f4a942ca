//! Frames: the unit that travels between two nodes. A header says whose it is, and its number; the rest is a part
//! of a block, or nothing when only an acknowledgement travels.

use super::{Incarnation, Node, NodeName};
use crate::image::{ImageError, Reader, Writer};

/// The format that is written, and the only one that is read.
const FORMAT: u8 = 1;
const MAGIC: u8 = 0xC7;

const FIRST: u8 = 1;
const MORE: u8 = 1 << 1;
const GAP: u8 = 1 << 2;

/// What is before a frame's part of a block, at most.
pub const HEADER_MAX: usize = 80;

/// The header of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub from: Node,
    /// The life of the receiver that it is for.
    pub to: Incarnation,
    /// 0: it carries an acknowledgement only.
    pub number: u64,
    /// A stream begins, or continues behind frames that will never come.
    pub is_first: bool,
    /// The block continues in the next frame.
    pub has_more: bool,
    /// Frames of the receiver up to this one are applied, and on the disk where that was asked for.
    pub acknowledged: u64,
    /// The frame behind `expected_from` is missing: please send it, and all that follow, again.
    pub gap_before: Option<u64>,
}

impl Header {
    /// The whole frame.
    #[must_use]
    pub fn encode(&self, part: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_MAX + part.len());
        let mut out = Writer::fields(&mut bytes);
        out.byte(MAGIC);
        out.byte(FORMAT);
        let flag = |is_set, bit| if is_set { bit } else { 0 };
        out.byte(
            flag(self.is_first, FIRST)
                | flag(self.has_more, MORE)
                | flag(self.gap_before.is_some(), GAP),
        );
        out.text(self.from.name.as_str());
        out.long(self.from.incarnation.0);
        out.long(self.to.0);
        out.long(self.number);
        out.long(self.acknowledged);
        out.long(self.gap_before.unwrap_or_default());
        bytes.extend_from_slice(part);
        bytes
    }

    /// The header and the part of a block behind it.
    ///
    /// # Errors
    /// The bytes are no frame of this format.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), ImageError> {
        let mut it = Reader::fields(bytes);
        if it.byte()? != MAGIC {
            return Err(ImageError::invalid("the first byte"));
        }
        match it.byte()? {
            FORMAT => {}
            found => return Err(ImageError::Format { found }),
        }
        let flags = it.byte()?;
        if flags & !(FIRST | MORE | GAP) != 0 {
            return Err(ImageError::invalid("flags of a frame"));
        }
        let name = NodeName::new(it.text("a name")?).ok_or(ImageError::invalid("a name"))?;
        let header = Self {
            from: Node {
                name,
                incarnation: Incarnation(it.long()?),
            },
            to: Incarnation(it.long()?),
            number: it.long()?,
            is_first: flags & FIRST != 0,
            has_more: flags & MORE != 0,
            acknowledged: it.long()?,
            gap_before: Some(it.long()?).filter(|_| flags & GAP != 0),
        };
        Ok((header, it.rest()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            from: Node {
                name: NodeName::new("a").unwrap(),
                incarnation: Incarnation(7),
            },
            to: Incarnation(u64::MAX),
            number: 12,
            is_first: true,
            has_more: false,
            acknowledged: 3,
            gap_before: Some(4),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for gap_before in [None, Some(0), Some(9)] {
            let header = Header {
                gap_before,
                has_more: gap_before.is_none(),
                ..header()
            };
            let bytes = header.encode(b"part");
            assert_eq!(Header::decode(&bytes).unwrap(), (header, &b"part"[..]));
            assert!(bytes.len() - 4 <= HEADER_MAX);
        }
    }

    #[test]
    fn what_is_cut_or_garbled_is_no_frame() {
        let bytes = header().encode(b"");
        for end in 0..bytes.len() {
            assert!(Header::decode(&bytes[..end]).is_err(), "{end} bytes");
        }
        for (at, value) in [(0, 0), (1, 2), (2, 0xFF), (4, b'.')] {
            let mut other = bytes.clone();
            other[at] = value;
            assert!(Header::decode(&other).is_err(), "byte {at}");
        }
    }
}
