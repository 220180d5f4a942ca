//! Steady churn: client after client of a group leaves and comes back at once, so many per second, as long as
//! the load lasts.

use super::slot::Return;
use super::worker::Worker;
use crate::client::State;
use crate::meter::Count;

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
