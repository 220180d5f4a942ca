//! Appends of one node to the stream that has copies of its logs: in order, several on their way, none by two writers.
//!
//! Each append names the sequence that the stream must end with, so an append that follows one that was lost is refused
//! and so is one of a writer that another has taken over from. With several on their way that is not enough: the mark of who
//! takes over has the sequence that one of them was to have, and the next one would follow it. So it names the message
//! before it as well. What became of an append may be unknown; then it and those
//! behind it are sent again with the numbers they had (go-back-N), by which the server recognizes them. When the stream
//! ends with something else than expected, it is looked at: what is there and is ours is acknowledged, what is
//! another writer's ends this one. That is found out by the stream alone, never by a clock.

use std::collections::VecDeque;

/// Appends on their way.
const IN_FLIGHT_MAX: usize = 64;
/// Bytes of them, unless one is larger.
const IN_FLIGHT_BYTES: usize = 4 << 20;

/// Looks in a row by which a stream has to lack what it had acknowledged: a server that was cut off from the others may
/// answer for some seconds with what it knew.
const LOOKS_SHORTER: u32 = 60;

/// Deliberate faults, which the small world of the tests must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// What follows an append with an unknown outcome is not sent again.
    ContinueFromUnknown,
    /// An append is acknowledged when it is sent.
    AcknowledgeAtOnce,
    /// A refusal is taken for an unknown outcome.
    RetryRefused,
    /// What a look finds is taken for ours.
    TakeForeign,
    /// One look that finds too little ends the writer.
    EndAtFirstLook,
    /// What a segment begins with is purged as well.
    PurgeEarly,
}

#[cfg(not(test))]
const fn is_on(_: Fault) -> bool {
    false
}

#[cfg(test)]
use model::is_on;

/// An append that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Append<'a, E> {
    /// What the stream must end with.
    pub expected: u64,
    /// One of this writer is on its way before it: the stream must end with that one, and not with another writer's that
    /// has taken its sequence.
    pub follows: bool,
    /// To be named with a failure.
    pub attempt: u64,
    pub entry: &'a E,
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has this sequence.
    Acknowledged(u64),
    /// It may be there, now or later.
    Unknown,
    /// The stream ends with another sequence than it must.
    Refused,
}

/// Why a writer has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    #[error("message {0} of the stream is another writer's")]
    Fenced(u64),
    #[error("the stream ends with message {last}, though {acknowledged} was acknowledged")]
    Shorter { last: u64, acknowledged: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Appending,
    /// Something else is there than expected.
    Looking,
    Over(Over),
}

/// See the module. Lives on: the cluster's thread. Bounded by what shards leave without an answer.
#[derive(Debug)]
pub struct LogStream<E> {
    /// Everything up to this sequence is there.
    acknowledged: u64,
    /// What follows it, in order.
    waiting: VecDeque<E>,
    /// Of these, sent by this attempt.
    sent: usize,
    sent_bytes: usize,
    attempt: u64,
    /// Looks in a row that have found too little.
    shorter: u32,
    state: State,
}

impl<E: AsRef<[u8]>> LogStream<E> {
    /// Of a stream that ends with this sequence.
    #[must_use]
    pub fn new(last: u64) -> Self {
        Self {
            acknowledged: last,
            waiting: VecDeque::new(),
            sent: 0,
            sent_bytes: 0,
            attempt: 0,
            shorter: 0,
            state: State::Appending,
        }
    }

    /// Everything up to this sequence is there.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        match is_on(Fault::AcknowledgeAtOnce) {
            true => self.acknowledged + self.sent as u64,
            false => self.acknowledged,
        }
    }

    /// Everything that was given to it is there.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The stream has to be looked at from behind what is [acknowledged](Self::acknowledged) on.
    #[must_use]
    pub fn wants_look(&self) -> bool {
        self.state == State::Looking
    }

    /// Nothing is appended by this writer any more.
    #[must_use]
    pub fn over(&self) -> Option<Over> {
        match self.state {
            State::Over(over) => Some(over),
            _ => None,
        }
    }

    /// Takes the next entry; the sequence that it will have.
    pub fn push(&mut self, entry: E) -> u64 {
        self.waiting.push_back(entry);
        self.acknowledged + self.waiting.len() as u64
    }

    /// The next append that is to be made now.
    pub fn poll_append(&mut self) -> Option<Append<'_, E>> {
        let has_room =
            self.sent == 0 || (self.sent < IN_FLIGHT_MAX && self.sent_bytes < IN_FLIGHT_BYTES);
        if self.state != State::Appending || !has_room {
            return None;
        }
        let entry = self.waiting.get(self.sent)?;
        let expected = self.acknowledged + self.sent as u64;
        let follows = self.sent > 0;
        self.sent += 1;
        self.sent_bytes += entry.as_ref().len();
        Some(Append {
            expected,
            follows,
            attempt: self.attempt,
            entry,
        })
    }

    /// What became of an append. What is acknowledged counts whichever attempt it was of, and with it all that is before it.
    pub fn handle(&mut self, expected: u64, attempt: u64, outcome: Outcome) {
        let is_present = attempt == self.attempt && self.state == State::Appending;
        let outcome = match outcome {
            Outcome::Refused if is_on(Fault::RetryRefused) => Outcome::Unknown,
            outcome => outcome,
        };
        match outcome {
            Outcome::Acknowledged(sequence) if sequence == expected + 1 => {
                self.acknowledge(sequence);
            }
            // A number that it was not to have: another writer appends.
            Outcome::Acknowledged(_) | Outcome::Refused if is_present => {
                self.state = State::Looking
            }
            Outcome::Unknown if is_present => self.go_back(),
            _ => {}
        }
    }

    /// The stream ends with this sequence, while nothing is on its way: if it is not ours it is looked at.
    pub fn handle_end(&mut self, last: u64) {
        if last > self.acknowledged && self.waiting.is_empty() && self.state == State::Appending {
            self.state = State::Looking;
        }
    }

    /// The stream ends with `last`; of what is behind the acknowledged, `is_ours` says what this writer has written.
    pub fn handle_look(&mut self, last: u64, is_ours: impl Fn(u64) -> bool) {
        if self.state != State::Looking {
            return;
        }
        if last < self.acknowledged {
            let acknowledged = self.acknowledged;
            self.shorter += 1;
            if self.shorter >= LOOKS_SHORTER || is_on(Fault::EndAtFirstLook) {
                self.state = State::Over(Over::Shorter { last, acknowledged });
            }
            return;
        }
        self.shorter = 0;
        for sequence in self.acknowledged + 1..=last {
            let is_foreign = !is_ours(sequence) && !is_on(Fault::TakeForeign);
            if is_foreign || self.waiting.is_empty() {
                self.state = State::Over(Over::Fenced(sequence));
                return;
            }
            self.acknowledge(sequence);
        }
        self.state = State::Appending;
        self.go_back();
    }

    fn acknowledge(&mut self, sequence: u64) {
        while self.acknowledged < sequence {
            let Some(entry) = self.waiting.pop_front() else {
                return; // of a former writer with our name: a look finds it
            };
            self.acknowledged += 1;
            if self.sent > 0 {
                self.sent -= 1;
                self.sent_bytes -= entry.as_ref().len();
            }
        }
    }

    fn go_back(&mut self) {
        if is_on(Fault::ContinueFromUnknown) {
            return;
        }
        self.sent = 0;
        self.sent_bytes = 0;
        self.attempt += 1;
    }
}

/// Where the segments of one log begin in the stream, as far as its present writer has appended them.
#[derive(Debug, Default)]
pub struct Segments(VecDeque<(u32, u64)>);

impl Segments {
    /// A segment begins with the message of this sequence.
    pub fn begin(&mut self, segment: u32, sequence: u64) {
        if self.0.back().is_none_or(|(last, _)| *last < segment) {
            self.0.push_back((segment, sequence));
        }
    }

    /// The log is not needed before a segment: messages before which sequence are not either. `None`: it is not known,
    /// before all that is needed is of the present writer.
    pub fn retire(&mut self, needed: u32) -> Option<u64> {
        while self.0.get(1).is_some_and(|(next, _)| *next <= needed) {
            self.0.pop_front();
        }
        let (segment, sequence) = self.0.front().copied()?;
        let sequence = match is_on(Fault::PurgeEarly) {
            true => self.0.get(1).map_or(sequence + 1, |(_, next)| *next),
            false => sequence,
        };
        (segment <= needed).then_some(sequence)
    }
}

#[cfg(test)]
#[path = "log_stream_model_tests.rs"]
mod model;
#[cfg(test)]
#[path = "log_stream_tests.rs"]
mod tests;
