//! Pauses between attempts: random, longer with each failure, at most a cap.

use crate::prng::Prng;
use crate::time::Span;

/// Shorter pauses would be none.
const SHORTEST: Span = Span::from_millis(50);

/// The pause before each attempt. With `base` and `last` the next one is drawn from `base` to three times `last`
/// (decorrelated jitter): many bridges that lost the same remote do not return in step.
#[derive(Debug)]
pub struct Backoff {
    base: Span,
    cap: Span,
    /// A connection that lasted as long as this begins anew.
    stable: Span,
    last: Span,
    prng: Prng,
}

impl Backoff {
    /// All in milliseconds.
    #[must_use]
    pub fn new([base, cap, stable]: [Span; 3], seed: u64) -> Self {
        let base = base.max(SHORTEST);
        Self {
            base,
            cap: cap.max(base),
            stable,
            last: base,
            prng: Prng::new(seed),
        }
    }

    /// After an attempt, or after a connection that has lasted for so long.
    pub fn next(&mut self, lasted: Span) -> Span {
        if lasted >= self.stable {
            self.last = self.base;
        }
        let most = Span((self.last.0.saturating_mul(3)).min(self.cap.0));
        let room = most.0.saturating_sub(self.base.0);
        let drawn = self.base.0 + self.prng.draw() % (room + 1);
        self.last = Span(drawn);
        self.last
    }

    /// After a refusal that only an operator can mend.
    pub fn longest(&mut self) -> Span {
        self.last = self.cap;
        self.cap
    }
}
