//! The work of one turn is bounded, whatever its bytes ask for.
//!
//! A publication can cost ten thousand times what its bytes cost to read: it has that many
//! subscribers, or one client has joined that many groups. So a turn counts what it hands out. Once
//! its measure is full, the packets of the connection being read and the block being applied wait for
//! the next turns, in which everybody else is served, too.

use std::collections::VecDeque;
use std::rc::Rc;

use super::block::{Position, Publications};
use super::{CloseCause, Connection, Shard};
use crate::ids::{ConnectionId, ShardId};
use crate::limits::TURN_WORK;
use crate::mutant::{is_on, Mutant};
use crate::routing::Route;
use crate::time::Time;

/// One publication to one subscriber.
pub(super) const DELIVERY: usize = 1;
/// Choosing a member of a shared group and handing it a publication.
pub(super) const DISPATCH: usize = 8;
/// What a timer asks for, without the deliveries of a will.
pub(super) const TIMER: usize = 16;
/// A client that is let in.
pub(super) const CONNECT: usize = 32;
/// A filter that is subscribed.
const SUBSCRIBE: usize = 16;
/// A connection that we end: its last words (of TLS, too) and the end of its socket are system calls.
pub(super) const END: usize = 512;
/// Filters that are subscribed in a stretch of a turn: ten thousand clients may do so at once, and each
/// finds its place in the index and is answered.
pub(super) const SUBSCRIBED_MAX: usize = 256;
/// Nodes and subscribers looked at to find a route that cost as much as a delivery.
const LOOKED_AT: usize = 8;
/// Bytes copied to one subscriber that cost as much as a delivery.
pub(super) const COPIED_BYTES: usize = 1 << 10;

/// Lives on: each shard its own.
#[derive(Debug)]
pub(super) struct Work {
    done: usize,
    /// Filters that were subscribed meanwhile.
    subscribed: usize,
    max: usize,
    /// Connections whose `partial` has whole packets, in the order in which they go on.
    connections: VecDeque<ConnectionId>,
    /// By peer: blocks of publications, the first begun.
    blocks: Vec<VecDeque<(Publications, Position)>>,
    /// The peer whose blocks are next.
    next: usize,
}

impl Work {
    pub(super) fn new(shards: u16) -> Self {
        Self {
            done: 0,
            subscribed: 0,
            max: TURN_WORK,
            connections: VecDeque::new(),
            blocks: (0..shards).map(|_| VecDeque::new()).collect(),
            next: 0,
        }
    }

    /// A measure of work for what comes next.
    pub(super) fn renew(&mut self) {
        self.done = 0;
        self.subscribed = 0;
    }

    #[inline]
    pub(super) fn add(&mut self, units: usize) {
        self.done += units;
    }

    /// A filter was subscribed.
    pub(super) fn add_subscribed(&mut self) {
        self.done += SUBSCRIBE;
        self.subscribed += 1;
    }

    /// Further SUBSCRIBEs wait for the next turn, and with them what their clients send after them.
    #[inline]
    pub(super) fn has_subscribed_enough(&self) -> bool {
        self.subscribed >= SUBSCRIBED_MAX
    }

    /// The rest waits for the next turn.
    #[inline]
    pub(super) fn is_spent(&self) -> bool {
        self.done >= self.max
    }

    /// No more in this turn: a peer's outbox is full.
    pub(super) fn stop(&mut self) {
        self.done = self.max;
    }

    /// Something waits for the next turn.
    pub(super) fn is_left(&self) -> bool {
        !self.connections.is_empty() || self.blocks.iter().any(|blocks| !blocks.is_empty())
    }

    pub(super) fn has_block_of(&self, peer: ShardId) -> bool {
        !self.blocks[peer.index()].is_empty()
    }

    /// A block that is applied behind those of the same peer.
    pub(super) fn keep_block(&mut self, from: ShardId, publications: Publications) {
        self.blocks[from.index()].push_back((publications, Position::default()));
    }

    /// A block that was begun.
    pub(super) fn put_back(&mut self, from: ShardId, publications: Publications, at: Position) {
        self.blocks[from.index()].push_front((publications, at));
    }
}

impl Shard {
    /// Smaller turns than [`TURN_WORK`], so that tests meet their ends.
    #[cfg(any(test, feature = "sim"))]
    pub fn set_turn_work(&mut self, units: usize) {
        self.work.max = units;
    }

    /// False while blocks of this peer's publications wait here: leave the next one in its ring.
    #[must_use]
    pub fn wants_publications(&self, from: ShardId) -> bool {
        !self.work.is_spent() && !self.work.has_block_of(from)
    }

    /// The route of a topic. To find one that is not known may be much work, too: one client can have
    /// thousands of overlapping filters.
    #[inline]
    pub(super) fn route(&mut self, topic: &str) -> Rc<Route> {
        let route = self.index.route(topic);
        self.work.add(self.index.take_looked_at() / LOOKED_AT);
        route
    }

    /// The route of a publication with an acknowledgement: its publisher may have sent more of its topic.
    #[inline]
    pub(super) fn route_again(&mut self, topic: &str) -> Rc<Route> {
        let route = self.index.route_again(topic);
        self.work.add(self.index.take_looked_at() / LOOKED_AT);
        route
    }

    /// The packets in a connection's `partial` wait for the next turn.
    pub(super) fn pause(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.is_paused = true;
            self.work.connections.push_back(id);
        }
    }

    /// At the end of a turn: what waits goes on, blocks and connections with a measure of work each.
    pub(super) fn catch_up(&mut self, now: Time) {
        self.work.renew();
        self.catch_up_blocks(now);
        self.work.renew();
        for _ in 0..self.work.connections.len() {
            if self.work.is_spent() || self.work.has_subscribed_enough() {
                break;
            }
            if let Some(id) = self.work.connections.pop_front() {
                self.resume(id, now);
            }
        }
        self.work.renew();
    }

    /// Each time another peer is the first.
    fn catch_up_blocks(&mut self, now: Time) {
        let count = self.work.blocks.len();
        let first = self.work.next;
        for peer in (first..count).chain(0..first) {
            while !self.work.is_spent() {
                let Some((publications, at)) = self.work.blocks[peer].pop_front() else {
                    break;
                };
                self.work.next = (peer + 1) % count;
                self.apply(ShardId(peer as u16), publications, at, now);
            }
        }
    }

    /// A paused connection goes on with the packets it has; then it may be over.
    fn resume(&mut self, id: ConnectionId, now: Time) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        if self.holds_back(connection) {
            self.work.connections.push_back(id);
            return;
        }
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.is_paused = false;
        let mut bytes = std::mem::take(&mut connection.partial);
        if is_on(Mutant::ForgetPausedPackets) {
            bytes.clear();
        }
        let (used, flow) = self.process(id, &bytes, now);
        self.after(id, &bytes[used..], flow);
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let waits = connection.is_paused || connection.is_asking;
        if let (false, Some(cause)) = (waits, connection.gone) {
            self.handle_closed(id, cause, now);
        }
    }

    /// The socket of a connection that waits is gone: true when what it sent before is to be handled
    /// first.
    pub(super) fn closes_later(&mut self, id: ConnectionId, cause: CloseCause) -> bool {
        let connection = self.connections.get_mut(id);
        let is_live = |connection: &Connection| connection.session().is_some();
        let waits = connection.filter(|c| c.is_paused || (c.is_asking && is_live(c)));
        match waits {
            Some(connection) if cause != CloseCause::Asked => {
                connection.gone = Some(cause);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::sync::Arc;

    use super::*;
    use crate::ids::ListenerId;
    use crate::limits::Limits;
    use crate::listener::ListenerPolicy;
    use crate::shard::{Lane, Origin, Peer, ShardConfig};

    const GROUPS: usize = 4_000;
    const NOW: Time = Time(1);

    fn shards(count: u16) -> Vec<Shard> {
        let config = Arc::new(ShardConfig {
            shards: count,
            limits: Limits {
                outgoing_bytes_max: 1 << 30,
                ..Limits::default()
            },
            placement_seed: 3,
            listeners: [ListenerPolicy::default()].into(),
        });
        let ids = (0..count).map(ShardId);
        ids.map(|id| Shard::new(id, &config, 5, NOW)).collect()
    }

    /// A connected v3.1.1 client; its home must be this shard.
    fn connect(shard: &mut Shard, client_id: &str) -> ConnectionId {
        let origin = Origin::new(Peer::Unix, ListenerId(0));
        let id = shard.handle_opened(origin, NOW).unwrap();
        let mut packet = vec![0x10, 12 + client_id.len() as u8];
        packet.extend_from_slice(b"\0\x04MQTT\x04\x02\0\0\0");
        packet.push(client_id.len() as u8);
        packet.extend_from_slice(client_id.as_bytes());
        shard.handle_bytes(id, &packet, NOW);
        assert_eq!(shard.stats().handed_off, 0);
        id
    }

    /// A client id whose home is a shard.
    fn client_id_of(shard: &Shard, stem: &str) -> String {
        let mut names = (0..).map(|n| format!("{stem}{n}"));
        let is_home = |name: &String| shard.placement.home(name) == shard.id;
        names.find(is_home).unwrap()
    }

    fn join_groups(shard: &mut Shard, id: ConnectionId) {
        for n in 0..GROUPS {
            let filter = format!("$share/{n}/t");
            let mut packet = vec![0x82, 5 + filter.len() as u8, 0, 1, 0, filter.len() as u8];
            packet.extend_from_slice(filter.as_bytes());
            packet.push(0);
            shard.handle_bytes(id, &packet, NOW);
            shard.end_turn(NOW);
        }
    }

    /// PUBLISH at QoS 0 on `t`, the payload a number.
    fn publishes(count: u32) -> Vec<u8> {
        let one = |n: u32| [&[0x30, 7, 0, 1, b't'], &n.to_be_bytes()[..]].concat();
        (0..count).flat_map(one).collect()
    }

    /// What was sent to a connection since it was last asked.
    fn sent(shard: &mut Shard, id: ConnectionId) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let mut slices = [IoSlice::new(&[]); 16];
            let count = shard.outgoing(id, &mut slices);
            let before = bytes.len();
            slices[..count]
                .iter()
                .for_each(|s| bytes.extend_from_slice(s));
            if bytes.len() == before {
                return bytes;
            }
            shard.handle_written(id, bytes.len() - before, NOW);
        }
    }

    fn turns(shard: &mut Shard) -> usize {
        let mut turns = 0;
        while shard.poll_timeout().is_some_and(|due| due <= NOW) {
            let before = shard.stats().deliveries_sent;
            shard.end_turn(NOW);
            let work = (shard.stats().deliveries_sent - before) as usize * DISPATCH;
            assert!(
                work <= TURN_WORK + 2 * GROUPS * DISPATCH,
                "{work} in a turn"
            );
            shard.audit().unwrap();
            turns += 1;
        }
        turns
    }

    #[test]
    fn a_few_bytes_for_many_groups_are_spread_over_turns() {
        let mut shards = shards(1);
        let shard = &mut shards[0];
        let member = connect(shard, "member");
        join_groups(shard, member);
        let (publisher, other) = (connect(shard, "publisher"), connect(shard, "other"));
        for id in [member, publisher, other] {
            sent(shard, id);
        }
        shard.handle_bytes(publisher, &publishes(50), NOW);
        assert!(shard.is_paused(publisher) && !shard.wants_input(publisher));
        shard.end_turn(NOW);
        assert!(shard.is_paused(publisher) && shard.wants_input(other));
        shard.handle_bytes(other, &[0xC0, 0], NOW);
        assert_eq!(
            sent(shard, other),
            [0xD0, 0],
            "the other is served in between"
        );
        assert!(turns(shard) > 10);
        let each: Vec<u8> = publishes(50)
            .chunks(9)
            .flat_map(|one| one.repeat(GROUPS))
            .collect();
        assert!(
            sent(shard, member) == each,
            "every message once for each group, in order"
        );
    }

    #[test]
    fn finding_routes_is_work() {
        let mut shards = shards(1);
        let shard = &mut shards[0];
        let (member, publisher) = (connect(shard, "member"), connect(shard, "publisher"));
        for n in 0..1 << 12 {
            let levels = (0..12).map(|bit| if n >> bit & 1 == 1 { "+/" } else { "a/" });
            let filter = levels.collect::<String>() + "#";
            let mut packet = vec![0x82, 5 + filter.len() as u8, 0, 1, 0, filter.len() as u8];
            packet.extend_from_slice(filter.as_bytes());
            packet.push(0);
            shard.handle_bytes(member, &packet, NOW);
            shard.end_turn(NOW);
        }
        let publish = |n| {
            let topic = format!("a/a/a/a/a/a/a/a/a/a/a/a/{n:03}");
            let header = [0x30, 2 + topic.len() as u8, 0, topic.len() as u8];
            [&header[..], topic.as_bytes()].concat()
        };
        let before = shard.stats().deliveries_sent;
        shard.handle_bytes(
            publisher,
            &(0..500).flat_map(publish).collect::<Vec<_>>(),
            NOW,
        );
        assert!(shard.is_paused(publisher));
        assert!(shard.stats().deliveries_sent - before < 100);
        turns(shard);
        assert_eq!(shard.stats().deliveries_sent - before, 500);
    }

    #[test]
    fn what_was_sent_before_the_end_is_handled() {
        let mut shards = shards(1);
        let shard = &mut shards[0];
        let member = connect(shard, "member");
        join_groups(shard, member);
        let publisher = connect(shard, "publisher");
        sent(shard, member);
        shard.handle_bytes(publisher, &[&publishes(20)[..], &[0xE0, 0]].concat(), NOW);
        shard.handle_closed(publisher, CloseCause::EndOfStream, NOW);
        assert_eq!(shard.connections(), 2);
        turns(shard);
        assert_eq!(shard.connections(), 1);
        assert_eq!(sent(shard, member).len(), 20 * 9 * GROUPS);
    }

    #[test]
    fn a_publication_for_many_members_crosses_once() {
        let mut shards = shards(2);
        let ids: Vec<String> = shards.iter().map(|s| client_id_of(s, "c")).collect();
        let member = connect(&mut shards[1], &ids[1]);
        join_groups(&mut shards[1], member);
        let publisher = connect(&mut shards[0], &ids[0]);
        let (left, right) = shards.split_at_mut(1);
        let (here, there) = (&mut left[0], &mut right[0]);
        while let Some(block) = there.poll_block(ShardId(0), Lane::Control) {
            here.handle_block(ShardId(1), Lane::Control, block, NOW);
        }
        let payload = vec![b'x'; 3_000];
        let header = [0x30, 0xBB, 0x17, 0, 1, b't'];
        here.handle_bytes(publisher, &[&header[..], &payload].concat(), NOW);
        let (waiting, _) = here.peers.most_waiting();
        assert!(
            waiting < GROUPS * 64,
            "{waiting} bytes for {GROUPS} members"
        );
        there.set_turn_work(1_000);
        let mut blocks = 0;
        while let Some(block) = here.poll_block(ShardId(1), Lane::Data) {
            there.handle_block(ShardId(0), Lane::Data, block, NOW);
            blocks += 1;
        }
        assert!(blocks > 1 && !there.wants_publications(ShardId(0)));
        sent(there, member);
        turns(there);
        assert!(there.wants_publications(ShardId(0)));
        assert_eq!(there.stats().deliveries_sent as usize, GROUPS);
    }
    #[test]
    fn a_stretch_for_many_receivers_is_applied_in_pieces() {
        let mut shards = shards(2);
        let publisher_id = client_id_of(&shards[0], "p");
        let publisher = connect(&mut shards[0], &publisher_id);
        let receivers: Vec<_> = (0..64)
            .map(|n| {
                let client_id = client_id_of(&shards[1], &format!("r{n}-"));
                let id = connect(&mut shards[1], &client_id);
                shards[1].handle_bytes(id, b"\x82\x06\0\x01\0\x01t\0", NOW);
                id
            })
            .collect();
        let (left, right) = shards.split_at_mut(1);
        let (here, there) = (&mut left[0], &mut right[0]);
        while let Some(block) = there.poll_block(ShardId(0), Lane::Control) {
            here.handle_block(ShardId(1), Lane::Control, block, NOW);
        }
        for id in &receivers {
            sent(there, *id);
        }
        let flood = publishes(5_000);
        there.set_turn_work(1_000);
        here.handle_bytes(publisher, &flood, NOW);
        while let Some(block) = here.poll_block(ShardId(1), Lane::Data) {
            there.handle_block(ShardId(0), Lane::Data, block, NOW);
        }
        assert!(!there.wants_publications(ShardId(0)), "pieces wait");
        let mut turns = 0;
        while there.poll_timeout().is_some_and(|due| due <= NOW) {
            let before = there.stats().deliveries_sent;
            there.end_turn(NOW);
            assert!(there.stats().deliveries_sent - before < 64 * 5_000);
            turns += 1;
        }
        assert!(turns > 2);
        assert!(there.peers.has_applied(&[1, 0]) && !there.peers.has_applied(&[2, 0]));
        for id in receivers {
            assert!(sent(there, id) == flood, "everything once, in order");
        }
    }
}
