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
use crate::shard::gate::HeldReply;
use crate::shard::mesh::Mesh;
use crate::shard::Shard;
use crate::time::Time;

/// What each shard had for each shard when it applied a barrier: `[from][to]`, and with journals, where publications
/// may be held, `[from][shards + to]`.
pub(in crate::shard) type DataSent = Vec<Box<[u64]>>;

#[derive(Debug)]
struct Raised {
    number: u64,
    data_sent: DataSent,
    walkers: Vec<SessionId>,
    /// Of retained topics (see `races`).
    races: bool,
}

/// Lives on: each shard its own. Its barriers are bounded by the walks and the held SUBACKs that they are
/// raised for.
#[derive(Debug, Default)]
pub(in crate::shard) struct Barriers {
    /// Something of this turn waits for a barrier, to be raised when the turn ends.
    is_wanted: bool,
    /// Walks of this turn.
    walkers: Vec<SessionId>,
    /// Races of retained topics wait for it.
    races: bool,
    raised: VecDeque<Raised>,
}

impl Mesh {
    /// Races wait for the barrier of this turn; its number.
    pub(in crate::shard) fn race_after_barrier(&mut self) -> u64 {
        self.barriers.is_wanted = true;
        self.barriers.races = true;
        self.next_barrier()
    }

    /// A barrier at the end of this turn, for those who ask whether it is reached; its number.
    pub(in crate::shard) fn want_barrier(&mut self) -> u64 {
        self.barriers.is_wanted = true;
        self.next_barrier()
    }

    /// Barriers that have not been reached.
    #[cfg(any(test, feature = "testing"))]
    pub(in crate::shard) fn barriers_open(&self) -> usize {
        self.barriers.raised.len()
    }

    /// The number the barrier of this turn will have.
    pub(in crate::shard) fn next_barrier(&self) -> u64 {
        self.peers.last_barrier() + 1
    }
}

impl Shard {
    /// Sends a SUBACK once every shard has applied the subscriptions before it.
    pub(in crate::shard) fn suback_after_barrier(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        suback: Vec<u8>,
    ) {
        if self.mesh.peers.is_alone() || is_on(Mutant::SubackAtOnce) {
            self.hold_answer_if_durable(id, session);
            self.clients
                .reply(id, |out, _| out.extend_from_slice(&suback));
            self.replay.release_walks(&mut self.clients, session, None);
            return;
        }
        self.mesh.barriers.is_wanted = true;
        self.hold_until_barrier(HeldReply {
            connection: id,
            session,
            bytes: suback,
        });
    }

    /// Walks of this session wait for the barrier of this turn.
    pub(in crate::shard) fn walk_after_barrier(&mut self, session: SessionId) {
        if self.mesh.peers.is_alone() {
            return; // no peer would ever apply a barrier
        }
        let barrier = self.mesh.next_barrier();
        let walks = self.clients.session_mut(session).walks.as_mut();
        // Once for each barrier: looking at all walks of a session costs as much as there are.
        if walks.is_some_and(|walks| walks.waits_for(barrier)) {
            let barriers = &mut self.mesh.barriers;
            barriers.is_wanted = true;
            barriers.walkers.push(session);
        }
    }

    /// At the end of a turn: one barrier for all its SUBSCRIBEs and walks.
    pub(in crate::shard) fn raise_barrier(&mut self) {
        if !std::mem::take(&mut self.mesh.barriers.is_wanted) {
            return;
        }
        let own_sent = self.data_sent();
        let Mesh {
            peers, barriers, ..
        } = &mut self.mesh;
        let walkers = std::mem::take(&mut barriers.walkers);
        let races = std::mem::take(&mut barriers.races);
        let number = peers.raise_barrier();
        let mut data_sent = vec![Box::default(); peers.count()];
        data_sent[self.id.index()] = own_sent;
        barriers.raised.push_back(Raised {
            number,
            data_sent,
            walkers,
            races,
        });
    }

    /// A peer has applied a barrier of ours.
    pub(in crate::shard) fn on_barrier_applied(
        &mut self,
        by: ShardId,
        number: u64,
        data_sent: Box<[u64]>,
        now: Time,
    ) {
        let Mesh {
            peers, barriers, ..
        } = &mut self.mesh;
        peers.barrier_applied(by, number);
        let raised = barriers.raised.iter_mut().find(|r| r.number == number);
        if let Some(raised) = raised {
            raised.data_sent[by.index()] = data_sent;
        }
        let reached = peers.barrier_reached();
        self.open_barrier_gate(reached, now);
        while let Some(raised) = self.mesh.barriers.pop_reached(reached) {
            let data_sent = Rc::new(raised.data_sent);
            for session in raised.walkers {
                self.replay.release_walks(
                    &mut self.clients,
                    session,
                    Some((raised.number, &data_sent)),
                );
            }
            if raised.races {
                self.release_races(raised.number, &data_sent, now);
            }
        }
    }
}

impl Barriers {
    /// Something of this turn waits for its barrier.
    pub(in crate::shard) fn want(&mut self) {
        self.is_wanted = true;
    }

    /// A barrier is not reached, or will be raised at the end of this turn.
    pub(in crate::shard) fn is_open(&self) -> bool {
        self.is_wanted || !self.raised.is_empty()
    }

    fn pop_reached(&mut self, reached: u64) -> Option<Raised> {
        let is_reached = self.raised.front()?.number <= reached;
        is_reached.then(|| self.raised.pop_front())?
    }
}

/// What the home of a topic must have applied of each shard before it may answer.
pub(in crate::shard) fn data_needed(data_sent: Option<&DataSent>, home: ShardId) -> Box<[u64]> {
    data_sent.map_or_else(Box::default, |data_sent| {
        let shards = data_sent.len();
        let at = |place: usize| {
            let of_each = data_sent.iter();
            of_each.map(move |to| to.get(place).copied().unwrap_or(0))
        };
        let (sent, held) = (at(home.index()), at(shards + home.index()));
        let has_held = data_sent.iter().any(|to| to.len() > shards);
        sent.chain(held.filter(|_| has_held)).collect()
    })
}
