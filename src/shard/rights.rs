//! What a session may publish, receive and subscribe to.
//!
//! Without an ACL every check is one load and one branch. With one, a publisher's next message of a
//! topic costs a comparison (see [`Decisions`]), and a burst is decided once.

use std::collections::VecDeque;
use std::sync::Arc;

use super::notices::About;
use super::Shard;
use crate::auth::{Acl, Decisions, Identity, KnownRulings, Names, Rules};
use crate::ids::{ConnectionId, SessionId};
use crate::mqtt::{topic, ReasonCode};
use crate::mutant::{is_on, Mutant};
use crate::time::Time;

/// Whose a session is and what was decided for it. Lives on: its session.
#[derive(Debug, Default)]
pub(super) struct Rights {
    /// Proven user name of who made the session; nobody else may take it over.
    pub(super) user: Option<Arc<str>>,
    /// Rules that came with the proof, in place of the ACL file's.
    acl: Option<Arc<Acl>>,
    published: Decisions,
    received: Decisions,
    /// What the service has said of topics.
    pub(super) rulings: Option<Box<KnownRulings>>,
    /// Version of the rules that were asked.
    asked: u32,
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Publish,
    Receive,
}

/// Sessions whose subscriptions are to be looked at, since the rules have changed.
#[derive(Debug, Default)]
pub(super) struct Recheck {
    sessions: VecDeque<SessionId>,
    /// The rules they were last checked with; `None`: not all with the same.
    before: Option<Arc<Rules>>,
}

/// Subscriptions looked at in one turn.
const TURN_RECHECKS: usize = 1_000;

impl Rights {
    /// A new connection brings its own proof.
    pub(super) fn set(&mut self, identity: &Identity) {
        *self = Self {
            user: identity.user.clone(),
            acl: identity.acl.clone(),
            ..Self::default()
        };
    }

    /// Rules came with the proof.
    pub(super) fn brought_rules(&self) -> bool {
        self.acl.is_some()
    }

    /// What was decided under other rules counts no more.
    fn renew(&mut self, version: u32) {
        if self.asked != version {
            self.asked = version;
            self.published = Decisions::default();
            self.received = Decisions::default();
            self.rulings = None;
        }
    }

    /// What the service has said under these rules.
    pub(super) fn rulings(&self, version: u32) -> Option<&KnownRulings> {
        self.rulings.as_deref().filter(|_| self.asked == version)
    }

    pub(super) fn rulings_mut(
        &mut self,
        version: u32,
        make: impl FnOnce() -> KnownRulings,
    ) -> &mut KnownRulings {
        self.renew(version);
        self.rulings.get_or_insert_with(|| Box::new(make()))
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

impl Shard {
    /// New rules, at start and when files were read again: they hold for whatever comes from now on.
    /// Subscriptions that they no longer allow end within the next turns.
    pub fn handle_rules(&mut self, rules: Arc<Rules>) {
        let before = std::mem::replace(&mut self.rules, rules);
        self.rules_version = self.rules_version.wrapping_add(1);
        // A token or a hook brings rules with a login.
        let may_bring = self.rules.tokens.is_some() || self.rules.hook.is_some();
        let asks = self.rules.acl_hook.is_some();
        self.has_acl |= self.rules.acl.is_some() || may_bring || asks;
        if self.rules.acl.is_some() && self.sessions.len() > 0 {
            let is_first = self.recheck.sessions.is_empty();
            self.recheck = Recheck {
                sessions: self.sessions.ids().into_iter().collect(),
                before: is_first.then_some(before),
            };
        }
    }

    /// May it publish to this topic?
    #[inline]
    pub(super) fn may_publish(&mut self, session: SessionId, topic: &str) -> bool {
        !self.has_acl || self.may(session, topic, Way::Publish)
    }

    /// May it be sent this topic? Asked for each delivery only if the operator wants it.
    #[inline]
    pub(super) fn may_receive(&mut self, session: SessionId, topic: &str) -> bool {
        let allowed = !(self.has_acl && self.rules.acl_check_delivery)
            || is_on(Mutant::DeliverUnreadable)
            || self.may(session, topic, Way::Receive);
        if !allowed {
            self.stats.dropped_not_authorized += 1;
        }
        allowed
    }

    fn may(&mut self, session: SessionId, topic: &str, way: Way) -> bool {
        let Some(hosted) = self.sessions.get_mut(session) else {
            return false;
        };
        let (client, rights) = (&hosted.session.client_id, &mut hosted.rights);
        if !is_on(Mutant::KeepDecisions) {
            rights.renew(self.rules_version);
        }
        rights.may(client, topic, way, &self.rules)
    }

    /// May it subscribe to this filter, shared or not?
    pub(super) fn may_subscribe(&self, session: SessionId, filter: &str) -> bool {
        let hosted = self.sessions.get(session);
        hosted.is_some_and(|hosted| {
            let client = &hosted.session.client_id;
            hosted.rights.may_subscribe(client, filter, &self.rules)
        })
    }

    /// May a client that is about to connect leave a will with this topic?
    pub(super) fn may_leave_will(&self, client_id: &str, who: &Identity, topic: &str) -> bool {
        let names = Names {
            client: client_id,
            user: who.user.as_deref(),
        };
        let acl = who.acl.as_deref().or(self.rules.acl.as_deref());
        !topic::is_reserved(topic) && acl.is_none_or(|acl| acl.may_publish(names, topic))
    }

    /// Whether the session of this client id is another user's.
    pub(super) fn is_of_another(&self, client_id: &str, who: &Identity) -> bool {
        let session = self.by_client_id.get(client_id);
        let hosted = session.and_then(|session| self.sessions.get(*session));
        hosted.is_some_and(|hosted| hosted.rights.user != who.user)
    }

    /// Notes a publication or subscription that the rules do not allow.
    pub(super) fn note_refused(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        (what, topic): (&'static str, &str),
        now: Time,
    ) {
        let client_id = self
            .sessions
            .get(session)
            .map(|h| h.session.client_id.clone());
        let peer = self.connections.get(id).map(|c| c.origin.peer);
        let about = About::refusal(topic, client_id.as_deref(), peer);
        self.notice(&about, now, || {
            format!("not authorized to {what} \"{}\"", topic.escape_debug())
        });
    }

    pub(super) fn has_rechecks(&self) -> bool {
        !self.recheck.sessions.is_empty()
    }

    /// Looks at some of the subscriptions that were made under other rules.
    pub(super) fn advance_rechecks(&mut self, now: Time) {
        let mut left = TURN_RECHECKS;
        while left > 0 {
            let Some(session) = self.recheck.sessions.pop_front() else {
                self.recheck.before = None;
                return;
            };
            let Some(hosted) = self.sessions.get(session) else {
                continue;
            };
            left = left.saturating_sub(1 + hosted.session.subscriptions.len());
            let before = self.recheck.before.as_deref();
            if hosted.rights.are_concerned(before, &self.rules) {
                self.recheck_session(session, now);
            }
        }
    }

    /// A client that is here is disconnected with 0x98: MQTT has no way to tell it that a subscription
    /// has ended, and one that is silently gone would look like one without messages. It finds its
    /// session again, and is told 0x87 when it subscribes again.
    fn recheck_session(&mut self, session: SessionId, now: Time) {
        if is_on(Mutant::KeepForbidden) || !self.end_refused(session, now) {
            return;
        }
        let hosted = self.sessions.get(session);
        if let Some(id) = hosted.and_then(|hosted| hosted.session.connection) {
            let text = "a subscription is no longer allowed";
            self.end_connection(id, Some(ReasonCode::AdministrativeAction), text, now);
        }
    }

    /// Ends the subscriptions of a session that are not allowed any more; true when there were some.
    pub(super) fn end_refused(&mut self, session: SessionId, now: Time) -> bool {
        let Some(hosted) = self.sessions.get(session) else {
            return false;
        };
        let client_id = hosted.session.client_id.clone();
        let filters = hosted.session.subscriptions.keys();
        let mut refused: Vec<_> = filters
            .filter(|filter| !self.may_subscribe(session, filter))
            .cloned()
            .collect();
        if refused.is_empty() {
            return false;
        }
        refused.sort_unstable(); // the same order in every run of a seed
        for filter in &refused {
            self.unsubscribe(session, filter, now);
        }
        self.stats.subscriptions_ended += refused.len() as u64;
        let count = refused.len();
        let about = About::loss("no longer allowed", Some(&client_id), count as u64);
        self.notice(&about, now, || {
            format!("{count} of its subscriptions are no longer allowed and have ended")
        });
        true
    }
}
