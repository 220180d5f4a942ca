//! Packets the broker answers with.

use crate::ids::ConnectionId;
use crate::mqtt::{encode, Ack, AckKind, PacketId, ReasonCode, UserProperties, Version};
use crate::shard::Shard;

impl Shard {
    /// Appends a packet to a connection's outgoing bytes.
    pub(in crate::shard) fn reply(
        &mut self,
        id: ConnectionId,
        encode: impl FnOnce(&mut Vec<u8>, Version),
    ) {
        let Some(connection) = self.clients.connections.get_mut(id) else {
            return;
        };
        self.clients.pool.lend_to(&mut connection.outgoing);
        let version = connection.version;
        connection.outgoing.write(|out| encode(out, version));
        Self::mark_dirty(connection, id, &mut self.clients.dirty);
    }

    pub(in crate::shard) fn reply_ack(
        &mut self,
        id: ConnectionId,
        kind: AckKind,
        packet_id: PacketId,
        reason: ReasonCode,
    ) {
        let ack = Ack {
            packet_id,
            reason,
            reason_string: None,
            user_properties: UserProperties::default(),
        };
        self.reply(id, |out, version| encode::ack(out, version, kind, &ack));
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
        if let Some(connection) = self.clients.connections.get_mut(id) {
            connection.acks_unsent = connection.acks_unsent.saturating_add(1);
        }
        self.reply_ack(id, kind, packet_id, reason);
    }
}
