//! Removal of the filters of ended sessions from the index, in pieces; and what else concerns all filters of a
//! session.
//!
//! A session may have ten thousand filters, and very many sessions may end at once: when a network
//! fails, or because an attacker wants the shard to stall. A session's end itself is done at once:
//! no lookup finds it any more, and what its filters still match finds no subscriber. Its filters are
//! taken out of the index, and out of those of the other shards, within the next turns. The
//! shared groups of disconnected sessions are notified in the same way, and the filters of a session that is
//! not durable any more are announced again.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::ids::{MemberId, SessionId};
use crate::session::{Queue, Session};
use crate::shard::turn::budget::{ANNOUNCE, COPIED_BYTES, UNLINK};
use crate::shard::Shard;

/// Filters of one session that leave within the turn of its end, if the turn's budget allows.
const AT_ONCE: usize = 32;
/// A turn removes at least one part in so many of what waits: what ends in a turn may be more than a turn's
/// budget.
const TURNS: usize = 128;

/// Messages of ended sessions that a turn drops.
const DROPPED: usize = 4_096;

/// A session that has ended, or is not durable any more, and its filters that are still in the index as they
/// were, the last one first.
#[derive(Debug)]
struct Leaver {
    session: SessionId,
    member: Option<MemberId>,
    has_ended: bool,
    filters: Vec<Rc<str>>,
    is_sorted: bool,
}

/// Lives on: each shard its own. Bounded by what sessions held, and by [`TURNS`].
#[derive(Debug, Default)]
pub(in crate::shard) struct Leaving {
    sessions: VecDeque<Leaver>,
    /// Of all of them.
    filters: usize,
    /// Sessions in many groups that have lost their connection.
    away: VecDeque<SessionId>,
    /// Of sessions that have ended with many messages.
    queues: Vec<Queue>,
    /// Work of the last piece and the budget it had, for the audit.
    pub(in crate::shard) last: (usize, usize),
}

impl Leaving {
    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.away.is_empty() && self.queues.is_empty()
    }

    /// What waited for sessions that have ended is being dropped.
    pub(in crate::shard) fn has_queues(&self) -> bool {
        !self.queues.is_empty()
    }

    /// Filters that have not left yet.
    #[cfg(test)]
    pub(in crate::shard) fn filters(&self) -> usize {
        self.filters
    }
}

impl Shard {
    /// The filters of a session that ends leave the index, now or within the next turns.
    pub(in crate::shard) fn leave(
        &mut self,
        session: SessionId,
        member: Option<MemberId>,
        mut filters: Vec<Rc<str>>,
    ) {
        if filters.len() <= AT_ONCE && !self.turn.budget.is_exhausted() {
            filters.sort_unstable(); // the same order in every run of a seed
            for filter in &filters {
                self.turn.budget.add(unlink_work(filter));
                self.drop_subscription(session, member, filter);
            }
            return;
        }
        self.later(session, member, true, filters);
    }

    /// A session that was durable is to end with its connection from now on: others learn of it within the
    /// next turns.
    pub(in crate::shard) fn leave_durable(&mut self, session: SessionId) {
        let entry = self.clients.session(session);
        let filters: Vec<_> = entry.session.subscriptions.keys().cloned().collect();
        if !filters.is_empty() {
            self.later(session, None, false, filters);
        }
    }

    fn later(
        &mut self,
        session: SessionId,
        member: Option<MemberId>,
        has_ended: bool,
        filters: Vec<Rc<str>>,
    ) {
        self.clients.leaving.filters += filters.len();
        self.clients.leaving.sessions.push_back(Leaver {
            session,
            member,
            has_ended,
            filters,
            is_sorted: false,
        });
    }

    /// A session has lost its connection: its shared groups are notified, now or within the next turns.
    pub(in crate::shard) fn go_away(&mut self, session: SessionId) {
        let entry = self.clients.session(session);
        if entry.member.is_none() {
            return;
        }
        if entry.session.subscriptions.len() <= AT_ONCE && !self.turn.budget.is_exhausted() {
            self.announce_connected(session, false);
        } else {
            self.clients.leaving.away.push_back(session);
        }
    }

    /// What waits for a session that has ended is dropped, now or within the next turns: millions of messages may.
    pub(in crate::shard) fn drop_queue(&mut self, mut session: Session) {
        let queue = std::mem::take(&mut session.queue);
        if queue.len() > DROPPED {
            self.clients.leaving.queues.push(queue);
        }
    }

    pub(in crate::shard) fn has_leaving(&self) -> bool {
        !self.clients.leaving.is_empty() && !self.mesh.peers.control_is_full()
    }

    /// At the end of a turn: the next piece.
    pub(in crate::shard) fn advance_leaving(&mut self) {
        if self.clients.leaving.is_empty() {
            return;
        }
        let usual = self.turn.budget.measure() / 2;
        let measure = usual
            .max(self.clients.leaving.filters / TURNS * UNLINK)
            .max(1);
        self.turn.budget.reset();
        while self.turn.budget.done() < measure && !self.mesh.peers.control_is_full() {
            if !self.leave_one() && !self.tell_one_away() {
                break;
            }
        }
        self.clients.leaving.last = (self.turn.budget.done(), measure);
        self.turn.budget.reset();
        let queues = &mut self.clients.leaving.queues;
        if let Some(queue) = queues.last_mut() {
            queue.shorten(DROPPED);
            queues.pop_if(|queue| queue.is_empty());
        }
    }

    /// One filter leaves; false when none is left.
    fn leave_one(&mut self) -> bool {
        let Some(leaver) = self.clients.leaving.sessions.front_mut() else {
            return false;
        };
        if !leaver.is_sorted {
            // The same order in every run of a seed.
            leaver.filters.sort_unstable_by(|one, other| other.cmp(one));
            leaver.is_sorted = true;
            self.turn.budget.add(leaver.filters.len());
        }
        let (session, member, has_ended) = (leaver.session, leaver.member, leaver.has_ended);
        let Some(filter) = leaver.filters.pop() else {
            self.clients.leaving.sessions.pop_front();
            return true;
        };
        self.clients.leaving.filters -= 1;
        self.turn.budget.add(unlink_work(&filter));
        match has_ended {
            true => self.drop_subscription(session, member, &filter),
            false => self.reindex_subscription(session, &filter),
        }
        true
    }

    /// Notifies the groups of one session whether it is connected; false when no session waits.
    fn tell_one_away(&mut self) -> bool {
        let Some(session) = self.clients.leaving.away.pop_front() else {
            return false;
        };
        // It may have ended, and its filters leave for themselves.
        if let Some(entry) = self.clients.sessions.get(session) {
            let connected = entry.session.connection.is_some(); // it may have connected again
            self.announce_connected(session, connected);
        }
        true
    }

    /// Notifies all shards whether a member of shared groups can receive now.
    pub(in crate::shard) fn announce_connected(&mut self, session: SessionId, connected: bool) {
        let entry = self.clients.session(session);
        let Some(member) = entry.member else {
            return;
        };
        self.turn
            .budget
            .add(entry.session.subscriptions.len() * ANNOUNCE);
        self.routes.index.set_connected(self.id, member, connected);
        self.mesh
            .peers
            .broadcast(|| crate::shard::mesh::block::Control::MemberConnected {
                member,
                connected,
            });
    }
}

fn unlink_work(filter: &str) -> usize {
    UNLINK + filter.len() / COPIED_BYTES
}

#[cfg(test)]
#[path = "leave_tests.rs"]
mod tests;
