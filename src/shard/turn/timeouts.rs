//! Timeouts: handling of the timers that fire.

use crate::ids::{ConnectionId, SessionId};
use crate::mqtt::ReasonCode;
use crate::mutant::{is_on, Mutant};
use crate::shard::clients::heard::{Deadline, LOOK_AGAIN};
use crate::shard::clients::hold::Hold;
use crate::shard::clients::phase::Phase;
use crate::shard::notices::About;
use crate::shard::turn::budget::TIMER;
use crate::shard::turn::timer_key::TimerKey;
use crate::shard::{Action, Shard};
use crate::time::{Span, Time};

impl Shard {
    /// The time of [`Shard::poll_timeout`] has come. When very much is due at once, as after a network
    /// has failed, part of it is done and the rest stays due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.turn.budget.reset();
        while !self.turn.budget.is_exhausted() {
            let Some(key) = self.turn.timers.pop_expired(now) else {
                break;
            };
            self.turn.budget.add(TIMER);
            let (key, deadline) = key.due(self.turn.timers.popped_deadline());
            match key {
                TimerKey::Connection(id) => self.connection_timer(id, deadline, now),
                TimerKey::Proof(id) => self.proof_timer(id, now),
                TimerKey::Will(session) => {
                    // Its client may have connected again: its CONNECT may be among what was not read.
                    let again = self.clients.heard.defer(deadline, now);
                    let key = TimerKey::OverdueWill(session, Deadline::of(deadline));
                    let timer = again.map(|at| self.turn.timers.insert(at, key));
                    self.clients.session_mut(session).will_timer = timer;
                    if again.is_none() {
                        self.publish_will(session, now);
                    }
                }
                TimerKey::Expiry(session) => {
                    let again = self.clients.heard.defer(deadline, now);
                    let key = TimerKey::OverdueExpiry(session, Deadline::of(deadline));
                    let timer = again.map(|at| self.turn.timers.insert(at, key));
                    self.clients.session_mut(session).expiry_timer = timer;
                    if again.is_none() {
                        self.expire_session(session, now);
                    }
                }
                TimerKey::ReadAgain(_) if is_on(Mutant::NeverReadAgain) => {}
                TimerKey::SendAgain(_) if is_on(Mutant::NeverSendAgain) => {}
                TimerKey::ReadAgain(id) => self.read_again(id, now),
                TimerKey::SendAgain(id) => self.send_again(id, now),
                TimerKey::Notices => self.show_counts(now),
                TimerKey::Shutdown => self.continue_shutdown(now),
                TimerKey::DiskFull => self.disk_full_timer(now),
                TimerKey::HeldReplies => self.held_replies_timer(now),
                // What is due has another name.
                TimerKey::OverdueConnection(..)
                | TimerKey::OverdueWill(..)
                | TimerKey::OverdueExpiry(..) => {}
            }
        }
    }

    /// Ends a session whose time is over although its timer has not been handled yet: the client that
    /// comes now must not find it [MQTT-4.1.0-2].
    pub(in crate::shard) fn end_if_expired(&mut self, session: SessionId, now: Time) {
        // A takeover ends a session that was not to outlive its connection.
        let entry = self.clients.sessions.get(session);
        let timer = entry.and_then(|entry| entry.expiry_timer);
        let heard = now.min(self.clients.heard.others);
        let is_due = |timer| match self.turn.timers.key(timer) {
            Some(TimerKey::OverdueExpiry(_, deadline)) => deadline.time() <= heard,
            _ => self.turn.timers.is_due(timer, heard),
        };
        if timer.is_some_and(is_due) {
            self.expire_session(session, now);
        }
    }

    /// Publishes a will without a delay although its timer has not been handled yet: the process ended, and the
    /// client comes back in the first turn of this one [MQTT-3.1.2-8].
    pub(in crate::shard) fn publish_undelayed_will(&mut self, session: SessionId, now: Time) {
        let entry = self.clients.session(session);
        let will = entry.session.will.as_ref();
        let is_undelayed = will.is_some_and(|will| will.delay_interval_s == 0);
        if is_undelayed && entry.will_timer.is_some() {
            self.publish_will(session, now);
        }
    }

    fn expire_session(&mut self, session: SessionId, now: Time) {
        if is_on(Mutant::SessionNeverExpires) {
            return;
        }
        self.outbox.stats.sessions_expired += 1;
        self.end_session(session, now); // [MQTT-4.1.0-2]
    }

    /// By phase: the connect timeout, the keep alive timeout or the end of lingering has passed.
    fn connection_timer(&mut self, id: ConnectionId, deadline: Time, now: Time) {
        let timeout = Span::from_secs(u64::from(self.limits().connect_timeout_s));
        let heard = &self.clients.heard;
        let again = heard.defer_exchange(deadline, timeout, now);
        let connection = self.clients.connection_mut(id);
        connection.timer = None;
        let is_live = connection.session().is_some();
        if let Some(again) = again.filter(|_| !is_live) {
            let key = TimerKey::OverdueConnection(id, Deadline::of(deadline));
            connection.timer = Some(self.turn.timers.insert(again, key));
            return;
        }
        match connection.phase {
            Phase::Authenticating if connection.holds.awaits_auth() => {
                let reply = Some((connection.version, ReasonCode::QuotaExceeded));
                self.outbox.stats.connects_refused += 1;
                let text = "its login was not judged within connect-timeout-s";
                self.refuse_connect(id, None, reply, text, now);
            }
            Phase::AwaitConnect if connection.holds.contains(Hold::Lane) => {
                let reply = Some((connection.version, ReasonCode::ServerUnavailable));
                self.outbox.stats.connects_refused += 1;
                let text = "no node of the cluster serves its client id now";
                self.refuse_connect(id, None, reply, text, now);
            }
            Phase::AwaitLayers | Phase::AwaitConnect | Phase::Authenticating => {
                connection.end_reason = Some(ReasonCode::MaximumConnectTime);
                let peer = connection.origin.peer;
                let what = match connection.phase {
                    Phase::AwaitLayers => "end of its handshake",
                    Phase::AwaitConnect => "CONNECT",
                    _ => "authentication",
                };
                self.outbox.stats.connects_refused += 1;
                let within = self.limits().connect_timeout_s;
                let text = format!("no {what} within connect-timeout ({within} s)");
                self.clients.trace_end(id, &text);
                self.notice(&About::refusal(what, None, Some(peer)), now, || {
                    format!("connection refused: {text}")
                });
                self.start_closing(id, now);
            }
            Phase::Live(_) => self.keep_alive_timer(id, now),
            Phase::Closing => self.outbox.actions.push_back(Action::Abort(id)),
        }
    }

    /// The timer runs freely; packets only note their time, so a busy client costs nothing here.
    fn keep_alive_timer(&mut self, id: ConnectionId, now: Time) {
        let connection = self.clients.connection(id);
        let heard = self.clients.heard.heard_until(now);
        let mut due = connection.last_packet + connection.silence_max;
        let waits = !connection.holds.is_empty()
            || connection.held.is_full()
            || connection.outgoing.is_held()
            || self.mesh.peers_full_at.is_some_and(|at| at >= heard);
        if due <= heard && (waits || self.mesh.holds_back(connection)) {
            // Its packets may be waiting unread because of us.
            due = now + Span::from_secs(1);
        }
        if is_on(Mutant::ForgetKeepAlive) {
            return;
        }
        if due > heard {
            // Passed, and it may have sent something in time: its socket is read first.
            let due = if due > now { due } else { now + LOOK_AGAIN };
            let timer = self.turn.timers.insert(due, TimerKey::Connection(id));
            self.clients.connection_mut(id).timer = Some(timer);
            return;
        }
        self.outbox.stats.keep_alive_timeouts += 1;
        // [MQTT-3.1.2-22]
        self.end_connection(
            id,
            Some(ReasonCode::KeepAliveTimeout),
            "keep alive timeout",
            now,
        );
    }
}
