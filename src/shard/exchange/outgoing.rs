//! From shards here to other nodes.

use super::members::MemberState;
use super::records::{Carried, Op, Record, RemoteMember};
use super::Exchange;
use crate::ids::{MemberId, ShardId};
use crate::mqtt::frame;
use crate::mqtt::{decode, topic, Qos, Sender};
use crate::routing::Destinations;
use crate::shard::delivery::message::Message;
use crate::shard::durable::ticket::{Awaited, Waiter};
use crate::shard::exchange::remote::HIGH_WATER;
use crate::shard::mesh::block::Control;
use crate::shard::mesh::block_op::BlockOp;
use crate::shard::mesh::publications::{BlockItem, Position, Publications};
use crate::shard::mesh::publish_run::PublishRun;
use crate::time::Time;

fn member_of(shard: ShardId, member: MemberId) -> RemoteMember {
    RemoteMember {
        shard: shard.0,
        id: member.0.get(),
    }
}

impl Exchange {
    pub(super) fn control_of_shard(&mut self, from: ShardId, control: Control) {
        let of = |member| member_of(from, member);
        match control {
            Control::FilterInterest { filter, interest } => {
                self.interest_of_shard(from, &filter, interest);
            }
            Control::MemberJoined {
                share,
                filter,
                member,
                connected,
                durable,
            } => {
                let member = of(member);
                self.tell_all(&Record::Joined {
                    member,
                    share: &share,
                    filter: &filter,
                    connected,
                    durable,
                });
                let state = MemberState { connected, durable };
                self.members.joined_here(member, (share, filter), state);
            }
            Control::MemberLeft {
                share,
                filter,
                member,
            } => {
                let member = of(member);
                self.tell_all(&Record::Left {
                    member,
                    share: &share,
                    filter: &filter,
                });
                self.members.left_here(member, &(share, filter));
            }
            Control::MemberConnected { member, connected } => {
                let member = of(member);
                self.tell_all(&Record::Connected { member, connected });
                self.members.connected_here(member, connected);
            }
            Control::Barrier { number } => self.barrier_of_shard(from, number),
            Control::BarrierApplied { number, data_sent } => {
                self.barrier_applied_by_shard(from, number, &data_sent);
            }
            Control::Committed { ticket, count } => self.owed.committed(ticket, count),
            Control::RetainedPiece(piece) => self.retained_piece(&piece),
            Control::GroupUse {
                group,
                epoch,
                is_free,
            } => self
                .offers
                .answered(from, (group, epoch), is_free, self.id.0),
            // Of one node, or between its shards.
            Control::RetainedWalk(_)
            | Control::HeldCommitted { .. }
            | Control::Announced
            | Control::Sighting(_)
            | Control::LogPressure { .. }
            | Control::DiskFull { .. }
            | Control::QueueFull { .. }
            | Control::QueueRoom { .. }
            | Control::Lease { .. }
            | Control::Lanes(_)
            | Control::Missed => {}
        }
    }

    fn tell_all(&mut self, record: &Record<'_>) {
        for remote in self.remotes.iter_mut().flatten() {
            remote.put(record);
        }
    }

    pub(super) fn publications_of_shard(
        &mut self,
        from: ShardId,
        publications: &Publications,
        now: Time,
    ) {
        let mut reader = publications.reader(Position::default());
        while let Some(item) = reader.next() {
            match item {
                BlockItem::Message(message, op) => self.message_of_shard(&message, &op),
                BlockItem::PublishRun(run) => {
                    self.run_of_shard(&run, now);
                    if run.has_more {
                        continue; // the last piece counts
                    }
                }
            }
            self.peers.applied_one(from);
        }
    }

    fn run_of_shard(&mut self, run: &PublishRun<'_>, now: Time) {
        let mut at = 0;
        while let Ok(Some(frame)) = frame::next_frame(&run.packets[at..], u32::MAX) {
            at += frame.length;
            let Ok(publish) = decode::publish_from(run.version, Sender::Client, &frame) else {
                return; // they were decoded before
            };
            let mut stripped = Vec::new();
            // Packets behind the first may name the topic by an alias.
            let message = Message::of_publish(run.topic(), &publish, &mut stripped, now);
            self.message_of_shard(&message, &BlockOp::FanOut);
        }
    }

    fn message_of_shard(&mut self, message: &Message<'_>, op: &BlockOp<'_>) {
        let waiter = match message.waiter {
            Waiter::Peer(awaited) => Some(awaited),
            _ => None,
        };
        let sent = match op {
            _ if topic::is_reserved(message.topic) => 0, // of this node alone
            BlockOp::Member {
                group,
                member,
                hops,
            } => self.give_member(message, group, (*member, *hops), waiter),
            BlockOp::FanOut => self.give_interested(message, false, waiter),
            BlockOp::Retain | BlockOp::FanOutAndRetain => {
                self.live_topics.note(message.topic);
                self.give_interested(message, true, waiter)
            }
        };
        if let Some(awaited) = waiter.filter(|_| sent == 0) {
            self.confirm_to(awaited);
        }
    }

    /// To one member of a group; how many nodes have it.
    fn give_member(
        &mut self,
        message: &Message<'_>,
        group: &str,
        (member, hops): (MemberId, u8),
        waiter: Option<Awaited>,
    ) -> u16 {
        let Some((slot, member)) = self.members.find(member) else {
            return 0; // its node has ended since it was chosen
        };
        let op = Op::Member {
            group,
            member,
            hops,
        };
        let mut bytes = Vec::new();
        Record::Publication(Carried::of(message, op, self.clocks)).put(&mut bytes);
        let Some(remote) = &mut self.remotes[slot] else {
            return 0; // it has ended, and its members with it
        };
        if message.qos == Qos::AtMostOnce && remote.bytes() >= HIGH_WATER {
            self.stats.dropped += 1;
            return 0;
        }
        let wait = waiter.map(|awaited| self.waits.begin(awaited, 1));
        remote.put_publication(&bytes, wait);
        self.stats.sent += 1;
        1
    }

    /// To nodes with subscribers, and to all when it is retained; how many have it.
    fn give_interested(
        &mut self,
        message: &Message<'_>,
        retains: bool,
        waiter: Option<Awaited>,
    ) -> u16 {
        let wanted = self.index.route_again(message.topic).remote;
        let interested = wanted.within(self.wants.elsewhere());
        if interested.is_empty() && !retains {
            return 0;
        }
        let targets = self.targets(message.qos, retains, interested);
        if targets.is_empty() {
            return 0;
        }
        let wait = waiter.map(|awaited| self.waits.begin(awaited, targets.len() as u16));
        let mut encoded: [Option<Vec<u8>>; 3] = Default::default();
        for (slot, is_interested) in &targets {
            let op = match (is_interested, retains) {
                (true, true) => Op::FanOutAndRetain,
                (true, false) => Op::FanOut,
                (false, _) => Op::Retain,
            };
            let place = usize::from(*is_interested) + usize::from(*is_interested && retains);
            let bytes = encoded[place].get_or_insert_with(|| {
                let mut bytes = Vec::new();
                Record::Publication(Carried::of(message, op, self.clocks)).put(&mut bytes);
                bytes
            });
            if let Some(remote) = &mut self.remotes[*slot] {
                remote.put_publication(bytes, wait);
            }
        }
        self.stats.sent += targets.len() as u64;
        targets.len() as u16
    }

    /// Nodes that get a publication, each with whether it has subscribers.
    fn targets(
        &mut self,
        qos: Qos,
        retains: bool,
        interested: Destinations,
    ) -> smallvec::SmallVec<[(usize, bool); 4]> {
        let mut targets = smallvec::SmallVec::new();
        for (slot, remote) in self.remotes.iter().enumerate() {
            let Some(remote) = remote else {
                continue; // a free place
            };
            let is_interested = interested.contains(self.destination(slot));
            if !(is_interested || retains) {
                continue;
            }
            if qos == Qos::AtMostOnce && remote.bytes() >= HIGH_WATER {
                self.stats.dropped += 1;
                continue;
            }
            targets.push((slot, is_interested));
        }
        targets
    }
}
