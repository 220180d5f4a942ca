//! Replies that are held until what they promise is committed, and publications whose commit a reply waits
//! for.

use crate::ids::{ConnectionId, SessionId};
use crate::mqtt::Qos;
use crate::shard::clients::connection::Connection;
use crate::shard::delivery::message::Message;
use crate::shard::durable::commits::{Confirmed, Reached};
use crate::shard::durable::ticket::{Awaited, Ticket, Waiter};
use crate::shard::durable::{Durability, Durable};
use crate::shard::mesh::block::Control;
use crate::shard::Shard;
use crate::time::Time;

impl Durable {
    /// What is appended for a connection from here on waits until this turn is committed.
    #[inline]
    pub(in crate::shard) fn hold(&mut self, id: ConnectionId, connection: &mut Connection) {
        if self.durability == Durability::Commit {
            self.commits.hold(id, &mut connection.outgoing);
        }
    }
}

impl Shard {
    /// What is appended for a connection from here on waits until this turn is committed: CONNACK of a session
    /// that is recorded, or takes the place of one.
    pub(in crate::shard) fn hold_connack(&mut self, id: ConnectionId) {
        if let Some(durable) = self.durable.as_deref_mut() {
            let connection = self.clients.connection_mut(id);
            durable.hold(id, connection);
            connection.owes_connack = connection.outgoing.is_held();
        }
    }

    /// The same for SUBACK and UNSUBACK of a durable session.
    pub(in crate::shard) fn hold_answer_if_durable(
        &mut self,
        id: ConnectionId,
        session: SessionId,
    ) {
        let Some(durable) = self.durable.as_deref_mut() else {
            return;
        };
        let client = self.clients.client(id, session);
        if client.entry.session.is_durable() {
            // One that changes its subscriptions meanwhile is not read on. Others are, for what they read.
            client.connection.fills_log |= durable.pressure.is_high();
            durable.hold(id, client.connection);
        }
    }

    /// A client's publication was accepted. If it is recorded, its acknowledgement waits, and its publisher is
    /// not read while too much waits for the disk.
    pub(in crate::shard) fn hold_ack(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        message: &Message<'_>,
    ) {
        self.hold_for_nodes(id, message);
        let Some(durable) = self.durable.as_deref_mut() else {
            return;
        };
        let client = self.clients.client(id, session);
        // The identifier of QoS 2 is recorded with the session it came from.
        let is_received = message.qos == Qos::ExactlyOnce && client.entry.session.is_durable();
        if message.needs_commit || is_received {
            client.connection.fills_log = true;
            if message.qos > Qos::AtMostOnce {
                durable.hold(id, client.connection);
            }
        }
    }

    /// Who waits for the commit of a publication of this shard's client.
    #[inline]
    pub(in crate::shard) fn waiter_for(&self, session: SessionId, qos: Qos) -> Waiter {
        match self.durable.as_deref() {
            Some(durable) if qos > Qos::AtMostOnce => match durable.durability {
                // Who loses its session with the process cannot tell what it has sent before.
                Durability::Commit if qos == Qos::ExactlyOnce => {
                    let is_durable = self.clients.session(session).session.is_durable();
                    [Waiter::Reply, Waiter::Log][usize::from(is_durable)]
                }
                Durability::Commit => Waiter::Reply,
                Durability::Interval => Waiter::Nobody,
            },
            _ => Waiter::Nobody,
        }
    }

    /// A publication is given to a peer that keeps it: who is to learn of its commit there.
    #[inline]
    pub(in crate::shard) fn await_peer(&mut self, message: &mut Message<'_>) -> Waiter {
        match message.waiter {
            Waiter::Nobody | Waiter::Held(_) | Waiter::Log => Waiter::Nobody,
            Waiter::Reply => {
                let durable = self.durable.as_deref_mut();
                Waiter::Peer(durable.expect("a reply waits").commits.expect_one())
            }
            // From here on the peer confirms it.
            Waiter::Peer(_) => std::mem::take(&mut message.waiter),
        }
    }

    /// A peer's publication is applied here and was not handed on.
    #[inline]
    pub(in crate::shard) fn applied_for(&mut self, waiter: Waiter) {
        if let Waiter::Peer(awaited) = waiter {
            let durable = self.durable.as_deref_mut();
            let durable = durable.expect("all shards have journals, or none has");
            durable.commits.applied(awaited);
        }
    }

    /// The turn is over and its records are appended: what is promised in it waits for them.
    pub(in crate::shard) fn end_turn_of_commits(&mut self, now: Time) {
        let stats = &self.outbox.stats;
        let acknowledged = stats.publications_qos1 + stats.publications_qos2;
        let acknowledges = self.outbox.latency.acknowledges(acknowledged);
        let durable = self.durable.as_deref_mut();
        let waits = |durable: &mut Durable| durable.commits.measures(now);
        if acknowledges && !durable.is_some_and(waits) {
            self.outbox.latency.answers(now);
        }
        self.end_turn_of_acks();
        let Some(durable) = self.durable.as_deref_mut() else {
            return;
        };
        let last = durable.log.last();
        durable.commits.end_turn(last);
        durable.held.end_turn(last);
        durable.cursors.end_turn(last);
        self.announce_restored();
        self.open_commits();
        self.forward_held(now);
        self.announce_log_pressure(now);
    }

    /// Confirms to peers what is on the disk, and lets go what waits for it.
    pub(in crate::shard) fn open_commits(&mut self) {
        let Some(durable) = self.durable.as_deref_mut() else {
            return;
        };
        let lsn = durable.log.durable();
        while let Some(Confirmed { awaited, count }) = durable.commits.pop_confirmed(lsn) {
            let Awaited { by, ticket } = awaited;
            if by == self.id {
                durable.commits.confirm(ticket, count); // it has come back to where it began
            } else {
                let control = Control::Committed { ticket, count };
                self.mesh.peers.send(by, control);
            }
        }
        while let Some((holder, through)) = durable.cursors.pop_confirmed(lsn) {
            let control = Control::HeldCommitted { through };
            self.mesh.peers.send(holder, control);
        }
        while let Some(durable) = self.durable.as_deref_mut() {
            let Some(reached) = durable.commits.pop_reached(lsn) else {
                return;
            };
            self.release_answers(reached);
        }
    }

    /// A ticket is reached: answers that waited for it may be sent.
    pub(in crate::shard) fn release_answers(&mut self, reached: Reached) {
        let Reached {
            ticket,
            connections,
            read_at,
        } = reached;
        if let Some(read_at) = read_at {
            self.outbox.latency.answers(read_at);
        }
        for id in connections {
            if let Some(connection) = self.clients.connections.get_mut(id) {
                connection.outgoing.release(ticket);
                if connection.outgoing.is_ready() {
                    connection.owes_connack = false;
                    connection.mark_dirty(id, &mut self.clients.dirty);
                }
            }
        }
    }

    /// A peer has committed publications that a turn of this shard waits for.
    pub(in crate::shard) fn on_committed(&mut self, ticket: Ticket, count: u32) {
        let commits = self.commits();
        let commits = commits.expect("a turn of this shard waits");
        commits.confirm(ticket, count);
        match self.awaits_log() {
            true => self.open_commits(),
            false => self.open_acks(),
        }
    }
}
