//! PUBACK, PUBREC, PUBREL, PUBCOMP.

use crate::ids::{ConnectionId, SessionId};
use crate::mqtt::{Ack, AckKind, ReasonCode};
use crate::mutant::{is_on, Mutant};
use crate::session::Released;
use crate::shard::Shard;
use crate::time::Time;

impl Shard {
    /// An acknowledgement that fits nothing in flight is ignored, or answered with 0x92 where the
    /// protocol has an answer; it is not an error of the connection (section 4.3 leaves room for
    /// clients that lost their state).
    pub(in crate::shard) fn on_ack(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        kind: AckKind,
        ack: &Ack<'_>,
        now: Time,
    ) {
        let mut client = self.clients.client(id, session);
        let (entry, packet_id) = (&mut *client.entry, ack.packet_id);
        let window = &mut entry.session.window;
        let is_done = match kind {
            AckKind::PubAck => window.puback(packet_id).is_ok(),
            // [MQTT-4.8.2-6]: refused by the client, the message goes to no other member.
            AckKind::PubRec if ack.reason.is_error() => window.pubrec_refused(packet_id).is_ok(),
            AckKind::PubRec => {
                let reason = match window.pubrec(packet_id) {
                    Ok(()) => ReasonCode::Success, // [MQTT-4.3.3-4]
                    Err(_) => ReasonCode::PacketIdentifierNotFound,
                };
                client.hold_if_durable(self.durable.as_deref_mut());
                client.reply_ack(AckKind::PubRel, packet_id, reason);
                return;
            }
            AckKind::PubRel => {
                let received = &mut entry.session.received;
                let released = if is_on(Mutant::KeepReleasedId) {
                    received.is_open(packet_id).then_some(Released::Open)
                } else {
                    received.release(packet_id)
                };
                let reason = match released {
                    Some(_) => ReasonCode::Success, // [MQTT-4.3.3-11]
                    None => ReasonCode::PacketIdentifierNotFound,
                };
                client.hold_if_durable(self.durable.as_deref_mut());
                if released == Some(Released::Open) {
                    client.reply_last_ack(AckKind::PubComp, packet_id, reason);
                } else {
                    client.reply_ack(AckKind::PubComp, packet_id, reason);
                }
                return;
            }
            AckKind::PubComp => window.pubcomp(packet_id).is_ok(),
        };
        if is_done && entry.has_waiting() {
            self.send_waiting(session, now);
        }
    }
}
