//! Measures of a driver: how long its turns take, how deep rings are.

use crate::histogram::Histogram;
use crate::time::{Span, Time};

/// Lives on: a driver.
#[derive(Debug, Default)]
pub(super) struct Measures {
    /// When the turn began that has just run, if it had something to do.
    began: Option<Time>,
    /// All such turns together.
    pub(super) busy: Span,
    pub(super) turn_length: Histogram,
    pub(super) ring_depth: Histogram,
}

impl Measures {
    /// The clock was read for the next turn; true when the one before had something to do and is over.
    pub(super) fn turn_over(&mut self, now: Time) -> bool {
        let Some(began) = self.began.take() else {
            return false;
        };
        let took = now.since(began);
        self.busy.0 += took.0;
        self.turn_length.record_span(took);
        true
    }

    /// A turn has run.
    pub(super) fn turn_ran(&mut self, began: Time, busy: bool) {
        self.began = busy.then_some(began);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_turns_with_something_to_do_are_measured() {
        let at = |ms| Time::ZERO + Span::from_millis(ms);
        let mut measures = Measures::default();
        for (start, busy) in [(1, true), (4, false), (9, true), (10, true), (12, false)] {
            measures.turn_over(at(start));
            measures.turn_ran(at(start), busy);
        }
        assert!(!measures.turn_over(at(99)));
        assert_eq!(measures.busy, Span::from_millis(3 + 1 + 2));
        assert_eq!(measures.turn_length.count(), 3);
    }
}
