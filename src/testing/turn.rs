//! Turns of shards.

use super::{Command, Environment, Event, World};
use crate::shard::{run_turn, TurnHost, TurnStep};
use crate::time::Time;

/// One shard of a world, whose turn it is.
struct Driven<'a, E> {
    world: &'a mut World<E>,
    shard: usize,
}

impl<E: Environment> TurnHost for Driven<'_, E> {
    fn step(&mut self, step: TurnStep, _now: Time) -> bool {
        self.world.step(self.shard, step)
    }
}

impl<E: Environment> World<E> {
    /// One turn of one shard; true when there was something to do.
    pub fn turn(&mut self, shard: usize) -> bool {
        let now = self.now;
        run_turn(&mut Driven { world: self, shard }, now)
    }

    /// One step of a shard's turn; true when there was something to do.
    pub fn step(&mut self, shard: usize, step: TurnStep) -> bool {
        match step {
            TurnStep::Inbox => {
                let clocks = self.clocks();
                self.shards[shard].handle_clocks(clocks);
                self.take_commands(shard)
            }
            TurnStep::ReadEstablished => self.step_gateway(shard, step) | self.read(shard, true),
            TurnStep::ReadOthers => self.read(shard, false),
            TurnStep::PeerBlocks => self.take_blocks(shard) | self.step_gateway(shard, step),
            TurnStep::Timeouts => self.fire_timers(shard) | self.step_gateway(shard, step),
            TurnStep::EndTurn => {
                self.shards[shard].end_turn(self.now);
                false
            }
            TurnStep::SendBlocks => self.send_blocks(shard) | self.step_gateway(shard, step),
            TurnStep::WriteUnblocked => self.write_unblocked(shard),
            TurnStep::Actions => self.act(shard),
            TurnStep::Transmit => self.transmit(shard),
            TurnStep::Commit => self.commit(shard),
            // There is no kernel, and a client is accepted when it connects.
            TurnStep::Reap | TurnStep::Submit => false,
        }
    }

    /// Turns until nothing moves.
    ///
    /// # Panics
    /// When that never happens.
    pub fn settle(&mut self) {
        for _ in 0..self.turns_max {
            let mut moved = false;
            for shard in 0..self.shards.len() {
                moved |= self.turn(shard);
            }
            if !moved {
                return;
            }
        }
        panic!("the shards do not come to rest");
    }

    fn take_commands(&mut self, shard: usize) -> bool {
        let mut moved = false;
        while let Some(letter) = self.environment.command(shard) {
            moved = true;
            let (it, now) = (&mut self.shards[shard], self.now);
            let event = match letter {
                Command::Verdict(connection, verdict) => {
                    let is_accepted = matches!(verdict, crate::auth::Verdict::Accepted(..));
                    it.handle_authenticated(connection, verdict, now);
                    Event::Verdict {
                        shard,
                        connection,
                        is_accepted,
                    }
                }
                Command::AuthzDecisions(connection, decisions) => {
                    it.handle_authorized(connection, decisions, now);
                    Event::AuthzDecisions { shard, connection }
                }
                Command::Rules(rules) => {
                    it.handle_rules(rules);
                    Event::Rules { shard }
                }
                Command::Stop => {
                    it.handle_shutdown(now);
                    Event::Stop { shard }
                }
            };
            self.happened(event);
        }
        moved
    }

    /// Reads the links whose connection is established, or all others.
    fn read(&mut self, shard: usize, established: bool) -> bool {
        let places = self.places(shard);
        let first = self.environment.first_read(places);
        let mut moved = false;
        for place in (first..places).chain(0..first) {
            let Some(link) = self.link_in(shard, place) else {
                continue;
            };
            let at = self.links[link].at;
            let is_established = at.is_some_and(|(_, id)| self.shards[shard].is_established(id));
            if is_established == established {
                moved |= self.read_one(link);
            }
        }
        moved
    }

    fn fire_timers(&mut self, shard: usize) -> bool {
        let it = &mut self.shards[shard];
        let is_due = it.poll_timeout().is_some_and(|due| due <= self.now);
        if is_due {
            it.handle_timeout(self.now);
            self.happened(Event::Timeout { shard });
        }
        is_due
    }

    fn write_unblocked(&mut self, shard: usize) -> bool {
        let mut moved = false;
        for place in 0..self.places(shard) {
            if let Some(link) = self.link_in(shard, place) {
                moved |= self.unblock(link);
            }
        }
        moved
    }

    fn transmit(&mut self, shard: usize) -> bool {
        let mut moved = false;
        while let Some(id) = self.shards[shard].poll_transmit() {
            moved = true;
            match self.link_at((shard, id)) {
                Some(link) => {
                    self.write(link);
                }
                None => self.transmit_for_gateway(shard, id),
            }
        }
        moved
    }
}
