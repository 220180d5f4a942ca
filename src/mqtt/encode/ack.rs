//! PUBACK, PUBREC, PUBREL and PUBCOMP, MQTT 5.0 sections 3.4 to 3.7.

use super::super::packet::{Ack, Version};
use super::super::primitives::put_with_length;
use super::super::reason::ReasonCode;
use super::fields::Fields;

/// Which of the four acknowledgements; the value is the packet's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AckKind {
    PubAck = 0x40,
    PubRec = 0x50,
    PubRel = 0x62,
    PubComp = 0x70,
}

impl AckKind {
    /// Of a packet's first byte; `None` for other packets, and for a PUBREL with DUP, which 3.1 has.
    #[must_use]
    #[inline]
    pub fn of(first: u8) -> Option<Self> {
        let kinds = [Self::PubAck, Self::PubRec, Self::PubRel, Self::PubComp];
        kinds.into_iter().find(|kind| *kind as u8 == first)
    }
}

/// Appends an acknowledgement. v3 has no place for reason and properties. v5 leaves out what has
/// a default: the reason code when it is success, the property length when there are none.
#[inline]
pub fn ack(out: &mut Vec<u8>, version: Version, kind: AckKind, ack: &Ack<'_>) {
    let [high, low] = ack.packet_id.get().to_be_bytes();
    let plain = ack.reason == ReasonCode::Success
        && ack.reason_string.is_none()
        && ack.user_properties.raw.is_empty();
    if plain || !version.is_v5() {
        out.extend_from_slice(&[kind as u8, 2, high, low]);
        return;
    }
    long_ack(out, kind, ack);
}

#[cold]
fn long_ack(out: &mut Vec<u8>, kind: AckKind, ack: &Ack<'_>) {
    let [high, low] = ack.packet_id.get().to_be_bytes();
    let reason = ack.reason as u8;
    if ack.reason_string.is_none() && ack.user_properties.is_empty() {
        out.extend_from_slice(&[kind as u8, 3, high, low, reason]);
        return;
    }
    out.push(kind as u8);
    put_with_length(out, |out| {
        out.extend_from_slice(&[high, low, reason]);
        put_with_length(out, |out| ack.put(out));
    });
}
