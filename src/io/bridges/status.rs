//! State and counters of a bridge while it runs. Written by its thread and by the shard that has
//! its connection.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::bridge::{Counts, Drop};

/// Of one bridge, since the start.
#[derive(Debug, Default)]
pub(in crate::io) struct BridgeStatus {
    pub(in crate::io) name: String,
    pub(super) is_up: AtomicBool,
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
}

impl BridgeStatus {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
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
        }
    }

    /// Up, connections accepted, attempts failed.
    pub(in crate::io) fn connection(&self) -> (bool, u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let is_up = self.is_up.load(Ordering::Relaxed);
        (is_up, of(&self.connects), of(&self.failures))
    }
}
