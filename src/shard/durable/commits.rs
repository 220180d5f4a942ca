//! Commits that replies wait for.
//!
//! A turn that holds replies back has a ticket. It is reached when the shard's own log is durable up to the
//! last record of that turn, and each publication that the turn gave to peers with durable receivers is
//! confirmed. A publication is confirmed by the shard that delivers it: a member of a shared group may have left
//! meanwhile, and its shard then hands it on together with the name of the turn that waits. A shard confirms by
//! its own log alone, never by its tickets, so no two shards wait for each other.

use std::collections::VecDeque;

use crate::ids::{ConnectionId, ShardId};
use crate::journal::Lsn;
use crate::limits::TICKETS_MAX;
use crate::mutant::{is_on, Mutant};
use crate::shard::clients::outgoing::Outgoing;
use crate::shard::durable::ticket::{Awaited, Ticket};
use crate::time::Time;

/// What one turn waits for, and who waits.
#[derive(Debug, Default)]
struct Promises {
    /// Connections with held replies; each once.
    connections: Vec<ConnectionId>,
    /// Publications that peers have not confirmed.
    unconfirmed: u32,
    /// When the turn began, if it acknowledges publications.
    read_at: Option<Time>,
}

/// What waits for a ticket that is reached.
pub(in crate::shard) struct Reached {
    pub(in crate::shard) ticket: Ticket,
    pub(in crate::shard) connections: Vec<ConnectionId>,
    /// When its turn began, if it acknowledges publications.
    pub(in crate::shard) read_at: Option<Time>,
}

impl Promises {
    fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.unconfirmed == 0
    }
}

/// Publications of a peer's turn that are in this shard's log up to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) struct Confirmed {
    pub(in crate::shard) awaited: Awaited,
    pub(in crate::shard) count: u32,
}

/// Lives on: the shard. Bounded by [`TICKETS_MAX`]; replies by the outgoing bytes that hold them.
#[derive(Debug)]
pub(in crate::shard) struct Commits {
    local: ShardId,
    /// Of the turn at hand.
    ticket: Ticket,
    turn: Promises,
    /// Of the tickets before it, with the frame that has the last record of each.
    issued: VecDeque<(Lsn, Promises)>,
    /// What was applied in the turn at hand.
    applied: Vec<Confirmed>,
    /// What was applied before, with the frame that has its records.
    recorded: VecDeque<(Lsn, Confirmed)>,
}

impl Commits {
    pub(in crate::shard) fn new(local: ShardId) -> Self {
        Self {
            local,
            ticket: Ticket(1),
            turn: Promises::default(),
            issued: VecDeque::new(),
            applied: Vec::new(),
            recorded: VecDeque::new(),
        }
    }

    /// What is appended to a connection's outgoing bytes from here on waits for the turn at hand.
    #[inline]
    pub(in crate::shard) fn hold(&mut self, id: ConnectionId, outgoing: &mut Outgoing) {
        if !is_on(Mutant::AckBeforeCommit) && outgoing.hold(self.ticket) {
            self.turn.connections.push(id);
        }
    }

    /// The turn at hand gives a publication to a peer and waits for its commit.
    pub(in crate::shard) fn expect_one(&mut self) -> Awaited {
        self.turn.unconfirmed += u32::from(!is_on(Mutant::ForgetPeersCommit));
        Awaited {
            by: self.local,
            ticket: self.ticket,
        }
    }

    /// A publication that a turn waits for was delivered here; its records are appended until the end of
    /// this turn.
    pub(in crate::shard) fn applied(&mut self, awaited: Awaited) {
        match self.applied.last_mut() {
            Some(last) if last.awaited == awaited => last.count += 1,
            _ => self.applied.push(Confirmed { awaited, count: 1 }),
        }
    }

    /// Publications of one of this shard's own turns are committed.
    pub(in crate::shard) fn confirm(&mut self, ticket: Ticket, count: u32) {
        if is_on(Mutant::ForgetPeersCommit) {
            return; // none was expected
        }
        let behind = self.ticket.0 - ticket.0;
        let promises = match behind {
            0 => Some(&mut self.turn),
            _ => (self.issued.len() as u64)
                .checked_sub(behind)
                .and_then(|at| self.issued.get_mut(usize::try_from(at).ok()?))
                .map(|(_, promises)| promises),
        };
        promises.expect("a ticket waits for all").unconfirmed -= count;
    }

    /// Acknowledgements of publications are among what is held in the turn at hand, which began then.
    /// False: nothing is held.
    pub(in crate::shard) fn measures(&mut self, read_at: Time) -> bool {
        let holds = !self.turn.connections.is_empty();
        if holds {
            self.turn.read_at.get_or_insert(read_at); // of turns that share a ticket the first
        }
        holds
    }

    /// The records of this turn are appended; the last one is in this frame.
    pub(in crate::shard) fn end_turn(&mut self, last: Lsn) {
        let applied = self.applied.drain(..);
        self.recorded
            .extend(applied.map(|confirmed| (last, confirmed)));
        if self.turn.is_empty() || self.issued.len() >= TICKETS_MAX {
            return; // without room the turns that follow share this one's ticket
        }
        self.issued
            .push_back((last, std::mem::take(&mut self.turn)));
        self.ticket.0 += 1;
    }

    /// Something has happened since the last turn's end that the next one must see.
    pub(in crate::shard) fn wants_turn(&self) -> bool {
        let has_room = self.issued.len() < TICKETS_MAX;
        (has_room && !self.turn.is_empty()) || !self.applied.is_empty()
    }

    /// What may be confirmed, now that frames up to this one are on the disk.
    pub(in crate::shard) fn pop_confirmed(&mut self, durable: Lsn) -> Option<Confirmed> {
        let (lsn, _) = self.recorded.front()?;
        let is_durable = *lsn <= durable;
        let (_, confirmed) = is_durable.then(|| self.recorded.pop_front())??;
        Some(confirmed)
    }

    /// The next ticket that is reached, and the connections with replies held for it.
    pub(in crate::shard) fn pop_reached(&mut self, durable: Lsn) -> Option<Reached> {
        let (lsn, promises) = self.issued.front()?;
        let is_reached = *lsn <= durable && promises.unconfirmed == 0;
        let ticket = Ticket(self.ticket.0 - self.issued.len() as u64);
        let (_, promises) = is_reached.then(|| self.issued.pop_front())??;
        Some(Reached {
            ticket,
            connections: promises.connections,
            read_at: promises.read_at,
        })
    }

    /// Of the turn at hand: all that is held now waits for it, or for one before.
    pub(in crate::shard) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Connections with replies held for tickets up to this one. Some may have ended.
    pub(in crate::shard) fn waiting_for(&self, through: Ticket) -> Vec<ConnectionId> {
        let first = self.ticket.0 - self.issued.len() as u64;
        let issued = (first..=through.0).zip(&self.issued);
        issued
            .flat_map(|(_, (_, promises))| promises.connections.iter().copied())
            .collect()
    }

    /// Tickets that are not reached, the turn's at hand included.
    #[cfg(any(test, feature = "testing"))]
    pub(in crate::shard) fn in_flight(&self) -> usize {
        self.issued.len() + usize::from(!self.turn.is_empty())
    }
}
