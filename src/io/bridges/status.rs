//! State and counters of a bridge while it runs. Written by its thread and by the shard that has
//! its connection.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::bridge::{Counts, Drop};
use crate::shard::ClientDetail;
use crate::time::Span;

/// What a bridge does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Condition {
    /// Until an operator starts it.
    #[default]
    Stopped,
    /// Until enough messages wait for it.
    Idle,
    Connecting,
    Up,
    /// Until its next attempt.
    Pausing,
}

impl Condition {
    fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Pausing => "pausing",
        }
    }
}

/// What an operator sees of a bridge.
#[derive(Clone, Debug, Default)]
struct Seen {
    condition: Condition,
    /// That is in use, or was last.
    address: String,
    /// Why the last connection or attempt has ended.
    last_end: String,
}

/// One bridge as operators see it.
#[derive(Clone, Debug)]
pub struct BridgeState {
    pub name: String,
    /// stopped, idle, connecting, up, pausing.
    pub condition: &'static str,
    pub address: String,
    pub last_end: String,
    pub connects: u64,
    pub failures: u64,
    pub counts: Counts,
    /// What waits in its session here; `None`: it has none.
    pub queue: Option<QueueState>,
}

/// Messages that wait for a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    pub messages: usize,
    pub bytes: usize,
    /// How long the oldest of them has waited.
    pub oldest: Span,
}

impl QueueState {
    pub(in crate::io) fn of(session: &ClientDetail) -> Self {
        Self {
            messages: session.row.queue_messages,
            bytes: session.row.queue_bytes,
            oldest: session.oldest_waits.unwrap_or_default(),
        }
    }
}

impl BridgeState {
    /// Messages that were not passed on, by reason.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = Drop::ALL.iter().zip(self.counts.dropped);
        counts.map(|(why, count)| (why.label(), count))
    }
}

/// Of one bridge, since it began.
#[derive(Debug, Default)]
pub(in crate::io) struct BridgeStatus {
    seen: Mutex<Seen>,
    is_up: AtomicBool,
    /// Connections that the remote has accepted, and attempts that failed.
    pub(super) connects: AtomicU64,
    pub(super) failures: AtomicU64,
    messages_out: AtomicU64,
    messages_in: AtomicU64,
    bytes_out: AtomicU64,
    bytes_in: AtomicU64,
    dropped: [AtomicU64; Drop::ALL.len()],
    refused_there: AtomicU64,
    refused_here: AtomicU64,
    stalls: AtomicU64,
}

impl BridgeStatus {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        // What a thread that panicked has left is whole.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::io) fn state(&self, name: &str, queue: Option<QueueState>) -> BridgeState {
        let seen = self.lock().clone();
        let (_, connects, failures) = self.connection();
        BridgeState {
            name: name.into(),
            condition: seen.condition.word(),
            address: seen.address,
            last_end: seen.last_end,
            connects,
            failures,
            counts: self.counts(),
            queue,
        }
    }

    pub(super) fn set_condition(&self, condition: Condition) {
        self.lock().condition = condition;
        self.is_up
            .store(condition == Condition::Up, Ordering::Relaxed);
    }

    pub(super) fn uses(&self, address: &str) {
        let mut seen = self.lock();
        seen.condition = Condition::Connecting;
        seen.address = address.into();
    }

    pub(super) fn has_ended(&self, text: &str) {
        self.lock().last_end = text.into();
    }

    /// Messages passed on so far.
    pub(super) fn messages(&self) -> u64 {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        of(&self.messages_out) + of(&self.messages_in)
    }

    pub(super) fn add(&self, counts: &Counts) {
        let add = |to: &AtomicU64, count: u64| {
            if count > 0 {
                to.fetch_add(count, Ordering::Relaxed);
            }
        };
        add(&self.messages_out, counts.messages_out);
        add(&self.messages_in, counts.messages_in);
        add(&self.bytes_out, counts.bytes_out);
        add(&self.bytes_in, counts.bytes_in);
        add(&self.refused_there, counts.refused_there);
        add(&self.refused_here, counts.refused_here);
        add(&self.stalls, counts.stalls);
        for (to, count) in self.dropped.iter().zip(counts.dropped) {
            add(to, count);
        }
    }

    pub(in crate::io) fn counts(&self) -> Counts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            messages_out: of(&self.messages_out),
            messages_in: of(&self.messages_in),
            bytes_out: of(&self.bytes_out),
            bytes_in: of(&self.bytes_in),
            dropped: std::array::from_fn(|at| of(&self.dropped[at])),
            refused_there: of(&self.refused_there),
            refused_here: of(&self.refused_here),
            stalls: of(&self.stalls),
        }
    }

    /// Up, connections accepted, attempts failed.
    pub(in crate::io) fn connection(&self) -> (bool, u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let is_up = self.is_up.load(Ordering::Relaxed);
        (is_up, of(&self.connects), of(&self.failures))
    }
}
