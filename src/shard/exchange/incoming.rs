//! From other nodes to shards here.

use super::records::{Carried, Op, Record, RemoteMember};
use super::Exchange;
use crate::ids::{MemberId, ShardId};
use crate::image::Reader;
use crate::mqtt::Qos;
use crate::routing::Destination;
use crate::shard::delivery::message::Message;
use crate::shard::durable::ticket::{Awaited, Ticket, Waiter};
use crate::shard::mesh::block::Control;
use crate::shard::mesh::block_op::BlockOp;
use crate::time::Time;

impl Exchange {
    /// Applies a block of a node; the ticket of what shards here have to commit.
    pub(super) fn block_of_node(&mut self, slot: usize, block: &[u8], now: Time) -> Option<Ticket> {
        let ticket = self.owed.begin();
        self.peers.read_at = now;
        let mut it = Reader::fields(block);
        while !it.rest().is_empty() {
            let Ok(record) = Record::take(&mut it) else {
                self.stats.malformed += 1;
                break;
            };
            self.record_of_node(slot, &record, ticket);
        }
        Some(ticket)
    }

    fn record_of_node(&mut self, slot: usize, record: &Record<'_>, ticket: Ticket) {
        match *record {
            Record::AskSnapshot(number) => self.snapshot_asked(slot, number),
            Record::SnapshotBegins(_) => self.snapshot_begins(slot),
            Record::SnapshotEnds(number) => self.snapshot_ends(slot, number),
            Record::Interest { filter, interest } => {
                self.interest_of_node(slot, filter, interest);
            }
            Record::Joined {
                member,
                share,
                filter,
                connected,
                ..
            } => self.member_joined_node(slot, member, (share, filter), connected),
            Record::Left {
                member,
                share,
                filter,
            } => self.member_left_node(slot, member, (share, filter)),
            Record::Connected { member, connected } => {
                if let Some(member) = self.members.number(slot, member) {
                    (self.peers).broadcast(|| Control::MemberConnected { member, connected });
                }
            }
            Record::Barrier(number) => self.barrier_of_node(slot, number),
            Record::BarrierApplied(number) => self.barrier_applied_by_node(slot, number),
            Record::Publication(ref carried) => self.publication_of_node(carried, ticket),
            Record::AskRetained => self.retained_asked(slot),
            Record::RetainedEnds => self.has_retained = true,
        }
    }

    fn publication_of_node(&mut self, carried: &Carried<'_>, ticket: Ticket) {
        self.stats.received += 1;
        let mut message = Message {
            topic: carried.topic,
            shared_topic: None,
            payload: carried.payload,
            shared: None,
            properties: carried.properties,
            qos: carried.qos,
            retain: carried.retain,
            expires_at: carried.expires_at.map(|at| self.clocks.to_time(at)),
            owned: None,
            serial: 0,
            waiter: Waiter::Nobody,
            needs_commit: false,
        };
        match carried.op {
            Op::FanOut => self.give_shards(&mut message, (true, false), ticket),
            Op::Retain | Op::FanOutAndRetain => {
                self.live_topics.note(carried.topic);
                let fans_out = carried.op == Op::FanOutAndRetain;
                self.give_shards(&mut message, (fans_out, true), ticket);
            }
            Op::Sync => {
                // What came live since it was asked for is the same or newer.
                if !self.live_topics.contains(carried.topic) {
                    self.give_shards(&mut message, (false, true), ticket);
                }
            }
            Op::Member {
                group,
                member,
                hops,
            } => {
                if let Some((shard, member)) = self.member_here(member) {
                    let op = BlockOp::Member {
                        group,
                        member,
                        hops,
                    };
                    self.give_shard(shard, &mut message, &op, ticket);
                }
            }
        }
    }

    fn member_here(&self, member: RemoteMember) -> Option<(ShardId, MemberId)> {
        let id = std::num::NonZeroU64::new(member.id)?;
        let is_shard = member.shard < self.id.0;
        is_shard.then_some((ShardId(member.shard), MemberId(id)))
    }

    /// To the shards with subscribers, and to the topic's home when it is retained.
    fn give_shards(
        &mut self,
        message: &mut Message<'_>,
        (fans_out, retains): (bool, bool),
        ticket: Ticket,
    ) {
        let home = retains.then(|| self.placement.home(message.topic));
        let mut is_retained = false;
        if fans_out {
            let wanted = self.index.route_again(message.topic).remote;
            for destination in wanted.within(self.wants.here()).iter() {
                let Destination::Shard(shard) = destination;
                let op = match home == Some(shard) {
                    true => BlockOp::FanOutAndRetain,
                    false => BlockOp::FanOut,
                };
                is_retained |= home == Some(shard);
                self.give_shard(shard, message, &op, ticket);
            }
        }
        if let Some(home) = home.filter(|_| !is_retained) {
            self.give_shard(home, message, &BlockOp::Retain, ticket);
        }
    }

    fn give_shard(
        &mut self,
        shard: ShardId,
        message: &mut Message<'_>,
        op: &BlockOp<'_>,
        ticket: Ticket,
    ) {
        let is_awaited = self.awaits_commits && message.qos > Qos::AtMostOnce;
        let waiter = match is_awaited {
            true => {
                self.owed.add(ticket);
                let by = self.id;
                Waiter::Peer(Awaited { by, ticket })
            }
            false => Waiter::Nobody,
        };
        self.peers.publish(shard, message, op, waiter);
    }
}
