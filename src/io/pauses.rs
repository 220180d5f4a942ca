//! Pauses of a shard that has nothing to do: whether it spins or sleeps.

use crate::time::{Span, Time};

/// A pinned shard spins this long before it parks: a wake-up costs about as much.
const SPIN: Span = Span(30_000);
/// A pause counts as at most this long when the usual pause is estimated, so that a quiet night is
/// forgotten after a few short ones.
const PAUSE_MAX: u64 = 8 * SPIN.0;

/// Lives on: the driver.
#[derive(Debug)]
pub(super) struct Pauses {
    pinned: bool,
    quiet_since: Option<Time>,
    /// Estimate of how long the shard usually has nothing to do.
    usual_ns: u64,
}

impl Pauses {
    /// `pinned`: the core is the shard's own.
    pub(super) fn new(pinned: bool) -> Self {
        Self {
            pinned,
            quiet_since: None,
            usual_ns: 0,
        }
    }

    /// Spinning pays while pauses are usually shorter than it takes to be woken, and only on a core
    /// that is the shard's own.
    pub(super) fn may_spin(&mut self, now: Time) -> bool {
        let since = *self.quiet_since.get_or_insert(now);
        self.pinned && self.usual_ns <= SPIN.0 && now.since(since) < SPIN
    }

    /// Takes a pause that has ended into the estimate.
    pub(super) fn end(&mut self, now: Time) {
        if let Some(since) = self.quiet_since.take() {
            let pause = now.since(since).0.min(PAUSE_MAX);
            self.usual_ns = (3 * self.usual_ns + pause) / 4;
        }
    }
}
