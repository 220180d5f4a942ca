//! When the shards of the old process are at rest, as all of them together are seen from time to time.

use std::time::Duration;

/// What is on its way in the shards takes so long at most.
pub const REST_PATIENCE: Duration = Duration::from_secs(2);
/// At rest, clients that cannot be given yet, as while a service is asked about them, are waited for so long.
const BUSY_PATIENCE: Duration = Duration::from_millis(200);

/// All shards, at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub is_at_rest: bool,
    /// Clients that cannot be given yet.
    pub busy: usize,
    /// Items sent between shards and taken, since the start.
    pub sent: u64,
    pub taken: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    LookAgain,
    AtRest,
    /// They do not come to rest.
    TooLate,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest {
    before: Option<(u64, u64)>,
    /// When they were at rest for the first time.
    since: Option<Duration>,
}

impl Rest {
    /// Takes what is seen so long after they began to slow down.
    pub fn saw(&mut self, seen: Seen, elapsed: Duration) -> Verdict {
        let counts = (seen.sent, seen.taken);
        // Twice the same: nothing was on its way between two looks either.
        let is_same = self.before.replace(counts) == Some(counts);
        if seen.is_at_rest && seen.sent == seen.taken && is_same {
            // Not from the slow-down: a disk that is late takes nothing off what a service has.
            let since = *self.since.get_or_insert(elapsed);
            if seen.busy == 0 || elapsed.saturating_sub(since) > BUSY_PATIENCE {
                return Verdict::AtRest;
            }
        }
        let patience = self.since.map_or(Duration::ZERO, |at| at + BUSY_PATIENCE);
        match elapsed > REST_PATIENCE.max(patience) {
            true => Verdict::TooLate,
            false => Verdict::LookAgain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{AtRest, LookAgain, TooLate};
    use super::*;

    const STILL: Seen = Seen {
        is_at_rest: true,
        busy: 0,
        sent: 7,
        taken: 7,
    };

    fn saw(rest: &mut Rest, seen: Seen, ms: u64) -> Verdict {
        rest.saw(seen, Duration::from_millis(ms))
    }

    #[test]
    fn rest_is_what_is_seen_twice() {
        let moved = Seen {
            sent: 8,
            taken: 8,
            ..STILL
        };
        let on_its_way = Seen { sent: 9, ..moved };
        let restless = Seen {
            is_at_rest: false,
            ..STILL
        };
        let rest = &mut Rest::default();
        for seen in [STILL, moved, on_its_way, on_its_way, restless] {
            assert_eq!(saw(rest, seen, 1), LookAgain, "{seen:?}");
        }
        assert_eq!(saw(rest, STILL, 2), AtRest);
    }

    #[test]
    fn busy_clients_have_their_time_from_rest_on() {
        let busy = Seen { busy: 1, ..STILL };
        let slow = Seen {
            is_at_rest: false,
            ..STILL
        };
        let rest = &mut Rest::default();
        // A commit took half a second.
        for (seen, ms, expected) in [
            (slow, 0, LookAgain),
            (slow, 500, LookAgain),
            (busy, 501, LookAgain),
            (busy, 701, LookAgain),
            (busy, 702, AtRest),
        ] {
            assert_eq!(saw(rest, seen, ms), expected, "{ms}");
        }
        let rest = &mut Rest::default();
        assert_eq!(saw(rest, busy, 0), LookAgain);
        assert_eq!(saw(rest, busy, 1), LookAgain);
        assert_eq!(saw(rest, STILL, 2), AtRest, "it is not busy any more");
    }

    #[test]
    fn shards_that_move_on_and_on_are_given_up() {
        let slow = Seen {
            is_at_rest: false,
            ..STILL
        };
        let rest = &mut Rest::default();
        assert_eq!(saw(rest, slow, 2_000), LookAgain);
        assert_eq!(saw(rest, slow, 2_001), TooLate);
        // Who comes to rest late has time for its clients all the same.
        let busy = Seen { busy: 1, ..STILL };
        let rest = &mut Rest::default();
        assert_eq!(saw(rest, STILL, 1_950), LookAgain);
        assert_eq!(saw(rest, busy, 1_951), LookAgain);
        assert_eq!(saw(rest, busy, 2_100), LookAgain);
        assert_eq!(saw(rest, busy, 2_152), AtRest);
    }
}
