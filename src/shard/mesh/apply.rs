//! Blocks of peers. Handling one never needs room towards a peer's data ring, so rings always drain.

use crate::ids::ShardId;
use crate::mutant::{is_on, Mutant};
use crate::routing::Member;
use crate::shard::delivery::message::Message;
use crate::shard::mesh::block::{Block, Content, Control};
use crate::shard::mesh::block_op::BlockOp;
use crate::shard::mesh::publications::{BlockItem, Position, Publications};
use crate::shard::turn::budget::{DELIVERY, DISPATCH};
use crate::shard::{Lane, Shard};
use crate::time::Time;

impl Shard {
    /// A block of a peer arrived. Blocks of one peer and lane arrive in order.
    pub fn handle_block(&mut self, from: ShardId, lane: Lane, block: Block, now: Time) {
        match block.0 {
            Content::Data(publications) => {
                debug_assert_eq!(lane, Lane::Data);
                if self.wants_publications(from) {
                    self.apply(from, publications, Position::default(), now);
                } else {
                    self.turn.budget.keep_block(from, publications);
                }
            }
            Content::Control(messages) => {
                debug_assert_eq!(lane, Lane::Control);
                for control in messages {
                    self.on_control(from, control, now);
                }
            }
        }
    }

    /// Applies a block from a position on, as far as the turn's budget allows.
    pub(in crate::shard) fn apply(
        &mut self,
        from: ShardId,
        publications: Publications,
        at: Position,
        now: Time,
    ) {
        self.mesh.peers.applying(Some(from));
        self.outbox.latency.applies(Some(publications.read_at));
        let mut reader = publications.reader(at);
        let (mut left, mut pieces) = (None, None);
        let mut ahead = self.routes.prefetcher();
        loop {
            if self.turn.budget.is_exhausted() && !reader.is_at_end() {
                left = Some(reader.position());
                break;
            }
            match reader.next() {
                None => break,
                Some(BlockItem::Message(mut message, op)) => {
                    self.turn.budget.add(DELIVERY);
                    if self.takes_held(from, &mut message) {
                        self.on_message(&mut message, &op, now);
                    }
                }
                Some(BlockItem::PublishRun(run)) => {
                    pieces = self.pieces_of(&run);
                    if pieces.is_some() {
                        left = Some(reader.position());
                        break;
                    }
                    self.turn.budget.add(DELIVERY);
                    self.deliver_run(&run, now);
                    if run.has_more {
                        continue; // the last piece counts
                    }
                }
            }
            self.mesh.peers.applied_one(from);
            self.routes
                .prefetch_block(&mut ahead, &publications, &reader);
        }
        self.mesh.peers.applying(None);
        self.outbox.latency.applies(None);
        if let Some(at) = left.filter(|_| !is_on(Mutant::ForgetPausedBlock)) {
            self.turn.budget.put_back(from, publications, at);
        }
        if let Some(pieces) = pieces {
            self.turn.budget.put_back(from, pieces, Position::default());
        }
        self.wake_behind(now);
    }

    /// A publication for this shard, of a peer or of this shard's own log.
    pub(in crate::shard) fn on_message(
        &mut self,
        message: &mut Message<'_>,
        op: &BlockOp<'_>,
        now: Time,
    ) {
        if matches!(op, BlockOp::Retain | BlockOp::FanOutAndRetain) {
            self.retain(message, now); // even when expired: it replaces the one before
        }
        match op {
            BlockOp::Retain => {}
            _ if message.is_expired_on_arrival(now) => self.outbox.stats.dropped_expired += 1, // [MQTT-3.3.2-5]
            BlockOp::FanOut | BlockOp::FanOutAndRetain => self.fan_out_forwarded(message, now),
            BlockOp::Member {
                group,
                member,
                hops,
            } => {
                self.turn.budget.add(DISPATCH);
                self.deliver_to_member(message, *member, group, *hops, now);
            }
        }
        self.applied_for(message.waiter);
    }

    /// The publisher's shard matched for itself; this one matches for its own subscribers. Shared
    /// groups and other shards are handled by the publisher's shard.
    fn fan_out_forwarded(&mut self, message: &mut Message<'_>, now: Time) {
        let route = self
            .routes
            .route_again(message.topic, &mut self.turn.budget);
        message.share_topic(&route);
        self.fan_out(message, &route, None, now);
    }

    fn on_control(&mut self, from: ShardId, control: Control, now: Time) {
        match control {
            Control::FilterInterest { filter, interest } => {
                self.routes.index.set_remote(&filter, from.into(), interest);
            }
            Control::MemberJoined {
                share,
                filter,
                member,
                connected,
                durable,
            } => {
                self.routes.index.join(
                    &share,
                    &filter,
                    Member {
                        shard: from,
                        id: member,
                        connected,
                        durable,
                    },
                );
            }
            Control::MemberLeft {
                share,
                filter,
                member,
            } => {
                self.routes.index.leave(&share, &filter, from, member);
            }
            Control::MemberConnected { member, connected } => {
                self.routes.index.set_connected(from, member, connected);
            }
            Control::Barrier { number } => {
                let data_sent = self.data_sent();
                self.mesh
                    .peers
                    .send(from, Control::BarrierApplied { number, data_sent });
            }
            Control::BarrierApplied { number, data_sent } => {
                self.on_barrier_applied(from, number, data_sent, now);
            }
            Control::RetainedWalk(walk) => self.on_retained_walk(from, walk, now),
            Control::Committed { ticket, count } => self.on_committed(ticket, count),
            Control::HeldCommitted { through } => self.on_held_committed(from, through),
            Control::Announced => self.on_announced(),
            Control::Sighting(sighting) => self.on_sighting(&sighting, now),
            Control::LogPressure { is_high } => self.on_log_pressure(from, is_high),
            Control::DiskFull { is_full } => self.on_disk_full(from, is_full, now),
            Control::QueueFull { client_id, filters } => {
                self.on_queue_full(client_id, filters, now)
            }
            Control::QueueRoom { client_id } => self.on_queue_room(&client_id, now),
            Control::Lease { until } => self.on_lease(until, now),
            Control::Lanes(table) => self.on_lanes(table, now),
            Control::Missed => self.on_missed(now),
            Control::GroupUse { .. } => {} // for the exchange
            Control::RetainedPiece(mut piece) => self.on_retained_piece(&mut piece),
        }
    }
}
