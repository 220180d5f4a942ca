//! The turns of steady churn: whose it is to leave, and when. Pure.

use std::ops::Range;

use super::control::SECOND_NS;

/// A group's clients, and when the next has to leave.
pub(super) struct Churn {
    slots: Range<usize>,
    next: usize,
    starts_ns: u64,
    per_s: f64,
    /// Turns so far, as a real number: workers take theirs between those of others.
    turns: f64,
}

impl Churn {
    /// `per_s` is this worker's share; `phase` (0 to 1) shifts its turns by a part of one.
    pub(super) fn new(slots: Range<usize>, per_s: f64, starts_ns: u64, phase: f64) -> Self {
        Self {
            next: slots.start,
            slots,
            starts_ns,
            per_s,
            turns: phase,
        }
    }

    pub(super) fn due_ns(&self) -> u64 {
        self.starts_ns + (self.turns / self.per_s * SECOND_NS as f64) as u64
    }

    /// The client whose turn has come.
    pub(super) fn take(&mut self, now: u64) -> Option<usize> {
        if self.slots.is_empty() || self.due_ns() > now {
            return None;
        }
        self.turns += 1.0;
        let slot = self.next;
        self.next = if slot + 1 == self.slots.end {
            self.slots.start
        } else {
            slot + 1
        };
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_round_at_their_rate() {
        let mut churn = Churn::new(3..5, 4.0, 1_000, 0.5);
        assert_eq!((churn.due_ns(), churn.take(1_000)), (125_001_000, None));
        let now = 1_000 + SECOND_NS;
        let turns: Vec<usize> = std::iter::from_fn(|| churn.take(now)).collect();
        assert_eq!(turns, [3, 4, 3, 4]);
        assert_eq!(Churn::new(3..3, 1.0, 0, 0.0).take(now), None);
    }
}
