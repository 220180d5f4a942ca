//! Bytes waiting to be sent on one connection: small packets appended to one buffer, large payloads
//! as shared segments.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

/// A payload of at least this many bytes is sent from its shared segment instead of being copied.
pub(in crate::shard) const LARGE_PAYLOAD: usize = 4 << 10;
/// The tail is closed at this size, so that partial writes never move bytes.
const TAIL_MAX: usize = 64 << 10;

#[derive(Debug)]
enum Segment {
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Bounded by `outgoing_bytes_max`, which the callers check before appending publications.
#[derive(Debug, Default)]
pub(in crate::shard) struct Outgoing {
    /// Closed segments before the tail.
    #[allow(clippy::box_collection)] // 8 bytes instead of 32 in every idle connection
    closed: Option<Box<VecDeque<Segment>>>,
    tail: Vec<u8>,
    /// Bytes of the first segment that are sent already.
    sent: usize,
    len: usize,
}

impl Outgoing {
    /// Bytes waiting.
    #[inline]
    pub(in crate::shard) fn len(&self) -> usize {
        self.len
    }

    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends bytes that are ready.
    #[inline]
    pub(in crate::shard) fn extend(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        self.tail.extend_from_slice(bytes);
        if self.tail.len() >= TAIL_MAX {
            self.close_tail();
        }
    }

    /// Lets an encoder append to the tail.
    #[inline]
    pub(in crate::shard) fn write(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let before = self.tail.len();
        encode(&mut self.tail);
        self.len += self.tail.len() - before;
        if self.tail.len() >= TAIL_MAX {
            self.close_tail();
        }
    }

    /// Appends a payload without copying it.
    pub(in crate::shard) fn extend_shared(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        if !self.tail.is_empty() {
            self.close_tail();
        }
        self.len += bytes.len();
        self.closed
            .get_or_insert_default()
            .push_back(Segment::Shared(bytes));
    }

    /// Shows what waits, in order; returns how many slices were filled.
    pub(in crate::shard) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let closed = self
            .closed
            .iter()
            .flat_map(|closed| closed.iter().map(Segment::bytes));
        let tail = Some(self.tail.as_slice()).filter(|tail| !tail.is_empty());
        let mut skip = self.sent;
        let mut count = 0;
        for (slot, bytes) in slices.iter_mut().zip(closed.chain(tail)) {
            *slot = IoSlice::new(&bytes[skip..]);
            skip = 0;
            count += 1;
        }
        count
    }

    /// Everything that waits, in order.
    pub(in crate::shard) fn to_bytes(&self) -> Bytes {
        let closed = self.closed.iter().flat_map(|closed| closed.iter());
        let parts = closed.map(Segment::bytes).chain([&*self.tail]);
        let mut all = Vec::with_capacity(self.sent + self.len);
        parts.for_each(|part| all.extend_from_slice(part));
        Bytes::from(all).split_off(self.sent)
    }

    /// Takes up what waited elsewhere; only when nothing waits.
    pub(in crate::shard) fn restore(&mut self, bytes: Bytes) {
        if bytes.len() < LARGE_PAYLOAD {
            self.extend(&bytes);
        } else {
            self.extend_shared(bytes);
        }
    }

    /// `count` bytes went out. A buffer no longer needed is returned for the shard's pool.
    pub(in crate::shard) fn advance(&mut self, count: usize) -> Option<Vec<u8>> {
        assert!(count <= self.len, "more was sent than was waiting");
        self.len -= count;
        self.sent += count;
        while let Some(closed) = &mut self.closed {
            match closed.front() {
                Some(first) if self.sent >= first.bytes().len() => {
                    self.sent -= first.bytes().len();
                    closed.pop_front();
                }
                Some(_) => return None,
                None => self.closed = None,
            }
        }
        if self.sent == self.tail.len() {
            self.sent = 0;
            let drained = std::mem::take(&mut self.tail);
            return (drained.capacity() > 0).then_some(drained);
        }
        None
    }

    /// Gives the tail a buffer from the pool; only for an empty tail without one.
    pub(in crate::shard) fn lend(&mut self, buffer: Vec<u8>) {
        if self.tail.capacity() == 0 {
            self.tail = buffer;
            self.tail.clear();
        }
    }

    /// True when the tail has no buffer yet.
    #[inline]
    pub(in crate::shard) fn wants_buffer(&self) -> bool {
        self.tail.capacity() == 0
    }

    fn close_tail(&mut self) {
        let full = std::mem::take(&mut self.tail);
        self.closed
            .get_or_insert_default()
            .push_back(Segment::Copied(full));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(outgoing: &Outgoing) -> Vec<u8> {
        let mut slices = std::array::from_fn::<_, 8, _>(|_| IoSlice::new(&[]));
        let count = outgoing.slices(&mut slices);
        slices[..count]
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect()
    }

    #[test]
    fn order_holds_over_copied_and_shared_parts_for_any_write_size() {
        for step in [1, 2, 3, 5, 100] {
            let mut outgoing = Outgoing::default();
            outgoing.extend(b"ab");
            outgoing.extend_shared(Bytes::from_static(b"LARGE"));
            outgoing.write(|out| out.extend_from_slice(b"cd"));
            outgoing.extend_shared(Bytes::from_static(b"X"));
            let mut sent = Vec::new();
            while !outgoing.is_empty() {
                let show = shown(&outgoing);
                let count = step.min(show.len());
                sent.extend_from_slice(&show[..count]);
                outgoing.advance(count);
            }
            assert_eq!(sent, b"abLARGEcdX");
            assert_eq!(shown(&outgoing), b"");
        }
    }

    #[test]
    fn a_long_tail_is_closed_and_a_drained_buffer_comes_back() {
        let mut outgoing = Outgoing::default();
        outgoing.extend(&vec![1; TAIL_MAX]);
        outgoing.extend(b"rest");
        assert_eq!(outgoing.len(), TAIL_MAX + 4);
        assert!(outgoing.advance(TAIL_MAX).is_none());
        assert_eq!(shown(&outgoing), b"rest");
        assert!(outgoing.advance(4).is_some());
        assert!(outgoing.wants_buffer());
    }
}
