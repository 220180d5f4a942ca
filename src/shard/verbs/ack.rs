//! PUBACK, PUBREC, PUBREL, PUBCOMP.

use crate::ids::SessionId;
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
        session: SessionId,
        kind: AckKind,
        ack: &Ack<'_>,
        now: Time,
    ) {
        let Some(entry) = self.clients.sessions.get_mut(session) else {
            return;
        };
        let Some(id) = entry.session.connection else {
            return;
        };
        let (window, packet_id) = (&mut entry.session.window, ack.packet_id);
        let is_done = match kind {
            AckKind::PubAck => window.puback(packet_id).is_ok(),
            // [MQTT-4.8.2-6]: refused by the client, the message goes to no other member.
            AckKind::PubRec if ack.reason.is_error() => window.pubrec_refused(packet_id).is_ok(),
            AckKind::PubRec => {
                let reason = match window.pubrec(packet_id) {
                    Ok(()) => ReasonCode::Success, // [MQTT-4.3.3-4]
                    Err(_) => ReasonCode::PacketIdentifierNotFound,
                };
                self.reply_ack(id, AckKind::PubRel, packet_id, reason);
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
                if released == Some(Released::Open) {
                    self.reply_last_ack(id, AckKind::PubComp, packet_id, reason);
                } else {
                    self.reply_ack(id, AckKind::PubComp, packet_id, reason);
                }
                return;
            }
            AckKind::PubComp => window.pubcomp(packet_id).is_ok(),
        };
        if is_done {
            self.pump(session, now);
        }
    }
}
