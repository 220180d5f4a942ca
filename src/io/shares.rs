//! Time shares of a turn: established connections and all others.
//!
//! Reading an established connection costs about what its bytes cost. A handshake of TLS is half a
//! millisecond of arithmetic for a few hundred bytes, and any client may ask for as many as it likes. So
//! established connections are read first, and what is not established yet (handshakes, upgrades,
//! PROXY headers, CONNECT, logins, and the sockets to be accepted) has a share of each turn measured
//! in time: a fixed one while the established leave nothing unread, and a part of what they take
//! while they do. Neither can starve the other.

use crate::time::{Span, Time};

/// What others may take of a turn. A step that has begun is finished, so one of theirs may come on top.
const OTHERS_MAX: Span = Span::from_millis(2);
/// What the established may take of a turn before the others have theirs.
const ESTABLISHED_MAX: Span = Span::from_millis(10);
/// While the established leave something unread, others get one part for so many of theirs.
const PARTS: u64 = 4;
/// Beyond this nothing is owed or saved.
const BALANCE_MAX: i64 = (4 * OTHERS_MAX.0) as i64;

/// Lives on: a driver.
#[derive(Debug, Default)]
pub(super) struct Shares {
    turn_began: Time,
    /// What the established took up to here is in the balance, and the others' last share is over.
    counted_until: Time,
    /// What others may still take while the established are busy, in nanoseconds; below zero: they
    /// have taken too much.
    balance: i64,
    established_are_busy: bool,
}

/// The others' share of one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OthersShare {
    began: Time,
    until: Time,
}

impl Shares {
    pub(super) fn turn_begins(&mut self, now: Time) {
        self.turn_began = now;
    }

    /// Another established connection may be read.
    pub(super) fn has_established(&self, now: Time) -> bool {
        now.since(self.turn_began) < ESTABLISHED_MAX
    }

    /// The established were read, `left`: not all of them. `None`: others have nothing in this turn.
    pub(super) fn others_begin(&mut self, left: bool, now: Time) -> Option<OthersShare> {
        self.established_are_busy = left;
        let counted_until = std::mem::replace(&mut self.counted_until, now);
        let longest = if left {
            let taken = now.since(counted_until).min(ESTABLISHED_MAX).0;
            self.balance = (self.balance + (taken / PARTS) as i64).min(BALANCE_MAX);
            Span(u64::try_from(self.balance).unwrap_or(0)).min(OTHERS_MAX)
        } else {
            OTHERS_MAX
        };
        (longest > Span::ZERO).then_some(OthersShare {
            began: now,
            until: now + longest,
        })
    }

    /// Takes the time of the others from their balance, within [`BALANCE_MAX`].
    pub(super) fn others_end(&mut self, share: OthersShare, now: Time) {
        self.counted_until = now;
        let taken = now.since(share.began).0.min(BALANCE_MAX as u64) as i64;
        self.balance = if self.established_are_busy {
            (self.balance - taken).max(-BALANCE_MAX)
        } else {
            0
        };
    }
}

impl OthersShare {
    /// Another socket may be accepted: half of the share is for those that are open.
    pub(super) fn has_accept(self, now: Time) -> bool {
        now.since(self.began).0 < self.until.since(self.began).0 / 2
    }

    /// Another connection may be read.
    pub(super) fn has_read(self, now: Time) -> bool {
        now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Runs turns in virtual time; established work and one step of the others cost so much. Returns
    /// what each has taken, and the longest time others held the shard.
    fn run(turns: usize, established: Span, left: bool, step: Span) -> (u64, u64, u64) {
        let mut shares = Shares::default();
        let mut now = Time(5 * MS);
        let (mut theirs, mut others, mut longest) = (0, 0, 0);
        for _ in 0..turns {
            shares.turn_begins(now);
            let begins = now;
            while now.since(begins) < established && shares.has_established(now) {
                now = now + Span(established.0 / 8);
            }
            theirs += now.since(begins).0;
            let Some(share) = shares.others_begin(left, now) else {
                continue;
            };
            let begins = now;
            now = now + step; // the first needs no look at the clock
            while share.has_read(now) {
                now = now + step;
            }
            shares.others_end(share, now);
            others += now.since(begins).0;
            longest = longest.max(now.since(begins).0);
        }
        (theirs, others, longest)
    }

    #[test]
    fn others_hold_a_turn_for_their_share_and_one_step() {
        for step in [MS / 100, MS / 2, MS, 5 * MS] {
            for left in [false, true] {
                let (_, others, longest) = run(1_000, Span(MS), left, Span(step));
                assert!(longest < OTHERS_MAX.0 + step, "{step} {left}: {longest}");
                assert!(others > 0);
            }
        }
    }

    #[test]
    fn while_the_established_are_busy_others_get_a_part() {
        for (established, step) in [(MS, MS / 100), (MS, MS), (8 * MS, MS / 2), (MS / 4, MS)] {
            let (theirs, others, _) = run(2_000, Span(established), true, Span(step));
            let percent = 100 * others / (theirs + others);
            assert!(
                (18..=22).contains(&percent),
                "{established} {step}: {percent} %"
            );
        }
    }

    /// A step far beyond the share is owed up to a bound, so others are served however slow they are.
    #[test]
    fn nobody_is_kept_out_for_long() {
        let mut shares = Shares::default();
        let mut now = Time(MS);
        let share = shares.others_begin(true, now).or_else(|| {
            now = now + Span(8 * MS);
            shares.others_begin(true, now)
        });
        now = now + Span(3_000 * MS); // the machine was asleep
        shares.others_end(share.unwrap(), now);
        let mut waited = 0;
        while shares.others_begin(true, now).is_none() {
            now = now + Span(MS);
            waited += 1;
            assert!(waited < 100);
            shares.turn_begins(now);
        }
    }

    /// What others do not use is saved for a few turns only.
    #[test]
    fn little_is_saved() {
        let mut shares = Shares::default();
        let mut now = Time(MS);
        let mut run = |turns: u64, use_it: bool| {
            let mut taken = 0;
            for _ in 0..turns {
                shares.turn_begins(now);
                now = now + Span(MS);
                let Some(share) = shares.others_begin(true, now) else {
                    continue;
                };
                let begins = now;
                while use_it && share.has_read(now) {
                    now = now + Span(MS / 10);
                }
                shares.others_end(share, now);
                taken += now.since(begins).0;
            }
            taken
        };
        assert_eq!(run(1_000, false), 0);
        let taken = run(100, true);
        assert!(
            taken < BALANCE_MAX as u64 + 100 * MS / PARTS + MS,
            "{taken}"
        );
    }

    #[test]
    fn established_connections_leave_a_turn_in_time() {
        let (theirs, others, _) = run(10, Span(1_000 * MS), true, Span(MS));
        assert!(theirs <= 10 * (ESTABLISHED_MAX.0 + 125 * MS));
        assert!(others > 0);
    }

    #[test]
    fn half_a_share_is_for_accepting() {
        let mut shares = Shares::default();
        let share = shares.others_begin(false, Time(10 * MS)).unwrap();
        assert!(share.has_accept(Time(10 * MS)) && share.has_read(Time(10 * MS)));
        assert!(!share.has_accept(Time(11 * MS)) && share.has_read(Time(11 * MS)));
        assert!(!share.has_read(Time(12 * MS)));
    }
}
