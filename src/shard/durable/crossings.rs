//! Crossings between shards by way of their logs: from [`held`](super::held) publications to the
//! [`cursors`](super::cursors) of those who take them, and the confirmation back.

use std::rc::Rc;

use super::ticket::{HeldNumber, Waiter};
use super::{Durability, Durable};
use crate::ids::ShardId;
use crate::mqtt::{Publication, Qos};
use crate::shard::delivery::message::Message;
use crate::shard::mesh::block::Control;
use crate::shard::mesh::block_op::BlockOp;
use crate::shard::mesh::peers::Peers;
use crate::shard::turn::budget::DELIVERY;
use crate::shard::Shard;
use crate::time::Time;

/// Whether all shards know all subscriptions that were read back: what is for a shared group needs its members.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    /// Barrier behind the subscriptions that were restored here; 0: there is no peer.
    pub(super) barrier: u64,
    /// This shard's own are known everywhere, and the others have not been notified.
    pub(super) is_to_announce: bool,
    /// Other shards that have not announced theirs.
    pub(super) awaited: usize,
}

impl Announcements {
    pub(super) fn are_complete(&self) -> bool {
        !self.is_to_announce && self.awaited == 0
    }
}

impl Durable {
    /// A publication for another shard is held until that has it. `is_kept`: there it is to outlive the process.
    /// One that would overtake one of its topic lines up behind it: at another QoS, too, since receivers may be
    /// granted the same [MQTT-4.6.0-6].
    fn must_hold(&self, message: &Message<'_>, is_kept: bool) -> bool {
        (is_kept && message.waiter == Waiter::Log) || self.held.has_waiting(message.topic)
    }
}

impl Shard {
    /// What waits for the commit of a publication that no publisher would repeat: this shard's log.
    pub(in crate::shard) fn waiter_for_own(&self, qos: Qos) -> Waiter {
        match self.durable.as_deref() {
            Some(durable) if durable.durability == Durability::Commit && qos > Qos::AtMostOnce => {
                Waiter::Log
            }
            _ => Waiter::Nobody,
        }
    }

    /// Publications of this topic are held that have not been forwarded.
    #[inline]
    pub(in crate::shard) fn is_topic_held(&self, topic: &str) -> bool {
        let durable = self.durable.as_deref();
        durable.is_some_and(|durable| durable.held.has_waiting(topic))
    }

    /// Holds a publication for another shard, if it must not go there at once.
    #[inline]
    pub(in crate::shard) fn hold_for(
        &mut self,
        to: ShardId,
        message: &mut Message<'_>,
        op: &BlockOp<'_>,
        is_kept: bool,
    ) -> bool {
        let Some(durable) = self.durable.as_deref_mut() else {
            return false;
        };
        let is_held = durable.must_hold(message, is_kept);
        if is_held {
            message.needs_commit = true;
            durable.held.hold(to, message.owned(), op);
        }
        is_held
    }

    /// Gives to other shards what is held for them and on the disk. They get it before any answer of this turn is
    /// sent.
    pub(in crate::shard) fn forward_held(&mut self, now: Time) {
        let mut before: Option<(Rc<Publication>, u64)> = None;
        while let Some(durable) = self.durable.as_deref_mut() {
            if !durable.announcements.are_complete() {
                return;
            }
            let lsn = durable.log.durable();
            let Some((number, it)) = durable.held.pop_forwardable(lsn) else {
                return;
            };
            self.turn.budget.add(DELIVERY);
            let publication = Rc::clone(&it.publication);
            let mut message = Message::of(&publication);
            // For several groups, it is written once.
            let is_again = |(last, _): &&(Rc<Publication>, u64)| Rc::ptr_eq(last, &publication);
            message.serial = before.as_ref().filter(is_again).map_or(0, |(_, n)| *n);
            if it.to == self.id {
                let op = it.op.clone();
                message.waiter = Waiter::Log;
                self.on_message(&mut message, &op.as_block_op(), now);
                self.on_held_committed(self.id, number); // in one turn with what it has become
                continue;
            }
            let (to, op) = (it.to, it.op.as_block_op());
            let waiter = Waiter::Held(number);
            if self.mesh.peers.publish(to, &mut message, &op, waiter) {
                self.turn.budget.stop();
            }
            let serial = message.serial;
            before = Some((publication, serial));
        }
    }

    /// A publication of another shard, which holds it perhaps; false: it was taken before.
    #[inline]
    pub(in crate::shard) fn takes_held(
        &mut self,
        from: ShardId,
        message: &mut Message<'_>,
    ) -> bool {
        let Waiter::Held(number) = message.waiter else {
            return true;
        };
        message.waiter = Waiter::Log; // also when it is handed on
        let durable = self.durable.as_deref_mut();
        let durable = durable.expect("all shards have journals, or none has");
        self.mesh.peers.applying_held(number);
        durable.cursors.take(from, number)
    }

    /// A shard has committed what is held for it, up to this number.
    pub(in crate::shard) fn on_held_committed(&mut self, by: ShardId, through: HeldNumber) {
        let durable = self.durable.as_deref_mut();
        let durable = durable.expect("a shard that holds has a journal");
        for segment in durable.held.committed(by, through) {
            durable.ledger.places.left(segment);
        }
        durable.cursors.is_old = true;
    }

    /// All shards know the subscriptions that another shard has read back.
    pub(in crate::shard) fn on_announced(&mut self) {
        if let Some(durable) = self.durable.as_deref_mut() {
            let awaited = &mut durable.announcements.awaited;
            *awaited = awaited.saturating_sub(1);
        }
    }

    /// Says once that the subscriptions read back here are known everywhere.
    pub(super) fn announce_restored(&mut self) {
        let reached = self.mesh.peers.barrier_reached();
        let Some(durable) = self.durable.as_deref_mut() else {
            return;
        };
        let announcements = &mut durable.announcements;
        if announcements.is_to_announce && reached >= announcements.barrier {
            announcements.is_to_announce = false;
            self.mesh.peers.broadcast(|| Control::Announced);
        }
    }

    /// What this shard has for each other: how many publications were sent so far, and then, with a journal, the
    /// number of the last one held.
    pub(in crate::shard) fn data_sent(&self) -> Box<[u64]> {
        let sent = self.mesh.peers.data_sent();
        let Some(durable) = self.durable.as_deref() else {
            return sent;
        };
        let shards = (0..sent.len() as u16).map(ShardId);
        let held = shards.map(|to| durable.held.last_for(to).0);
        sent.iter().copied().chain(held).collect()
    }

    /// True when what is needed of each shard (see [`data_sent`](Self::data_sent)) is applied here.
    pub(in crate::shard) fn has_applied(&self, needed: &[u64]) -> bool {
        has_applied(&self.mesh.peers, self.durable.as_deref(), needed)
    }
}

/// See [`Shard::has_applied`].
pub(in crate::shard) fn has_applied(
    peers: &Peers,
    durable: Option<&Durable>,
    needed: &[u64],
) -> bool {
    let (sent, held) = needed.split_at(peers.count().min(needed.len()));
    let has_taken = |durable: &Durable| {
        let mut all = held.iter().zip((0..).map(ShardId));
        all.all(|(number, from)| {
            from == peers.local() || durable.cursors.taken(from) >= HeldNumber(*number)
        })
    };
    peers.has_applied(sent) && durable.is_none_or(has_taken)
}
