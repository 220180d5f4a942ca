//! The clocks: monotonic time for schedules and latencies, the thread's own CPU time for the verdict.

use rustix::time::{clock_gettime, ClockId, Timespec};

fn nanoseconds(time: Timespec) -> u64 {
    // Both clocks begin at zero and count up.
    (time.tv_sec as u64).wrapping_mul(1_000_000_000) + time.tv_nsec as u64
}

/// Monotonic nanoseconds, the same for all processes of the machine.
#[must_use]
pub fn now_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// CPU time of the calling thread in nanoseconds.
#[must_use]
pub(crate) fn thread_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}
