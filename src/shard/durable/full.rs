//! A full disk: what would need more room in a log is refused or waits, and everything else is served.
//!
//! The driver makes files ahead of need, so it notices a full disk while a log has room left. That room is for
//! what frees some: acknowledgements, ends of sessions and subscriptions, cleaning. All logs are in one folder,
//! so what one shard is short of is refused on all.

use std::collections::VecDeque;

use crate::ids::{ConnectionId, SessionId, ShardId};
use crate::journal::Space;
use crate::mqtt::{Publish, Qos, ReasonCode, Violation};
use crate::mutant::{is_on, Mutant};
use crate::routing::Destinations;
use crate::shard::clients::flow::Flow;
use crate::shard::clients::hold::Hold;
use crate::shard::durable::full_cleaning::Unfit;
use crate::shard::durable::ticket::Ticket;
use crate::shard::mesh::block::Control;
use crate::shard::turn::timer_key::TimerKey;
use crate::shard::Shard;
use crate::time::{Span, Time};

/// Connections that have ended are looked for among those that wait when there are so many more than open ones.
pub(in crate::shard) const WAITING_SLACK: usize = 64;

/// Logs that have no room, and the clients that wait for it. Lives on: the shard. Bounded by connections.
#[derive(Debug, Default)]
pub(in crate::shard) struct FullDisk {
    /// This shard's own.
    pub(in crate::shard) own: bool,
    peers: Destinations,
    /// Connections of 3.1.1 with a publication that cannot be taken, and until when they wait; some have ended.
    waiting: VecDeque<(Time, ConnectionId)>,
    has_timer: bool,
    /// What was held back up to this ticket has waited since the timer was set.
    held: Option<Ticket>,
    /// The oldest segment could not be emptied within the room that was left.
    pub(super) unfit: Option<Unfit>,
}

impl FullDisk {
    #[inline]
    fn is_full(&self) -> bool {
        self.own || !self.peers.is_empty()
    }

    #[cfg(any(test, feature = "testing"))]
    pub(in crate::shard) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// What becomes of a publication that needs room.
pub(in crate::shard) enum NoRoom {
    Refused(Violation),
    /// It stays where it is, and its connection is not read.
    Waits(Flow),
    /// Its client has left and would not learn of anything.
    Dropped,
}

impl Shard {
    /// No further file can be made for this shard's log, or it can again.
    pub fn handle_disk_full(&mut self, is_full: bool, now: Time) {
        let Some(durable) = self.durable.as_deref_mut() else {
            return;
        };
        if std::mem::replace(&mut durable.full.own, is_full) != is_full {
            durable.full.unfit = None;
            (self.mesh.peers).broadcast(|| Control::DiskFull { is_full });
            self.continue_with_room(now);
        }
        self.watch_held_replies(now);
    }

    /// The same of another shard's log.
    pub(in crate::shard) fn on_disk_full(&mut self, of: ShardId, is_full: bool, now: Time) {
        let Some(durable) = self.durable.as_deref_mut() else {
            return;
        };
        match is_full {
            true => durable.full.peers.insert(of.into()),
            false => durable.full.peers.remove(of.into()),
        }
        self.continue_with_room(now);
        self.watch_held_replies(now);
    }

    #[inline]
    pub(in crate::shard) fn is_disk_full(&self) -> bool {
        let durable = self.durable.as_deref();
        durable.is_some_and(|durable| durable.full.is_full())
    }

    /// It refuses nothing for want of room, and everything that others are to know of it has left.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn has_room_everywhere(&self) -> bool {
        !self.is_disk_full() && self.mesh.peers.is_drained()
    }

    /// Its own log takes nothing more.
    #[must_use]
    pub fn has_no_room_left(&self) -> bool {
        let durable = self.durable.as_deref();
        durable.is_some_and(|durable| durable.full.own && durable.log.is_used_up())
    }

    /// A further session that outlives its connection is refused. The will of one that does not is taken
    /// while the log has a file ahead. When nothing is left of that either, whatever is written is refused, as its CONNACK
    /// could not be sent.
    pub(in crate::shard) fn check_disk(
        &mut self,
        client_id: &str,
        (is_durable, has_will): (bool, bool),
    ) -> Result<(), Violation> {
        if !self.is_disk_full() {
            return Ok(());
        }
        if self.has_no_room_left() {
            let is_written = is_durable || has_will || self.has_recorded_session(client_id);
            return self.refuse_for_room(is_written);
        }
        if !(is_durable || has_will) {
            return Ok(());
        }
        let durable = self.durable.as_deref();
        let is_low = durable.is_some_and(|durable| durable.log.space() == Space::Low);
        // What takes the place of a session does not need more than that.
        let has_session =
            self.has_recorded_session(client_id) && !is_on(Mutant::RefuseKeptSessions);
        let needs_room = (is_durable || is_low) && !has_session;
        self.refuse_for_room(needs_room)
    }

    /// A subscription of a durable session is written, and what is retained for it.
    pub(in crate::shard) fn check_disk_for_filter(
        &mut self,
        session: SessionId,
    ) -> Result<(), Violation> {
        let needs_room = self.is_disk_full() && self.clients.session(session).session.is_durable();
        self.refuse_for_room(needs_room)
    }

    fn refuse_for_room(&mut self, needs_room: bool) -> Result<(), Violation> {
        if !needs_room {
            return Ok(());
        }
        self.outbox.stats.refused_disk += 1;
        Err(Violation::DiskFull)
    }

    /// `None`: a publication is taken, disk or no disk, and no full queue has its publisher wait.
    #[inline]
    pub(in crate::shard) fn lacks_room(
        &mut self,
        (id, session): (ConnectionId, SessionId),
        topic: &str,
        publish: &Publish<'_>,
        now: Time,
    ) -> Option<NoRoom> {
        if publish.qos == Qos::AtMostOnce {
            return None;
        }
        if self.is_disk_full() && self.needs_room(session, topic, publish) {
            return Some(self.without_room(id, now));
        }
        self.awaits_queue((id, session), topic, publish, now)
    }

    /// It is written, or its identifier is. One that is repeated was written before.
    #[cold]
    fn needs_room(&mut self, session: SessionId, topic: &str, publish: &Publish<'_>) -> bool {
        let entry = self.clients.session(session);
        if entry.is_repeated(publish) {
            return false;
        }
        if is_on(Mutant::RefuseWithoutNeed) {
            return true;
        }
        let is_received = publish.qos == Qos::ExactlyOnce && entry.session.is_durable();
        let route = self.routes.route_again(topic, &mut self.turn.budget);
        let members = route
            .groups
            .iter()
            .filter_map(|group| self.routes.index.next(*group));
        (publish.retain && !publish.payload.is_empty()) // to clear frees something
            || is_received
            || !route.durable.is_empty()
            || members.into_iter().any(|member| member.durable)
    }

    #[cold]
    fn without_room(&mut self, id: ConnectionId, now: Time) -> NoRoom {
        let connection = self.clients.connection_mut(id);
        if connection.version.is_v5() {
            self.outbox.stats.refused_disk += 1;
            return NoRoom::Refused(Violation::DiskFull);
        }
        if connection.gone.is_some() {
            self.outbox.stats.refused_disk += 1;
            return NoRoom::Dropped;
        }
        connection.holds.insert(Hold::Disk);
        let until = now + Span::from_secs(u64::from(self.config.limits.disk_full_timeout_s));
        let connections = &self.clients.connections;
        let durable = self.durable.as_deref_mut();
        let full = &mut durable.expect("there is a log").full;
        full.waiting.push_back((until, id));
        if full.waiting.len() > 2 * connections.len() + WAITING_SLACK {
            let waits = |id| {
                connections
                    .get(id)
                    .is_some_and(|it| it.holds.contains(Hold::Disk))
            };
            full.waiting.retain(|(_, id)| waits(*id));
        }
        if !std::mem::replace(&mut full.has_timer, true) {
            self.turn.timers.insert(until, TimerKey::DiskFull);
        }
        NoRoom::Waits(Flow::Wait)
    }

    /// While a log is full, no client waits without end for what it was to be answered: the room that is left may be used
    /// up before that is written.
    fn watch_held_replies(&mut self, now: Time) {
        let is_full = self.is_disk_full();
        let Some(durable) = self.durable.as_deref_mut().filter(|_| is_full) else {
            return;
        };
        if durable.full.held.is_none() {
            durable.full.held = Some(durable.commits.ticket());
            self.wait_for_held_replies(now);
        }
    }

    fn wait_for_held_replies(&mut self, now: Time) {
        let seconds = self.config.limits.disk_full_timeout_s.max(1);
        let until = now + Span::from_secs(u64::from(seconds));
        self.turn.timers.insert(until, TimerKey::HeldReplies);
    }

    /// Whose answers were held back when the timer was set, and are still, is disconnected.
    pub(in crate::shard) fn held_replies_timer(&mut self, now: Time) {
        let is_full = self.is_disk_full();
        let Some(durable) = self.durable.as_deref_mut() else {
            return;
        };
        let before = durable.full.held.take();
        let Some(before) = before.filter(|_| is_full) else {
            return; // there is room
        };
        let waiting = durable.commits.waiting_for(before);
        durable.full.held = Some(durable.commits.ticket());
        self.wait_for_held_replies(now);
        let text = format!(
            "nothing more can be kept in data-dir, and what it was to be answered has waited for disk-full-timeout ({} s)",
            self.config.limits.disk_full_timeout_s
        );
        for id in waiting {
            let Some(connection) = self.clients.connections.get_mut(id) else {
                continue; // closed meanwhile
            };
            let session = connection
                .session()
                .filter(|_| connection.outgoing.is_held());
            let Some(session) = session else {
                continue; // it was answered
            };
            let reason = ReasonCode::QuotaExceeded;
            if connection.owes_connack {
                connection.outgoing.drop_held();
                let version = connection.version;
                self.clients.reply_refusal(id, (version, reason), &text);
                self.clients.session_mut(session).session.will = None; // so it was not taken
            }
            self.outbox.stats.refused_disk += 1;
            self.end_connection(id, Some(reason), &text, now);
        }
    }

    /// Those that wait are read again, when all logs have room.
    fn continue_with_room(&mut self, now: Time) {
        if self.is_disk_full() {
            return;
        }
        let durable = self.durable.as_deref_mut();
        let waiting = std::mem::take(&mut durable.expect("there is a log").full.waiting);
        if is_on(Mutant::KeepWaitingForRoom) {
            return;
        }
        for (_, id) in waiting {
            self.release_from_disk(id, now);
        }
    }

    fn release_from_disk(&mut self, id: ConnectionId, now: Time) {
        let Some(connection) = self.clients.connections.get_mut(id) else {
            return; // closed meanwhile
        };
        if connection.holds.remove(Hold::Disk) {
            connection.last_packet = now; // it was not read because of us
            self.resume_if_decided(id);
        }
    }

    /// Clients of 3.1.1 whose publications could not be taken for too long are disconnected: they connect again, and
    /// publish again.
    pub(in crate::shard) fn disk_full_timer(&mut self, now: Time) {
        let text = format!(
            "nothing more can be kept in data-dir, and its publication has waited for disk-full-timeout ({} s)",
            self.config.limits.disk_full_timeout_s
        );
        while let Some(durable) = self.durable.as_deref_mut() {
            durable.full.has_timer = false;
            let Some((until, id)) = durable.full.waiting.front().copied() else {
                return;
            };
            if until > now {
                durable.full.has_timer = true;
                self.turn.timers.insert(until, TimerKey::DiskFull);
                return;
            }
            durable.full.waiting.pop_front();
            let connection = self.clients.connections.get(id);
            if connection.is_some_and(|it| it.holds.contains(Hold::Disk)) {
                self.outbox.stats.refused_disk += 1;
                self.end_connection(id, Some(ReasonCode::QuotaExceeded), &text, now);
            }
        }
    }
}
