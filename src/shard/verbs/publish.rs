//! PUBLISH: checks, accept, acknowledge.

use std::num::NonZeroU16;
use std::rc::Rc;

use bytes::Bytes;

use crate::auth;
use crate::ids::{ConnectionId, ListenerId, SessionId};
use crate::limits::Limits;
use crate::mqtt::{topic, AckKind, Publish, Qos, ReasonCode, Violation};
use crate::mutant::{is_on, Mutant};
use crate::session::{AliasBounds, AliasInError};
use crate::shard::access::decisions::Authorization;
use crate::shard::access::Access;
use crate::shard::clients::flow::Flow;
use crate::shard::clients::session_entry::SessionEntry;
use crate::shard::clients::view::Client;
use crate::shard::clients::Clients;
use crate::shard::delivery::message::Message;
use crate::shard::durable::full::NoRoom;
use crate::shard::notices::About;
use crate::shard::{Shard, ShardConfig};
use crate::time::Time;

impl Client<'_> {
    /// Limits that CONNACK announced: RETAIN, QoS, Receive Maximum.
    #[inline]
    fn check_publish(&self, publish: &Publish<'_>, config: &ShardConfig) -> Result<(), Violation> {
        // A v5 client with Retain Available 0 in its CONNACK must not set RETAIN [MQTT-3.2.2-14]. v3 has no
        // such property: what its clients publish is delivered and not retained.
        if publish.retain && self.is_v5() && !config.limits.retains() {
            return Err(Violation::RetainNotSupported);
        }
        if publish.qos > Qos::AtMostOnce {
            let policy = config.policy(self.connection.origin.listener);
            check_qos(publish.qos, policy.qos_max)?;
            self.check_receive_maximum(publish)?;
        }
        Ok(())
    }

    /// [MQTT-3.3.4-7]: counts what the client cannot have seen acknowledged yet. v3 has no such
    /// limit, so neither has a bridge, which passes on what a remote of v3 sends.
    fn check_receive_maximum(&self, publish: &Publish<'_>) -> Result<(), Violation> {
        if !self.is_v5() || self.connection.origin.listener == ListenerId::BRIDGES {
            return Ok(());
        }
        let max = self.connection.announced.receive_maximum;
        let received = &self.entry.session.received;
        let open = received.open() + usize::from(self.connection.acks_unsent);
        let repeats = || {
            publish.qos == Qos::ExactlyOnce
                && publish.packet_id.is_some_and(|id| received.is_open(id))
        };
        if open >= usize::from(max) && !repeats() {
            return Err(Violation::ReceiveMaximumExceeded {
                open: open as u32, // of at most 65,535 identifiers, and a u16
                max: max.into(),
            });
        }
        Ok(())
    }

    /// The topic an alias stands for, or `None` when the packet itself names (and sets) it.
    fn resolve_alias(
        &mut self,
        alias: NonZeroU16,
        topic: &str,
        limits: &Limits,
    ) -> Result<Option<Rc<str>>, Violation> {
        let maximum = self.connection.announced.topic_alias_maximum;
        let bytes_max = limits.topic_alias_bytes_max;
        let aliases = &mut self.connection.rare.make().aliases_in;
        let aliases = aliases.get_or_insert_default();
        let result = if topic.is_empty() {
            aliases.get(alias, maximum).map(Some)
        } else {
            let bounds = AliasBounds { maximum, bytes_max };
            aliases.set(alias, topic, bounds).map(|()| None)
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
}

impl Clients {
    /// The payload as a part of the large packet that is being handled, when it is nearly all of it: what
    /// is kept of a message is charged by its payload.
    fn part_of_gathered(&self, payload: &[u8]) -> Option<Bytes> {
        let packet = self.gathered.as_ref()?;
        let is_most = payload.len() >= packet.len() - packet.len() / 8;
        is_most.then(|| packet.slice_ref(payload))
    }
}

impl Clients {
    /// Appends the PUBACK or PUBREC of a publication.
    #[inline]
    fn acknowledge(&mut self, id: ConnectionId, publish: &Publish<'_>, reason: ReasonCode) {
        match (publish.qos, publish.packet_id) {
            (Qos::AtLeastOnce, Some(packet_id)) => {
                self.reply_last_ack(id, AckKind::PubAck, packet_id, reason);
            }
            (Qos::ExactlyOnce, Some(packet_id)) => {
                self.reply_ack(id, AckKind::PubRec, packet_id, reason);
            }
            _ => {}
        }
    }
}

impl Access {
    /// Authorization to publish; what was accepted before needs none.
    fn right_to_accept(
        &self,
        entry: &mut SessionEntry,
        topic: &str,
        publish: &Publish<'_>,
        now: Time,
    ) -> Authorization {
        let right = self.right_to_publish(entry, topic, now);
        let is_undecided = matches!(right, Authorization::Pending | Authorization::Unavailable);
        if is_undecided && entry.is_repeated(publish) {
            return Authorization::Allowed; // [MQTT-4.3.3-10]: it is answered and goes nowhere
        }
        right
    }
}

/// A v5 client must not exceed the Maximum QoS of its CONNACK [MQTT-3.2.2-11]; a v3 client can only be
/// disconnected ([MQTT-3.3.5-2] of 3.1.1).
fn check_qos(qos: Qos, max: Qos) -> Result<(), Violation> {
    if qos > max {
        return Err(Violation::QosTooHigh {
            qos: qos as u8,
            max: max as u8,
        });
    }
    Ok(())
}

/// Why a topic name is refused to every publisher.
pub(in crate::shard) fn too_deep(name: &str, limits: &Limits) -> Option<Violation> {
    // Levels are one more than separators, so a short name cannot have too many.
    let max = usize::from(limits.topic_levels_max);
    if name.len() < max {
        return None;
    }
    let levels = topic::levels(name);
    (levels > max).then_some(Violation::TopicTooDeep {
        levels: levels as u32, // a name has at most 65,535 bytes
        max: max as u32,
    })
}

impl Shard {
    pub(in crate::shard) fn on_publish(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        publish: &Publish<'_>,
        now: Time,
    ) -> Result<Flow, Violation> {
        let limits = &self.config.limits;
        let mut client = self.clients.client(id, session);
        let aliased = match publish.properties.topic_alias {
            None => None,
            Some(alias) => client.resolve_alias(alias, publish.topic, limits)?,
        };
        let topic = aliased.as_deref().unwrap_or(publish.topic);
        client.check_publish(publish, &self.config)?;
        let mut refusal = too_deep(topic, limits);
        if let (Some(error), Qos::AtMostOnce) = (refusal, publish.qos) {
            return Err(error);
        }
        if publish.retain && refusal.is_none() {
            refusal = self.admission.refuse_to_retain(&client, publish);
            self.outbox.stats.refused_memory += u64::from(refusal.is_some());
        }
        let right = match refusal {
            Some(_) => Authorization::Allowed, // it is not asked for
            None => self
                .access
                .right_to_accept(client.entry, topic, publish, now),
        };
        if right == Authorization::Pending {
            let topics = vec![topic.into()];
            return Ok(self.ask_decisions(id, session, auth::Access::Publish, topics));
        }
        self.outbox.stats.count_publication(publish);
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
        if refusal.is_none() {
            match self.lacks_room((id, session), topic, publish, now) {
                None => {}
                Some(NoRoom::Refused(error)) => refusal = Some(error),
                Some(NoRoom::Waits(flow)) => return Ok(flow),
                Some(NoRoom::Dropped) => return Ok(Flow::Continue),
            }
        }
        let is_first = match (publish.qos, publish.packet_id, refusal) {
            // Delivered the first time its identifier is seen [MQTT-4.3.3-10].
            (Qos::ExactlyOnce, Some(packet_id), None) => {
                let received = &mut self.clients.session_mut(session).session.received;
                received.insert(packet_id) || is_on(Mutant::DeliverQos2Repeats)
            }
            _ => true,
        };
        let reason = match refusal {
            Some(Violation::DiskFull) if is_on(Mutant::AckWithoutRoom) => ReasonCode::Success,
            Some(error) => self.refused_publish(id, session, error, now)?,
            None if is_first => self.accept_publish((id, session), topic, publish, now),
            None => ReasonCode::Success,
        };
        self.clients.acknowledge(id, publish, reason);
        Ok(Flow::Continue)
    }

    /// Counts and notes a QoS 0 message without an authorization decision: the service is down.
    #[cold]
    pub(in crate::shard) fn drop_undecided(&mut self, session: SessionId, now: Time) {
        self.outbox.stats.authz_unavailable += 1;
        self.note_publication(session, "the HTTP hook is down", now);
    }

    #[cold]
    fn note_publication(&mut self, session: SessionId, why: &str, now: Time) {
        let (client_id, peer) = self.clients.name_of(session);
        let about = About::refusal(why, Some(&client_id), peer);
        self.notice(&about, now, || format!("publication refused: {why}"));
    }

    /// A v5 publisher learns of a refusal by its acknowledgement; others are disconnected.
    fn refused_publish(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        error: Violation,
        now: Time,
    ) -> Result<ReasonCode, Violation> {
        if !self.clients.connection(id).version.is_v5() {
            return Err(error);
        }
        self.outbox.stats.violations.count(&error);
        self.note_publication(session, &error.to_string(), now);
        Ok(error.reason())
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
        let is_v5 = self.clients.connection(id).version.is_v5();
        let reason = if is_v5 {
            ReasonCode::NotAuthorized
        } else {
            ReasonCode::Success
        };
        if is_on(Mutant::DeliverForbidden) {
            self.accept_publish((id, session), topic, publish, now);
        }
        let Some(packet_id) = publish.packet_id else {
            return Ok(Flow::Continue);
        };
        if publish.qos == Qos::AtLeastOnce {
            self.clients
                .reply_ack(id, AckKind::PubAck, packet_id, reason);
            return Ok(Flow::Continue);
        }
        let received = &mut self.clients.session_mut(session).session.received;
        let is_repeated = received.contains(packet_id);
        if !is_v5 {
            received.insert(packet_id); // its PUBREL comes
        }
        // Accepted under earlier rules, it is not taken back [MQTT-4.3.3-10].
        let reason = if is_repeated {
            ReasonCode::Success
        } else {
            reason
        };
        self.clients
            .reply_ack(id, AckKind::PubRec, packet_id, reason);
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
        let is_named = topic::is_reserved(topic)
            && std::mem::replace(&mut self.clients.connection_mut(id).named_reserved, true);
        !is_named
    }

    /// Hands a publication to all its subscribers; the acknowledgement may follow. It is held if it promises
    /// what must be committed.
    #[inline]
    fn accept_publish(
        &mut self,
        (id, session): (ConnectionId, SessionId),
        topic: &str,
        publish: &Publish<'_>,
        now: Time,
    ) -> ReasonCode {
        let mut stripped = Vec::new();
        let mut message = Message::of_publish(topic, publish, &mut stripped, now);
        message.shared = self.clients.part_of_gathered(publish.payload);
        message.waiter = self.waiter_for(session, publish.qos);
        let has_subscribers = self.accept(&mut message, Some(session), now);
        if self.durable.is_some() || self.mesh.cluster.is_some() {
            self.hold_ack(id, session, &message);
        }
        if has_subscribers {
            ReasonCode::Success
        } else {
            ReasonCode::NoMatchingSubscribers
        }
    }
}
