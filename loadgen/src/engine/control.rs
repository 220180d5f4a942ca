//! State shared by the coordinator and its workers: orders one way, figures the other.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{eventfd, EventfdFlags};

use crate::meter::{Counts, Timings, COUNTS};
use crate::plan::{Plan, Step};

pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// A step, and when it begins.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Do {
        step: Arc<Step>,
        /// Its place in the plan; `None` when it is not in it.
        place: Option<usize>,
        start_ns: u64,
    },
    /// Hands counters and timings over, both of the same moment; the step before continues.
    Cut,
    /// Ends the step before, wherever it is.
    Finish,
}

/// Figures of one worker, written by it alone.
#[repr(align(128))]
pub(crate) struct Board(Vec<AtomicU64>);

impl Board {
    pub(crate) fn publish(&self, counts: &Counts) {
        for (place, value) in self.0.iter().zip(counts.0) {
            place.store(value, Ordering::Release);
        }
    }

    pub(crate) fn read(&self) -> Counts {
        let mut counts = Counts::default();
        for (value, place) in counts.0.iter_mut().zip(&self.0) {
            *value = place.load(Ordering::Acquire);
        }
        counts
    }
}

pub(crate) struct Control {
    pub(crate) plan: Plan,
    /// Seconds are counted from here, by workers and coordinator alike.
    pub(crate) began_ns: u64,
    orders: Mutex<Vec<Order>>,
    posted: AtomicUsize,
    pub(crate) boards: Vec<Board>,
    wakes: Vec<OwnedFd>,
    /// When clients that take identifiers over began to connect, by number in their group.
    pub(crate) takeovers: Vec<AtomicU64>,
}

impl Control {
    pub(crate) fn new(mut plan: Plan, workers: usize) -> std::io::Result<Self> {
        plan.unix_ahead_ns = super::clock::unix_ahead_ns();
        let wakes = (0..workers)
            .map(|_| eventfd(0, EventfdFlags::CLOEXEC))
            .collect::<Result<Vec<_>, _>>()?;
        let taken_over = plan.groups.iter().filter(|group| group.is_taken_over);
        let taken_over = taken_over.map(|group| group.clients).max();
        Ok(Self {
            takeovers: (0..taken_over.unwrap_or(0))
                .map(|_| AtomicU64::new(0))
                .collect(),
            plan,
            began_ns: super::clock::now_ns(),
            orders: Mutex::default(),
            posted: AtomicUsize::new(0),
            boards: (0..workers)
                .map(|_| Board((0..COUNTS).map(|_| AtomicU64::new(0)).collect()))
                .collect(),
            wakes,
        })
    }

    pub(crate) fn workers(&self) -> usize {
        self.wakes.len()
    }

    pub(crate) fn wake_descriptor(&self, worker: usize) -> BorrowedFd<'_> {
        self.wakes[worker].as_fd()
    }

    /// End of the second that `now_ns` is in.
    pub(crate) fn second_ends_ns(&self, now_ns: u64) -> u64 {
        self.began_ns + ((now_ns - self.began_ns) / SECOND_NS + 1) * SECOND_NS
    }

    /// Gives an order to all workers; returns how many there are now.
    pub(crate) fn post(&self, order: Order) -> usize {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.push(order);
        let posted = orders.len();
        self.posted.store(posted, Ordering::Release);
        drop(orders);
        for wake in &self.wakes {
            // Fails only when the counter is full, and then the reader is awake anyway.
            let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
        }
        posted
    }

    pub(crate) fn posted(&self) -> usize {
        self.posted.load(Ordering::Acquire)
    }

    pub(crate) fn order(&self, index: usize) -> Option<Order> {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.get(index).cloned()
    }
}

/// Timings of one worker since it handed over the last, and its counters at that moment.
pub(crate) struct Interval {
    pub(crate) worker: usize,
    pub(crate) timings: Timings,
    pub(crate) counts: Counts,
}
