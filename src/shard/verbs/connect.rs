//! CONNECT: identity of the client, its home shard, its session found or new.

use std::num::NonZeroU16;
use std::rc::Rc;

use crate::auth::Identity;
use crate::ids::{ConnectionId, SessionId};
use crate::limits::Limits;
use crate::mqtt::{encode, Connect, ReasonCode, Version, Violation};
use crate::mutant::{is_on, Mutant};
use crate::session::{AliasBounds, AliasesOut};
use crate::shard::access::login::Admission;
use crate::shard::clients::activity::Ending;
use crate::shard::clients::flow::Flow;
use crate::shard::clients::meters::ClientMeters;
use crate::shard::clients::phase::Phase;
use crate::shard::clients::session_entry::SessionEntry;
use crate::shard::clients::teardown::WillFate;
use crate::shard::durable::ledger::outlives_crash;
use crate::shard::notices::{About, Class};
use crate::shard::turn::budget::CONNECT;
use crate::shard::turn::timer_key::TimerKey;
use crate::shard::Shard;
use crate::time::{Span, Time};

/// Random part of an assigned client id, in hex digits.
const ASSIGNED_DIGITS: usize = 16;

impl Shard {
    pub(in crate::shard) fn on_connect(
        &mut self,
        id: ConnectionId,
        connect: &Connect<'_>,
        now: Time,
    ) -> Result<Flow, Violation> {
        if let Some(max) = connect.properties.maximum_packet_size {
            self.clients.limit_packets_to(id, max);
        }
        let checked = self
            .check_policy(id, connect)
            .and_then(|()| self.check_connect(connect));
        if let Err(violation) = checked {
            self.refuse_with(id, connect, violation, now);
            return Ok(Flow::Stop);
        }
        if !connect.client_id.is_empty() {
            let home = self.routes.placement.home(connect.client_id);
            if home != self.id {
                return Ok(Flow::HandOff(home));
            }
        }
        if let Some(flow) = self.served_elsewhere(id, connect, now) {
            return Ok(flow);
        }
        if self.is_banned(id, connect.client_id, None) {
            self.refuse_with(id, connect, Violation::BannedByOperator, now);
            return Ok(Flow::Stop);
        }
        let origin = &self.clients.connection(id).origin;
        let (policy, certified) = (
            self.config.policy(origin.listener),
            origin.identity.as_deref().map(String::as_str),
        );
        match self.access.admission(policy, certified, connect) {
            Admission::Known(who) if self.access.must_ask_will(connect, &who) => {
                Ok(self.await_will(id, connect, who))
            }
            Admission::Known(who) => Ok(self.enter(id, connect, &who, &[], now)),
            Admission::Ask(challenge) => Ok(self.await_proof(id, connect, Some(challenge))),
            Admission::Begin => Ok(self.await_proof(id, connect, None)),
            Admission::Refused(violation) => {
                self.refuse_with(id, connect, violation, now);
                Ok(Flow::Stop)
            }
        }
    }

    /// Gives an authenticated client its session. `data` is the server's final data of an enhanced
    /// authentication.
    pub(in crate::shard) fn enter(
        &mut self,
        id: ConnectionId,
        connect: &Connect<'_>,
        who: &Identity,
        data: &[u8],
        now: Time,
    ) -> Flow {
        let assigned = connect
            .client_id
            .is_empty()
            .then(|| self.assign_client_id());
        let client_id: Rc<str> = assigned.clone().unwrap_or_else(|| connect.client_id.into());
        let checked = self.check_rights(id, &client_id, connect, who);
        if let Err(violation) = checked.and_then(|()| self.check_lane(id, connect, now)) {
            self.refuse_with(id, connect, violation, now);
            return Flow::Stop;
        }
        let granted = Granted::new(connect, self.limits());
        let mut connack = self.connack(id, connect, assigned.as_deref(), &granted);
        let method = connect.properties.authentication_method;
        connack.properties.authentication_method = method; // [MQTT-4.12.0-5]
        connack.properties.authentication_data = Some(data).filter(|data| !data.is_empty());
        if !self.clients.connack_fits(id, connect.version, &connack) {
            let max = self.clients.connection(id).packet_size_max;
            let violation = Violation::ConnAckTooLarge { max };
            self.refuse_named(id, &client_id, connect.version, violation, now);
            return Flow::Stop;
        }
        let needs = (granted.session_expiry_s > 0, connect.will.is_some());
        if let Err(violation) = self.check_disk(&client_id, needs) {
            self.refuse_named(id, &client_id, connect.version, violation, now);
            return Flow::Stop;
        }
        let was_recorded = self.durable.is_some() && self.has_recorded_session(&client_id);
        let taken = self.take_session(id, &client_id, connect, now);
        let Some((session, session_present)) = taken else {
            let max = self.config.own_sessions_max();
            let violation = Violation::SessionsMax { max };
            self.refuse_named(id, &client_id, connect.version, violation, now);
            return Flow::Stop;
        };
        self.clients.session_mut(session).rights.set(who);
        if session_present && self.access.has_acl {
            // Made under other rules, or with a token that allowed more.
            self.end_refused(session, now);
        }
        let stats = &mut self.outbox.stats;
        stats.connects_accepted += 1;
        stats.sessions_created += u64::from(!session_present);
        stats.sessions_resumed += u64::from(session_present);
        let came_at = self.clients.connection(id).last_packet;
        self.outbox.latency.connected(came_at);
        self.turn.budget.add(CONNECT);
        self.attach(id, session, connect, &granted, now);
        self.journal_session(session);
        self.trace_connect(id, (&client_id, connect, who), session_present);
        connack.session_present = session_present;
        if was_recorded || outlives_crash(&self.clients.session(session).session) {
            self.hold_connack(id);
        }
        self.clients
            .reply(id, |out, version| encode::connack(out, version, &connack));
        self.announce_connected(session, true);
        self.pump(session, now);
        Flow::Continue
    }

    /// There is a session of this client that is recorded, and so would its end be.
    pub(in crate::shard) fn has_recorded_session(&self, client_id: &str) -> bool {
        let existing = self.clients.by_client_id.get(client_id);
        existing.is_some_and(|id| outlives_crash(&self.clients.session(*id).session))
    }

    /// What an authenticated client is not authorized to do at all.
    fn check_rights(
        &self,
        id: ConnectionId,
        client_id: &str,
        connect: &Connect<'_>,
        who: &Identity,
    ) -> Result<(), Violation> {
        if self.is_banned(id, client_id, who.user.as_deref()) {
            return Err(Violation::BannedByOperator);
        }
        if self.clients.is_of_another(client_id, who) {
            return Err(Violation::SessionOfAnother);
        }
        match &connect.will {
            Some(will) if !self.access.may_leave_will(client_id, who, will.topic) => {
                Err(Violation::WillNotAuthorized)
            }
            _ => Ok(()),
        }
    }

    /// What the connection's listener allows.
    fn check_policy(&self, id: ConnectionId, connect: &Connect<'_>) -> Result<(), Violation> {
        let connection = self.clients.connection(id);
        let policy = self.config.policy(connection.origin.listener);
        if !policy.versions.contains(connect.version) {
            return Err(Violation::VersionNotTaken);
        }
        match &connect.will {
            Some(will) if will.qos > policy.qos_max => Err(Violation::WillQosTooHigh {
                qos: will.qos as u8,
                max: policy.qos_max as u8,
            }),
            _ => Ok(()),
        }
    }

    /// Checks that need no session: client id, will, pressure and shutdown.
    fn check_connect(&mut self, connect: &Connect<'_>) -> Result<(), Violation> {
        let limits = &self.config.limits;
        if connect.client_id.is_empty() {
            match connect.version {
                Version::V31 => return Err(Violation::ClientIdEmptyV31),
                Version::V311 if !connect.clean_start => return Err(Violation::ClientIdEmpty),
                _ => {}
            }
        }
        let (length, max) = (
            connect.client_id.len(),
            usize::from(limits.client_id_bytes_max),
        );
        if length > max {
            return Err(Violation::ClientIdTooLong {
                length: length as u32,
                max: max as u32,
            });
        }
        if let Some(will) = &connect.will {
            if will.retain && connect.version.is_v5() && !limits.retains() {
                return Err(Violation::WillRetainNotSupported);
            }
            let max = usize::from(limits.topic_levels_max);
            let levels = crate::mqtt::topic::levels(will.topic);
            if levels > max {
                return Err(Violation::WillTopicTooDeep {
                    levels: levels as u32,
                    max: max as u32,
                });
            }
        }
        self.admission
            .refuse_under_pressure(&mut self.outbox.stats)?;
        if self.admission.shutdown.is_some() {
            return Err(Violation::Stopping);
        }
        Ok(())
    }

    /// A client id that no session has, whose home is this shard [MQTT-3.2.2-16].
    fn assign_client_id(&mut self) -> Rc<str> {
        loop {
            let name = format!(
                "auto-{:0width$x}",
                self.clients.random.draw(),
                width = ASSIGNED_DIGITS
            );
            if self.routes.placement.home(&name) == self.id
                && self.may_assign(&name)
                && !self.clients.by_client_id.contains_key(&*name)
            {
                return name.into();
            }
        }
    }

    /// The client's session, found or new, and whether it was found. Takes it over from a live
    /// connection. `None`: there is no room for another session.
    fn take_session(
        &mut self,
        id: ConnectionId,
        client_id: &Rc<str>,
        connect: &Connect<'_>,
        now: Time,
    ) -> Option<(SessionId, bool)> {
        if let Some(existing) = self.clients.by_client_id.get(client_id).copied() {
            self.take_over(existing, id, connect.clean_start, now);
            self.end_if_expired(existing, now);
        }
        // Looked up again: a takeover ends a session that was not to outlive its connection.
        if let Some(existing) = self.clients.by_client_id.get(client_id).copied() {
            // One that was to end with its connection ended with the process, if its will is still to come.
            let has_ended = !self.clients.session(existing).session.is_durable();
            let resumes = !connect.clean_start || is_on(Mutant::CleanStartResumes);
            if resumes && !has_ended {
                self.publish_undelayed_will(existing, now);
                return Some((existing, true)); // [MQTT-3.1.2-5]
            }
            self.end_session(existing, now); // [MQTT-3.1.2-4]
        }
        if self.clients.by_client_id.len() >= self.config.own_sessions_max() as usize {
            return None;
        }
        let entry = SessionEntry::of_new(client_id, &self.config);
        let session = self.clients.sessions.insert(entry);
        self.clients
            .by_client_id
            .insert(Rc::clone(client_id), session);
        Some((session, false))
    }

    /// Ends the live connection of a session, if there is one [MQTT-3.1.4-3].
    fn take_over(&mut self, session: SessionId, by: ConnectionId, clean_start: bool, now: Time) {
        let entry = self.clients.session_mut(session);
        let Some(old) = entry.session.connection else {
            return;
        };
        self.outbox.stats.takeovers += 1;
        // A will with a delay is not sent when the session continues [MQTT-3.1.3-9].
        let delayed = entry
            .session
            .will
            .as_ref()
            .is_some_and(|will| will.delay_interval_s > 0);
        let has_more = !clean_start && entry.session.is_durable();
        let fate = if delayed && has_more {
            WillFate::Discard
        } else {
            WillFate::Publish
        };
        self.note_takeover(session, old, by, now);
        let reason = Some(ReasonCode::SessionTakenOver);
        self.close_connection(old, reason, "taken over", now);
        self.clients
            .note_ending(session, Ending::Broker(reason), now);
        self.detach(session, fate, now);
    }

    /// Two clients with one client id take over from each other endlessly: the addresses identify them.
    fn note_takeover(
        &mut self,
        session: SessionId,
        old: ConnectionId,
        by: ConnectionId,
        now: Time,
    ) {
        let client_id = Rc::clone(&self.clients.session(session).session.client_id);
        let peer_of = |id| self.clients.connection(id).origin.peer;
        let (old, by) = (peer_of(old), peer_of(by));
        let about = About {
            class: Class::Takeover,
            peer: Some(by),
            ..About::loss("", Some(&client_id), 1)
        };
        self.notice(&about, now, || {
            format!(
                "session taken over: the connection from {old} ends because a client with the same \
                 id has connected"
            )
        });
    }

    /// Joins connection and session: limits, timers, will.
    fn attach(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        connect: &Connect<'_>,
        granted: &Granted,
        now: Time,
    ) {
        if is_on(Mutant::WillNotCancelled) {
            self.publish_will(session, now);
        }
        let limits = self.config.limits.clone();
        let hash_seed = self.config.hash_seed;
        let client_id = &self.clients.session(session).session.client_id;
        let pace = self.config.terms(client_id).messages_per_s;
        let properties = &connect.properties;
        let is_sensor = self.clients.connection(id).origin.keeps_will;
        let keeps_will = self.durable.is_some() && is_sensor;
        let entry = self.clients.session_mut(session);
        for timer in [entry.expiry_timer.take(), entry.will_timer.take()]
            .into_iter()
            .flatten()
        {
            self.turn.timers.cancel(timer);
        }
        entry.begin(id, is_sensor);
        let was_durable = entry.session.is_durable();
        entry.session.expiry_interval_s = granted.session_expiry_s;
        let is_less_durable = was_durable && !entry.session.is_durable();
        entry.set_will(connect, keeps_will);
        let receive_maximum = properties.receive_maximum.map_or(u16::MAX, NonZeroU16::get);
        entry
            .session
            .window
            .start(receive_maximum.min(limits.outgoing_window_max).max(1));
        if is_less_durable {
            self.leave_durable(session);
        }

        self.clients.live.enter(connect.version);
        let connection = self.clients.connection_mut(id);
        let before = std::mem::replace(&mut connection.phase, Phase::Live(session));
        if before.is_half_open() {
            self.admission.half_open.leave(connection.origin.listener);
        }
        let metering = self.admission.metering.as_ref();
        let limits_it = metering.is_some_and(|m| m.limits(connection.origin.listener));
        connection.rare.set_meters(match pace {
            Some(per_s) => Some(Box::new(ClientMeters::paced(per_s))),
            None => limits_it.then(Box::default),
        });
        connection.version = connect.version;
        connection.is_bridge = connect.is_bridge;
        connection.problem_information = properties.request_problem_information.unwrap_or(true);
        let announced = properties.topic_alias_maximum.unwrap_or(0);
        let aliases = AliasBounds {
            maximum: announced.min(limits.topic_alias_outgoing_max),
            bytes_max: limits.topic_alias_bytes_max,
        };
        let aliases_out =
            (aliases.maximum > 0).then(|| Box::new(AliasesOut::new(aliases, hash_seed)));
        connection.rare.set_aliases_out(aliases_out);
        connection.silence_max = Span(u64::from(granted.keep_alive_s) * 1_500_000_000);
        if let Some(timer) = connection.timer.take() {
            self.turn.timers.cancel(timer);
        }
        if connection.silence_max > Span::ZERO {
            let due = now + connection.silence_max;
            connection.timer = Some(self.turn.timers.insert(due, TimerKey::Connection(id)));
        }
    }
}

/// What the broker grants of what a CONNECT asks.
pub(in crate::shard) struct Granted {
    pub(in crate::shard) asked_s: u32,
    pub(in crate::shard) session_expiry_s: u32,
    pub(in crate::shard) keep_alive_s: u16,
}

impl Granted {
    /// v3 without Clean Session asks for a session that never expires; `session_expiry_max_s` caps it.
    fn new(connect: &Connect<'_>, limits: &Limits) -> Self {
        let asked_s = match connect.version {
            Version::V5 => connect.properties.session_expiry_interval_s.unwrap_or(0),
            _ if connect.clean_start => 0,
            _ => u32::MAX,
        };
        let session_expiry_s = asked_s.min(limits.session_expiry_max_s);
        let keep_alive_s = match limits.keep_alive_max_s {
            Some(max) if connect.keep_alive_s == 0 || connect.keep_alive_s > max => max,
            _ => connect.keep_alive_s,
        };
        Self {
            asked_s,
            session_expiry_s,
            keep_alive_s,
        }
    }
}
