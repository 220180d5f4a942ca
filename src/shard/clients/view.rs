//! Views of clients: rows of connections and sessions, resolved once and passed on.
//!
//! `connections.get` and `sessions.get` are for ids whose client may have left meanwhile, and who calls
//! them says why it may. The methods here are for ids that cannot be stale: of a connection whose packet is
//! being handled, of a session that a connection names, of a timer that ends with its row. A row that is
//! missing then is a fault of the broker, and it ends here: to continue would lose a message without a
//! trace. The check is the one that every lookup makes.

use std::rc::Rc;

use crate::ids::{ConnectionId, MemberId, SessionId};
use crate::mqtt::{encode, Ack, AckKind, PacketId, ReasonCode, UserProperties, Version};
use crate::shard::clients::activity::Ending;
use crate::shard::clients::connection::Connection;
use crate::shard::clients::pool::Pool;
use crate::shard::clients::session_entry::SessionEntry;
use crate::shard::clients::Clients;
use crate::shard::durable::Durable;
use crate::shard::RemoteEnd;
use crate::time::Time;

/// Why a connection's row is there.
const OPEN: &str = "a connection stays until its socket is closed or handed off";
/// Why a session's row is there.
const HELD: &str = "a session stays while a connection, a timer or its client id names it";

/// A connected client: its connection and its session. Lives no longer than its packet is handled.
pub(in crate::shard) struct Client<'a> {
    pub(in crate::shard) id: ConnectionId,
    pub(in crate::shard) connection: &'a mut Connection,
    pub(in crate::shard) entry: &'a mut SessionEntry,
    pub(in crate::shard) pool: &'a mut Pool,
    pub(in crate::shard) dirty: &'a mut Vec<ConnectionId>,
}

/// A session and its connection, if it has one.
pub(in crate::shard) enum Presence<'a> {
    /// What the filters of an ended session still match finds no subscriber (see `leave`).
    Ended,
    /// It has no connection.
    Away(&'a mut SessionEntry),
    Connected(Client<'a>),
}

impl Client<'_> {
    #[inline]
    pub(in crate::shard) fn is_v5(&self) -> bool {
        self.connection.version.is_v5()
    }

    /// What is sent to the client of a durable session from here on waits until this turn is committed.
    #[inline]
    pub(in crate::shard) fn hold_if_durable(&mut self, durable: Option<&mut Durable>) {
        if let Some(durable) = durable.filter(|_| self.entry.session.is_durable()) {
            durable.hold(self.id, self.connection);
        }
    }

    #[inline]
    pub(in crate::shard) fn reply_ack(
        &mut self,
        kind: AckKind,
        packet_id: PacketId,
        reason: ReasonCode,
    ) {
        self.pool.lend_to(&mut self.connection.outgoing);
        self.connection.append(ack_of(kind, packet_id, reason));
        self.connection.mark_dirty(self.id, self.dirty);
    }

    /// An acknowledgement that ends a publication of this connection: the client has its quota back
    /// when it reads it.
    #[inline]
    pub(in crate::shard) fn reply_last_ack(
        &mut self,
        kind: AckKind,
        packet_id: PacketId,
        reason: ReasonCode,
    ) {
        self.connection.acks_unsent = self.connection.acks_unsent.saturating_add(1);
        self.reply_ack(kind, packet_id, reason);
    }
}

impl Clients {
    /// A connection that is open.
    #[inline]
    #[track_caller]
    pub(in crate::shard) fn connection(&self, id: ConnectionId) -> &Connection {
        self.connections.get(id).expect(OPEN)
    }

    /// A connection that is open.
    #[inline]
    #[track_caller]
    pub(in crate::shard) fn connection_mut(&mut self, id: ConnectionId) -> &mut Connection {
        self.connections.get_mut(id).expect(OPEN)
    }

    /// A session that has not ended.
    #[inline]
    #[track_caller]
    pub(in crate::shard) fn session(&self, id: SessionId) -> &SessionEntry {
        self.sessions.get(id).expect(HELD)
    }

    /// A session that has not ended.
    #[inline]
    #[track_caller]
    pub(in crate::shard) fn session_mut(&mut self, id: SessionId) -> &mut SessionEntry {
        self.sessions.get_mut(id).expect(HELD)
    }

    /// How the connection of a session has ended.
    pub(in crate::shard) fn note_ending(&mut self, id: SessionId, how: Ending, now: Time) {
        self.session_mut(id).last_ending = Some((how, now));
    }

    /// Messages that a session was not sent.
    pub(in crate::shard) fn count_dropped(&mut self, id: SessionId, count: u64) {
        self.session_mut(id).dropped += count;
    }

    /// What a session is to shared groups: a number that it keeps from its first one on.
    pub(in crate::shard) fn member_of(&mut self, id: SessionId) -> MemberId {
        let entry = self.sessions.get_mut(id).expect(HELD);
        let members = &mut self.members;
        *entry.member.get_or_insert_with(|| members.admit(id))
    }

    /// The client of a connection that is live, with its session.
    #[inline]
    #[track_caller]
    pub(in crate::shard) fn client(&mut self, id: ConnectionId, session: SessionId) -> Client<'_> {
        Client {
            id,
            connection: self.connections.get_mut(id).expect(OPEN),
            entry: self.sessions.get_mut(session).expect(HELD),
            pool: &mut self.pool,
            dirty: &mut self.dirty,
        }
    }

    /// The client of a session that has not ended; `None`: it has no connection.
    #[inline]
    #[track_caller]
    pub(in crate::shard) fn connected(&mut self, session: SessionId) -> Option<Client<'_>> {
        match self.presence(session) {
            Presence::Connected(client) => Some(client),
            Presence::Away(_) => None,
            Presence::Ended => panic!("{HELD}"),
        }
    }

    /// The client of a session that a route, a group or a list of this turn named.
    #[inline]
    #[track_caller]
    pub(in crate::shard) fn presence(&mut self, session: SessionId) -> Presence<'_> {
        let Some(entry) = self.sessions.get_mut(session) else {
            return Presence::Ended; // a takeover, a DISCONNECT, its expiry
        };
        let Some(id) = entry.session.connection else {
            return Presence::Away(entry);
        };
        Presence::Connected(Client {
            id,
            connection: self.connections.get_mut(id).expect(OPEN),
            entry,
            pool: &mut self.pool,
            dirty: &mut self.dirty,
        })
    }

    /// The client id of a session, and its client's address while it has one.
    pub(in crate::shard) fn name_of(&self, session: SessionId) -> (Rc<str>, Option<RemoteEnd>) {
        let session = &self.session(session).session;
        let connection = session.connection.map(|id| self.connection(id));
        let peer = connection.map(|connection| connection.origin.peer);
        (Rc::clone(&session.client_id), peer)
    }

    /// Appends a packet to a connection's outgoing bytes.
    #[inline]
    #[track_caller]
    pub(in crate::shard) fn reply(
        &mut self,
        id: ConnectionId,
        encode: impl FnOnce(&mut Vec<u8>, Version),
    ) {
        let connection = self.connections.get_mut(id).expect(OPEN);
        self.pool.lend_to(&mut connection.outgoing);
        connection.append(encode);
        connection.mark_dirty(id, &mut self.dirty);
    }

    pub(in crate::shard) fn reply_ack(
        &mut self,
        id: ConnectionId,
        kind: AckKind,
        packet_id: PacketId,
        reason: ReasonCode,
    ) {
        self.reply(id, ack_of(kind, packet_id, reason));
    }

    /// An acknowledgement that ends a publication of this connection: the client has its quota back
    /// when it reads it.
    pub(in crate::shard) fn reply_last_ack(
        &mut self,
        id: ConnectionId,
        kind: AckKind,
        packet_id: PacketId,
        reason: ReasonCode,
    ) {
        let connection = self.connections.get_mut(id).expect(OPEN);
        connection.acks_unsent = connection.acks_unsent.saturating_add(1);
        self.pool.lend_to(&mut connection.outgoing);
        connection.append(ack_of(kind, packet_id, reason));
        connection.mark_dirty(id, &mut self.dirty);
    }
}

fn ack_of(
    kind: AckKind,
    packet_id: PacketId,
    reason: ReasonCode,
) -> impl FnOnce(&mut Vec<u8>, Version) {
    let ack = Ack {
        packet_id,
        reason,
        reason_string: None,
        user_properties: UserProperties::default(),
    };
    move |out, version| encode::ack(out, version, kind, &ack)
}
