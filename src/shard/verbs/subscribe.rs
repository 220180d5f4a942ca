//! SUBSCRIBE and UNSUBSCRIBE.

use std::rc::Rc;

use crate::auth;
use crate::ids::{ConnectionId, SessionId};
use crate::mqtt::topic;
use crate::mqtt::{
    encode, ReasonCode, RetainHandling, SubAck, Subscribe, SubscriptionOptions, Unsubscribe,
    UserProperties, Version, Violation,
};
use crate::mutant::{is_on, Mutant};
use crate::session::{subscription_cost, SessionSubscription};
use crate::shard::access::decisions::Authorization;
use crate::shard::clients::connection::Connection;
use crate::shard::clients::flow::Flow;
use crate::shard::notices::About;
use crate::shard::turn::budget::UNLINK;
use crate::shard::Shard;
use crate::time::Time;

impl Shard {
    /// Applies each filter here, notifies the peers, and sends SUBACK once all have applied it.
    pub(in crate::shard) fn on_subscribe(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        subscribe: &Subscribe<'_>,
        now: Time,
    ) -> Result<Flow, Violation> {
        let client = self.clients.client(id, session);
        let version = client.connection.version;
        let qos_max = self
            .config
            .policy(client.connection.origin.listener)
            .qos_max;
        let is_bridge = client.connection.is_bridge;
        check_answer_fits(client.connection, || subscribe.filters.len())?;
        if let Some(filters) = self.access.filters_to_ask(client.entry, subscribe, now) {
            return Ok(self.ask_decisions(id, session, auth::Access::Subscribe, filters));
        }
        self.check_authorized(id, session, subscribe, now)?;
        let identifier = subscribe.subscription_identifier;
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        let count_max = self.limits().subscriptions_max as usize;
        for (n, (filter, mut options)) in subscribe.filters.iter().enumerate() {
            if n >= count_max {
                if n == count_max {
                    let max = self.limits().subscriptions_max;
                    let violation = Violation::SubscriptionsMax { max };
                    self.outbox.stats.violations.count(&violation);
                    self.note_subscription(session, (filter, &violation.to_string()), now);
                }
                codes.push(refusal_code(version, ReasonCode::QuotaExceeded)); // or one is there twice
                continue;
            }
            options.qos = options.qos.min(qos_max); // [MQTT-3.2.2-10]
            if is_bridge {
                options.no_local = !topic::is_shared(filter); // [MQTT-3.8.3-4]
                options.retain_as_published = true;
            }
            options.retain_as_published |= self.keeps_retain(filter);
            let record = SessionSubscription {
                options,
                identifier,
                owes_retained: false,
            };
            self.turn.budget.add_subscribed();
            codes.push(match self.subscribe(session, filter, record, now) {
                Ok(()) => options.qos as u8,
                Err(violation) => {
                    self.outbox.stats.violations.count(&violation);
                    self.note_subscription(session, (filter, &violation.to_string()), now);
                    refusal_code(version, violation.reason())
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
        let rights = &mut self.clients.session_mut(session).rights;
        rights.forget_latest_decisions();
        self.suback_after_barrier(id, session, suback);
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
    ) -> Result<(), Violation> {
        if !self.access.has_acl {
            return Ok(());
        }
        for (filter, _) in subscribe.filters.iter() {
            if topic::check_filter(filter).is_err() {
                continue;
            }
            let entry = self.clients.session(session);
            let right = self.access.right_to_subscribe(entry, filter, now);
            if right == Authorization::Allowed {
                continue;
            }
            self.outbox.stats.subscriptions_refused += 1;
            self.note_refused(id, session, ("subscribe to", filter), now);
            if right == Authorization::Denied && self.access.rules.acl_disconnect {
                return Err(Violation::NotAuthorized);
            }
        }
        Ok(())
    }

    /// One filter of a SUBSCRIBE; the error has the reason code for it.
    fn subscribe(
        &mut self,
        session: SessionId,
        filter: &str,
        mut record: SessionSubscription,
        now: Time,
    ) -> Result<(), Violation> {
        let limits = &self.config.limits;
        topic::check_filter(filter).map_err(|_| Violation::FilterInvalid)?;
        let share = topic::share(filter).map_err(|_| Violation::FilterInvalid)?;
        let (levels, levels_max) = (topic::levels(filter), limits.topic_levels_max);
        if levels > usize::from(levels_max) {
            return Err(Violation::FilterTooDeep {
                levels: levels as u32, // a filter has at most 65,535 bytes
                max: levels_max.into(),
            });
        }
        let subscriptions_max = limits.subscriptions_max as usize;
        let entry = self.clients.session(session);
        match self.access.right_to_subscribe(entry, filter, now) {
            Authorization::Allowed => {}
            _ if is_on(Mutant::SubscribeForbidden) => {}
            Authorization::Denied => return Err(Violation::NotAuthorized),
            Authorization::Unavailable | Authorization::Pending => return Err(Violation::HookDown),
        }
        let known = entry.session.subscriptions.get_key_value(filter);
        let known = known.map(|(key, known)| (Rc::clone(key), known.owes_retained));
        let (key, is_new) = match known {
            Some((key, owes)) => {
                record.owes_retained = owes; // it is on its way
                (key, false)
            }
            None => {
                self.check_room_for(session, filter)?;
                (Rc::from(filter), true)
            }
        };
        self.check_disk_for_filter(session)?;
        let entry = self.clients.session_mut(session);
        if entry
            .walks
            .as_ref()
            .is_some_and(|walks| walks.len() > subscriptions_max)
        {
            return Err(Violation::SubscriptionsMax {
                max: subscriptions_max as u32,
            });
        }
        let walks = share.is_none() && wants_retained(record.options, is_new);
        record.owes_retained |= walks && self.durable.is_some();
        entry.session.subscriptions.insert(Rc::clone(&key), record); // [MQTT-3.8.4-3] replaces
        let durable = entry.session.is_durable();
        match share {
            Some(share) => self.join_group(session, &share, (true, durable)),
            None => {
                self.index_subscription(session, filter, record, durable);
                if walks {
                    self.start_walk(session, key);
                }
            }
        }
        Ok(())
    }

    /// SUBACK has a reason code for each filter and no room for a sentence.
    #[cold]
    fn note_subscription(&mut self, session: SessionId, (filter, why): (&str, &str), now: Time) {
        let (client_id, peer) = self.clients.name_of(session);
        let about = About::refusal(why, Some(&client_id), peer);
        self.notice(&about, now, || {
            let filter = filter.escape_debug();
            format!("subscription to \"{filter}\" refused: {why}")
        });
    }

    /// Whether a session may have one more filter.
    fn check_room_for(&mut self, session: SessionId, filter: &str) -> Result<(), Violation> {
        if self.admission.pressure.memory {
            self.outbox.stats.refused_memory += 1;
            return Err(Violation::MemoryShort);
        }
        let limits = &self.config.limits;
        let entry = self.clients.session(session);
        let held = &entry.session.subscriptions;
        if held.len() >= limits.subscriptions_max as usize {
            return Err(Violation::SubscriptionsMax {
                max: limits.subscriptions_max,
            });
        }
        let bytes = (held.bytes() + subscription_cost(filter)) as u64;
        let max = limits.subscription_bytes_max;
        if bytes > max {
            return Err(Violation::SubscriptionBytesMax { bytes, max });
        }
        Ok(())
    }

    /// Removes each filter and answers at once: what a peer still sends finds no subscriber here.
    pub(in crate::shard) fn on_unsubscribe(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        unsubscribe: &Unsubscribe<'_>,
        now: Time,
    ) -> Result<(), Violation> {
        let connection = self.clients.connection(id);
        check_answer_fits(connection, || unsubscribe.filters.len())?;
        let mut codes = Vec::new();
        for filter in unsubscribe.filters.iter() {
            self.turn.budget.add(UNLINK);
            codes.push(self.unsubscribe(session, filter, now) as u8);
        }
        self.hold_answer_if_durable(id, session);
        self.clients.reply(id, |out, version| {
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

    pub(in crate::shard) fn unsubscribe(
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
        let entry = self.clients.session_mut(session);
        if entry.session.subscriptions.remove(filter).is_none() {
            return ReasonCode::NoSubscriptionExisted;
        }
        let member = entry.member;
        // Its walks end when they advance next (see `Walk::is_wanted`).
        self.replay.wake_walk(&mut self.clients, session);
        self.drop_subscription(session, member, filter);
        if topic::is_shared(filter) {
            // Not before the group forgets this member: another would send it back.
            self.redispatch_unsubscribed(session, filter, now);
        }
        ReasonCode::Success
    }
}

/// Refuses a request whose answer would be larger than the client takes, before anything of it
/// is done [MQTT-3.1.2-24].
fn check_answer_fits(
    connection: &Connection,
    filters: impl FnOnce() -> usize,
) -> Result<(), Violation> {
    let max = connection.packet_size_max;
    if max == u32::MAX {
        return Ok(());
    }
    let size = u32::try_from(encode::suback_size(filters())).unwrap_or(u32::MAX);
    if size > max {
        return Err(Violation::AnswerTooLarge { size, max });
    }
    Ok(())
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
