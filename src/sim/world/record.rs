//! The record of a run: a hash of all events, and the last events when a trace is wanted.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, Hasher};

use crate::time::Time;

/// Failures kept; the first ones are enough.
const FAILURES_MAX: usize = 10;

pub(super) struct Record {
    /// Counts events; oracle and trace name moments with it.
    pub(super) tick: u64,
    hasher: ahash::AHasher,
    last: VecDeque<String>,
    /// How many events are kept.
    pub(super) kept_max: usize,
    failures: Vec<String>,
}

impl Record {
    pub(super) fn new() -> Self {
        Self {
            tick: 0,
            hasher: ahash::RandomState::with_seeds(1, 2, 3, 4).build_hasher(),
            last: VecDeque::new(),
            kept_max: 0,
            failures: Vec::new(),
        }
    }

    /// Takes something that happened into the hash.
    pub(super) fn add(&mut self, event: impl Hash) {
        event.hash(&mut self.hasher);
    }

    /// Notes an event, if a trace is kept.
    pub(super) fn note(&mut self, now: Time, text: impl FnOnce() -> String) {
        if self.kept_max == 0 {
            return;
        }
        if self.last.len() == self.kept_max {
            self.last.pop_front();
        }
        let (ms, tick) = (now.0 as f64 / 1e6, self.tick);
        self.last
            .push_back(format!("{ms:>9.3} ms {tick:>6}  {}", text()));
    }

    pub(super) fn fail(&mut self, text: String) {
        if self.failures.len() < FAILURES_MAX {
            self.failures.push(text);
        }
    }

    pub(super) fn take_failures(&mut self) -> Vec<String> {
        std::mem::take(&mut self.failures)
    }

    pub(super) fn take_last(&mut self) -> Vec<String> {
        std::mem::take(&mut self.last).into()
    }

    /// Of everything so far.
    pub(super) fn hash(&self) -> u64 {
        self.hasher.finish()
    }
}
