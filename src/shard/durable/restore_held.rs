//! Publications that logs hold for shards are taken up again.
//!
//! With the same number of shards they are forwarded, and who has taken one before passes it over. With another
//! number every shard reads all logs and finds out what had not been taken; those of its sessions for which it was get
//! it at once, so that nothing is left to cross.

use std::collections::HashMap;
use std::rc::Rc;

use super::crossing_records::KeptCrossings;
use super::held::{HeldOp, HeldPublication};
use super::places::Item;
use super::record::READ_BACK;
use super::ticket::Waiter;
use crate::ids::{MemberId, ShardId};
use crate::mqtt::Publication;
use crate::mutant::{is_on, Mutant};
use crate::shard::delivery::message::Message;
use crate::shard::mesh::block_op::BlockOp;
use crate::shard::Shard;
use crate::time::Time;

/// The logs that clients' sessions were in.
pub(super) type LogsOfClients = HashMap<Rc<str>, usize, ahash::RandomState>;

impl Shard {
    /// Continues with what the shard's own log has kept.
    pub(super) fn restore_crossings(&mut self, kept: KeptCrossings) {
        let shards = self.mesh.peers.count();
        let clocks = self.turn.clocks;
        let durable = self.durable.as_deref_mut().expect("a journal");
        let numbers = kept.numbers;
        (durable.held).restore_numbers(numbers.last_held, numbers.committed.into_iter());
        durable.cursors.restore(numbers.taken.into_iter());
        durable.cursors.segment = kept.segment;
        if let Some(segment) = kept.segment {
            durable.ledger.places.moved(Item::Crossings, None, segment);
        }
        for (number, (it, segment)) in kept.held {
            if it.to.index() >= shards || is_on(Mutant::ForgetHeld) {
                continue;
            }
            let publication = Rc::new(Publication {
                expires_at: (it.publication.expires_at)
                    .map(|at| clocks.to_time(READ_BACK.to_wall(at))),
                ..Publication::clone(&it.publication)
            });
            let it = HeldPublication { publication, ..it };
            durable.held.restore(number, it, segment);
            let places = &mut durable.ledger.places;
            places.moved(Item::Held(number), None, segment);
        }
    }

    /// Delivers what was on its way between shards when there was another number of them, as far as it is for this
    /// one.
    pub(super) fn deliver_crossings(
        &mut self,
        logs: &[KeptCrossings],
        of_clients: &LogsOfClients,
        now: Time,
    ) {
        for (from, log) in logs.iter().enumerate() {
            for (number, (it, _)) in &log.held {
                let from = ShardId(from as u16); // there were as many shards
                let to = logs.get(it.to.index());
                if !to.is_some_and(|to| to.has_taken(from, *number)) {
                    self.deliver_crossing(it, of_clients, now);
                }
            }
        }
    }

    fn deliver_crossing(&mut self, it: &HeldPublication, of_clients: &LogsOfClients, now: Time) {
        let clocks = self.turn.clocks;
        let publication = Rc::new(Publication {
            expires_at: (it.publication.expires_at).map(|at| clocks.to_time(READ_BACK.to_wall(at))),
            ..Publication::clone(&it.publication)
        });
        let mut message = Message::of(&publication);
        message.waiter = Waiter::Log;
        if matches!(it.op, HeldOp::Retain | HeldOp::FanOutAndRetain)
            && self.routes.placement.home(message.topic) == self.id
        {
            self.retain(&mut message, now);
        }
        match &it.op {
            HeldOp::Retain => {}
            _ if message.is_expired(now) => self.outbox.stats.dropped_expired += 1,
            HeldOp::FanOut | HeldOp::FanOutAndRetain => {
                let route = self.routes.route(message.topic, &mut self.turn.budget);
                let is_for = |session| {
                    let client_id = &self.clients.session(session).session.client_id;
                    of_clients.get(client_id) == Some(&it.to.index())
                };
                let targets = route.targets.iter().enumerate();
                let indexes: Vec<usize> = targets
                    .filter(|(_, target)| is_for(target.session))
                    .map(|(index, _)| index)
                    .collect();
                self.deliver_to_some(&mut message, &route, &indexes, None, now);
            }
            // Its members are known later; one shard dispatches it then.
            HeldOp::Member { group, .. } if self.routes.placement.home(group) == self.id => {
                let op = BlockOp::Member {
                    group,
                    member: MemberId::NOBODY,
                    hops: 0,
                };
                let durable = self.durable.as_deref_mut().expect("a journal");
                durable.held.hold(self.id, message.owned(), &op);
            }
            HeldOp::Member { .. } => {}
        }
    }
}
