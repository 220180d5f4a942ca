//! Authorization of a session to publish, receive and subscribe.
//!
//! Without an ACL every check is one load and one branch. With one, a publisher's next message of a
//! topic costs a comparison (see [`Decisions`]), and a burst is decided once.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crate::auth::{Acl, Decisions, Identity, KnownDecisions, Names, Rules};
use crate::ids::{ConnectionId, SessionId};
use crate::mqtt::{topic, ReasonCode};
use crate::mutant::{is_on, Mutant};
use crate::shard::access::Access;
use crate::shard::clients::session_entry::SessionEntry;
use crate::shard::clients::Clients;
use crate::shard::notices::About;
use crate::shard::Shard;
use crate::time::Time;

/// Owner of a session and the authorization decisions cached for it. Lives on: its session.
#[derive(Debug, Default)]
pub(in crate::shard) struct Rights {
    /// Authenticated user name of the session's owner; no other user may take it over.
    pub(in crate::shard) user: Option<Arc<str>>,
    /// ACL that came with the login, in place of the ACL file.
    acl: Option<Arc<Acl>>,
    published: Decisions,
    received: Decisions,
    /// Cached decisions of the authorization service.
    pub(in crate::shard) decisions: Option<Box<KnownDecisions>>,
    /// Version of the rules that `decisions` were made under.
    asked: u32,
}

/// Direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Publish,
    Receive,
}

/// Sessions whose subscriptions are to be rechecked, since the rules have changed.
#[derive(Debug, Default)]
pub(in crate::shard) struct Recheck {
    sessions: VecDeque<SessionId>,
    /// The rules they were last checked with; `None`: not all with the same.
    before: Option<Arc<Rules>>,
}

/// Subscriptions rechecked in one turn.
const TURN_RECHECKS: usize = 1_000;

impl Rights {
    /// A new connection brings its own identity.
    pub(in crate::shard) fn set(&mut self, identity: &Identity) {
        *self = Self {
            user: identity.user.clone(),
            acl: identity.acl.clone(),
            ..Self::default()
        };
    }

    /// An ACL came with the login.
    pub(in crate::shard) fn brought_rules(&self) -> bool {
        self.acl.is_some()
    }

    /// The packet that waited for decisions has been handled.
    pub(in crate::shard) fn forget_latest_decisions(&mut self) {
        if let Some(known) = &mut self.decisions {
            known.forget_latest();
        }
    }

    /// Drops the decisions made under other rules.
    fn reset(&mut self, version: u32) {
        if self.asked != version {
            self.asked = version;
            self.published = Decisions::default();
            self.received = Decisions::default();
            self.decisions = None;
        }
    }

    /// The service's decisions under these rules.
    pub(in crate::shard) fn decisions(&self, version: u32) -> Option<&KnownDecisions> {
        self.decisions.as_deref().filter(|_| self.asked == version)
    }

    pub(in crate::shard) fn decisions_mut(
        &mut self,
        version: u32,
        make: impl FnOnce() -> KnownDecisions,
    ) -> &mut KnownDecisions {
        self.reset(version);
        self.decisions.get_or_insert_with(|| Box::new(make()))
    }

    /// What was decided of this topic under these rules, or is decided now.
    #[inline]
    fn may(&mut self, client: &str, topic: &str, way: Way, rules: &Rules) -> bool {
        let Some(acl) = self.acl.as_deref().or(rules.acl.as_deref()) else {
            return true;
        };
        let names = Names {
            client,
            user: self.user.as_deref(),
        };
        match way {
            Way::Publish => self
                .published
                .get_or(topic, || acl.may_publish(names, topic)),
            Way::Receive => self
                .received
                .get_or(topic, || acl.may_receive(names, topic)),
        }
    }

    /// With a check of each delivery a filter must only reach something that may be read, as long as it
    /// is not shared: a group's message goes to one member, and must not be lost with one that may not
    /// have it.
    fn may_subscribe(&self, client: &str, filter: &str, rules: &Rules) -> bool {
        let Some(acl) = self.acl.as_deref().or(rules.acl.as_deref()) else {
            return true;
        };
        let names = Names {
            client,
            user: self.user.as_deref(),
        };
        match topic::share(filter) {
            Ok(Some(share)) => acl.may_subscribe(names, share.filter),
            _ if rules.acl_check_delivery => acl.may_receive_some(names, filter),
            _ => acl.may_subscribe(names, filter),
        }
    }

    /// Whether what they allow may have changed with the rules: from those `before` (`None`: not known
    /// which) to those `now`.
    fn are_concerned(&self, before: Option<&Rules>, now: &Rules) -> bool {
        let same_check = before.is_some_and(|b| b.acl_check_delivery == now.acl_check_delivery);
        let is_same = match (before.and_then(|before| before.acl.as_ref()), &now.acl) {
            (Some(before), Some(now)) => now.is_same_for(before, self.user.as_deref()),
            _ => false,
        };
        self.acl.is_none() && !(same_check && is_same)
    }
}

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
        let acl = who.acl.as_deref().or(self.rules.acl.as_deref());
        !topic::is_reserved(topic) && acl.is_none_or(|acl| acl.may_publish(names, topic))
    }

    pub(in crate::shard) fn has_rechecks(&self) -> bool {
        !self.recheck.sessions.is_empty()
    }

    /// New rules; `sessions` are those whose subscriptions are to be rechecked.
    fn replace(&mut self, rules: Arc<Rules>, sessions: impl FnOnce() -> Vec<SessionId>) {
        let before = std::mem::replace(&mut self.rules, rules);
        self.rules_version = self.rules_version.wrapping_add(1);
        // A token or a hook brings rules with a login.
        let may_bring = self.rules.tokens.is_some() || self.rules.hook.is_some();
        let asks = self.rules.acl_hook.is_some();
        self.has_acl |= self.rules.acl.is_some() || may_bring || asks;
        let sessions = match self.rules.acl {
            Some(_) => sessions(),
            None => Vec::new(),
        };
        if !sessions.is_empty() {
            let is_first = self.recheck.sessions.is_empty();
            self.recheck = Recheck {
                sessions: sessions.into(),
                before: is_first.then_some(before),
            };
        }
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
    /// New rules, at start and on reload: they hold for all later packets.
    /// Subscriptions that they no longer allow end within the next turns.
    pub fn handle_rules(&mut self, rules: Arc<Rules>) {
        self.access.replace(rules, || self.clients.sessions.ids());
    }

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

    /// Rechecks some of the subscriptions that were made under other rules.
    pub(in crate::shard) fn advance_rechecks(&mut self, now: Time) {
        let mut left = TURN_RECHECKS;
        while left > 0 {
            let Some(session) = self.access.recheck.sessions.pop_front() else {
                self.access.recheck.before = None;
                return;
            };
            let Some(entry) = self.clients.sessions.get(session) else {
                continue; // ended since the rules have changed
            };
            left = left.saturating_sub(1 + entry.session.subscriptions.len());
            let before = self.access.recheck.before.as_deref();
            if entry.rights.are_concerned(before, &self.access.rules) {
                self.recheck_session(session, now);
            }
        }
    }

    /// A connected client is disconnected with 0x98: MQTT has no way to notify it that a subscription
    /// has ended, and one that was silently removed would look like one without messages. It resumes its
    /// session, and gets 0x87 when it subscribes again.
    fn recheck_session(&mut self, session: SessionId, now: Time) {
        if is_on(Mutant::KeepForbidden) || !self.end_refused(session, now) {
            return;
        }
        if let Some(id) = self.clients.session(session).session.connection {
            let text = "a subscription is no longer allowed";
            self.end_connection(id, Some(ReasonCode::AdministrativeAction), text, now);
        }
    }

    /// Ends the subscriptions of a session that are not allowed any more; true when there were some.
    pub(in crate::shard) fn end_refused(&mut self, session: SessionId, now: Time) -> bool {
        let entry = self.clients.session(session);
        let client_id = entry.session.client_id.clone();
        let filters = entry.session.subscriptions.keys();
        let mut refused: Vec<_> = filters
            .filter(|filter| !self.access.may_subscribe(entry, filter))
            .cloned()
            .collect();
        if refused.is_empty() {
            return false;
        }
        refused.sort_unstable(); // the same order in every run of a seed
        for filter in &refused {
            self.unsubscribe(session, filter, now);
        }
        self.outbox.stats.subscriptions_ended += refused.len() as u64;
        let count = refused.len();
        let about = About::loss("no longer allowed", Some(&client_id), count as u64);
        self.notice(&about, now, || {
            format!("{count} of its subscriptions are no longer allowed and have ended")
        });
        true
    }
}
