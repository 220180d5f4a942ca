//! The packets of this test, by hand.

/// A packet received: first byte and what follows the remaining length.
pub(super) type Frame = (u8, Vec<u8>);

fn frame(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut len = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = vec![first];
    loop {
        let low = (len % 128) as u8;
        len /= 128;
        bytes.push(if len > 0 { low | 0x80 } else { low });
        if len == 0 {
            break;
        }
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// An empty property section in v5, nothing in v3.
fn no_properties(is_v5: bool) -> &'static [u8] {
    if is_v5 {
        &[0]
    } else {
        &[]
    }
}

/// CONNECT that resumes the session, or makes one that lasts.
pub(super) fn connect(is_v5: bool, client_id: &str) -> Vec<u8> {
    let id = string(client_id);
    if is_v5 {
        let session_expiry = [5, 0x11, 0, 0, 0x0e, 0x10];
        frame(0x10, &[b"\0\x04MQTT\x05\0\0\0", &session_expiry, &id])
    } else {
        frame(0x10, &[b"\0\x04MQTT\x04\0\0\0", &id])
    }
}

pub(super) fn subscribe(is_v5: bool, filter: &str, qos: u8) -> Vec<u8> {
    frame(
        0x82,
        &[&[0, 1], no_properties(is_v5), &string(filter), &[qos]],
    )
}

pub(super) fn publish(is_v5: bool, topic: &str, qos: u8, id: u16, dup: bool, n: u16) -> Vec<u8> {
    let first = 0x30 | qos << 1 | u8::from(dup) << 3;
    let payload = n.to_string();
    let (topic, id) = (string(topic), id.to_be_bytes());
    frame(
        first,
        &[&topic, &id, no_properties(is_v5), payload.as_bytes()],
    )
}

/// PUBACK (0x40), PUBREC (0x50), PUBREL (0x62) or PUBCOMP (0x70).
pub(super) fn acknowledgement(first: u8, id: u16) -> Vec<u8> {
    frame(first, &[&id.to_be_bytes()])
}

/// Packet identifier at the start of an acknowledgement; its reason code must not be a failure.
/// Packet identifier not found (0x92) is none: it answers a PUBREL sent again when the PUBCOMP was
/// lost with a connection.
pub(super) fn acknowledged(body: &[u8]) -> u16 {
    assert!(
        body.get(2).is_none_or(|code| *code < 0x80 || *code == 0x92),
        "refused: {body:02x?}"
    );
    u16::from_be_bytes([body[0], body[1]])
}

/// Packet identifier and payload of a PUBLISH at QoS 1 or 2.
pub(super) fn published(is_v5: bool, body: &[u8]) -> (u16, u16) {
    let at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
    let id = u16::from_be_bytes([body[at], body[at + 1]]);
    let payload_at = at
        + 2
        + if is_v5 {
            1 + usize::from(body[at + 2])
        } else {
            0
        };
    let payload = std::str::from_utf8(&body[payload_at..]).expect("a number");
    (id, payload.parse().expect("a number"))
}

/// Takes the first whole packet.
pub(super) fn take(bytes: &mut Vec<u8>) -> Option<Frame> {
    let mut len = 0;
    for index in 0..4 {
        let &byte = bytes.get(1 + index)?;
        len |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let start = 2 + index;
            if bytes.len() < start + len {
                return None;
            }
            let frame = (bytes[0], bytes[start..start + len].to_vec());
            bytes.drain(..start + len);
            return Some(frame);
        }
    }
    panic!("a remaining length of more than four bytes");
}
