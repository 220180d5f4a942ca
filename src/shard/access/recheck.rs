//! Rechecks: subscriptions that were made under other rules end when the new ones do not allow them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::auth::Rules;
use crate::ids::SessionId;
use crate::mqtt::ReasonCode;
use crate::mutant::{is_on, Mutant};
use crate::shard::access::Access;
use crate::shard::notices::About;
use crate::shard::Shard;
use crate::time::Time;

/// Sessions whose subscriptions are to be rechecked, since the rules have changed.
#[derive(Debug, Default)]
pub(in crate::shard) struct Recheck {
    sessions: VecDeque<SessionId>,
    /// The rules they were last checked with; `None`: not all with the same.
    before: Option<Arc<Rules>>,
}

/// Subscriptions rechecked in one turn.
const TURN_RECHECKS: usize = 1_000;

impl Access {
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
        self.has_acl |= self.rules.has_acl() || may_bring || asks;
        let sessions = match self.rules.has_acl() {
            true => sessions(),
            false => Vec::new(),
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

impl Shard {
    /// New rules, at start and on reload: they hold for all later packets.
    /// Subscriptions that they no longer allow end within the next turns.
    pub fn handle_rules(&mut self, rules: Arc<Rules>) {
        self.access.replace(rules, || self.clients.sessions.ids());
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
    pub(in crate::shard) fn recheck_session(&mut self, session: SessionId, now: Time) {
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
