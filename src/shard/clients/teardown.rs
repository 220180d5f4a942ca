//! Teardown: close of a connection, detach of its session, end of a session, and shutdown.

use std::rc::Rc;

use crate::ids::{ConnectionId, SessionId};
use crate::mqtt::{encode, Disconnect, ReasonCode};
use crate::mutant::{is_on, Mutant};
use crate::session::StoredWill;
use crate::shard::clients::activity::Ending;
use crate::shard::clients::hold::Hold;
use crate::shard::clients::meters::ClientMeters;
use crate::shard::clients::phase::Phase;
use crate::shard::delivery::message::Message;
use crate::shard::notices::About;
use crate::shard::queries::captures::Captured;
use crate::shard::turn::budget::END;
use crate::shard::turn::timer_key::TimerKey;
use crate::shard::{Action, Shard, SHUTDOWN_STEP};
use crate::time::{Span, Time};

/// How long a closing connection may take to send its last bytes and be closed by the client.
const LINGER: Span = Span::from_secs(2);
/// From the wills to the disconnects of a shutdown: time for the wills to cross shards.
const SHUTDOWN_GRACE: Span = Span::from_millis(100);

/// What becomes of the will when a session is detached from its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum WillFate {
    Publish,
    /// DISCONNECT 0x00 [MQTT-3.14.4-3], or a takeover within the will delay.
    Discard,
}

impl Shard {
    /// Ends a connection for a reason of ours: sends DISCONNECT to a v5 client, detaches its session.
    pub(in crate::shard) fn end_connection(
        &mut self,
        id: ConnectionId,
        reason: Option<ReasonCode>,
        text: &str,
        now: Time,
    ) {
        let connection = self.clients.connection(id);
        if connection.phase == Phase::Closing {
            return; // its end has been reported
        }
        let session = connection.session();
        let peer = connection.origin.peer;
        let client_id = session.map(|session| self.clients.session(session));
        let client_id = client_id.map(|entry| Rc::clone(&entry.session.client_id));
        let about = About::refusal(text, client_id.as_deref(), Some(peer));
        self.notice(&about, now, || format!("disconnected: {text}"));
        self.close_connection(id, reason, text, now);
        if let Some(session) = session {
            self.clients
                .note_ending(session, Ending::Broker(reason), now);
            self.detach(session, WillFate::Publish, now);
        }
    }

    /// Sends a v5 client its DISCONNECT and begins to close. The session is left to the caller.
    pub(in crate::shard) fn close_connection(
        &mut self,
        id: ConnectionId,
        reason: Option<ReasonCode>,
        text: &str,
        now: Time,
    ) {
        self.clients.trace_end(id, text);
        if self.is_captured(id) {
            self.capture(id, Captured::Ends(text.into()), now);
        }
        let connection = self.clients.connection_mut(id);
        connection.outgoing.drop_held();
        connection.end_reason = reason;
        let is_connected = matches!(connection.phase, Phase::Live(_)) && !connection.owes_connack;
        let told = is_connected && connection.version.is_v5(); // [MQTT-3.14.0-1]
                                                               // [MQTT-3.14.2-3]: no reason string if the packet then grows too large for the client.
        let string_fits = text.len() + 32 <= connection.packet_size_max as usize;
        if let (true, Some(reason)) = (told, reason) {
            let reason_string = (!text.is_empty() && string_fits).then_some(text);
            let disconnect = Disconnect {
                reason,
                reason_string,
                ..Disconnect::default()
            };
            self.outbox.stats.disconnects_sent += 1;
            self.clients.reply(id, |out, version| {
                encode::disconnect(out, version, &disconnect)
            });
        }
        self.start_closing(id, now);
    }

    /// Why we end a connection: what a layer below MQTT may send, where 3.1.1 has no reason code.
    #[must_use]
    pub fn end_reason(&self, connection: ConnectionId) -> Option<ReasonCode> {
        self.clients.connections.get(connection)?.end_reason
    }

    /// No further bytes are accepted; what is outgoing is still sent.
    pub(in crate::shard) fn start_closing(&mut self, id: ConnectionId, now: Time) {
        let connection = self.clients.connection_mut(id);
        if connection.phase == Phase::Closing {
            return;
        }
        self.turn.budget.add(END);
        let before = std::mem::replace(&mut connection.phase, Phase::Closing);
        connection.partial = Vec::new();
        connection.outgoing.drop_held(); // it was not promised, and the end waits for no disk
                                         // The driver reports a close only once; a late authorization decision is ignored.
        let waits_for_end = connection.holds.remove(Hold::Decision) && connection.gone.is_some();
        connection.rare.drop_aliases();
        connection.holds.remove(Hold::Authentication);
        connection.holds.remove(Hold::Rate);
        connection.holds.remove(Hold::Disk);
        connection.holds.remove(Hold::Queue);
        connection.holds.remove(Hold::Lane);
        if before.is_half_open() {
            self.admission.half_open.leave(connection.origin.listener);
        }
        ClientMeters::release(connection.rare.take_meters(), &mut self.turn.timers);
        let login = connection.rare.take_login();
        let proof = login.and_then(|login| login.timer);
        for timer in [connection.timer.take(), proof].into_iter().flatten() {
            self.turn.timers.cancel(timer);
        }
        connection.timer = Some(
            self.turn
                .timers
                .insert(now + LINGER, TimerKey::Connection(id)),
        );
        let version = connection.version;
        if matches!(before, Phase::Live(_)) {
            self.clients.live.leave(version);
        }
        self.outbox.actions.push_back(Action::Close(id));
        if waits_for_end {
            self.clients.pause(id, &mut self.turn.budget);
        }
    }

    /// Detaches a session from its connection: will, expiry, shared groups.
    pub(in crate::shard) fn detach(&mut self, session: SessionId, fate: WillFate, now: Time) {
        let entry = self.clients.session_mut(session);
        entry.session.connection = None;
        entry.is_overflowed = false;
        entry.session.window.stop();
        if fate == WillFate::Discard || is_on(Mutant::ForgetWill) {
            entry.session.will = None;
        }
        if !entry.session.is_durable() || is_on(Mutant::SessionEndsEarly) {
            self.end_session(session, now);
            return;
        }
        let expiry = Span::from_secs(u64::from(entry.session.expiry_interval_s));
        let timer = self
            .turn
            .timers
            .insert(now + expiry, TimerKey::Expiry(session));
        entry.expiry_timer = Some(timer);
        match entry
            .session
            .will
            .as_ref()
            .map(|will| will.delay_interval_s)
        {
            None => {}
            Some(0) => self.publish_will(session, now),
            Some(delay_s) => {
                // The session's end publishes it too, if that comes first [MQTT-3.1.2-8].
                let due = now + Span::from_secs(u64::from(delay_s));
                entry.will_timer = Some(self.turn.timers.insert(due, TimerKey::Will(session)));
            }
        }
        self.journal_session(session);
        self.go_away(session);
        self.redispatch_shared(session, false, now);
    }

    /// Discards a session and everything of it; a will still pending is published
    /// [MQTT-3.1.2-8]. The connection is left to the caller.
    pub(in crate::shard) fn end_session(&mut self, session: SessionId, now: Time) {
        self.publish_will(session, now);
        let entry = self.clients.session_mut(session);
        for timer in [entry.expiry_timer.take(), entry.will_timer.take()]
            .into_iter()
            .flatten()
        {
            self.turn.timers.cancel(timer);
        }
        let filters = entry.session.subscriptions.take_filters();
        let member = entry.member;
        self.leave(session, member, filters);
        self.redispatch_shared(session, true, now);
        self.journal_end(session);
        let entry = self.clients.sessions.remove(session);
        let entry = entry.expect("nothing of its end removes a session");
        self.clients.by_client_id.remove(&entry.session.client_id);
        if let Some(member) = entry.member {
            self.clients.members.remove(member);
        }
        self.drop_queue(entry.session);
    }

    /// Publishes and removes the will of a session, if there is one [MQTT-3.1.2-10].
    pub(in crate::shard) fn publish_will(&mut self, session: SessionId, now: Time) {
        let entry = self.clients.session_mut(session);
        if let Some(timer) = entry.will_timer.take() {
            self.turn.timers.cancel(timer);
        }
        let Some(will) = entry.session.will.take() else {
            return;
        };
        self.journal_session(session);
        let entry = self.clients.session_mut(session);
        if !self.access.may_publish(entry, &will.topic) && !is_on(Mutant::WillUnchecked) {
            self.outbox.stats.publications_refused += 1; // the rules have changed since CONNECT
            return;
        }
        self.outbox.stats.wills_published += 1;
        let StoredWill {
            topic,
            payload,
            properties,
            qos,
            retain,
            ..
        } = *will;
        let expires_at = will
            .message_expiry_interval_s
            .map(|expiry_s| now + Span::from_secs(u64::from(expiry_s)));
        let mut message = Message {
            topic: &topic,
            shared_topic: None,
            payload: &payload,
            shared: Some(payload.clone()),
            properties: &properties,
            qos,
            retain,
            expires_at,
            owned: None,
            serial: 0,
            waiter: self.waiter_for_own(qos),
            needs_commit: false,
        };
        self.accept(&mut message, Some(session), now);
    }

    /// The broker stops: wills are published first, while there are clients to receive them; then
    /// v5 clients get a DISCONNECT and all connections are closed.
    pub fn handle_shutdown(&mut self, now: Time) {
        if self.admission.shutdown.is_some() {
            return;
        }
        for session in self.clients.sessions.ids() {
            // A session that outlives the process keeps its will and its delay.
            let expiry_s = self.clients.session(session).session.expiry_interval_s;
            if self.durable.is_none() || expiry_s == 0 {
                self.publish_will(session, now);
            }
        }
        // What has been counted is shown now.
        let counts = self.outbox.notices.take_counts();
        let counts = counts.into_iter().map(Action::Notice);
        self.outbox.actions.extend(counts);
        self.admission.shutdown = Some(now + SHUTDOWN_GRACE);
        if let Some(durable) = self.durable.as_deref_mut() {
            durable.idle_cleaning.end();
        }
        self.turn
            .timers
            .insert(now + SHUTDOWN_GRACE, TimerKey::Shutdown);
    }

    /// The grace of a shutdown is over, or a step of it.
    pub(in crate::shard) fn continue_shutdown(&mut self, now: Time) {
        let kept = usize::from(is_on(Mutant::ForgetShutdown));
        for id in self.clients.connections.ids().into_iter().skip(kept) {
            self.end_connection(
                id,
                Some(ReasonCode::ServerShuttingDown),
                "shutting down",
                now,
            );
        }
        if self.clients.connections.len() > 0 {
            self.turn
                .timers
                .insert(now + SHUTDOWN_STEP, TimerKey::Shutdown);
        }
    }

    /// After [`Shard::handle_shutdown`]: no connection is open and nothing waits for a peer.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.admission.shutdown.is_some()
            && self.clients.connections.len() == 0
            && self.mesh.peers.is_drained()
    }
}
