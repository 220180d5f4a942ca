//! Packets of clients.

/// `count` PUBLISH packets of 16-byte payload, one after the other; identifiers from 1 on.
pub(crate) fn publishes(topic: &str, qos: u8, count: u16) -> Vec<u8> {
    let mut all = Vec::new();
    for id in 1..=count {
        let id_len = if qos > 0 { 2 } else { 0 };
        let length = 2 + topic.len() + id_len + 16;
        all.extend_from_slice(&[0x30 | qos << 1, length as u8, 0, topic.len() as u8]);
        all.extend_from_slice(topic.as_bytes());
        if qos > 0 {
            all.extend_from_slice(&id.to_be_bytes());
        }
        all.extend_from_slice(&[b'x'; 16]);
    }
    all
}

/// `count` acknowledgements with identifiers from `first` on, which follow each other as the broker's
/// do: 65,535 is followed by 1.
pub(crate) fn acks(first_byte: u8, first: u16, count: u16) -> Vec<u8> {
    let mut all = Vec::new();
    let mut id = first;
    for _ in 0..count {
        let [high, low] = id.to_be_bytes();
        all.extend_from_slice(&[first_byte, 2, high, low]);
        id = id.checked_add(1).unwrap_or(1);
    }
    all
}
