//! Bytes waiting to be sent on one connection: small packets appended to one buffer, large payloads
//! as shared segments. What promises something that is not durable yet is behind a mark (see
//! [`commits`](crate::shard::durable::commits)): it keeps its place in the stream and is not shown.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::shard::durable::ticket::Ticket;

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
    fn truncate(&mut self, len: usize) {
        match self {
            Self::Copied(bytes) => bytes.truncate(len),
            Self::Shared(bytes) => bytes.truncate(len),
        }
    }

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
    /// Where bytes begin that wait for a commit.
    marks: Option<Box<Marks>>,
}

/// Commit marks, in the order of their places and of their tickets. Lives as long as there is one.
#[derive(Debug, Default)]
struct Marks {
    marks: VecDeque<Mark>,
    /// Bytes sent since the first mark was made: places are counted from there.
    sent: u64,
}

/// What is behind `at` is not shown before `until` is reached.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: u64,
    until: Ticket,
}

impl Marks {
    /// Bytes that may be sent now.
    fn ready(&self) -> usize {
        let first = self.marks.front().map_or(u64::MAX, |mark| mark.at);
        usize::try_from(first.saturating_sub(self.sent)).unwrap_or(usize::MAX)
    }
}

impl Outgoing {
    /// What is appended from here on is not shown before a ticket is reached, which is not below those named
    /// before. False: what was appended last waits for it already.
    pub(in crate::shard) fn hold(&mut self, until: Ticket) -> bool {
        let Marks { marks, sent } = &mut **self.marks.get_or_insert_default();
        debug_assert!(marks.back().is_none_or(|last| last.until <= until));
        if marks.back().is_some_and(|last| last.until == until) {
            return false;
        }
        let at = *sent + self.len as u64;
        marks.push_back(Mark { at, until });
        true
    }

    /// Every ticket up to this one is reached.
    pub(in crate::shard) fn release(&mut self, reached: Ticket) {
        let Some(Marks { marks, .. }) = self.marks.as_deref_mut() else {
            return;
        };
        while marks.front().is_some_and(|mark| mark.until <= reached) {
            marks.pop_front();
        }
        if marks.is_empty() {
            self.marks = None;
        }
    }

    /// Drops what is held: the connection ends, and none of it was promised.
    pub(in crate::shard) fn drop_held(&mut self) {
        let Some(marks) = self.marks.take() else {
            return;
        };
        self.len = self.len.min(marks.ready());
        let mut left = self.sent + self.len;
        for segment in self.closed.iter_mut().flat_map(|closed| closed.iter_mut()) {
            segment.truncate(left);
            left -= segment.bytes().len();
        }
        self.tail.truncate(left);
        if let Some(closed) = &mut self.closed {
            closed.retain(|segment| !segment.bytes().is_empty());
        }
        drop(self.advance(0)); // what is sent already may be all that is left
    }

    /// Bytes that may be sent now, if there are so many.
    #[inline]
    fn ready(&self) -> usize {
        self.marks.as_deref().map_or(usize::MAX, Marks::ready)
    }

    /// Something waits for a commit.
    pub(in crate::shard) fn is_held(&self) -> bool {
        self.marks.is_some()
    }

    /// Something may be sent now.
    pub(in crate::shard) fn is_ready(&self) -> bool {
        self.len > 0 && self.ready() > 0
    }

    /// Bytes waiting, held ones included.
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

    /// Shows what may be sent, in order; returns how many slices were filled.
    pub(in crate::shard) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let closed = self
            .closed
            .iter()
            .flat_map(|closed| closed.iter().map(Segment::bytes));
        let tail = Some(self.tail.as_slice()).filter(|tail| !tail.is_empty());
        let mut skip = self.sent;
        let mut left = self.ready();
        let mut count = 0;
        for (slot, bytes) in slices.iter_mut().zip(closed.chain(tail)) {
            if left == 0 {
                break;
            }
            let end = bytes.len().min(skip.saturating_add(left));
            *slot = IoSlice::new(&bytes[skip..end]);
            left -= end - skip;
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
        if let Some(marks) = &mut self.marks {
            marks.sent += count as u64;
        }
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

    fn held(ticket: u64) -> Outgoing {
        let mut outgoing = Outgoing::default();
        outgoing.extend(b"before");
        assert!(outgoing.hold(Ticket(ticket)));
        outgoing
    }

    #[test]
    fn what_is_behind_a_mark_is_shown_when_its_ticket_is_reached() {
        for step in [1, 2, 4, 100] {
            let mut outgoing = held(3);
            outgoing.extend(b"ab");
            outgoing.extend_shared(Bytes::from_static(b"LARGE"));
            assert!(!outgoing.hold(Ticket(3)), "it is held already");
            outgoing.extend(b"c");
            assert!(outgoing.hold(Ticket(5)));
            outgoing.extend(b"last");
            let mut sent = Vec::new();
            for (reached, expected) in [(2, "before"), (4, "beforeabLARGEc")] {
                outgoing.release(Ticket(reached));
                while outgoing.is_ready() {
                    let show = shown(&outgoing);
                    let count = step.min(show.len());
                    sent.extend_from_slice(&show[..count]);
                    outgoing.advance(count);
                }
                assert_eq!(sent, expected.as_bytes());
                assert_eq!((shown(&outgoing), outgoing.is_empty()), (vec![], false));
            }
            outgoing.release(Ticket(5));
            assert!(outgoing.marks.is_none());
            assert_eq!(shown(&outgoing), b"last");
        }
    }

    #[test]
    fn what_is_held_is_dropped_and_what_follows_then_is_shown() {
        for sent in [0, 3, 6] {
            let mut outgoing = held(1);
            outgoing.extend(b"ab");
            outgoing.extend_shared(Bytes::from_static(b"LARGE"));
            outgoing.extend(b"c");
            outgoing.advance(sent);
            outgoing.drop_held();
            assert_eq!(outgoing.len(), 6 - sent);
            outgoing.drop_held();
            outgoing.extend(b"end");
            assert_eq!(shown(&outgoing), b"beforeend"[sent..]);
            outgoing.advance(outgoing.len());
            assert!(outgoing.is_empty() && shown(&outgoing).is_empty());
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
