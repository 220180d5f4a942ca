//! Authorization of a session to publish, receive and subscribe.
//!
//! Without an ACL every check is one load and one branch. With one, a publisher's next message of a
//! topic costs a comparison (see [`Decisions`](crate::auth::Decisions)), and a burst is decided once.

use std::rc::Rc;

use crate::auth::{Identity, Names};
use crate::ids::{ConnectionId, SessionId};
use crate::mqtt::topic;
use crate::mutant::{is_on, Mutant};
use crate::shard::access::rights::Way;
use crate::shard::access::Access;
use crate::shard::clients::session_entry::SessionEntry;
use crate::shard::clients::Clients;
use crate::shard::notices::About;
use crate::shard::Shard;
use crate::time::Time;

impl Access {
    /// May it publish to this topic?
    #[inline]
    pub(in crate::shard) fn may_publish(&self, entry: &mut SessionEntry, topic: &str) -> bool {
        !self.has_acl || self.may(entry, topic, Way::Publish)
    }

    /// Each delivery is checked.
    #[inline]
    fn checks_delivery(&self) -> bool {
        self.has_acl && self.rules.acl_check_delivery && !is_on(Mutant::DeliverUnreadable)
    }

    fn may(&self, entry: &mut SessionEntry, topic: &str, way: Way) -> bool {
        let (client, rights) = (&entry.session.client_id, &mut entry.rights);
        if !is_on(Mutant::KeepDecisions) {
            rights.reset(self.rules_version);
        }
        rights.may(client, topic, way, &self.rules)
    }

    /// May it subscribe to this filter, shared or not?
    pub(in crate::shard) fn may_subscribe(&self, entry: &SessionEntry, filter: &str) -> bool {
        let client = &entry.session.client_id;
        entry.rights.may_subscribe(client, filter, &self.rules)
    }

    /// May a client that is about to connect leave a will with this topic?
    pub(in crate::shard) fn may_leave_will(
        &self,
        client_id: &str,
        who: &Identity,
        topic: &str,
    ) -> bool {
        let names = Names {
            client: client_id,
            user: who.user.as_deref(),
        };
        let file = who.acl_file.as_deref();
        let of_file = || self.rules.acl_of(file).map(|acl| &**acl);
        let acl = who.acl.as_deref().or_else(of_file);
        !topic::is_reserved(topic) && acl.is_none_or(|acl| acl.may_publish(names, topic))
    }
}

impl Shard {
    /// Whether an operator has banned the client of a connection; its user, once it is known.
    pub(in crate::shard) fn is_banned(
        &self,
        id: ConnectionId,
        client_id: &str,
        user: Option<&str>,
    ) -> bool {
        let address = |id| self.clients.connection(id).origin.peer.ip();
        let bans = self.access.bans.as_ref();
        bans.is_some_and(|bans| bans.has(client_id, user, address(id)))
    }
}

impl Clients {
    /// Whether the session of this client id is another user's.
    pub(in crate::shard) fn is_of_another(&self, client_id: &str, who: &Identity) -> bool {
        let session = self.by_client_id.get(client_id);
        session.is_some_and(|session| self.session(*session).rights.user != who.user)
    }
}

impl Shard {
    /// May it be sent this topic? Asked for each delivery only if the operator wants it.
    #[inline]
    pub(in crate::shard) fn may_receive(&mut self, session: SessionId, topic: &str) -> bool {
        let allowed = !self.access.checks_delivery()
            || self.clients.sessions.get_mut(session).is_some_and(|entry| {
                // One that has ended may have filters in the index for some turns.
                self.access.may(entry, topic, Way::Receive)
            });
        if !allowed {
            self.outbox.stats.dropped_not_authorized += 1;
        }
        allowed
    }

    /// Notes a publication or subscription that the rules do not allow.
    pub(in crate::shard) fn note_refused(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        (what, topic): (&'static str, &str),
        now: Time,
    ) {
        let client_id = Rc::clone(&self.clients.session(session).session.client_id);
        let peer = self.clients.connection(id).origin.peer;
        let about = About::refusal(topic, Some(&client_id), Some(peer));
        self.notice(&about, now, || {
            format!("not authorized to {what} \"{}\"", topic.escape_debug())
        });
    }
}
