//! Interest of this shard's sessions in filters: in its own index, and as announced to the other shards.
//!
//! Announced of each filter is whether it has subscribers here, and whether it is durable: whether one of their
//! sessions outlives its connection, and so must not miss what was acknowledged to a publisher. A
//! session is durable or not from CONNECT to the end of its connection: DISCONNECT may end a durable
//! one, and cannot make another durable (section 3.14.2.2.2). So an announcement is outdated only when
//! a session is resumed to end with its new connection; its filters are then announced again, in pieces
//! (see [`leave`](super::leave)). Until then others take them for durable, which is the safe side.

use crate::ids::{MemberId, SessionId};
use crate::mqtt::topic::{self, Share};
use crate::mutant::{is_on, Mutant};
use crate::routing::{Interest, Member, Subscription};
use crate::session::SessionSubscription;
use crate::shard::mesh::block::Control;
use crate::shard::Shard;

impl Shard {
    /// Puts an ordinary subscription into the index.
    pub(in crate::shard) fn index_subscription(
        &mut self,
        session: SessionId,
        filter: &str,
        record: SessionSubscription,
        durable: bool,
    ) {
        let subscription = Subscription {
            options: record.options,
            identifier: record.identifier,
            durable,
        };
        let added = self.routes.index.subscribe(filter, session, subscription);
        self.announce_interest(filter, added.interest);
    }

    /// Makes a session a member of a group, or says how it is a member now.
    pub(in crate::shard) fn join_group(
        &mut self,
        session: SessionId,
        share: &Share<'_>,
        (connected, durable): (bool, bool),
    ) {
        let id = self.clients.member_of(session);
        let member = Member {
            shard: self.id,
            id,
            connected,
            durable,
        };
        self.routes.index.join(share.name, share.filter, member);
        self.mesh.peers.broadcast(|| Control::MemberJoined {
            share: share.name.into(),
            filter: share.filter.into(),
            member: id,
            connected,
            durable,
        });
    }

    /// Takes a subscription out of the index; the session's own record is left to the caller.
    /// `member`: what the session was to shared groups; it may have ended.
    pub(in crate::shard) fn drop_subscription(
        &mut self,
        session: SessionId,
        member: Option<MemberId>,
        filter: &str,
    ) {
        if let (Ok(Some(share)), Some(member)) = (topic::share(filter), member) {
            self.routes
                .index
                .leave(share.name, share.filter, self.id, member);
            self.mesh.peers.broadcast(|| Control::MemberLeft {
                share: share.name.into(),
                filter: share.filter.into(),
                member,
            });
        } else {
            let removed = self.routes.index.unsubscribe(filter, session);
            self.announce_interest(filter, removed.interest);
        }
    }

    /// Whether a session outlives its connection has changed: one of its filters, if it still has it.
    pub(in crate::shard) fn reindex_subscription(&mut self, session: SessionId, filter: &str) {
        let Some(entry) = self.clients.sessions.get(session) else {
            return; // it has ended, and its filters leave
        };
        let Some(record) = entry.session.subscriptions.get(filter).copied() else {
            return;
        };
        let durable = entry.session.is_durable() || is_on(Mutant::KeepDurable);
        debug_assert!(entry.session.connection.is_some(), "or it would have ended");
        match topic::share(filter) {
            Ok(Some(share)) => self.join_group(session, &share, (true, durable)),
            _ => self.index_subscription(session, filter, record, durable),
        }
    }

    /// Peers are notified of a filter only when what all sessions here want of it has changed.
    fn announce_interest(&mut self, filter: &str, changed: Option<Interest>) {
        if let Some(interest) = changed {
            self.mesh.peers.broadcast(|| Control::FilterInterest {
                filter: filter.into(),
                interest,
            });
        }
    }
}

#[cfg(test)]
#[path = "interest_tests.rs"]
mod tests;
