//! The packets of these tests, by hand.

/// A packet received: first byte and what follows the remaining length.
pub(crate) type Frame = (u8, Vec<u8>);

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

/// What a client says when it connects.
#[derive(Clone)]
pub(crate) struct Connect<'a> {
    pub(crate) is_v5: bool,
    pub(crate) client_id: &'a str,
    /// Resumes the session, or makes one that lasts; else a session that ends with the connection.
    pub(crate) is_kept: bool,
    pub(crate) will: Option<Will<'a>>,
}

#[derive(Clone)]
pub(crate) struct Will<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a str,
    pub(crate) qos: u8,
}

pub(crate) fn connect(connect: &Connect<'_>) -> Vec<u8> {
    let will = connect.will.as_ref();
    let clean = if connect.is_kept { 0 } else { 2 };
    let flags = clean | will.map_or(0, |will| 4 | will.qos << 3);
    let will = will.map_or(Vec::new(), |will| {
        let parts = [string(will.topic), string(will.payload)].concat();
        [no_properties(connect.is_v5), &parts].concat()
    });
    let id = string(connect.client_id);
    let session_expiry: &[u8] = match (connect.is_v5, connect.is_kept) {
        (false, _) => &[],
        (true, false) => &[0],
        (true, true) => &[5, 0x11, 0, 0, 0x0e, 0x10],
    };
    let version = if connect.is_v5 { 5 } else { 4 };
    let start = [&b"\0\x04MQTT"[..], &[version, flags, 0, 0]].concat();
    frame(0x10, &[&start, session_expiry, &id, &will])
}

/// DISCONNECT, in version 5 with a reason code.
pub(crate) fn disconnect(is_v5: bool, reason: u8) -> Vec<u8> {
    frame(
        0xe0,
        &[if is_v5 {
            std::slice::from_ref(&reason)
        } else {
            &[]
        }],
    )
}

pub(crate) fn subscribe(is_v5: bool, filter: &str, qos: u8) -> Vec<u8> {
    frame(
        0x82,
        &[&[0, 1], no_properties(is_v5), &string(filter), &[qos]],
    )
}

pub(crate) fn unsubscribe(is_v5: bool, filter: &str) -> Vec<u8> {
    frame(0xa2, &[&[0, 1], no_properties(is_v5), &string(filter)])
}

/// A message to publish.
#[derive(Clone)]
pub(crate) struct Publish<'a> {
    pub(crate) is_v5: bool,
    pub(crate) topic: &'a str,
    pub(crate) qos: u8,
    pub(crate) id: u16,
    pub(crate) is_dup: bool,
    pub(crate) is_retained: bool,
    pub(crate) payload: &'a [u8],
}

pub(crate) fn publish(publish: &Publish<'_>) -> Vec<u8> {
    let flags = publish.qos << 1 | u8::from(publish.is_dup) << 3 | u8::from(publish.is_retained);
    let id = publish.id.to_be_bytes();
    let id: &[u8] = if publish.qos == 0 { &[] } else { &id };
    let properties = no_properties(publish.is_v5);
    let topic = string(publish.topic);
    frame(0x30 | flags, &[&topic, id, properties, publish.payload])
}

/// PUBACK (0x40), PUBREC (0x50), PUBREL (0x62) or PUBCOMP (0x70).
pub(crate) fn acknowledgement(first: u8, id: u16) -> Vec<u8> {
    frame(first, &[&id.to_be_bytes()])
}

/// Packet identifier at the start of an acknowledgement; its reason code must not be a failure.
/// Packet identifier not found (0x92) is none: it answers a PUBREL sent again when the PUBCOMP was
/// lost with a connection.
pub(crate) fn acknowledged(body: &[u8]) -> u16 {
    assert!(
        body.get(2).is_none_or(|code| *code < 0x80 || *code == 0x92),
        "refused: {body:02x?}"
    );
    u16::from_be_bytes([body[0], body[1]])
}

/// A message received.
pub(crate) struct Published<'a> {
    pub(crate) topic: &'a str,
    /// 0 at QoS 0.
    pub(crate) id: u16,
    pub(crate) payload: &'a [u8],
}

pub(crate) fn published(is_v5: bool, first: u8, body: &[u8]) -> Published<'_> {
    let topic_end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = std::str::from_utf8(&body[2..topic_end]).expect("a topic name");
    let mut at = topic_end;
    let mut id = 0;
    if first & 0x06 != 0 {
        id = u16::from_be_bytes([body[at], body[at + 1]]);
        at += 2;
    }
    if is_v5 {
        assert!(body[at] < 0x80, "these tests use few properties");
        at += 1 + usize::from(body[at]);
    }
    let payload = &body[at..];
    Published { topic, id, payload }
}

/// Takes the first whole packet.
pub(crate) fn take(bytes: &mut Vec<u8>) -> Option<Frame> {
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
