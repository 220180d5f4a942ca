//! Authorization decisions of a service about topics; the packets that need them wait.
//!
//! ```text
//! PUBLISH, SUBSCRIBE, will ─┬─ the ACL refuses it ─────────────────► as without a service
//!                           ├─ a decision is known and still counts ─► at once
//!                           └─ Action::Authorize ─► AuthzDecisions ───────► the packet again
//! ```
//!
//! The packet stays where the start of a packet is kept, and the connection is not read meanwhile, so
//! each has at most one request outstanding, and order is kept. Other connections are served meanwhile.

use std::sync::Arc;

use crate::auth::{
    self, without_repeats, AuthzDecision, AuthzDecisions, Identity, KnownDecisions, Request,
};
use crate::ids::{ConnectionId, SessionId};
use crate::mqtt::{topic, Connect, Subscribe, Violation};
use crate::shard::access::login_state::Login;
use crate::shard::access::Access;
use crate::shard::clients::flow::Flow;
use crate::shard::clients::hold::Hold;
use crate::shard::clients::phase::Phase;
use crate::shard::clients::session_entry::SessionEntry;
use crate::shard::{Action, Shard};
use crate::time::Time;

/// Authorization of a client for a topic, as far as it is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Authorization {
    Allowed,
    Denied,
    /// The service is down.
    Unavailable,
    /// The service has to be asked.
    Pending,
}

impl From<AuthzDecision> for Authorization {
    fn from(decision: AuthzDecision) -> Self {
        match decision {
            AuthzDecision::Allowed => Self::Allowed,
            AuthzDecision::Refused => Self::Denied,
            AuthzDecision::Unavailable => Self::Unavailable,
        }
    }
}

/// A will that awaits authorization: its client and its topic.
struct AskedWill {
    client_id: Box<str>,
    topic: Box<str>,
}

impl AskedWill {
    fn of(connect: &Connect<'_>) -> Option<Self> {
        let will = connect.will.as_ref()?;
        Some(Self {
            client_id: connect.client_id.into(),
            topic: will.topic.into(),
        })
    }
}

impl Access {
    /// Authorization to publish to a topic, where it needs no look at the client.
    #[inline]
    pub(in crate::shard) fn right_of_all(&self, topic: &str) -> Option<Authorization> {
        if topic::is_reserved(topic) {
            return Some(Authorization::Denied);
        }
        (!self.has_acl).then_some(Authorization::Allowed)
    }

    /// Whether a client may publish to this topic.
    #[inline]
    pub(in crate::shard) fn right_to_publish(
        &self,
        entry: &mut SessionEntry,
        topic: &str,
        now: Time,
    ) -> Authorization {
        if let Some(right) = self.right_of_all(topic) {
            return right;
        }
        if !self.may_publish(entry, topic) {
            return Authorization::Denied;
        }
        if self.rules.acl_hook.is_none() {
            return Authorization::Allowed;
        }
        let right = self.decision_on(entry, auth::Access::Publish, topic, now);
        if right != Authorization::Pending {
            entry.rights.forget_latest_decisions();
        }
        right
    }

    /// Whether a client may subscribe to this filter, shared or not.
    pub(in crate::shard) fn right_to_subscribe(
        &self,
        entry: &SessionEntry,
        filter: &str,
        now: Time,
    ) -> Authorization {
        if !self.has_acl {
            return Authorization::Allowed;
        }
        if !self.may_subscribe(entry, filter) {
            return Authorization::Denied;
        }
        if self.rules.acl_hook.is_none() {
            return Authorization::Allowed;
        }
        self.decision_on(entry, auth::Access::Subscribe, behind_group(filter), now)
    }

    /// The service's decision on a topic, if it is cached and still valid.
    fn decision_on(
        &self,
        entry: &SessionEntry,
        access: auth::Access,
        topic: &str,
        now: Time,
    ) -> Authorization {
        if entry.rights.brought_rules() {
            return Authorization::Allowed; // the ACL that came with the login has allowed it
        }
        let known = entry.rights.decisions(self.rules_version);
        let decision = known.and_then(|known| known.get(access, topic, now));
        decision.map_or(Authorization::Pending, Authorization::from)
    }

    /// The filters of a SUBSCRIBE, if the service has to be asked about one of them. All that the ACL
    /// does not refuse, so that no other answer can be outdated when the last one comes.
    pub(in crate::shard) fn filters_to_ask(
        &self,
        entry: &SessionEntry,
        subscribe: &Subscribe<'_>,
        now: Time,
    ) -> Option<Vec<Box<str>>> {
        self.rules.acl_hook.as_ref()?;
        let filters = || {
            let filters = subscribe.filters.iter().map(|(filter, _)| filter);
            filters.filter(|filter| topic::check_filter(filter).is_ok())
        };
        let right = |filter: &&str| self.right_to_subscribe(entry, filter, now);
        if !filters().any(|filter| right(&filter) == Authorization::Pending) {
            return None;
        }
        let asked = filters().filter(|filter| right(filter) != Authorization::Denied);
        Some(without_repeats(asked.map(behind_group)))
    }

    /// Whether the service has to be asked about the will of a client that is about to connect.
    pub(in crate::shard) fn must_ask_will(&self, connect: &Connect<'_>, who: &Identity) -> bool {
        let will = connect.will.as_ref();
        self.rules.acl_hook.is_some()
            && who.acl.is_none()
            // What the ACL refuses is refused without asking.
            && will.is_some_and(|will| self.may_leave_will(connect.client_id, who, will.topic))
    }
}

impl Shard {
    /// Asks the service; the packet is handled again when it has answered.
    pub(in crate::shard) fn ask_decisions(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        access: auth::Access,
        topics: Vec<Box<str>>,
    ) -> Flow {
        let entry = self.clients.session(session);
        let client_id = entry.session.client_id.as_ref().into();
        let user = entry.rights.user.clone();
        self.authorize(id, client_id, user, (access, topics));
        Flow::Wait
    }

    /// Requests a decision; the connection is not read until it arrives.
    fn authorize(
        &mut self,
        id: ConnectionId,
        client_id: Box<str>,
        user: Option<Arc<str>>,
        (access, topics): (auth::Access, Vec<Box<str>>),
    ) {
        let connection = self.clients.connection_mut(id);
        connection.holds.insert(Hold::Decision);
        self.outbox.stats.authz_requested += 1;
        let request = Request {
            client_id,
            user,
            address: connection.origin.peer.ip(),
            access,
            topics,
        };
        let action = Action::Authorize(id, Box::new(request));
        self.outbox.actions.push_back(action);
    }

    /// The answer to an [`Action::Authorize`].
    pub fn handle_authorized(&mut self, id: ConnectionId, decisions: AuthzDecisions, now: Time) {
        let Some(connection) = self.clients.connections.get_mut(id) else {
            return; // closed meanwhile
        };
        if !connection.holds.remove(Hold::Decision) {
            return; // it has ended meanwhile
        }
        connection.last_packet = now; // it was not read because of us
        match connection.phase {
            Phase::Live(session) => {
                let (seed, version) = (self.config.hash_seed, self.access.rules_version);
                let rights = &mut self.clients.session_mut(session).rights;
                let known = rights.decisions_mut(version, || KnownDecisions::new(seed));
                known.put(decisions, now);
            }
            Phase::Authenticating => self.will_decided(id, &decisions, now),
            Phase::AwaitLayers | Phase::AwaitConnect | Phase::Closing => {}
        }
        self.resume_if_decided(id);
    }

    /// Packets behind the one that waited are handled when the turn ends.
    pub(in crate::shard) fn resume_if_decided(&mut self, id: ConnectionId) {
        let connection = self.clients.connection(id);
        let holds = connection.holds;
        if !(connection.partial.is_empty()
            || holds.contains(Hold::NextTurn)
            || holds.keeps_packets())
        {
            self.clients.pause(id, &mut self.turn.budget);
        }
    }

    /// Continues a CONNECT that was kept, unless its will has to be asked about first.
    pub(in crate::shard) fn connect_proven(
        &mut self,
        id: ConnectionId,
        who: Identity,
        data: Vec<u8>,
        now: Time,
    ) {
        let login = self.clients.connection(id).rare.get().login.as_ref();
        let connect = login.and_then(|login| login.pending());
        let asked = connect.filter(|connect| self.access.must_ask_will(connect, &who));
        if let Some(will) = asked.and_then(|connect| AskedWill::of(&connect)) {
            self.ask_will(id, will, who, data);
            return;
        }
        self.connect_with_will(id, &who, &data, now);
    }

    /// Keeps a CONNECT until it is known whether its will is allowed.
    pub(in crate::shard) fn await_will(
        &mut self,
        id: ConnectionId,
        connect: &Connect<'_>,
        who: Identity,
    ) -> Flow {
        let connection = self.clients.connection_mut(id);
        connection.phase = Phase::Authenticating;
        connection.version = connect.version;
        connection.rare.make().login = Some(Box::new(Login::proven(connect)));
        if let Some(will) = AskedWill::of(connect) {
            self.ask_will(id, will, who, Vec::new());
        }
        Flow::Continue
    }

    /// Asks about the will of a CONNECT that is kept.
    fn ask_will(&mut self, id: ConnectionId, will: AskedWill, who: Identity, data: Vec<u8>) {
        let connection = self.clients.connection_mut(id);
        let user = who.user.clone();
        if let Some(login) = connection.rare.login_mut() {
            login.proof = Some(Box::new((who, data)));
        }
        let asked = (auth::Access::Publish, vec![will.topic]);
        self.authorize(id, will.client_id, user, asked);
    }

    /// A CONNECT continues, or is refused because its will is not authorized.
    fn will_decided(&mut self, id: ConnectionId, decisions: &AuthzDecisions, now: Time) {
        let connection = self.clients.connection_mut(id);
        let login = connection.rare.login_mut();
        let Some(proof) = login.and_then(|login| login.proof.take()) else {
            return;
        };
        let (who, data) = *proof;
        let violation = match decisions.of.first() {
            Some((_, AuthzDecision::Allowed)) => {
                self.connect_with_will(id, &who, &data, now);
                return;
            }
            Some((_, AuthzDecision::Unavailable)) => Violation::WillNotDecided,
            _ => Violation::WillNotAuthorized,
        };
        self.refuse_login(id, violation, &violation.to_string(), now);
    }
}

/// The topic filter of a shared subscription without its group: authorization is for it.
fn behind_group(filter: &str) -> &str {
    match topic::share(filter) {
        Ok(Some(share)) => share.filter,
        _ => filter,
    }
}
