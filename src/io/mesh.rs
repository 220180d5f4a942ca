//! The rings between shards: one per ordered pair and lane.
//!
//! The unit is a block of many messages, so the cost of a ring operation is spread over them.
//! Sending never waits: what finds no room stays with the shard (blocks) or here (sockets), and the
//! receiver wakes a sender that parked over a full ring.

use std::collections::VecDeque;
use std::sync::Arc;

use super::passing::MovedSocket;
use super::ring::{ring, Consumer, Producer};
use super::shared::SharedState;
use crate::gateway::Crossing;
use crate::ids::ShardId;
use crate::limits::{CONTROL_ITEMS, DATA_BLOCKS};
use crate::shard::Lane;

/// What comes from a peer.
pub(super) enum Arrival<B> {
    Block(Lane, B),
    Socket(Box<MovedSocket>),
    Crossings(Vec<Crossing>),
}

/// What crosses in a control ring.
enum ControlItem<B> {
    Block(B),
    Socket(Box<MovedSocket>),
    Crossings(Vec<Crossing>),
}

/// One peer, as one shard sees it.
struct Peer<B> {
    id: ShardId,
    control_out: Producer<ControlItem<B>>,
    data_out: Producer<B>,
    control_in: Consumer<ControlItem<B>>,
    data_in: Consumer<B>,
    /// Connections waiting for room in the control ring.
    moving: VecDeque<Box<MovedSocket>>,
    /// The last attempt to send ended with this lane full.
    control_stalled: bool,
    data_stalled: bool,
}

/// All peers of one shard. Lives on: that shard.
pub(super) struct Mesh<B> {
    own: ShardId,
    shared: Arc<SharedState>,
    peers: Vec<Peer<B>>,
    /// Items sent and taken, since the start.
    sent: u64,
    taken: u64,
}

/// One end for each shard, and behind them one for the exchange, if there is one.
pub(super) fn connect<B: Send>(shared: &Arc<SharedState>) -> Vec<Mesh<B>> {
    let mut ends: Vec<Mesh<B>> = (0..shared.peers())
        .map(|own| Mesh {
            own: ShardId(own),
            shared: Arc::clone(shared),
            peers: Vec::new(),
            sent: 0,
            taken: 0,
        })
        .collect();
    for low in 0..ends.len() {
        for high in low + 1..ends.len() {
            let (control_up, control_from_low) = ring(CONTROL_ITEMS);
            let (control_down, control_from_high) = ring(CONTROL_ITEMS);
            let (data_up, data_from_low) = ring(DATA_BLOCKS);
            let (data_down, data_from_high) = ring(DATA_BLOCKS);
            let (low_id, high_id) = (ends[low].own, ends[high].own);
            ends[low].peers.push(Peer::new(
                high_id,
                (control_up, data_up),
                (control_from_high, data_from_high),
            ));
            ends[high].peers.push(Peer::new(
                low_id,
                (control_down, data_down),
                (control_from_low, data_from_low),
            ));
        }
    }
    ends
}

impl<B: Send> Mesh<B> {
    pub(super) fn shared(&self) -> &SharedState {
        &self.shared
    }

    pub(super) fn shared_arc(&self) -> Arc<SharedState> {
        Arc::clone(&self.shared)
    }

    pub(super) fn peers(&self) -> usize {
        self.peers.len()
    }

    /// The shard at `position`.
    pub(super) fn peer(&self, position: usize) -> ShardId {
        self.peers[position].id
    }

    /// Takes at most `most` items of each lane of the peer at `position`, control first, and wakes
    /// the peer if it waits for the room. Returns how many. The data lane is left alone unless
    /// `wants_data`, and once `handle` has answered to a block of it that it wants no other.
    pub(super) fn take(
        &mut self,
        position: usize,
        most: usize,
        mut wants_data: bool,
        mut handle: impl FnMut(ShardId, Arrival<B>) -> bool,
    ) -> usize {
        let peer = &mut self.peers[position];
        let mut controls = 0;
        while controls < most {
            let Some(item) = peer.control_in.pop() else {
                break;
            };
            controls += 1;
            let arrival = match item {
                ControlItem::Block(block) => Arrival::Block(Lane::Control, block),
                ControlItem::Socket(socket) => Arrival::Socket(socket),
                ControlItem::Crossings(crossings) => Arrival::Crossings(crossings),
            };
            handle(peer.id, arrival);
        }
        let mut blocks = 0;
        while wants_data && blocks < most {
            let Some(block) = peer.data_in.pop() else {
                break;
            };
            blocks += 1;
            wants_data = handle(peer.id, Arrival::Block(Lane::Data, block));
        }
        let control_waits = controls > 0 && peer.control_in.producer_waits();
        let data_waits = blocks > 0 && peer.data_in.producer_waits();
        if control_waits || data_waits {
            self.shared.wake(peer.id);
        }
        self.taken += (controls + blocks) as u64;
        controls + blocks
    }

    /// Items sent to peers and taken from them, since the start.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.sent, self.taken)
    }

    /// Sends a connection to its home; it waits here while the ring is full.
    pub(super) fn hand_off(&mut self, to: ShardId, socket: Box<MovedSocket>) {
        let peer = self.peers.iter_mut().find(|peer| peer.id == to);
        debug_assert!(peer.is_some(), "a connection moves to another shard");
        if let Some(peer) = peer {
            peer.moving.push_back(socket);
        }
    }

    /// Connections waiting for room towards the peer that is furthest behind.
    pub(super) fn moving(&self) -> usize {
        let waiting = self.peers.iter().map(|peer| peer.moving.len());
        waiting.max().unwrap_or(0)
    }

    /// Sends what there is room for and wakes whom it is for. `poll` gives the next block for a peer
    /// and lane, `poll_crossings` what its gateway is to have. True when anything was sent.
    pub(super) fn send(
        &mut self,
        mut poll: impl FnMut(ShardId, Lane) -> Option<B>,
        mut poll_crossings: impl FnMut(ShardId) -> Option<Vec<Crossing>>,
    ) -> bool {
        let mut any = false;
        for peer in &mut self.peers {
            let count = peer.send(&mut poll, &mut poll_crossings);
            if count > 0 {
                self.sent += count;
                any = true;
                self.shared.wake(peer.id);
            }
        }
        any
    }

    /// Before parking: true when nothing waits for us and every full ring will signal its room.
    /// Call after [`SharedState::announce_park`].
    pub(super) fn may_park(&mut self) -> bool {
        self.peers.iter_mut().all(|peer| {
            peer.control_in.is_empty()
                && peer.data_in.is_empty()
                && (!peer.control_stalled || peer.control_out.await_room())
                && (!peer.data_stalled || peer.data_out.await_room())
        })
    }
}

impl<B: Send> Peer<B> {
    fn new(
        id: ShardId,
        (control_out, data_out): (Producer<ControlItem<B>>, Producer<B>),
        (control_in, data_in): (Consumer<ControlItem<B>>, Consumer<B>),
    ) -> Self {
        Self {
            id,
            control_out,
            data_out,
            control_in,
            data_in,
            moving: VecDeque::new(),
            control_stalled: false,
            data_stalled: false,
        }
    }

    /// A lane is stalled when its loop ended for lack of room, never by a later look: room that appears
    /// in between would leave items behind for which no sender is woken.
    fn send(
        &mut self,
        poll: &mut impl FnMut(ShardId, Lane) -> Option<B>,
        poll_crossings: &mut impl FnMut(ShardId) -> Option<Vec<Crossing>>,
    ) -> u64 {
        let mut sent = 0;
        self.control_stalled = loop {
            if !self.control_out.has_room() {
                break true;
            }
            // Blocks first: one carries all control messages there are, sockets go one by one.
            let item = match poll(self.id, Lane::Control) {
                Some(block) => ControlItem::Block(block),
                None => match self.moving.pop_front() {
                    Some(socket) => ControlItem::Socket(socket),
                    None => match poll_crossings(self.id) {
                        Some(crossings) => ControlItem::Crossings(crossings),
                        None => break false,
                    },
                },
            };
            let refused = self.control_out.push(item).is_err();
            assert!(!refused, "a ring with room refused an item");
            sent += 1;
        };
        self.data_stalled = loop {
            if !self.data_out.has_room() {
                break true;
            }
            let Some(block) = poll(self.id, Lane::Data) else {
                break false;
            };
            let refused = self.data_out.push(block).is_err();
            assert!(!refused, "a ring with room refused a block");
            sent += 1;
        };
        sent
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::poller::Poller;
    use super::*;

    const BLOCKS: u64 = 50_000;

    /// What a shard does of a turn that has to do with its peers: sends numbers to the next shard and takes
    /// those of the shard before it, and parks when there is nothing to do.
    fn cross(mut mesh: Mesh<u64>) {
        let own = mesh.own;
        let next = ShardId((own.0 + 1) % mesh.shared().shards());
        let mut poller = Poller::new(mesh.shared().eventfd(own)).unwrap();
        let (mut sent, mut seen) = (0, 0);
        while sent < BLOCKS || seen < BLOCKS {
            let poll = |to, lane| {
                let is_sent = to == next && lane == Lane::Data && sent < BLOCKS;
                sent += u64::from(is_sent);
                is_sent.then(|| sent - 1)
            };
            let mut busy = mesh.send(poll, |_| None);
            for position in 0..mesh.peers() {
                let taken = mesh.take(position, 8, true, |_, arrival| {
                    assert!(
                        matches!(arrival, Arrival::Block(Lane::Data, number) if number == seen)
                    );
                    seen += 1;
                    true
                });
                busy |= taken > 0;
            }
            if busy {
                continue;
            }
            mesh.shared().announce_park(own);
            if mesh.may_park() {
                poller.wait(None);
                poller.reap(|_| ());
            }
            mesh.shared().announce_awake(own);
        }
    }

    /// Much more than the rings hold, without any other load: a sender that parks over a full ring
    /// must be woken when there is room.
    #[test]
    fn blocks_cross_in_order_however_full_the_rings() {
        for shards in [2, 4] {
            let shared = Arc::new(SharedState::new(shards).unwrap());
            let ends = connect::<u64>(&shared).into_iter();
            let threads: Vec<_> = ends
                .map(|mesh| thread::spawn(move || cross(mesh)))
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
        }
    }

    /// The peer takes one control item between the attempt to send, which finds the ring full, and
    /// the end of the turn. There is room then, the sender will not be woken, so it must not park.
    #[test]
    fn a_sender_does_not_park_over_room_that_came_late() {
        let shared = Arc::new(SharedState::new(2).unwrap());
        let mut ends = connect::<u32>(&shared);
        let mut receiver = ends.pop().unwrap();
        let mut sender = ends.pop().unwrap();
        assert!(sender.send(|_, lane| (lane == Lane::Control).then_some(7), |_| None));
        let poll = |_, lane| {
            if lane == Lane::Data {
                assert_eq!(receiver.take(0, 1, true, |_, _| true), 1);
            }
            None
        };
        let sent = sender.send(poll, |_| None);
        assert!(!sent, "the control ring was full when it was looked at");
        assert!(!sender.may_park());
        assert!(sender.send(|_, lane| (lane == Lane::Control).then_some(8), |_| None));
        assert!(sender.may_park(), "full again: the peer will tell of room");
    }
}
