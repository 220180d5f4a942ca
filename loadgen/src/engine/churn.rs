//! Steady churn: client after client of a group leaves and comes back at once, so many per second, as long as
//! the load lasts.

use std::ops::Range;

use super::control::SECOND_NS;
use super::worker::Worker;
use crate::client::State;
use crate::meter::Count;

/// What becomes of a client that the churn has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Return {
    /// It has not.
    #[default]
    No,
    /// It comes back when its connection is closed.
    WhenClosed,
    OnItsWay,
}

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
    fn take(&mut self, now: u64) -> Option<usize> {
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

impl Worker {
    /// Has those leave whose turn has come, and those come back that have left.
    pub(super) fn step_churn(&mut self, now: u64) -> bool {
        let mut busy = false;
        for slot in std::mem::take(&mut self.work.coming) {
            busy = true;
            self.come_back(slot as usize, now);
        }
        let Some(load) = &self.work.load else {
            return busy;
        };
        // A worker that is late has those leave whose turn came before the end.
        let until = now.min(load.ends_ns.saturating_sub(1));
        let mut churns = std::mem::take(&mut self.work.churns);
        for churn in &mut churns {
            while let Some(slot) = churn.take(until) {
                busy = true;
                self.churn(slot, now);
            }
        }
        self.work.churns = churns;
        busy
    }

    fn churn(&mut self, slot: usize, now: u64) {
        let place = &mut self.slots[slot];
        match place.client.state {
            State::Ready if !place.ending => {
                place.absent = true;
                place.returns = Return::WhenClosed;
                place.client.settled = false;
                self.work.unsettled += 1;
                self.disconnect(slot, now);
            }
            State::Idle if place.socket.is_none() && !place.client.is_away => {
                self.count(Count::ChurnMissed);
                self.come_back(slot, now);
            }
            _ => self.count(Count::ChurnMissed),
        }
    }

    fn come_back(&mut self, slot: usize, now: u64) {
        let place = &mut self.slots[slot];
        place.returns = Return::OnItsWay;
        if place.client.settled {
            place.client.settled = false;
            self.work.unsettled += 1;
        }
        self.connect_anew(slot, now, now);
    }

    /// A connection is closed: a client that was to come back does.
    pub(super) fn closed_by_churn(&mut self, slot: usize) {
        match std::mem::take(&mut self.slots[slot].returns) {
            Return::WhenClosed => self.work.coming.push(slot as u32),
            Return::OnItsWay | Return::No => {}
        }
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
