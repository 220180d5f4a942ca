//! Shared subscriptions: each publication goes to one member of each group.
//!
//! The publisher's shard chooses, from the replicated member list. The member's shard delivers, or
//! dispatches again when the member cannot take it.

use std::rc::Rc;

use crate::ids::{MemberId, SessionId, ShardId};
use crate::mqtt::{topic, Qos};
use crate::mutant::{is_on, Mutant};
use crate::routing::GroupKey;
use crate::session::{Delivery, Waiting};
use crate::shard::delivery::message::Message;
use crate::shard::delivery::send::plain_delivery;
use crate::shard::delivery::Routes;
use crate::shard::durable::ticket::Waiter;
use crate::shard::mesh::block_op::BlockOp;
use crate::shard::notices::About;
use crate::shard::Shard;
use crate::time::Time;

/// A publication is dispatched at most this often before it stays with the next member that can keep
/// it: members that connect and disconnect faster than blocks cross cannot keep it in transit.
const HOPS_MAX: u8 = 8;
/// Dispatched so often, and no member could keep it: dropped.
const HOPS_LAST: u8 = 64;

/// Messages of a queue looked at that cost as much as a delivery.
const QUEUED_LOOKED_AT: usize = 8;

impl Shard {
    /// Chooses a member and hands the message to it. `skip` is a member that just failed to take it.
    /// False: there is no member.
    pub(in crate::shard) fn dispatch_to_group(
        &mut self,
        group: GroupKey,
        message: &mut Message<'_>,
        skip: Option<(ShardId, MemberId)>,
        hops: u8,
        now: Time,
    ) -> bool {
        let Some(member) = self.routes.index.choose(group, skip) else {
            return false;
        };
        let Some((share, filter)) = self.routes.index.group_name(group) else {
            return false;
        };
        let name = format!("$share/{share}/{filter}");
        message.needs_commit |= member.durable;
        if member.shard == self.id {
            self.deliver_to_member(message, member.id, &name, hops, now);
        } else {
            let op = BlockOp::Member {
                group: &name,
                member: member.id,
                hops,
            };
            self.publish_to(member.shard.into(), message, &op, member.durable);
            if is_on(Mutant::GroupDeliversTwice) {
                self.publish_to(member.shard.into(), message, &op, member.durable);
            }
        }
        true
    }

    /// Delivers to a member of this shard, or dispatches again if it cannot take it.
    pub(in crate::shard) fn deliver_to_member(
        &mut self,
        message: &mut Message<'_>,
        member: MemberId,
        name: &str,
        hops: u8,
        now: Time,
    ) {
        // The member may have ended, or left the group, since it was chosen.
        let session = self.clients.members.session(member);
        let found = session.and_then(|session| {
            let entry = self.clients.sessions.get(session)?;
            let (filter, record) = entry.session.subscriptions.get_key_value(name)?;
            let is_connected = entry.session.connection.is_some();
            Some((session, Rc::clone(filter), *record, is_connected))
        });
        let is_here = found.as_ref().is_some_and(|(.., connected)| *connected);
        let hops_max = if found.is_some() { HOPS_MAX } else { HOPS_LAST };
        if !is_here && hops < hops_max {
            if let Some(group) = self.routes.group_of(name) {
                let here = (self.id, member);
                if self.routes.has_better_member(group, here, found.is_some()) {
                    self.outbox.stats.redispatched += 1;
                    if message.waiter == Waiter::Nobody {
                        message.waiter = self.waiter_for_own(message.qos); // no publisher waits
                    }
                    self.dispatch_to_group(group, message, Some(here), hops + 1, now);
                    return;
                }
            }
        }
        let Some((session, filter, record, _)) = found else {
            self.drop_without_member(name, now);
            return;
        };
        let qos = message.qos.min(record.options.qos); // [MQTT-4.8.2-3]
        let retain = message.retain && record.options.retain_as_published;
        let identifiers = record.identifier.map(|identifier| [identifier].into());
        let shared = (qos > Qos::AtMostOnce).then_some(filter);
        let delivery = Delivery {
            identifiers,
            shared,
            ..plain_delivery(message, qos, retain)
        };
        self.deliver(session, delivery, now);
    }

    /// Gives what a member cannot deliver now to others of its groups: everything queued and every
    /// QoS 1 message not acknowledged. `ended`: the session has ended, so any member will do, also for
    /// what a subscription removed before had begun to send; else only a connected one is better
    /// than waiting.
    pub(in crate::shard) fn redispatch_shared(
        &mut self,
        session: SessionId,
        ended: bool,
        now: Time,
    ) {
        let entry = self.clients.session(session);
        let Some(member) = entry.member else {
            return;
        };
        let here = (self.id, member);
        let mut names = entry.session.shared_in_hand();
        if !ended {
            // The rest is finished here [MQTT-3.10.4-3].
            names.retain(|name| entry.session.subscriptions.contains_key(name));
        }
        names.retain(|name| {
            self.routes
                .group_of(name)
                .is_some_and(|group| self.routes.has_better_member(group, here, !ended))
        });
        if names.is_empty() || is_on(Mutant::ForgetRedispatch) {
            return;
        }
        let entry = self.clients.session_mut(session);
        let is_wanted = |shared: &str| names.iter().any(|name| &**name == shared);
        let mut moved = entry.session.window.take_shared(is_wanted);
        moved.extend(entry.session.queue.take_shared(is_wanted));
        self.hand_on_all(session, moved, here, now);
    }

    /// Gives what waits for one subscription that is being removed to others of its group.
    pub(in crate::shard) fn redispatch_unsubscribed(
        &mut self,
        session: SessionId,
        name: &str,
        now: Time,
    ) {
        if self.routes.group_of(name).is_none() {
            return; // its last member: it may have what waits [MQTT-3.10.4-3]
        }
        let entry = self.clients.session_mut(session);
        let Some(member) = entry.member else {
            return; // in no group
        };
        self.turn
            .budget
            .add(entry.session.queue.len() / QUEUED_LOOKED_AT);
        // What is in flight is finished here [MQTT-3.10.4-3].
        let taken = entry.session.queue.take_shared(|shared| shared == name);
        if !is_on(Mutant::ForgetRequeue) {
            self.hand_on_all(session, taken, (self.id, member), now);
        }
    }

    /// What must be read back before, and all that is behind it, is handed on by and by.
    fn hand_on_all(
        &mut self,
        from: SessionId,
        mut taken: Vec<Waiting>,
        here: (ShardId, MemberId),
        now: Time,
    ) {
        let first_stored = taken.iter().position(|one| one.stored().is_some());
        if let Some(first) = first_stored {
            let left = taken.split_off(first);
            self.leave_estate(from, left);
        }
        for delivery in taken.iter().filter_map(Waiting::delivery) {
            self.hand_on(delivery, Some(here), now);
        }
    }

    /// To a member that had nothing of it yet, so not when it has expired [MQTT-3.3.2-5].
    pub(in crate::shard) fn hand_on(
        &mut self,
        delivery: &Delivery,
        here: Option<(ShardId, MemberId)>,
        now: Time,
    ) {
        let name = delivery.shared.as_deref().unwrap_or_default();
        let Some(group) = self.routes.group_of(name) else {
            self.drop_without_member(name, now); // all have left since it was to be handed on
            return;
        };
        let mut message = Message::of(&delivery.publication);
        if !is_on(Mutant::HandOnUnheld) {
            message.waiter = self.waiter_for_own(message.qos);
        }
        if message.is_expired(now) {
            self.outbox.stats.dropped_expired += 1;
            return;
        }
        self.outbox.stats.redispatched += 1;
        if !self.dispatch_to_group(group, &mut message, here, 1, now) {
            self.drop_without_member(name, now);
        }
    }

    fn drop_without_member(&mut self, name: &str, now: Time) {
        self.outbox.stats.dropped_no_member += 1;
        self.notice(&About::loss(name, None, 1), now, || {
            let name = name.escape_debug();
            format!("message of a shared group dropped: no member of {name} can take it")
        });
    }
}

impl Routes {
    fn group_of(&self, name: &str) -> Option<GroupKey> {
        let share = topic::share(name).ok().flatten()?;
        self.index.group(share.name, share.filter)
    }

    /// True when another member than `here` should take a message: a connected one, or any when
    /// `here` cannot even keep it.
    fn has_better_member(
        &self,
        group: GroupKey,
        here: (ShardId, MemberId),
        here_can_keep: bool,
    ) -> bool {
        match self.index.peek(group, here) {
            Some(member) => member.connected || !here_can_keep,
            None => false,
        }
    }
}
