//! Gates: replies that may not be sent before a position is reached.
//!
//! A position is a number that only rises: of a barrier that every shard has applied, and, where there
//! is one, of what a journal has committed or a replica has confirmed. A reply that has to wait is
//! encoded at once and held at the gate of its position; the connection counts what is held for it, and
//! is not read while that is too much. So there is one place for waits and one for their back-pressure.

use std::collections::VecDeque;

use crate::ids::{ConnectionId, SessionId};
use crate::shard::clients::phase::Phase;
use crate::shard::Shard;
use crate::time::Time;

/// Replies of one connection that may be held before it is no longer read.
const HELD_REPLIES_MAX: u16 = 64;
/// Their bytes.
const HELD_BYTES_MAX: usize = 64 << 10;

/// An encoded reply whose position is not reached yet.
#[derive(Debug)]
pub(in crate::shard) struct HeldReply {
    pub(in crate::shard) connection: ConnectionId,
    /// The session it answers for: a connection that has left it gets nothing.
    pub(in crate::shard) session: SessionId,
    pub(in crate::shard) bytes: Vec<u8>,
}

/// Replies in the order of the positions that they wait for. Lives on: the shard. Bounded by
/// [`HeldReplies`] of each connection.
#[derive(Debug, Default)]
pub(in crate::shard) struct Gate {
    held: VecDeque<(u64, HeldReply)>,
}

impl Gate {
    /// Holds a reply until a position, which is not below any that was named before.
    pub(in crate::shard) fn hold(&mut self, until: u64, reply: HeldReply) {
        debug_assert!(self.held.back().is_none_or(|(last, _)| *last <= until));
        self.held.push_back((until, reply));
    }

    /// What is held for a connection, in order.
    pub(in crate::shard) fn held_for(&self, id: ConnectionId) -> impl Iterator<Item = &[u8]> {
        let held = self.held.iter();
        let held = held.filter(move |(_, reply)| reply.connection == id);
        held.map(|(_, reply)| &*reply.bytes)
    }

    /// The next reply that a reached position releases.
    pub(in crate::shard) fn pop_reached(&mut self, reached: u64) -> Option<HeldReply> {
        let is_due = self
            .held
            .front()
            .is_some_and(|(until, _)| *until <= reached);
        let (_, reply) = is_due.then(|| self.held.pop_front())??;
        Some(reply)
    }
}

/// What is held at gates for one connection. Lives on: the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::shard) struct HeldReplies {
    count: u16,
    /// Not much beyond [`HELD_BYTES_MAX`].
    bytes: u32,
}

impl HeldReplies {
    fn add(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes += bytes as u32;
    }

    fn remove(&mut self, bytes: usize) {
        self.count -= 1;
        self.bytes -= bytes as u32;
    }

    /// So much is held that the connection is not read. What one read brings may go beyond it.
    pub(in crate::shard) fn is_full(&self) -> bool {
        self.count >= HELD_REPLIES_MAX || self.bytes as usize >= HELD_BYTES_MAX
    }
}

impl Shard {
    /// Holds a reply to a connection until the barrier of this turn is reached.
    pub(in crate::shard) fn hold_until_barrier(&mut self, reply: HeldReply) {
        let connection = self.clients.connection_mut(reply.connection);
        connection.held.add(reply.bytes.len());
        let until = self.mesh.next_barrier();
        self.mesh.gate.hold(until, reply);
    }

    /// Every barrier up to a position is reached: sends what was held for them.
    pub(in crate::shard) fn open_barrier_gate(&mut self, reached: u64, now: Time) {
        while let Some(reply) = self.mesh.gate.pop_reached(reached) {
            let HeldReply {
                connection: id,
                session,
                bytes,
            } = reply;
            let Some(connection) = self.clients.connections.get_mut(id) else {
                continue; // closed meanwhile
            };
            if connection.held.is_full() {
                connection.last_packet = now; // it was not read because of us
            }
            connection.held.remove(bytes.len());
            if connection.phase == Phase::Live(session) {
                self.hold_answer_if_durable(id, session);
                self.clients
                    .reply(id, |out, _| out.extend_from_slice(&bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(index: u32) -> HeldReply {
        let connection = ConnectionId {
            index,
            generation: 0,
        };
        let session = SessionId {
            index,
            generation: 0,
        };
        HeldReply {
            connection,
            session,
            bytes: Vec::new(),
        }
    }

    #[test]
    fn a_gate_lets_go_in_order_what_its_position_covers() {
        let mut gate = Gate::default();
        for (until, index) in [(1, 0), (1, 1), (3, 2)] {
            gate.hold(until, reply(index));
        }
        let mut reached = |position| {
            let popped = std::iter::from_fn(|| gate.pop_reached(position));
            popped
                .map(|reply| reply.connection.index)
                .collect::<Vec<_>>()
        };
        assert_eq!(reached(0), [0; 0]);
        assert_eq!(reached(2), [0, 1]);
        assert_eq!(reached(2), [0; 0]);
        assert_eq!(reached(9), [2]);
    }

    #[test]
    fn many_replies_or_many_bytes_stop_reading() {
        let mut held = HeldReplies::default();
        for _ in 0..HELD_REPLIES_MAX {
            assert!(!held.is_full());
            held.add(1);
        }
        assert!(held.is_full());
        held.remove(1);
        assert!(!held.is_full());
        held.add(HELD_BYTES_MAX);
        held.remove(1);
        assert!(held.is_full());
    }
}
