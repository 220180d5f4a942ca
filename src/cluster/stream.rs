//! Streams: numbered frames from one node to another, each applied once and in order, whatever the way loses.
//!
//! A sender keeps what is not acknowledged, and goes back to it when the receiver names a gap or says nothing for
//! too long (go-back-N: what follows a gap is sent again, so the receiver keeps nothing out of order). A receiver
//! acknowledges what it has applied, so the same number frees the sender's memory and confirms that a publication
//! is taken.

use std::collections::VecDeque;

use crate::time::{Span, Time};

/// Bytes on their way that are not acknowledged: what a receiver may have to keep when it is slow.
pub const WINDOW: usize = 4 << 20;
/// Without an acknowledgement for so long everything is sent again.
const PATIENCE: Span = Span::from_millis(2_000);
/// The same before the first one: the receiver may not know yet that this node is there.
const FIRST_PATIENCE: Span = Span::from_millis(100);
/// So long a gap that is named again is taken for the same one.
const GAP_PAUSE: Span = Span::from_millis(50);

/// A frame that is not acknowledged.
#[derive(Debug)]
struct Kept {
    number: u64,
    is_first: bool,
    has_more: bool,
    part: Box<[u8]>,
}

/// A frame to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct ToSend<'a> {
    pub number: u64,
    pub is_first: bool,
    pub has_more: bool,
    pub part: &'a [u8],
}

/// The sender's end.
#[derive(Debug, Default)]
pub struct Sender {
    /// Of the last frame made.
    last: u64,
    /// The next frame begins a stream, or continues behind some that are given up.
    begins: bool,
    kept: VecDeque<Kept>,
    /// Bytes of all that are kept.
    bytes: usize,
    /// Of those that are kept, how many are sent; and their bytes.
    sent: usize,
    sent_bytes: usize,
    /// When an acknowledgement was last heard, or the first of `kept` sent.
    heard: Time,
    /// The receiver has acknowledged something.
    is_known: bool,
    gap_heard: Time,
}

impl Sender {
    /// Frames are numbered from the time on, so that they are behind those of an earlier stream of this process.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self {
            last: now.0,
            begins: true,
            ..Self::default()
        }
    }

    /// Bytes that wait to be sent or acknowledged.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a block as frames of at most `part_max` bytes; the number of its last one.
    pub fn push(&mut self, block: &[u8], part_max: usize) -> u64 {
        let mut parts = block.chunks(part_max.max(1)).peekable();
        while let Some(part) = parts.next() {
            self.last += 1;
            self.bytes += part.len();
            self.kept.push_back(Kept {
                number: self.last,
                is_first: std::mem::take(&mut self.begins),
                has_more: parts.peek().is_some(),
                part: part.into(),
            });
        }
        self.last
    }

    /// The next frame, if the window has room for it.
    pub fn poll(&mut self, now: Time) -> Option<ToSend<'_>> {
        if self.sent > 0 && now.since(self.heard) >= self.patience() {
            self.go_back(0);
        }
        if self.sent_bytes >= WINDOW {
            return None;
        }
        let next = self.kept.get(self.sent)?;
        if self.sent == 0 {
            self.heard = now;
        }
        self.sent += 1;
        self.sent_bytes += next.part.len();
        Some(ToSend {
            number: next.number,
            is_first: next.is_first,
            has_more: next.has_more,
            part: &next.part,
        })
    }

    /// When [`Sender::poll`] has something again without an acknowledgement.
    #[must_use]
    pub fn due(&self) -> Option<Time> {
        (self.sent > 0).then(|| self.heard + self.patience())
    }

    fn patience(&self) -> Span {
        match self.is_known {
            true => PATIENCE,
            false => FIRST_PATIENCE,
        }
    }

    /// Frames up to this one are applied.
    pub fn acknowledged(&mut self, through: u64, now: Time) {
        while self.kept.front().is_some_and(|kept| kept.number <= through) {
            if let Some(kept) = self.kept.pop_front() {
                self.bytes -= kept.part.len();
                if self.sent > 0 {
                    self.sent -= 1;
                    self.sent_bytes -= kept.part.len();
                }
                self.heard = now;
                self.is_known = true;
            }
        }
    }

    /// The receiver has everything up to `before`, and something that is behind the next one.
    pub fn gap(&mut self, before: u64, now: Time) {
        if now.since(self.gap_heard) < GAP_PAUSE {
            return; // each frame behind the gap has named it
        }
        self.gap_heard = now;
        if let Some(front) = self.kept.front_mut().filter(|_| before == 0) {
            front.is_first = true; // the receiver has nothing of this stream, or no longer
        }
        let at = self.kept.partition_point(|kept| kept.number <= before);
        if at < self.sent {
            self.go_back(at);
        }
    }

    fn go_back(&mut self, at: usize) {
        self.sent = at;
        self.sent_bytes = self.kept.iter().take(at).map(|kept| kept.part.len()).sum();
    }

    /// Gives up what is kept; what is appended from now on begins anew.
    pub fn give_up(&mut self) {
        self.kept.clear();
        self.bytes = 0;
        self.sent = 0;
        self.sent_bytes = 0;
        self.begins = true;
    }
}

/// What becomes of a frame that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// It is the next.
    Next,
    /// It was applied before.
    Again,
    /// One before it is missing.
    TooEarly,
}

/// The receiver's end.
#[derive(Debug, Default)]
pub struct Receiver {
    /// Of the last frame that was taken; `None`: the stream has not begun.
    last: Option<u64>,
}

impl Receiver {
    pub fn arrived(&mut self, number: u64, is_first: bool) -> Arrived {
        let last = self.last.unwrap_or_default();
        if number <= last {
            return Arrived::Again;
        }
        let is_next = self.last.is_some() && number == last + 1;
        if is_first || is_next {
            self.last = Some(number);
            return Arrived::Next;
        }
        Arrived::TooEarly
    }

    /// The sender has begun a stream anew: it had taken this node for dead, and has not kept what it had for it meanwhile.
    #[must_use]
    pub fn begins_anew(&self, number: u64, is_first: bool) -> bool {
        is_first && self.last.is_some_and(|last| number > last)
    }

    /// Of the last frame that was taken.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last.unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
