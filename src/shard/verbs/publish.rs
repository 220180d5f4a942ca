//! PUBLISH: checks, accept, acknowledge.

use std::num::NonZeroU16;
use std::rc::Rc;

use bytes::Bytes;

use crate::auth::Access;
use crate::ids::{ConnectionId, SessionId};
use crate::mqtt::{topic, AckKind, PacketId, Publish, Qos, ReasonCode, Violation};
use crate::mutant::{is_on, Mutant};
use crate::session::{AliasBounds, AliasInError};
use crate::shard::access::decisions::Authorization;
use crate::shard::clients::flow::Flow;
use crate::shard::delivery::message::Message;
use crate::shard::notices::About;
use crate::shard::Shard;
use crate::time::Time;

impl Shard {
    pub(in crate::shard) fn on_publish(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        publish: &Publish<'_>,
        now: Time,
    ) -> Result<Flow, Violation> {
        let aliased;
        let topic = match publish.properties.topic_alias {
            None => publish.topic,
            Some(alias) => match self.resolve_alias(id, alias, publish.topic)? {
                None => publish.topic,
                Some(topic) => {
                    aliased = topic;
                    &aliased
                }
            },
        };
        self.check_publish(id, session, publish)?;
        let mut refusal = self.refuses_topic(topic);
        if let (Some(error), Qos::AtMostOnce) = (refusal, publish.qos) {
            return Err(error);
        }
        if refusal.is_none() {
            refusal = self.refuse_to_retain(id, session, publish);
        }
        let packet_id = publish.packet_id;
        let right = match refusal {
            Some(_) => Authorization::Allowed, // it is not asked for
            None => self.right_to_accept(session, topic, publish, now),
        };
        if right == Authorization::Pending {
            let topics = vec![topic.into()];
            return Ok(self.ask_decisions(id, session, Access::Publish, topics));
        }
        self.outbox.stats.publications_received += 1;
        match right {
            Authorization::Allowed | Authorization::Pending => {}
            Authorization::Denied => return self.on_unauthorized(id, session, topic, publish, now),
            Authorization::Unavailable => {
                if publish.qos == Qos::AtMostOnce {
                    self.drop_undecided(session, now);
                    return Ok(Flow::Continue);
                }
                self.outbox.stats.authz_unavailable += 1;
                refusal = Some(Violation::HookDown);
            }
        }
        match (publish.qos, packet_id) {
            (Qos::AtLeastOnce, Some(packet_id)) => {
                let reason = match refusal {
                    Some(error) => self.refused_publish(id, session, error, now)?,
                    None => self.accept_publish(session, topic, publish, now),
                };
                self.reply_last_ack(id, AckKind::PubAck, packet_id, reason);
            }
            (Qos::ExactlyOnce, Some(packet_id)) => {
                let reason = match refusal {
                    Some(error) => self.refused_publish(id, session, error, now)?,
                    None => self.accept_once(session, packet_id, topic, publish, now),
                };
                self.reply_ack(id, AckKind::PubRec, packet_id, reason);
            }
            _ => {
                self.accept_publish(session, topic, publish, now);
            }
        }
        Ok(Flow::Continue)
    }

    /// Limits that CONNACK announced: RETAIN, QoS, Receive Maximum.
    #[inline]
    fn check_publish(
        &self,
        id: ConnectionId,
        session: SessionId,
        publish: &Publish<'_>,
    ) -> Result<(), Violation> {
        if publish.retain {
            self.check_retain(id)?;
        }
        if publish.qos > Qos::AtMostOnce {
            self.check_qos(id, publish.qos)?;
            self.check_receive_maximum(id, session, publish)?;
        }
        Ok(())
    }

    /// Authorization to publish; what was accepted before needs none.
    fn right_to_accept(
        &mut self,
        session: SessionId,
        topic: &str,
        publish: &Publish<'_>,
        now: Time,
    ) -> Authorization {
        let right = self.right_to_publish(session, topic, now);
        let is_undecided = matches!(right, Authorization::Pending | Authorization::Unavailable);
        if is_undecided && self.is_repeated(session, publish) {
            return Authorization::Allowed; // [MQTT-4.3.3-10]: it is answered and goes nowhere
        }
        right
    }

    /// QoS 2, and accepted before.
    pub(in crate::shard) fn is_repeated(&self, session: SessionId, publish: &Publish<'_>) -> bool {
        let entry = self.clients.sessions.get(session);
        let received = entry.map(|entry| &entry.session.received);
        publish.qos == Qos::ExactlyOnce
            && (publish.packet_id).is_some_and(|id| received.is_some_and(|r| r.contains(id)))
    }

    /// A v5 client with Retain Available 0 in its CONNACK must not set RETAIN [MQTT-3.2.2-14]. v3 has no
    /// such property: what its clients publish is delivered and not retained.
    fn check_retain(&self, id: ConnectionId) -> Result<(), Violation> {
        match self.clients.connections.get(id) {
            Some(connection) if connection.version.is_v5() && !self.limits().retains() => {
                Err(Violation::RetainNotSupported)
            }
            _ => Ok(()),
        }
    }

    /// Counts and notes a QoS 0 message without an authorization decision: the service is down.
    #[cold]
    pub(in crate::shard) fn drop_undecided(&mut self, session: SessionId, now: Time) {
        self.outbox.stats.authz_unavailable += 1;
        self.note_publication(session, "the HTTP hook is down", now);
    }

    #[cold]
    fn note_publication(&mut self, session: SessionId, why: &str, now: Time) {
        if let Some((client_id, peer)) = self.client_of(session) {
            let about = About::refusal(why, Some(&client_id), peer);
            self.notice(&about, now, || format!("publication refused: {why}"));
        }
    }

    /// The topic an alias stands for, or `None` when the packet itself names (and sets) it.
    fn resolve_alias(
        &mut self,
        id: ConnectionId,
        alias: NonZeroU16,
        topic: &str,
    ) -> Result<Option<Rc<str>>, Violation> {
        let maximum = self.config.limits.topic_alias_maximum;
        let bytes_max = self.config.limits.topic_alias_bytes_max;
        let Some(connection) = self.clients.connections.get_mut(id) else {
            return Ok(None);
        };
        let result = if topic.is_empty() {
            connection
                .aliases_in
                .get_or_insert_default()
                .get(alias, maximum)
                .map(Some)
        } else {
            connection
                .set_alias_in(alias, topic, AliasBounds { maximum, bytes_max })
                .map(|()| None)
        };
        result.map_err(|error| match error {
            AliasInError::AboveMaximum => Violation::TopicAliasTooHigh {
                alias: alias.get(),
                max: maximum,
            },
            AliasInError::Unknown => Violation::TopicAliasNotSet { alias: alias.get() },
            AliasInError::OverBudget => Violation::TopicAliasesTooLong { max: bytes_max },
        })
    }

    /// A v5 client must not exceed the Maximum QoS of its CONNACK [MQTT-3.2.2-11]; a v3 client can only be
    /// disconnected ([MQTT-3.3.5-2] of 3.1.1).
    fn check_qos(&self, id: ConnectionId, qos: Qos) -> Result<(), Violation> {
        let connection = self.clients.connections.get(id);
        let qos_max = connection.map(|c| self.policy(c.origin.listener).qos_max);
        match qos_max {
            Some(max) if qos > max => Err(Violation::QosTooHigh {
                qos: qos as u8,
                max: max as u8,
            }),
            _ => Ok(()),
        }
    }

    /// [MQTT-3.3.4-7]: counts what the client cannot have seen acknowledged yet. v3 has no such
    /// limit.
    fn check_receive_maximum(
        &self,
        id: ConnectionId,
        session: SessionId,
        publish: &Publish<'_>,
    ) -> Result<(), Violation> {
        let Some(connection) = self.clients.connections.get(id) else {
            return Ok(());
        };
        let Some(entry) = self.clients.sessions.get(session) else {
            return Ok(());
        };
        if !connection.version.is_v5() {
            return Ok(());
        }
        let repeats = publish.qos == Qos::ExactlyOnce
            && publish
                .packet_id
                .is_some_and(|id| entry.session.received.is_open(id));
        let open = entry.session.received.open() + usize::from(connection.acks_unsent);
        let max = self.limits().receive_maximum;
        if !repeats && open >= usize::from(max) {
            return Err(Violation::ReceiveMaximumExceeded {
                open: open as u32, // of at most 65,535 identifiers, and a u16
                max: max.into(),
            });
        }
        Ok(())
    }

    pub(in crate::shard) fn refuses_topic(&self, name: &str) -> Option<Violation> {
        // Levels are one more than separators, so a short name cannot have too many.
        let max = usize::from(self.limits().topic_levels_max);
        if name.len() < max {
            return None;
        }
        let levels = topic::levels(name);
        (levels > max).then_some(Violation::TopicTooDeep {
            levels: levels as u32, // a name has at most 65,535 bytes
            max: max as u32,
        })
    }

    /// A v5 publisher learns of a refusal by its acknowledgement; others are disconnected.
    fn refused_publish(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        error: Violation,
        now: Time,
    ) -> Result<ReasonCode, Violation> {
        match self.clients.connections.get(id) {
            Some(connection) if connection.version.is_v5() => {
                self.outbox.stats.violations.count(&error);
                self.note_publication(session, &error.to_string(), now);
                Ok(error.reason())
            }
            _ => Err(error),
        }
    }

    /// A publication that the rules do not allow: v5 learns of it by its acknowledgement, v3 has no
    /// reason code and its acknowledgement only means that it need not be sent again.
    fn on_unauthorized(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        topic: &str,
        publish: &Publish<'_>,
        now: Time,
    ) -> Result<Flow, Violation> {
        self.refuse_publication(id, session, topic, now)?;
        let is_v5 = self
            .clients
            .connections
            .get(id)
            .is_some_and(|c| c.version.is_v5());
        let reason = if is_v5 {
            ReasonCode::NotAuthorized
        } else {
            ReasonCode::Success
        };
        if is_on(Mutant::DeliverForbidden) {
            self.accept_publish(session, topic, publish, now);
        }
        let Some(packet_id) = publish.packet_id else {
            return Ok(Flow::Continue);
        };
        if publish.qos == Qos::AtLeastOnce {
            self.reply_ack(id, AckKind::PubAck, packet_id, reason);
            return Ok(Flow::Continue);
        }
        let received = self
            .clients
            .sessions
            .get_mut(session)
            .map(|h| &mut h.session.received);
        let is_repeated = received.as_ref().is_some_and(|r| r.contains(packet_id));
        if let Some(received) = received.filter(|_| !is_v5) {
            received.insert(packet_id); // its PUBREL comes
        }
        // Accepted under earlier rules, it is not taken back [MQTT-4.3.3-10].
        let reason = if is_repeated {
            ReasonCode::Success
        } else {
            reason
        };
        self.reply_ack(id, AckKind::PubRec, packet_id, reason);
        Ok(Flow::Continue)
    }

    /// Counts and notes a publication that is not allowed, or ends the connection for it.
    #[cold]
    pub(in crate::shard) fn refuse_publication(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        topic: &str,
        now: Time,
    ) -> Result<(), Violation> {
        self.outbox.stats.publications_refused += 1;
        if self.is_first_to_note(id, topic) {
            self.note_refused(id, session, ("publish to", topic), now);
        }
        if self.access.rules.acl_disconnect {
            return Err(Violation::NotAuthorized);
        }
        Ok(())
    }

    /// Of a client that publishes to names that begin with `$` one line is written per connection: no rule
    /// of the operator's is behind it.
    fn is_first_to_note(&mut self, id: ConnectionId, topic: &str) -> bool {
        let connection = self.clients.connections.get_mut(id);
        let is_named = connection
            .filter(|_| topic::is_reserved(topic))
            .is_some_and(|connection| std::mem::replace(&mut connection.named_reserved, true));
        !is_named
    }

    /// QoS 2: delivered the first time its identifier is seen [MQTT-4.3.3-10].
    fn accept_once(
        &mut self,
        session: SessionId,
        packet_id: PacketId,
        topic: &str,
        publish: &Publish<'_>,
        now: Time,
    ) -> ReasonCode {
        let Some(entry) = self.clients.sessions.get_mut(session) else {
            return ReasonCode::Success;
        };
        if entry.session.received.insert(packet_id) || is_on(Mutant::DeliverQos2Repeats) {
            self.accept_publish(session, topic, publish, now)
        } else {
            ReasonCode::Success
        }
    }

    /// The payload as a part of the large packet that is being handled, when it is nearly all of it: what
    /// is kept of a message is charged by its payload.
    fn part_of_gathered(&self, payload: &[u8]) -> Option<Bytes> {
        let packet = self.clients.gathered.as_ref()?;
        let is_most = payload.len() >= packet.len() - packet.len() / 8;
        is_most.then(|| packet.slice_ref(payload))
    }

    /// Hands a publication to all its subscribers; the acknowledgement may follow.
    #[inline]
    fn accept_publish(
        &mut self,
        session: SessionId,
        topic: &str,
        publish: &Publish<'_>,
        now: Time,
    ) -> ReasonCode {
        let mut stripped = Vec::new();
        let mut message = Message::of_publish(topic, publish, &mut stripped, now);
        message.shared = self.part_of_gathered(publish.payload);
        if self.accept(&mut message, Some(session), now) {
            ReasonCode::Success
        } else {
            ReasonCode::NoMatchingSubscribers
        }
    }
}
