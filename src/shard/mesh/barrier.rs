//! SUBACK after the barrier: a client that has its SUBACK misses no publication accepted afterwards,
//! whichever shard accepts it.
//!
//! All SUBSCRIBEs of a turn share one barrier. Its answers also say how many publications each shard
//! had sent to each other by then, which a walk over retained messages needs (see `walk`); it raises
//! barriers of its own, too.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::ids::{ConnectionId, SessionId, ShardId};
use crate::mutant::{is_on, Mutant};
use crate::shard::clients::connection::Phase;
use crate::shard::{Shard, SUBACKS_WAITING_MAX};
use crate::time::Time;

/// What each shard had sent to each shard when it applied a barrier: `[from][to]`.
pub(in crate::shard) type DataSent = Vec<Box<[u64]>>;

#[derive(Debug, Default)]
struct Waiting {
    subacks: Vec<(ConnectionId, SessionId, Vec<u8>)>,
    walkers: Vec<SessionId>,
    /// Of retained topics (see `races`).
    races: bool,
}

#[derive(Debug)]
struct Raised {
    number: u64,
    data_sent: DataSent,
    waiting: Waiting,
}

/// Lives on: each shard its own. Bounded by `SUBACKS_WAITING_MAX` per connection.
#[derive(Debug, Default)]
pub(in crate::shard) struct Barriers {
    /// SUBSCRIBEs and walks of this turn; their barrier is raised when it ends.
    next: Waiting,
    raised: VecDeque<Raised>,
}

/// What a SUBACK that waits counts as: it has a byte for each filter of its SUBSCRIBE.
fn weight_of(suback: &[u8]) -> u16 {
    u16::try_from(1 + suback.len() / 1_024).unwrap_or(SUBACKS_WAITING_MAX)
}

impl Shard {
    /// Sends a SUBACK once every shard knows the subscriptions before it.
    pub(in crate::shard) fn suback_after_barrier(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        suback: Vec<u8>,
        _now: Time,
    ) {
        if self.mesh.peers.is_alone() || is_on(Mutant::SubackAtOnce) {
            self.reply(id, |out, _| out.extend_from_slice(&suback));
            self.release_walks(session, None);
            return;
        }
        if let Some(connection) = self.clients.connections.get_mut(id) {
            connection.subacks_waiting += weight_of(&suback);
        }
        self.mesh.barriers.next.subacks.push((id, session, suback));
    }

    /// Walks of this session wait for the barrier of this turn.
    pub(in crate::shard) fn walk_after_barrier(&mut self, session: SessionId) {
        if self.mesh.peers.is_alone() {
            return; // nobody would ever say that a barrier is reached
        }
        let barrier = self.next_barrier();
        let entry = self.clients.sessions.get_mut(session);
        let walks = entry.and_then(|entry| entry.walks.as_mut());
        // Once for each barrier: looking at all walks of a session costs as much as there are.
        if walks.is_some_and(|walks| walks.waits_for(barrier)) {
            self.mesh.barriers.next.walkers.push(session);
        }
    }

    /// Races wait for the barrier of this turn; its number.
    pub(in crate::shard) fn race_after_barrier(&mut self) -> u64 {
        self.mesh.barriers.next.races = true;
        self.next_barrier()
    }

    /// At the end of a turn: one barrier for all its SUBSCRIBEs and walks.
    pub(in crate::shard) fn raise_barrier(&mut self) {
        let next = &self.mesh.barriers.next;
        if next.subacks.is_empty() && next.walkers.is_empty() && !next.races {
            return;
        }
        let waiting = std::mem::take(&mut self.mesh.barriers.next);
        let number = self.mesh.peers.raise_barrier();
        let mut data_sent = vec![Box::default(); self.mesh.peers.count()];
        data_sent[self.id.index()] = self.mesh.peers.data_sent();
        self.mesh.barriers.raised.push_back(Raised {
            number,
            data_sent,
            waiting,
        });
    }

    /// Barriers that have not been reached.
    #[cfg(any(test, feature = "sim"))]
    pub(in crate::shard) fn barriers_open(&self) -> usize {
        self.mesh.barriers.raised.len()
    }

    /// The number the barrier of this turn will have.
    pub(in crate::shard) fn next_barrier(&self) -> u64 {
        self.mesh.peers.last_barrier() + 1
    }

    /// A peer has applied a barrier of ours.
    pub(in crate::shard) fn on_barrier_applied(
        &mut self,
        by: ShardId,
        number: u64,
        data_sent: Box<[u64]>,
        now: Time,
    ) {
        self.mesh.peers.barrier_applied(by, number);
        if let Some(raised) = self
            .mesh
            .barriers
            .raised
            .iter_mut()
            .find(|r| r.number == number)
        {
            raised.data_sent[by.index()] = data_sent;
        }
        let reached = self.mesh.peers.barrier_reached();
        while self
            .mesh
            .barriers
            .raised
            .front()
            .is_some_and(|raised| raised.number <= reached)
        {
            let Some(raised) = self.mesh.barriers.raised.pop_front() else {
                return;
            };
            for (id, session, suback) in raised.waiting.subacks {
                self.send_suback(id, session, &suback, now);
            }
            let data_sent = Rc::new(raised.data_sent);
            for session in raised.waiting.walkers {
                self.release_walks(session, Some((raised.number, &data_sent)));
            }
            if raised.waiting.races {
                self.release_races(raised.number, &data_sent, now);
            }
        }
    }

    fn send_suback(&mut self, id: ConnectionId, session: SessionId, suback: &[u8], now: Time) {
        let Some(connection) = self.clients.connections.get_mut(id) else {
            return;
        };
        if connection.subacks_waiting >= SUBACKS_WAITING_MAX {
            connection.last_packet = now; // its silence was ours
        }
        connection.subacks_waiting = connection.subacks_waiting.saturating_sub(weight_of(suback));
        if connection.phase == Phase::Live(session) {
            self.reply(id, |out, _| out.extend_from_slice(suback));
        }
    }
}

/// What the home of a topic must have applied of each shard before it may answer.
pub(in crate::shard) fn data_needed(data_sent: Option<&DataSent>, home: ShardId) -> Box<[u64]> {
    data_sent.map_or_else(Box::default, |data_sent| {
        data_sent
            .iter()
            .map(|to| to.get(home.index()).copied().unwrap_or(0))
            .collect()
    })
}
