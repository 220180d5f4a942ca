//! Time that the process was running: the clock for deadlines of threads other than shards.
//!
//! While a process is stopped or its machine paused, no request is answered and no answer is read. A thread that
//! ticks advances this time, by little at a tick however late that is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::clock::Clock;
use crate::time::{Span, Time};

/// From one tick to the next; also how exact this time is.
const TICK: Duration = Duration::from_millis(100);
/// A tick that is later than this was late.
const TICK_MAX: Span = Span::from_millis(250);

/// Shared with its thread.
pub(super) struct Awake {
    clock: Clock,
    ran_ns: AtomicU64,
    is_ticking: AtomicBool,
}

impl Awake {
    /// Ticks from now on, once. Its thread ends with the process.
    pub(super) fn start(self: &Arc<Self>) -> std::io::Result<()> {
        if self.is_ticking.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let own = Arc::clone(self);
        let tick = move || {
            let mut last = own.clock.now();
            loop {
                thread::sleep(TICK);
                let now = own.clock.now();
                own.ticked(now.since(last));
                last = now;
            }
        };
        thread::Builder::new().name("awake".into()).spawn(tick)?;
        Ok(())
    }

    /// A process that does not run from here on, until it is started.
    pub(super) fn without_ticks(clock: Clock) -> Self {
        let ran_ns = AtomicU64::new(clock.now().0);
        Self {
            clock,
            ran_ns,
            is_ticking: AtomicBool::new(false),
        }
    }

    pub(super) fn ticked(&self, after: Span) {
        let ran = after.min(TICK_MAX);
        self.ran_ns.fetch_add(ran.0, Ordering::Relaxed);
    }

    /// Time that the process was running.
    pub(super) fn now(&self) -> Time {
        Time(self.ran_ns.load(Ordering::Relaxed))
    }

    /// How long it was not running so far.
    pub(super) fn late(&self) -> Span {
        self.clock.now().since(self.now())
    }

    /// Whether it was not running for a while since it was `before` late.
    pub(super) fn was_late_since(&self, before: Span) -> bool {
        self.late().0 > before.0.saturating_add(TICK_MAX.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_tick_counts_little() {
        let awake = Awake::without_ticks(Clock::start());
        let began = awake.now();
        awake.ticked(Span::from_millis(110));
        assert_eq!(awake.now(), began + Span::from_millis(110));
        awake.ticked(Span::from_secs(10));
        assert_eq!(awake.now(), began + Span::from_millis(360));
    }
}
