//! State of a worker's part in a step: clients to connect, to have leave, to have publish.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::schedule::Schedule;
use super::slot::Slot;
use super::turns::Churn;
use crate::plan::{Load, MoveKind};

/// State of a worker's part in a step.
#[derive(Default)]
pub(super) struct Work {
    pub(super) orders_taken: usize,
    pub(super) finished: bool,
    /// Clients whose part in the step is not over.
    pub(super) unsettled: usize,
    /// Clients to connect, with their times.
    pub(super) opening: VecDeque<(u64, u32)>,
    /// They are connected at a rate.
    pub(super) is_paced: bool,
    pub(super) leaving: Leaving,
    pub(super) churns: Vec<Churn>,
    /// Clients that have left and come back now.
    pub(super) coming: Vec<u32>,
    /// CPU and wall time when the load began.
    pub(super) load_began: Option<(u64, u64)>,
    pub(super) load: Option<Loading>,
    /// When the step ends at the latest.
    pub(super) ends_ns: Option<u64>,
}

/// A load step.
pub(super) struct Loading {
    pub(super) starts_ns: u64,
    pub(super) ends_ns: u64,
    pub(super) open_loops: Vec<OpenLoop>,
    /// Loads that clients carry themselves, by group.
    pub(super) by_group: Vec<Option<Load>>,
    /// Clients that may send at once.
    pub(super) ready: Vec<u32>,
    pub(super) thinkers: Thinkers,
    /// Clients and open loops that have not sent all their messages.
    pub(super) sending: usize,
}

/// An open-loop schedule and the clients it goes round.
pub(super) struct OpenLoop {
    pub(super) schedule: Schedule,
    pub(super) slots: std::ops::Range<usize>,
    pub(super) next: usize,
    pub(super) left: u64,
    pub(super) not_before_ns: u64,
}

impl OpenLoop {
    pub(super) fn due_ns(&self) -> u64 {
        self.schedule.due_ns().max(self.not_before_ns)
    }
}

impl Work {
    /// When the worker must be awake.
    pub(super) fn due_ns(&self) -> Option<u64> {
        let opening = self.opening.front().map(|(due, _)| *due);
        let load = self.load.as_ref();
        let load_end = load.map(|load| load.ends_ns);
        let own = load.filter(|load| !load.ready.is_empty());
        let start = own.map(|load| load.starts_ns);
        let open_loop = load.and_then(|load| load.open_loops.iter().map(OpenLoop::due_ns).min());
        let thinker = load.and_then(|load| load.thinkers.due_ns());
        let leaving = self.leaving.due_ns();
        let churn = self.churns.iter().map(Churn::due_ns).min();
        let coming = (!self.coming.is_empty()).then_some(0);
        [
            opening,
            leaving,
            churn.filter(|_| self.load.is_some()),
            coming,
            start,
            load_end,
            open_loop,
            thinker,
            self.ends_ns,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The load that a group's clients carry themselves.
    pub(super) fn own_load(&self, group: u16) -> Option<Load> {
        *self.load.as_ref()?.by_group.get(usize::from(group))?
    }
}

/// Clients that are to leave, by time.
#[derive(Default)]
pub(super) struct Leaving(pub(super) VecDeque<(u64, u32, MoveKind)>);

impl Leaving {
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.0.front().map(|(due, ..)| *due)
    }

    pub(super) fn take(&mut self, now: u64) -> Option<(u32, MoveKind)> {
        if self.due_ns()? > now {
            return None;
        }
        self.0.pop_front().map(|(_, slot, kind)| (slot, kind))
    }
}

/// Clients in a pause, by its end.
#[derive(Default)]
pub(super) struct Thinkers(pub(super) BinaryHeap<Reverse<(u64, u32)>>);

impl Thinkers {
    /// When the next pause ends.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.0.peek().map(|next| next.0 .0)
    }

    /// First pause of a client: any part of one, so that all do not send at once.
    pub(super) fn begin(&mut self, slot: usize, most: Duration, now: u64) {
        let pause = fastrand::u64(0..=most.as_nanos() as u64);
        self.0.push(Reverse((now + pause, slot as u32)));
    }

    pub(super) fn take(&mut self, now: u64) -> Option<(u64, usize)> {
        if self.due_ns()? > now {
            return None;
        }
        self.0.pop().map(|next| (next.0 .0, next.0 .1 as usize))
    }

    /// The load is over, and so are all pauses.
    pub(super) fn end(&mut self, slots: &mut [Slot]) {
        for Reverse((_, slot)) in self.0.drain() {
            slots[slot as usize].thinks = false;
        }
    }
}
