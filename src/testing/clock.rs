//! Virtual time, advanced by the test, and a wall clock that goes with it until it is set.

use super::{Environment, World};
use crate::shard::Shard;
use crate::time::{Clocks, Span, Time, WallTime};

impl<E: Environment> World<E> {
    /// Both clocks now; each shard learns them in each of its turns.
    #[must_use]
    pub fn clocks(&self) -> Clocks {
        Clocks {
            monotonic: self.now,
            wall: self.set.to_wall(self.now),
        }
    }

    /// Sets the wall clock, forward or back.
    pub fn set_wall(&mut self, wall: WallTime) {
        self.set = Clocks {
            monotonic: self.now,
            wall,
        };
    }

    /// The next deadline of any shard.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let shards = self.shards.iter().filter_map(Shard::poll_timeout);
        shards.chain(self.gateways.poll_timeout()).min()
    }

    /// Lets time pass, with every deadline on the way; everything comes to rest at each.
    ///
    /// # Panics
    /// When a deadline never goes away.
    pub fn wait(&mut self, span: Span) {
        let until = self.now + span;
        for _ in 0..self.turns_max {
            let Some(due) = self.next_deadline().filter(|due| *due <= until) else {
                self.now = until;
                self.settle();
                return;
            };
            self.now = self.now.max(due);
            self.settle();
        }
        panic!("time does not pass: a deadline never goes away");
    }
}
