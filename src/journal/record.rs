//! A record: one change of state, as bytes that only the shard decodes.

/// Bytes of a record before its body.
pub(super) const RECORD_HEADER_BYTES: usize = 8;

/// One change of the state of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub kind: u8,
    pub flags: u8,
    /// The part of all client ids and topics that it belongs to.
    pub lane: u16,
    pub body: &'a [u8],
}

impl<'a> Record<'a> {
    /// Bytes it takes in a frame.
    #[must_use]
    pub fn bytes(&self) -> usize {
        RECORD_HEADER_BYTES + self.body.len()
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let body_bytes = u32::try_from(self.body.len()).expect("a record is below 4 GiB");
        out.extend_from_slice(&[self.kind, self.flags]);
        out.extend_from_slice(&self.lane.to_le_bytes());
        out.extend_from_slice(&body_bytes.to_le_bytes());
        out.extend_from_slice(self.body);
    }

    /// The record that `bytes` begin with, and what follows it. `None`: they are no record.
    #[must_use]
    pub fn split_first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[kind, flags, l0, l1, b0, b1, b2, b3], rest) = bytes.split_first_chunk()?;
        let body_bytes = u32::from_le_bytes([b0, b1, b2, b3]);
        let (body, rest) = rest.split_at_checked(usize::try_from(body_bytes).ok()?)?;
        let record = Self {
            kind,
            flags,
            lane: u16::from_le_bytes([l0, l1]),
            body,
        };
        Some((record, rest))
    }
}
