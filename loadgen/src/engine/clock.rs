//! The clocks: monotonic time for schedules and latencies, the thread's own CPU time for the verdict.

use std::sync::atomic::{AtomicI64, Ordering};

use rustix::time::{clock_gettime, ClockId, Timespec};

fn nanoseconds(time: Timespec) -> u64 {
    // All clocks begin at zero and count up.
    (time.tv_sec as u64).wrapping_mul(1_000_000_000) + time.tv_nsec as u64
}

/// What a run's clock is ahead of this machine's. Not zero only while an agent has a run, whose clock
/// is the coordinator's: then times in payloads mean the same on every host.
static AHEAD_NS: AtomicI64 = AtomicI64::new(0);

/// Monotonic nanoseconds of this machine, the same for all its processes.
#[must_use]
pub fn local_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Nanoseconds of the run's clock: the machine's, on an agent the coordinator's.
#[must_use]
pub fn now_ns() -> u64 {
    local_ns().wrapping_add_signed(AHEAD_NS.load(Ordering::Relaxed))
}

/// From the run's clock to nanoseconds since 1970.
pub(crate) fn unix_ahead_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime)).wrapping_sub(now_ns())
}

/// Sets the run's clock; before its workers start.
pub(crate) fn set_ahead_ns(ahead_ns: i64) {
    AHEAD_NS.store(ahead_ns, Ordering::Relaxed);
}

/// CPU time of the calling thread in nanoseconds.
#[must_use]
pub(crate) fn thread_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}
