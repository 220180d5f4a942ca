//! Retained messages for new subscriptions: a walk over the shards that own matching topics, in
//! pieces, paced by what the client takes.
//!
//! A walk starts when the barrier of its SUBSCRIBE is reached, and a topic's home answers only after
//! it has applied everything the other shards had sent it before they applied the subscription. So a
//! retained message is either found by the walk or delivered live.
//!
//! A peer's piece may be ahead of what comes live: its home has applied publications that are still
//! in transit. So another barrier is raised when the piece comes, and it is delivered when
//! everything sent here by then is applied, too. A topic that was delivered live while the walk ran is
//! left out: the walk's copy could only be the same or older (see `live_topics`).

use std::collections::VecDeque;
use std::rc::Rc;

use crate::ids::{SessionId, ShardId};
use crate::mqtt::Qos;
use crate::mutant::{is_on, Mutant};
use crate::routing::WalkBudget;
use crate::session::Delivery;
use crate::shard::clients::view::Presence;
use crate::shard::clients::Clients;
use crate::shard::delivery::message::Message;
use crate::shard::delivery::send::plain_delivery;
use crate::shard::durable::crossings::has_applied;
use crate::shard::mesh::barrier::{data_needed, DataSent};
use crate::shard::mesh::block::{Control, RetainedPiece, RetainedWalk};
use crate::shard::mesh::block_op::BlockOp;
use crate::shard::mesh::publications::{BlockItem, Position, Publications};
use crate::shard::retained::live_topics::Since;
use crate::shard::retained::walks::{Walk, WalkStage, Walks};
use crate::shard::retained::Replay;
use crate::shard::Shard;
use crate::time::Time;

/// Budget of one piece: small enough that a shard is not held, large enough that 100,000 messages take
/// a thousand round trips.
const PIECE: WalkBudget = WalkBudget {
    messages: 128,
    bytes: 64 << 10,
    steps: 2_048,
};
/// Sessions whose walk advances in one turn.
const WALKS_PER_TURN: usize = 32;
/// Pieces requested of other shards and not yet received: bounds the memory they may take.
const REQUESTS_MAX: usize = 64;

/// What a walk did with its turn.
enum Progress {
    Again,
    /// Waits for an event that will wake it.
    Wait,
    Starved,
    Behind,
    /// No walks left.
    Done,
}

impl Replay {
    /// The barrier is reached: walks that waited for it are ready. `None`: there are no peers.
    pub(in crate::shard) fn release_walks(
        &mut self,
        clients: &mut Clients,
        session: SessionId,
        reached: Option<(u64, &Rc<DataSent>)>,
    ) {
        let Some(entry) = clients.sessions.get_mut(session) else {
            return; // the session has ended since the barrier was raised
        };
        let Some(walks) = &mut entry.walks else {
            return;
        };
        // Without peers the walks that are new are those behind: not all are looked at each time.
        let is_old = |walk: &&mut Walk| reached.is_none() && walk.stage == WalkStage::Ready;
        for walk in walks
            .queue
            .iter_mut()
            .rev()
            .take_while(|walk| !is_old(walk))
        {
            match (walk.stage, reached) {
                (WalkStage::Barrier(_), None) => walk.stage = WalkStage::Ready,
                (WalkStage::Barrier(number), Some((reached, data_sent))) if number == reached => {
                    walk.stage = WalkStage::Ready;
                    walk.subscribed.get_or_insert_with(|| Rc::clone(data_sent));
                    walk.data_sent = Some(Rc::clone(data_sent));
                }
                _ => {}
            }
        }
        self.wake_walk(clients, session);
    }

    /// Room or data for a session's walk may have appeared.
    pub(in crate::shard) fn wake_walk(&mut self, clients: &mut Clients, session: SessionId) {
        let Some(entry) = clients.sessions.get_mut(session) else {
            return; // the session has ended since its walk began to wait
        };
        if let Some(walks) = entry.walks.as_mut().filter(|walks| !walks.is_ready) {
            walks.is_ready = true;
            self.walks.ready.push_back(session);
        }
    }

    /// It waits for room for a request. It may be woken by something else meanwhile, and want room again: it has one place.
    fn starve_walk(&mut self, clients: &mut Clients, session: SessionId) {
        let entry = clients.sessions.get_mut(session);
        let walks = entry.and_then(|entry| entry.walks.as_mut());
        if let Some(walks) = walks.filter(|walks| !walks.is_starved) {
            walks.is_starved = true;
            self.walks.starved.push_back(session);
        }
    }

    /// As many as there is room for requests, each turn: one that is woken may need none any more, or have ended, and who is behind
    /// it must not wait for an answer to it.
    fn wake_starved(&mut self, clients: &mut Clients) {
        let room = REQUESTS_MAX.saturating_sub(self.walks.requests.len());
        for _ in 0..room {
            let Some(session) = self.walks.starved.pop_front() else {
                return;
            };
            let entry = clients.sessions.get_mut(session);
            if let Some(walks) = entry.and_then(|entry| entry.walks.as_mut()) {
                walks.is_starved = false;
            }
            self.wake_walk(clients, session);
        }
    }
}

impl Shard {
    /// Queues a walk for a subscription; it starts when the barrier of this turn is reached.
    pub(in crate::shard) fn start_walk(&mut self, session: SessionId, filter: Rc<str>) {
        let is_exact = !filter.contains(['+', '#']);
        let homes = if is_exact {
            [self.routes.placement.home(&filter)].into()
        } else {
            (0..self.config.shards).map(ShardId).collect()
        };
        let stage = WalkStage::Barrier(self.mesh.next_barrier());
        let hasher = self.replay.walks.hasher.clone();
        let entry = self.clients.session_mut(session);
        let walks = entry
            .walks
            .get_or_insert_with(|| Box::new(Walks::new(hasher)));
        walks.newest += 1;
        let number = walks.newest;
        walks.queue.push_back(Walk {
            number,
            filter,
            stage,
            homes,
            after: None,
            subscribed: None,
            data_sent: None,
            pending: VecDeque::new(),
        });
        self.walk_after_barrier(session);
    }

    /// At the end of a turn: each ready walk takes a step.
    pub(in crate::shard) fn advance_walks(&mut self, now: Time) {
        for _ in 0..WALKS_PER_TURN.min(self.replay.walks.ready.len()) {
            let Some(session) = self.replay.walks.ready.pop_front() else {
                return;
            };
            let entry = self.clients.sessions.get_mut(session);
            let Some(walks) = entry.and_then(|entry| entry.walks.as_mut()) else {
                continue; // the session has ended, or its walks have
            };
            walks.is_ready = false;
            match self.advance_walk(session, now) {
                Progress::Again => self.replay.wake_walk(&mut self.clients, session),
                Progress::Wait => {}
                Progress::Starved => self.replay.starve_walk(&mut self.clients, session),
                Progress::Behind => self.replay.walks.behind.push(session),
                Progress::Done => {
                    self.clients.session_mut(session).walks = None;
                }
            }
        }
        self.replay.wake_starved(&mut self.clients);
    }

    fn advance_walk(&mut self, session: SessionId, now: Time) -> Progress {
        if let Some(wait) = self.must_catch_up(session) {
            return wait;
        }
        if !self.deliver_pending(session, now) {
            return Progress::Wait;
        }
        let entry = self.clients.session_mut(session);
        let Some(walks) = &mut entry.walks else {
            return Progress::Wait;
        };
        let subscriptions = &entry.session.subscriptions;
        let count = walks.queue.iter().take(PIECE.steps);
        let stopped = count.take_while(|walk| !walk.is_wanted(subscriptions));
        let stopped = stopped.count();
        walks.queue.drain(..stopped);
        if stopped == PIECE.steps {
            return Progress::Again;
        }
        let Some(walk) = walks.queue.front_mut() else {
            return Progress::Done;
        };
        match walk.stage {
            WalkStage::Barrier(_) | WalkStage::Requested(_) => return Progress::Wait,
            WalkStage::Ready => {}
        }
        let Some(home) = walk.homes.front().copied() else {
            if let Some(filter) = walks.end_first() {
                entry.session.subscriptions.sent_retained(&filter);
            }
            return Progress::Again;
        };
        let needed = data_needed(walk.data_sent.as_deref(), home);
        if home != self.id {
            if self.replay.walks.requests.len() >= REQUESTS_MAX {
                return Progress::Starved;
            }
            let request = self.replay.walks.number_request();
            walk.stage = WalkStage::Requested(request);
            let (filter, after) = (Box::from(&*walk.filter), walk.after.take());
            self.replay.walks.requests.insert(request, session);
            let walk = RetainedWalk {
                request,
                filter,
                after,
                data_needed: needed,
            };
            self.mesh
                .peers
                .send(home, Control::RetainedWalk(Box::new(walk)));
            return Progress::Wait;
        }
        if !has_applied(&self.mesh.peers, self.durable.as_deref(), &needed) {
            return Progress::Behind;
        }
        let piece = self
            .routes
            .retained
            .walk(&walk.filter, walk.after.as_deref(), PIECE, now);
        walk.pending = piece.messages.into();
        walk.after = piece.next;
        if walk.after.is_none() {
            walk.homes.pop_front();
        }
        Progress::Again
    }

    /// Why the messages of a peer's piece may not be delivered yet: what its home had applied may
    /// still be in transit to this shard, and must not come after the newer copy [MQTT-4.6.0-6].
    fn must_catch_up(&self, session: SessionId) -> Option<Progress> {
        let walks = self.clients.session(session).walks.as_ref()?;
        let walk = walks
            .queue
            .front()
            .filter(|walk| !walk.pending.is_empty())?;
        if walk.stage != WalkStage::Ready {
            return Some(Progress::Wait);
        }
        let needed = data_needed(walk.data_sent.as_deref(), self.id);
        (!self.has_applied(&needed)).then_some(Progress::Behind)
    }

    /// Sends the messages of the current piece while there is room; true when none are left.
    fn deliver_pending(&mut self, session: SessionId, now: Time) -> bool {
        let outgoing_max = self.config.limits.outgoing_bytes_max as usize / 2;
        loop {
            let client = match self.clients.presence(session) {
                Presence::Connected(client) => client,
                Presence::Away(entry) => {
                    return entry.walks.as_ref().is_some_and(|w| !w.has_pending());
                }
                Presence::Ended => return false,
            };
            let (connection, entry) = (&*client.connection, client.entry);
            let Some(walks) = &mut entry.walks else {
                return false;
            };
            let Some(walk) = walks.queue.front_mut() else {
                return true;
            };
            let Some(publication) = walk.pending.front() else {
                return true;
            };
            let metering = self.admission.metering.as_deref();
            if let Some(until) = connection.output_waits_until(metering, now) {
                let id = client.id;
                self.pause_output(id, until);
                return false;
            }
            let ready = connection.outgoing.len() <= outgoing_max;
            let subscriptions = &entry.session.subscriptions;
            let record = subscriptions.get(&walk.filter).copied();
            let Some(record) = record.filter(|_| walk.is_wanted(subscriptions)) else {
                walk.pending.clear(); // unsubscribed meanwhile
                return true;
            };
            let qos = publication.qos.min(record.options.qos);
            let window = &entry.session.window;
            let has_room = entry.session.queue.is_empty() && window.has_room();
            if !ready || (qos > Qos::AtMostOnce && !has_room) {
                return false;
            }
            let Some(mut publication) = walk.pending.pop_front() else {
                return true;
            };
            let topic_hash = self.routes.placement.hash(&publication.topic);
            let since = Since {
                walk: walk.number,
                data_sent: walk.subscribed.as_deref(),
                here: self.id,
            };
            let is_stale =
                walks.live_topics.came_since(topic_hash, &since) && !is_on(Mutant::WalkRepeatsLive);
            if is_stale {
                let Some(missed) = self.missed_at_home(&publication.topic) else {
                    self.doubt_retained(&publication);
                    continue;
                };
                publication = missed;
            }
            let mut message = Message::of(&publication);
            if message.is_expired(now) || !self.may_receive(session, message.topic) {
                continue;
            }
            let identifiers = record.identifier.map(|identifier| [identifier].into());
            // [MQTT-3.3.1-8] of 3.1.1: RETAIN is 1 because of a new subscription.
            let delivery = Delivery {
                identifiers,
                ..plain_delivery(&mut message, qos, true)
            };
            self.send_retained(session, delivery, now);
        }
    }

    fn send_retained(&mut self, session: SessionId, delivery: Delivery, now: Time) {
        let client = self.clients.connected(session);
        let mut client = client.expect("a message was taken for a client that is connected");
        let metering = self.admission.metering.as_deref_mut();
        let durable = self.durable.as_deref_mut();
        if !client.send(delivery, durable, metering, &mut self.outbox.stats, now) {
            self.drop_too_large(session, 1, now);
        }
    }

    /// A peer asks for a piece of our retained messages.
    pub(in crate::shard) fn on_retained_walk(
        &mut self,
        from: ShardId,
        walk: Box<RetainedWalk>,
        now: Time,
    ) {
        if !self.has_applied(&walk.data_needed) {
            self.replay.walks.asked.push((from, walk));
            return;
        }
        let piece = self
            .routes
            .retained
            .walk(&walk.filter, walk.after.as_deref(), PIECE, now);
        let mut messages = Publications::default();
        for publication in &piece.messages {
            messages.push(&mut Message::of(publication), &BlockOp::FanOut);
        }
        let RetainedWalk { request, .. } = *walk;
        let piece = RetainedPiece {
            request,
            messages,
            next: piece.next,
        };
        self.mesh
            .peers
            .send(from, Control::RetainedPiece(Box::new(piece)));
    }

    /// A peer's answer.
    pub(in crate::shard) fn on_retained_piece(&mut self, piece: &mut RetainedPiece) {
        if self.on_race_piece(piece) {
            return;
        }
        let session = self.replay.walks.requests.remove(&piece.request);
        let Some(session) = session else { return };
        let barrier = self.mesh.next_barrier();
        let Some(entry) = self.clients.sessions.get_mut(session) else {
            return; // the session has ended since it asked
        };
        let Some(walk) = entry
            .walks
            .as_mut()
            .and_then(|walks| walks.queue.front_mut())
        else {
            return;
        };
        if walk.stage != WalkStage::Requested(piece.request) {
            return;
        }
        walk.stage = WalkStage::Ready;
        let mut reader = piece.messages.reader(Position::default());
        while let Some(BlockItem::Message(mut message, _)) = reader.next() {
            walk.pending.push_back(message.owned());
        }
        walk.after = piece.next.take();
        if walk.after.is_none() {
            walk.homes.pop_front();
        }
        if walk.pending.is_empty() {
            self.replay.wake_walk(&mut self.clients, session);
        } else {
            walk.stage = WalkStage::Barrier(barrier);
            self.walk_after_barrier(session);
        }
    }

    /// Publications of peers were applied: walks that waited for them may continue.
    pub(in crate::shard) fn wake_behind(&mut self, now: Time) {
        for session in std::mem::take(&mut self.replay.walks.behind) {
            self.replay.wake_walk(&mut self.clients, session);
        }
        for (from, walk) in std::mem::take(&mut self.replay.walks.asked) {
            self.on_retained_walk(from, walk, now);
        }
        self.advance_races(now);
    }
}
