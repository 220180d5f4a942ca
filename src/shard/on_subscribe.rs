//! SUBSCRIBE and UNSUBSCRIBE.

use std::rc::Rc;

use super::authorize::Right;
use super::block::Control;
use super::input::Flow;
use super::on_publish::NOT_AUTHORIZED;
use super::work::{SUBSCRIPTION, UNLINK};
use super::Shard;
use crate::auth::Access;
use crate::ids::{ConnectionId, SessionId};
use crate::mqtt::topic::{self, Share};
use crate::mqtt::{
    encode, DecodeError, ReasonCode, RetainHandling, SubAck, Subscribe, SubscriptionOptions,
    Unsubscribe, UserProperties, Version,
};
use crate::mutant::{is_on, Mutant};
use crate::routing::Subscription;
use crate::session::{subscription_cost, SessionSubscription};
use crate::time::Time;

impl Shard {
    /// Applies each filter here, tells the peers, and sends SUBACK once all have applied it.
    pub(super) fn on_subscribe(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        subscribe: &Subscribe<'_>,
        now: Time,
    ) -> Result<Flow, DecodeError> {
        let Some(connection) = self.connections.get(id) else {
            return Ok(Flow::Continue);
        };
        let version = connection.version;
        let qos_max = self.policy(connection.origin.listener).qos_max;
        self.check_answer_fits(id, || subscribe.filters.len())?;
        if let Some(filters) = self.filters_to_ask(session, subscribe, now) {
            return Ok(self.ask_rulings(id, session, Access::Subscribe, filters));
        }
        self.check_authorized(id, session, subscribe, now)?;
        let identifier = subscribe.subscription_identifier;
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        let count_max = self.limits().subscriptions_max as usize;
        for (n, (filter, mut options)) in subscribe.filters.iter().enumerate() {
            if n >= count_max {
                codes.push(refusal_code(version, ReasonCode::QuotaExceeded)); // or one is there twice
                continue;
            }
            self.work.add(SUBSCRIPTION);
            options.qos = options.qos.min(qos_max); // [MQTT-3.2.2-10]
            let record = SessionSubscription {
                options,
                identifier,
            };
            codes.push(match self.subscribe(session, filter, record, now) {
                Ok(()) => options.qos as u8,
                Err(reason) => {
                    let text = || format!("subscription refused: {reason:?}");
                    self.notice_of_session(session, now, text);
                    refusal_code(version, reason)
                }
            });
        }
        let mut suback = Vec::new();
        encode::suback(
            &mut suback,
            version,
            &SubAck {
                packet_id: subscribe.packet_id,
                reason_string: None,
                user_properties: UserProperties::default(),
                codes: &codes,
            },
        );
        self.forget_latest_rulings(session);
        self.suback_after_barrier(id, session, suback, now);
        Ok(Flow::Continue)
    }

    /// With `acl-disconnect` one filter that is not allowed ends the connection, before anything is
    /// done.
    fn check_authorized(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        subscribe: &Subscribe<'_>,
        now: Time,
    ) -> Result<(), DecodeError> {
        if !self.has_acl {
            return Ok(());
        }
        for (filter, _) in subscribe.filters.iter() {
            if topic::check_filter(filter).is_err() {
                continue;
            }
            let right = self.right_to_subscribe(session, filter, now);
            if right == Right::Granted {
                continue;
            }
            self.stats.subscriptions_refused += 1;
            self.note_refused(id, session, ("subscribe to", filter), now);
            if right == Right::Refused && self.rules.acl_disconnect {
                return Err(NOT_AUTHORIZED);
            }
        }
        Ok(())
    }

    /// Refuses a request whose answer would be larger than the client takes, before anything of it
    /// is done [MQTT-3.1.2-24].
    fn check_answer_fits(
        &self,
        id: ConnectionId,
        filters: impl FnOnce() -> usize,
    ) -> Result<(), DecodeError> {
        let max = self.connections.get(id).map(|c| c.packet_size_max);
        match max {
            Some(max) if max < u32::MAX && encode::suback_size(filters()) > max as usize => {
                Err(DecodeError::Refused(
                    ReasonCode::PacketTooLarge,
                    "the answer is larger than the client's Maximum Packet Size",
                ))
            }
            _ => Ok(()),
        }
    }

    /// One filter of a SUBSCRIBE; the error is the reason code for it.
    fn subscribe(
        &mut self,
        session: SessionId,
        filter: &str,
        record: SessionSubscription,
        now: Time,
    ) -> Result<(), ReasonCode> {
        let limits = &self.config.limits;
        topic::check_filter(filter).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        let share = topic::share(filter).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        if topic::levels(filter) > usize::from(limits.topic_levels_max) {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        let subscriptions_max = limits.subscriptions_max as usize;
        match self.right_to_subscribe(session, filter, now) {
            Right::Granted => {}
            _ if is_on(Mutant::SubscribeForbidden) => {}
            Right::Refused => return Err(ReasonCode::NotAuthorized),
            Right::Unavailable | Right::Unknown => {
                return Err(ReasonCode::ImplementationSpecificError);
            }
        }
        let known = self.sessions.get(session).and_then(|hosted| {
            let known = hosted.session.subscriptions.get_key_value(filter);
            known.map(|(key, _)| Rc::clone(key))
        });
        let (key, is_new) = match known {
            Some(key) => (key, false),
            None => {
                self.check_room_for(session, filter)?;
                (Rc::from(filter), true)
            }
        };
        let Some(hosted) = self.sessions.get_mut(session) else {
            return Err(ReasonCode::UnspecifiedError);
        };
        if hosted
            .walks
            .as_ref()
            .is_some_and(|walks| walks.len() > subscriptions_max)
        {
            return Err(ReasonCode::QuotaExceeded);
        }
        hosted.session.subscriptions.insert(Rc::clone(&key), record); // [MQTT-3.8.4-3] replaces
        match share {
            Some(share) => self.join_group(session, &share),
            None => {
                self.subscribe_ordinary(session, filter, record);
                if wants_retained(record.options, is_new) {
                    self.start_walk(session, key);
                }
            }
        }
        Ok(())
    }

    /// Whether a session may have one more filter.
    fn check_room_for(&mut self, session: SessionId, filter: &str) -> Result<(), ReasonCode> {
        if self.pressure.memory {
            self.stats.refused_memory += 1;
            return Err(ReasonCode::QuotaExceeded);
        }
        let limits = &self.config.limits;
        let Some(hosted) = self.sessions.get(session) else {
            return Err(ReasonCode::UnspecifiedError);
        };
        let held = &hosted.session.subscriptions;
        let bytes = (held.bytes() + subscription_cost(filter)) as u64;
        let is_full = held.len() >= limits.subscriptions_max as usize
            || bytes > limits.subscription_bytes_max;
        if is_full {
            return Err(ReasonCode::QuotaExceeded);
        }
        Ok(())
    }

    fn subscribe_ordinary(
        &mut self,
        session: SessionId,
        filter: &str,
        record: SessionSubscription,
    ) {
        let SessionSubscription {
            options,
            identifier,
        } = record;
        let added = self.index.subscribe(
            filter,
            session,
            Subscription {
                options,
                identifier,
            },
        );
        if added.first_on_shard {
            self.peers.broadcast(|| Control::FilterAdded {
                filter: filter.into(),
            });
        }
    }

    fn join_group(&mut self, session: SessionId, share: &Share<'_>) {
        let member = crate::routing::Member {
            shard: self.id,
            session,
            connected: true,
        };
        self.index.join(share.name, share.filter, member);
        self.peers.broadcast(|| Control::MemberJoined {
            share: share.name.into(),
            filter: share.filter.into(),
            session,
            connected: true,
        });
        if let Some(hosted) = self.sessions.get_mut(session) {
            hosted.in_groups = true;
        }
    }

    /// Removes each filter and answers at once: what a peer still sends finds no subscriber here.
    pub(super) fn on_unsubscribe(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        unsubscribe: &Unsubscribe<'_>,
        now: Time,
    ) -> Result<(), DecodeError> {
        self.check_answer_fits(id, || unsubscribe.filters.len())?;
        let mut codes = Vec::new();
        for filter in unsubscribe.filters.iter() {
            self.work.add(UNLINK);
            codes.push(self.unsubscribe(session, filter, now) as u8);
        }
        self.reply(id, |out, version| {
            let codes = if version == Version::V5 {
                codes.as_slice()
            } else {
                &[]
            };
            let unsuback = SubAck {
                packet_id: unsubscribe.packet_id,
                reason_string: None,
                user_properties: UserProperties::default(),
                codes,
            };
            encode::unsuback(out, version, &unsuback); // [MQTT-3.10.4-4], [MQTT-3.10.4-5]
        });
        Ok(())
    }

    pub(super) fn unsubscribe(
        &mut self,
        session: SessionId,
        filter: &str,
        now: Time,
    ) -> ReasonCode {
        if topic::check_filter(filter).is_err() || topic::share(filter).is_err() {
            return ReasonCode::TopicFilterInvalid;
        }
        if is_on(Mutant::UnsubackWithoutEffect) {
            return ReasonCode::Success;
        }
        let Some(hosted) = self.sessions.get_mut(session) else {
            return ReasonCode::NoSubscriptionExisted;
        };
        if hosted.session.subscriptions.remove(filter).is_none() {
            return ReasonCode::NoSubscriptionExisted;
        }
        self.stop_walks(session);
        self.drop_subscription(session, filter);
        if topic::is_shared(filter) {
            // Not before the group forgets this member: another would send it back.
            self.redispatch_unsubscribed(session, filter, now);
        }
        ReasonCode::Success
    }
}

/// v3 has one failure code, 0x80.
fn refusal_code(version: Version, reason: ReasonCode) -> u8 {
    match version.is_v5() {
        true => reason as u8,
        false => ReasonCode::UnspecifiedError as u8,
    }
}

/// [MQTT-3.3.1-9], [MQTT-3.3.1-10], [MQTT-3.3.1-11]. v3 subscriptions have `Send`.
fn wants_retained(options: SubscriptionOptions, is_new: bool) -> bool {
    match options.retain_handling {
        RetainHandling::Send => true,
        RetainHandling::SendIfNew => is_new,
        RetainHandling::DoNotSend => false,
    }
}
