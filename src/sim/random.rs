//! The one source of chance of a simulated world.

use crate::prng::Prng;

/// What chance decides in a run. Each purpose draws from a stream of its own, so that a draw more for one of
/// them leaves what the same seed decides for the others as it was.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// What kind of run it is.
    Parameters,
    /// Subscriptions and publications of the clients.
    Plan,
    /// Accounts and rules, and when they change.
    Rules,
    /// When something happens to clients, and to which of them.
    Disturbances,
    /// What clients do.
    Clients,
    /// Which shard continues, and how time passes.
    Schedule,
    /// Partial reads and writes, rings without room, events that come late.
    Faults,
    /// When logins are authenticated, and new rules taken.
    Logins,
    /// When the wall clock is set, and to what.
    Clocks,
    /// When a session is handed over, and which.
    HandOvers,
    /// Which runs have journals, how long commits take, and when the process ends.
    Crashes,
    /// What operators ask, and when.
    Queries,
    /// When disks fill up, and which writes fail.
    Disks,
    /// When another process takes over, and what becomes of it.
    Upgrades,
}

#[derive(Clone, Debug)]
pub struct Random(Prng);

impl Random {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Prng::new(seed ^ 0x5EED_0000_0000_0000))
    }

    /// The stream of one purpose of a seed.
    #[must_use]
    pub fn of(seed: u64, purpose: Purpose) -> Self {
        let salted = Self::new(seed).draw().wrapping_add(purpose as u64);
        Self(Prng::new(Prng::new(salted).draw()))
    }

    pub fn draw(&mut self) -> u64 {
        self.0.draw()
    }

    /// `0..bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.draw() % bound.max(1) as u64) as usize
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a seed and of the seeds beside it.
    #[test]
    fn purposes_have_streams_of_their_own() {
        let purposes = [
            Purpose::Parameters,
            Purpose::Plan,
            Purpose::Rules,
            Purpose::Disturbances,
            Purpose::Clients,
            Purpose::Schedule,
            Purpose::Faults,
            Purpose::Logins,
            Purpose::Clocks,
            Purpose::HandOvers,
            Purpose::Crashes,
            Purpose::Queries,
            Purpose::Disks,
        ];
        let mut drawn = std::collections::BTreeSet::new();
        for seed in 0..100 {
            for purpose in purposes {
                let mut stream = Random::of(seed, purpose);
                assert!((0..10).all(|_| drawn.insert(stream.draw())), "{purpose:?}");
            }
        }
    }
}
