//! Times of `quinn-proto`, made of the shard's: nothing here reads a clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quinn_proto::TimeSource;

use crate::time::Time;

/// A moment as the library has it.
pub type Moment = Instant;

/// The library's moments count from one that stands for time 0; any one will do.
#[derive(Clone, Copy)]
pub(super) struct Moments {
    began: Moment,
}

impl Moments {
    pub(super) fn from(began: Moment) -> Self {
        Self { began }
    }

    pub(super) fn at(self, now: Time) -> Moment {
        self.began + Duration::from_nanos(now.0)
    }

    pub(super) fn time(self, at: Moment) -> Time {
        let passed = at.saturating_duration_since(self.began).as_nanos();
        Time(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

/// The time of the shard, by which tokens expire.
pub(super) struct TokenClock(AtomicU64);

impl TokenClock {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(super) fn set(&self, now: Time) {
        self.0.store(now.0, Ordering::Relaxed);
    }
}

impl TimeSource for TokenClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}
