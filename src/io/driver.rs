//! Drives one shard: readiness in, bytes through, blocks to peers, sleep when there is nothing to do.
//!
//! One turn reads what is ready within a budget, lets the shard do its work, and then sends once per
//! connection and once per peer. Under load there is no sleep and no wake-up. What comes in is in
//! [`super::input`], what goes out in [`super::output`]; here is when.

use std::sync::Arc;

use super::adopting::Adopting;
use super::clock::{Clock, WallReadings};
use super::commits::Commits;
use super::counters::{DriverStats, AT_STOP};
use super::datagrams::Datagrams;
use super::gate::REFUSALS;
use super::lateness::Lateness;
use super::listener::Listening;
use super::logging::Repeated;
use super::logins::Logins;
use super::looks::Looks;
use super::measures::Measures;
use super::memory_watch::ShardMemory;
use super::mesh::Mesh;
use super::pauses::Pauses;
use super::poller::Poller;
use super::queues::Queue;
use super::quic_pairs::Quics;
use super::sends::{Sends, SENDS};
use super::shares::Shares;
use super::sockets::Sockets;
use super::turn_length::TurnLength;
use super::upgrade::Upgrade;
use crate::gateway::Gateway;
use crate::ids::{ConnectionId, ShardId};
use crate::limits::READ_BUFFER;
use crate::shard::{run_turn, Block, Heard, Pressure, Shard, TurnHost, TurnStep};
use crate::time::Time;
use crate::transport::Scratch;

/// At the start.
const NOTHING_HEARD: Heard = Heard {
    established: Time::ZERO,
    others: Time::ZERO,
    excused_until: Time::ZERO,
};

/// What a driver is given at start.
pub(super) struct Setup {
    pub(super) shard: Shard,
    /// If the shard has a journal.
    pub(super) commits: Option<Commits>,
    pub(super) id: ShardId,
    pub(super) mesh: Mesh<Block>,
    pub(super) logins: Arc<Logins>,
    pub(super) clock: Clock,
    /// Has a core of its own, so it may spin.
    pub(super) pinned: bool,
    pub(super) upgrade: Upgrade,
}

/// Lives on: the executor of its shard, as its one task.
pub(super) struct Driver {
    pub(super) shard: Shard,
    pub(super) commits: Option<Commits>,
    pub(super) adopting: Adopting,
    pub(super) id: ShardId,
    pub(super) mesh: Mesh<Block>,
    pub(super) logins: Arc<Logins>,
    pub(super) clock: Clock,
    wall_readings: WallReadings,
    pub(super) poller: Poller,
    pub(super) sockets: Sockets,
    pub(super) looks: Looks,
    pub(super) upgrade: Upgrade,
    /// Sockets that may have bytes: of established connections, of those of them whose client has closed,
    /// and of all others.
    pub(super) established: Queue,
    pub(super) leaving: Queue,
    pub(super) others: Queue,
    pub(super) shares: Shares,
    lateness: Lateness,
    /// Since the others' round began.
    pub(super) accepted: usize,
    /// What had happened by then is known: completions were collected afterwards.
    collected: Time,
    pub(super) writable: Vec<ConnectionId>,
    pub(super) sends: Sends,
    /// Connections whose bytes are submitted together.
    pub(super) batch: Vec<ConnectionId>,
    pub(super) listeners: Vec<Listening>,
    pub(super) gateway: Gateway,
    pub(super) datagrams: Datagrams,
    pub(super) quics: Quics,
    pub(super) acceptable: Vec<bool>,
    pub(super) accept_after: Option<Time>,
    pub(super) accept_errors: Repeated,
    /// By reason.
    pub(super) refusals: [Repeated; REFUSALS],
    pub(super) buffer: Box<[u8]>,
    pub(super) scratch: Scratch,
    pub(super) turns: TurnLength,
    pub(super) driver_stats: DriverStats,
    pub(super) measures: Measures,
    pub(super) memory: ShardMemory,
    /// As last reported to the shard.
    pressure: Pressure,
    /// Clients may be let in: what all shards have restored is known to all of them.
    pub(super) is_open: bool,
    pub(super) stopping: bool,
    /// Among those that have stopped.
    pub(super) counted: bool,
    pauses: Pauses,
}

impl TurnHost for Driver {
    #[inline(always)]
    fn step(&mut self, step: TurnStep, now: Time) -> bool {
        if !self.upgrade.motion.takes(step) {
            return false;
        }
        match step {
            TurnStep::Reap => {
                let is_busy = self.reap();
                if let Some(commits) = &mut self.commits {
                    commits.complete(&mut self.shard, &mut self.poller, now);
                }
                self.begin_rounds(now);
                is_busy
            }
            TurnStep::Inbox => self.drain_inbox(now),
            TurnStep::ReadEstablished => self.read_datagrams(now) | self.read_established(now),
            TurnStep::ReadOthers => self.read_others(now),
            TurnStep::PeerBlocks => self.take_blocks(now),
            TurnStep::Timeouts => {
                let has_looked = self.look_at_links(now) | self.adopting.step(&mut self.shard, now);
                let is_due = self.shard_timeout().is_some_and(|due| due <= now);
                if is_due {
                    self.shard.handle_timeout(now);
                }
                self.turn_of_gateway(now) | self.turn_of_quic(now) || is_due || has_looked
            }
            TurnStep::EndTurn => {
                self.shard.end_turn(now);
                false
            }
            TurnStep::Commit => {
                if let Some(commits) = &mut self.commits {
                    commits.commit(&mut self.shard, &mut self.poller, now);
                }
                false // its completion ends a sleep
            }
            TurnStep::SendBlocks => self.send_blocks(),
            TurnStep::WriteUnblocked => {
                self.write_unblocked(now);
                false // reaped in this turn
            }
            TurnStep::Actions => self.act(now),
            TurnStep::Transmit => self.transmit(now) | self.send_datagrams() | self.send_quic(now),
            TurnStep::Submit => {
                self.poller.submit();
                self.end_rounds();
                false
            }
        }
    }
}

impl Driver {
    /// Call on the executor that will run it.
    pub(super) fn new(setup: Setup) -> std::io::Result<Self> {
        let Setup {
            mut shard,
            commits,
            id,
            mesh,
            logins,
            clock,
            pinned,
            upgrade,
        } = setup;
        shard.handle_heard(NOTHING_HEARD);
        let turn_max = mesh.shared().options().turn_max();
        let memory = ShardMemory::new(mesh.shared().memory(), mesh.shared().shards());
        let poller = Poller::new(mesh.shared().eventfd(id))?;
        let mut seed = [0; 8];
        getrandom::fill(&mut seed)?;
        let shards = mesh.shared().shards();
        let gateway = Gateway::new(id, shards, u64::from_ne_bytes(seed));
        Ok(Self {
            shard,
            commits,
            adopting: Adopting::default(),
            id,
            mesh,
            logins,
            clock,
            wall_readings: WallReadings::default(),
            poller,
            sockets: Sockets::default(),
            looks: Looks::default(),
            upgrade,
            established: Queue::default(),
            leaving: Queue::default(),
            others: Queue::default(),
            shares: Shares::default(),
            lateness: Lateness::default(),
            accepted: 0,
            collected: Time::ZERO,
            writable: Vec::new(),
            sends: Sends::new(),
            batch: Vec::with_capacity(SENDS),
            acceptable: Vec::new(),
            listeners: Vec::new(),
            gateway,
            datagrams: Datagrams::default(),
            quics: Quics::default(),
            accept_after: None,
            accept_errors: Repeated::default(),
            refusals: Default::default(),
            buffer: vec![0; READ_BUFFER].into(),
            scratch: Scratch::default(),
            turns: TurnLength::new(turn_max),
            driver_stats: DriverStats::default(),
            measures: Measures::default(),
            memory,
            pressure: Pressure::default(),
            is_open: false,
            stopping: false,
            counted: false,
            pauses: Pauses::new(pinned),
        })
    }

    /// Runs until all shards have stopped, without yielding to the executor in between: it has nothing
    /// else to run, and under load it now and then never woke a task that had yielded.
    ///
    /// `started` is called when clients may be let in as far as this shard is concerned; the listeners come
    /// by the inbox when that is so on all.
    pub(super) fn run(mut self, started: impl FnOnce()) {
        let mut started = Some(started);
        loop {
            let now = self.clock.now();
            if self.measures.turn_over(now) {
                self.shard.handle_turn_over(now);
            }
            self.turns.begins(now);
            self.lateness.turn_begins(now);
            self.shares.turn_begins(now);
            self.look_at_pressure(now);
            if self.wall_readings.is_due(now) {
                self.shard.handle_clocks(self.clock.both());
            }
            let busy = self.turn(now);
            self.measures.turn_ran(now, busy);
            let is_finished = self.is_finished();
            if let Some(started) = started.take_if(|_| is_finished || self.may_let_in()) {
                started();
            }
            self.answer_upgrade();
            if is_finished || self.upgrade.has_left {
                if self.upgrade.has_left {
                    self.see_quic_off();
                }
                self.close_quic(now);
                self.poller.finish();
                return;
            }
            if busy {
                self.pauses.end(now);
            } else if self.pauses.may_spin(now) {
                std::hint::spin_loop();
            } else {
                self.park(now);
                self.turns.rested();
            }
        }
    }

    /// Reports a change of pressure to the shard.
    fn look_at_pressure(&mut self, now: Time) {
        let pressure = Pressure {
            memory: self.memory.is_short(now),
            turns: self.turns.is_too_long(now),
        };
        if pressure != self.pressure {
            self.pressure = pressure;
            self.shard.handle_pressure(pressure);
        }
    }

    /// One pass over everything, in the order of [`TURN`](crate::shard::TURN); true when there was something
    /// to do.
    fn turn(&mut self, now: Time) -> bool {
        let busy = run_turn(self, now);
        let held = [&mut self.established, &mut self.leaving, &mut self.others];
        held.map(|queue| queue.turn_ended(busy)).contains(&true) || busy
    }

    fn begin_rounds(&mut self, now: Time) {
        let collected = std::mem::replace(&mut self.collected, now);
        self.established.begin_round(collected);
        self.leaving.begin_round(collected);
        if self.others.begin_round(collected) {
            self.accepted = 0;
        }
    }

    /// Reports until when clients were heard: the shard measures their deadlines against that time.
    fn end_rounds(&mut self) {
        self.established.end_round();
        self.leaving.end_round();
        if !self.must_accept() {
            self.others.end_round();
        }
        self.shard.handle_heard(Heard {
            established: (self.established.heard_until()).min(self.leaving.heard_until()),
            others: self.others.heard_until(),
            excused_until: self.lateness.excused_until(),
        });
    }

    /// Nothing that was restored is missing elsewhere.
    fn may_let_in(&self) -> bool {
        let commits = self.commits.as_ref();
        self.shard.is_announced() && commits.is_none_or(|commits| commits.has_begun(&self.shard))
    }

    /// Until clients are let in nothing is due: a will would be published to those only whose subscriptions the
    /// other shards have announced so far.
    fn shard_timeout(&self) -> Option<Time> {
        let may_fire = self.is_open || self.stopping;
        let due = may_fire.then(|| self.shard.poll_timeout()).flatten();
        self.upgrade.motion.due(due)
    }

    pub(super) fn report_counters(&self, request: u64) {
        let shared = self.mesh.shared();
        let stats = self.shard.stats();
        let driver_stats = DriverStats {
            gateway: *self.gateway.stats(),
            ..self.driver_stats
        };
        shared
            .counters()
            .take(request, shared.shards(), stats, driver_stats);
    }

    /// Closes the listeners and starts the shutdown of the shard, once.
    pub(super) fn begin_stop(&mut self, now: Time) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.close_listeners();
        if let Some(commits) = &mut self.commits {
            commits.begin_stop();
        }
        self.shard.handle_shutdown(now);
    }

    /// A stopped shard continues to serve its peers until all have stopped.
    fn is_finished(&mut self) -> bool {
        if !self.stopping {
            return false;
        }
        let is_committed = self.shard.is_committed();
        self.mesh.shared().note_written(self.id, is_committed);
        let is_stopped = self.shard.is_stopped() && is_committed;
        if !self.counted && is_stopped {
            self.counted = true;
            self.report_counters(AT_STOP);
            self.mesh.shared().count_stopped();
        }
        let is_done = self.counted && is_committed && self.mesh.shared().all_stopped();
        is_done && self.quics.is_at_rest(self.clock.now())
    }

    /// Sleeps until a completion, a peer or a deadline wakes the shard.
    ///
    /// The thread waits in the shard's own ring, and its executor with it. Awaiting an eventfd through
    /// the executor was tried: it costs four system calls and a memory barrier on all cores for each
    /// wake-up, and glommio 0.9 loses wake-ups when its wait is interrupted, as work of a second ring
    /// on the thread does (a shard slept although its eventfd was signalled; 1 in 5 runs of the tests).
    fn park(&mut self, now: Time) {
        self.mesh.shared().announce_park(self.id);
        // Whatever came before the announcement is seen here; what comes later wakes the shard.
        let may_sleep = self.mesh.may_park() && self.mesh.shared().inbox(self.id).is_empty();
        if may_sleep {
            let commits = self.commits.as_ref();
            let commit = commits.and_then(|commits| commits.poll_timeout(&self.shard));
            let gateway = self.gateway.poll_timeout();
            let looks = self.looks.next();
            let deadlines = [
                self.shard_timeout(),
                self.accept_after,
                commit,
                gateway,
                looks,
                self.quics.next(),
            ];
            let deadline = deadlines.into_iter().flatten().min();
            self.memory.rests();
            self.lateness.sleeps(deadline);
            self.poller
                .wait(deadline.map(|deadline| deadline.since(now)));
        }
        self.mesh.shared().announce_awake(self.id);
    }
}
