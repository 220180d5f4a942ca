//! A turn: its steps, its budget, what waits for the next one, and timers.

pub(in crate::shard) mod budget;
#[cfg(test)]
mod budget_tests;
pub(in crate::shard) mod steps;
pub(in crate::shard) mod timeouts;
pub(in crate::shard) mod timer_key;
pub(in crate::shard) mod timer_wheel;

use crate::time::{Clocks, Time};
use budget::TurnBudget;
use timer_key::TimerKey;
use timer_wheel::TimerWheel;

/// What a turn may cost and what is due. Lives on: the shard.
pub(in crate::shard) struct Turn {
    pub(in crate::shard) budget: TurnBudget,
    pub(in crate::shard) timers: TimerWheel<TimerKey>,
    /// For what is written down: in a log the wall clock is never set back. Deadlines are compared with the `now` of
    /// each call.
    pub(in crate::shard) clocks: Clocks,
    /// As last read, for what operators see.
    pub(in crate::shard) clocks_read: Clocks,
}

impl Turn {
    pub(in crate::shard) fn new(shards: u16, now: Time) -> Self {
        Self {
            budget: TurnBudget::new(shards),
            timers: TimerWheel::new(now),
            clocks: Clocks::default(),
            clocks_read: Clocks::default(),
        }
    }
}
