//! Shared subscriptions: each publication goes to one member of each group.
//!
//! The publisher's shard chooses, from the replicated member list. The member's shard delivers, or
//! dispatches again when the member cannot take it.

use std::rc::Rc;

use super::block::Task;
use super::deliver::plain_delivery;
use super::message::Message;
use super::notices::About;
use super::Shard;
use crate::ids::{SessionId, ShardId};
use crate::mqtt::{topic, Qos};
use crate::mutant::{is_on, Mutant};
use crate::routing::GroupKey;
use crate::session::Delivery;
use crate::time::Time;

/// A publication is dispatched at most this often before it stays with the next member that can keep
/// it: members that come and go faster than blocks cross cannot keep it travelling.
const HOPS_MAX: u8 = 8;
/// Dispatched so often, and no member could keep it: dropped.
const HOPS_LAST: u8 = 64;

/// Messages of a queue looked at that cost as much as a delivery.
const QUEUED_LOOKED_AT: usize = 8;

impl Shard {
    /// Chooses a member and hands the message to it. `skip` is a member that just failed to take it.
    /// False: there is no member.
    pub(super) fn dispatch_to_group(
        &mut self,
        group: GroupKey,
        message: &mut Message<'_>,
        skip: Option<(ShardId, SessionId)>,
        hops: u8,
        now: Time,
    ) -> bool {
        let Some(member) = self.index.choose(group, skip) else {
            return false;
        };
        let Some((share, filter)) = self.index.group_name(group) else {
            return false;
        };
        let name = format!("$share/{share}/{filter}");
        if member.shard == self.id {
            self.deliver_to_member(message, member.session, &name, hops, now);
        } else {
            let task = Task::Member {
                group: &name,
                session: member.session,
                hops,
            };
            self.publish_to(member.shard, message, &task);
            if is_on(Mutant::GroupDeliversTwice) {
                self.publish_to(member.shard, message, &task);
            }
        }
        true
    }

    /// Delivers to a member of this shard, or dispatches again if it is not there to take it.
    pub(super) fn deliver_to_member(
        &mut self,
        message: &mut Message<'_>,
        session: SessionId,
        name: &str,
        hops: u8,
        now: Time,
    ) {
        let found = self.sessions.get(session).and_then(|hosted| {
            let (filter, record) = hosted.session.subscriptions.get_key_value(name)?;
            Some((
                Rc::clone(filter),
                *record,
                hosted.session.connection.is_some(),
            ))
        });
        let is_here = found.as_ref().is_some_and(|(_, _, connected)| *connected);
        let hops_max = if found.is_some() { HOPS_MAX } else { HOPS_LAST };
        if !is_here && hops < hops_max {
            if let Some(group) = self.group_of(name) {
                let here = (self.id, session);
                if self.has_better_member(group, here, found.is_some()) {
                    self.stats.redispatched += 1;
                    self.dispatch_to_group(group, message, Some(here), hops + 1, now);
                    return;
                }
            }
        }
        let Some((filter, record, _)) = found else {
            self.stats.dropped_no_member += 1;
            self.notice(&About::loss(name, None, 1), now, || {
                let name = name.escape_debug();
                format!("message of a shared group dropped: no member of {name} can take it")
            });
            return;
        };
        let qos = message.qos.min(record.options.qos); // [MQTT-4.8.2-3]
        let retain = message.retain && record.options.retain_as_published;
        let identifiers = record.identifier.map(|identifier| Rc::from([identifier]));
        let shared = (qos > Qos::AtMostOnce).then_some(filter);
        let delivery = Delivery {
            identifiers,
            shared,
            ..plain_delivery(message, qos, retain)
        };
        self.deliver(session, delivery, now);
    }

    /// Gives what a member cannot deliver now to others of its groups: everything queued and every
    /// QoS 1 message not acknowledged. `ended`: the session is gone, so any member will do, also for
    /// what a subscription given up before had begun to send; else only a connected one is better
    /// than waiting.
    pub(super) fn redispatch_shared(&mut self, session: SessionId, ended: bool, now: Time) {
        let here = (self.id, session);
        let Some(hosted) = self.sessions.get(session).filter(|hosted| hosted.in_groups) else {
            return;
        };
        let mut names = hosted.session.shared_in_hand();
        if !ended {
            // The rest is finished here [MQTT-3.10.4-3].
            names.retain(|name| hosted.session.subscriptions.contains_key(name));
        }
        names.retain(|name| {
            self.group_of(name)
                .is_some_and(|group| self.has_better_member(group, here, !ended))
        });
        if names.is_empty() || is_on(Mutant::ForgetRedispatch) {
            return;
        }
        let Some(hosted) = self.sessions.get_mut(session) else {
            return;
        };
        let is_wanted = |shared: &str| names.iter().any(|name| &**name == shared);
        let mut moved = hosted.session.window.take_shared(is_wanted);
        moved.extend(hosted.session.queue.take_shared(is_wanted));
        for delivery in moved {
            let name = delivery.shared.as_deref();
            if let Some(group) = name.and_then(|name| self.group_of(name)) {
                self.redispatch(&delivery, group, here, now);
            }
        }
    }

    /// Gives what waits for one subscription that is being removed to others of its group.
    pub(super) fn redispatch_unsubscribed(&mut self, session: SessionId, name: &str, now: Time) {
        let Some(group) = self.group_of(name) else {
            return; // its last member: it may have what waits [MQTT-3.10.4-3]
        };
        let Some(hosted) = self.sessions.get_mut(session) else {
            return;
        };
        self.work.add(hosted.session.queue.len() / QUEUED_LOOKED_AT);
        // What is in flight is finished here [MQTT-3.10.4-3].
        for delivery in hosted.session.queue.take_shared(|shared| shared == name) {
            if is_on(Mutant::ForgetRequeue) {
                continue;
            }
            self.redispatch(&delivery, group, (self.id, session), now);
        }
    }

    /// To a member that had nothing of it yet, so not when it has expired [MQTT-3.3.2-5].
    fn redispatch(
        &mut self,
        delivery: &Delivery,
        group: GroupKey,
        here: (ShardId, SessionId),
        now: Time,
    ) {
        let mut message = Message::of(&delivery.publication);
        if message.is_expired(now) {
            self.stats.dropped_expired += 1;
            return;
        }
        self.stats.redispatched += 1;
        self.dispatch_to_group(group, &mut message, Some(here), 1, now);
    }

    fn group_of(&self, name: &str) -> Option<GroupKey> {
        let share = topic::share(name).ok().flatten()?;
        self.index.group(share.name, share.filter)
    }

    /// True when another member than `here` should take a message: a connected one, or any when
    /// `here` cannot even keep it.
    fn has_better_member(
        &self,
        group: GroupKey,
        here: (ShardId, SessionId),
        here_can_keep: bool,
    ) -> bool {
        match self.index.peek(group, here) {
            Some(member) => member.connected || !here_can_keep,
            None => false,
        }
    }
}
