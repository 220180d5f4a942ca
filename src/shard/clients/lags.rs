//! Age of the oldest message in a queue, of the few sessions of which operators want to know it. Marks beside the queue
//! say which message came when, a second apart, so that no message has a time of its own.

use std::collections::{HashMap, VecDeque};

use crate::time::{Span, Time};

/// Between two marks.
const APART: Span = Span::from_secs(1);
/// Marks of one queue; when there are more, every second one goes.
const MARKS_MAX: usize = 64;

/// By client id. Lives on: the shard. Bounded by the bridges that are configured.
#[derive(Debug, Default)]
pub(in crate::shard) struct Lags(HashMap<Box<str>, Lag>);

#[derive(Debug, Default)]
struct Lag {
    /// Messages that have ever come to the queue.
    came: u64,
    /// How many had come before one of them, and when it came.
    marks: VecDeque<(u64, Time)>,
}

impl Lag {
    fn came(&mut self, now: Time) {
        if self.marks.back().is_none_or(|(_, at)| *at + APART <= now) {
            self.marks.push_back((self.came, now));
        }
        self.came += 1;
        if self.marks.len() > MARKS_MAX {
            let mut is_kept = false;
            self.marks.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
        }
    }

    /// Marks before that of the oldest message are of no use.
    fn forget_before(&mut self, waiting: usize) {
        let oldest = self.came.saturating_sub(waiting as u64);
        while self
            .marks
            .get(1)
            .is_some_and(|(before, _)| *before <= oldest)
        {
            self.marks.pop_front();
        }
    }
}

impl Lags {
    /// A message has come to the queue of a client, in which so many wait now.
    pub(in crate::shard) fn came(&mut self, client_id: &str, waiting: usize, now: Time) {
        if !self.0.contains_key(client_id) {
            let mut lag = Lag::default();
            if waiting > 1 {
                // They have come from before the process.
                lag.came = waiting as u64 - 1;
                lag.marks.push_back((0, Time::ZERO));
            }
            self.0.insert(client_id.into(), lag);
        }
        if let Some(lag) = self.0.get_mut(client_id) {
            lag.came(now);
            lag.forget_before(waiting);
        }
    }

    /// How long the oldest of so many has waited, at most a second too long; what was there when the process began has
    /// waited since then.
    pub(in crate::shard) fn oldest(&self, client_id: &str, waiting: usize, now: Time) -> Span {
        if waiting == 0 {
            return Span::ZERO;
        }
        let since = self.0.get(client_id).and_then(|lag| {
            let oldest = lag.came.saturating_sub(waiting as u64);
            let mut marks = lag.marks.iter().rev();
            marks.find(|(before, _)| *before <= oldest)
        });
        now.since(since.map_or(Time::ZERO, |(_, at)| *at))
    }

    pub(in crate::shard) fn retain(&mut self, is_watched: impl Fn(&str) -> bool) {
        self.0.retain(|client_id, _| is_watched(client_id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    #[test]
    fn the_oldest_that_waits_says_how_late_a_queue_is() {
        let mut lags = Lags::default();
        assert_eq!(lags.oldest("b", 0, at(9)), Span::ZERO);
        // One each second from 100 s on; nothing leaves, and then all but the last three.
        for n in 0..10 {
            lags.came("b", n + 1, at(100 + n as u64));
        }
        assert_eq!(lags.oldest("b", 10, at(130)), Span::from_secs(30));
        assert_eq!(lags.oldest("b", 3, at(130)), Span::from_secs(23));
        assert_eq!(lags.oldest("b", 0, at(130)), Span::ZERO);
        lags.came("b", 1, at(140));
        assert_eq!(lags.oldest("b", 1, at(141)), Span::from_secs(1));
        assert_eq!(lags.0["b"].marks.len(), 1);
        lags.retain(|_| false);
        assert_eq!(lags.oldest("b", 1, at(141)), Span::from_secs(141));
    }

    #[test]
    fn what_was_there_before_the_process_has_waited_since_its_start() {
        let mut lags = Lags::default();
        assert_eq!(lags.oldest("b", 5, at(7)), Span::from_secs(7));
        lags.came("b", 6, at(8));
        assert_eq!(lags.oldest("b", 6, at(9)), Span::from_secs(9));
        assert_eq!(lags.oldest("b", 1, at(9)), Span::from_secs(1));
    }

    #[test]
    fn marks_are_bounded_and_never_make_a_queue_look_younger() {
        let mut lags = Lags::default();
        for n in 0..5_000 {
            lags.came("b", n + 1, at(n as u64));
        }
        assert!(lags.0["b"].marks.len() <= MARKS_MAX);
        assert_eq!(lags.oldest("b", 5_000, at(5_000)), Span::from_secs(5_000));
        for waiting in (1..5_000).step_by(97) {
            assert!(lags.oldest("b", waiting, at(5_000)) >= Span::from_secs(waiting as u64));
        }
    }
}
