//! The clock: read once per turn, the same zero on all shards.

use std::time::Instant;

use crate::time::Time;

/// Monotonic time since the process started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    zero: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            zero: Instant::now(),
        }
    }

    pub(super) fn now(self) -> Time {
        Time(u64::try_from(self.zero.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}
