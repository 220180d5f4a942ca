//! Bursts, seen from outside a shard: how packets are spread over reads changes nothing.

use proptest::prelude::*;

use crate::testing::{World, V311, V5};

/// A PUBLISH of QoS 0 as some clients write them.
#[derive(Clone, Debug)]
struct Sent {
    topic: &'static str,
    payload_len: usize,
    retain: bool,
    /// Of MQTT 5, encoded.
    properties: &'static [u8],
    /// The remaining length takes a byte more than it needs: 3.1.1 allows it, 5 does not.
    is_padded: bool,
}

fn sent() -> impl Strategy<Value = Sent> {
    let topics = prop::sample::select(vec!["t", "t", "t", "t/u", "v", "a+", ""]);
    let sizes = prop::sample::select(vec![0, 1, 20, 20, 20, 122, 123, 4_095, 4_096]);
    let properties: Vec<&[u8]> = vec![
        b"",
        b"",
        b"",
        b"\x02\0\0\0\x09",     // expires in 9 s
        b"\x26\0\x01a\0\x01b", // a user property
        b"\x23\0\x03",         // topic alias 3
        b"\x0B\x01",           // a subscription identifier, not for clients
    ];
    let properties = prop::sample::select(properties);
    (topics, sizes, properties, 0..10_u8).prop_map(|(topic, payload_len, properties, odd)| Sent {
        topic,
        payload_len,
        retain: odd == 0,
        properties,
        is_padded: odd == 1,
    })
}

fn encode(sent: &Sent, number: u8, version: u8) -> Vec<u8> {
    let mut body = vec![0, sent.topic.len() as u8];
    body.extend_from_slice(sent.topic.as_bytes());
    if version == V5 {
        body.push(sent.properties.len() as u8);
        body.extend_from_slice(sent.properties);
    }
    body.extend(std::iter::repeat_n(number, sent.payload_len));
    let mut bytes = vec![0x30 | u8::from(sent.retain)];
    let mut length = body.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    if sent.is_padded {
        *bytes.last_mut().unwrap() |= 0x80;
        bytes.push(0);
    }
    bytes.extend_from_slice(&body);
    bytes
}

/// What comes of packets that arrive in these reads: the bytes for a subscriber of each version, and those
/// for the publisher.
fn outcome(version: u8, reads: &[Vec<u8>]) -> [Vec<u8>; 3] {
    let mut broker = World::of_one_shard(|_| {});
    let subscribers = [V311, V5].map(|of| {
        let (id, _) = broker.connect(of, b'0' + of);
        let subscribe: &[u8] = match of {
            V5 => &[0x82, 7, 0, 1, 0, 0, 1, b'#', 0],
            _ => &[0x82, 6, 0, 1, 0, 1, b'#', 0],
        };
        broker.give_here(id, subscribe);
        assert!(!broker.take(id).is_empty(), "SUBACK");
        id
    });
    let (publisher, _) = broker.connect(version, b'p');
    for read in reads {
        let now = broker.now;
        broker.shards[0].handle_bytes(publisher, read, now);
    }
    broker.give_here(publisher, &[]);
    broker.shards[0].audit().unwrap();
    let [of_311, of_5] = subscribers;
    [of_311, of_5, publisher].map(|id| broker.take(id))
}

proptest! {
    #[test]
    fn packets_in_one_read_or_in_many_come_to_the_same(
        sent in prop::collection::vec(sent(), 1..30),
        version in prop::sample::select(vec![V311, V5]),
        cut in 1..200_usize,
    ) {
        let packets: Vec<_> = sent.iter().zip(0..).map(|(one, n)| encode(one, n, version)).collect();
        let alone = outcome(version, &packets);
        let whole = packets.concat();
        let cut: Vec<_> = whole.chunks(cut).map(<[u8]>::to_vec).collect();
        prop_assert!(alone == outcome(version, &[whole]), "in one read");
        prop_assert!(alone == outcome(version, &cut), "cut anywhere");
    }
}
