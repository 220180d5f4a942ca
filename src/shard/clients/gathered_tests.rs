//! Large packets that come in pieces, seen from outside a shard.

use crate::mqtt::{decode, frame, Packet, Sender, Version};
use crate::testing::{World, V311, V5};

/// A PUBLISH to `t` with QoS 1.
fn publish(packet_id: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x32];
    let mut length = 5 + payload.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(&[0, 1, b't', 0, packet_id]);
    bytes.extend_from_slice(payload);
    bytes
}

/// Payloads of what a client gets.
fn payloads(version: Version, mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some(frame) = frame::next_frame(bytes, u32::MAX).unwrap() {
        match decode::packet(version, Sender::Server, &frame).unwrap() {
            Packet::Publish(publish) => found.push(publish.payload.to_vec()),
            other => panic!("{other:?}"),
        }
        bytes = &bytes[frame.length..];
    }
    found
}

fn payload(first: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| first ^ (at / 7) as u8).collect()
}

#[test]
fn a_packet_in_pieces_is_delivered_as_it_was_sent() {
    for length in [4_000, 4_090, 4_096, 5_000, 70_000] {
        for piece in [1, 4_095, 4_097, 9_000, 60_000] {
            for turn_work in [1, 1_000] {
                let mut broker = World::of_one_shard(|_| {});
                broker.shards[0].set_turn_work(turn_work);
                let at_most_once = broker.subscribed(b'0', 0);
                let at_least_once = broker.subscribed(b'1', 1);
                let (of_5, _) = broker.connect(V5, b'5');
                broker.give_here(of_5, &[0x82, 7, 0, 1, 0, 0, 1, b't', 1]);
                assert_eq!(broker.take(of_5).len(), 6, "SUBACK");
                let (publisher, _) = broker.connect(V311, b'p');
                let sent = [
                    payload(1, length),
                    payload(2, 3),
                    payload(3, length),
                    payload(4, length / 2),
                ];
                let packets = sent.iter().zip(1..).map(|(one, id)| publish(id, one));
                let bytes = packets.collect::<Vec<_>>().concat();
                for part in bytes.chunks(piece) {
                    broker.give_here(publisher, part);
                }
                broker.wait_here(1);
                for _ in &sent {
                    broker.give_here(publisher, &[]); // a turn for what waits
                }
                for (id, version) in [
                    (at_most_once, Version::V311),
                    (at_least_once, Version::V311),
                    (of_5, Version::V5),
                ] {
                    let got = payloads(version, &broker.take(id));
                    assert!(got == sent, "{length} in {piece}, {version:?}");
                }
                assert_eq!(broker.take(publisher).len(), 4 * sent.len(), "PUBACK");
                assert!(broker.shards[0].clients.gathered.is_none());
                broker.shards[0].audit().unwrap();
            }
        }
    }
}

#[test]
fn a_header_alone_gets_no_memory_and_an_eighth_gets_all() {
    let mut broker = World::of_one_shard(|_| {});
    let (publisher, _) = broker.connect(V311, b'p');
    let bytes = publish(1, &payload(1, 800_000));
    let capacity = |broker: &World| {
        let connection = broker.shards[0].clients.connections.get(publisher).unwrap();
        connection.partial.capacity()
    };
    broker.give_here(publisher, &bytes[..10]);
    assert!(capacity(&broker) < 100);
    broker.give_here(publisher, &bytes[10..1_000]);
    assert!(capacity(&broker) <= 2_000);
    broker.give_here(publisher, &bytes[1_000..110_000]);
    assert_eq!(capacity(&broker), bytes.len());
}

#[test]
fn a_packet_completed_when_the_turn_is_spent_waits_for_the_next() {
    let mut broker = World::of_one_shard(|_| {});
    broker.shards[0].set_turn_work(1);
    let subscriber = broker.subscribed(b's', 0);
    let (busy, _) = broker.connect(V311, b'b');
    let (publisher, _) = broker.connect(V311, b'p');
    let sent = [payload(1, 3), payload(2, 20_000)];
    let large = publish(1, &sent[1]);
    let (start, end) = large.split_at(15_000);
    broker.give_here(publisher, start);
    let now = broker.now;
    broker.shards[0].handle_bytes(busy, &publish(1, &sent[0]), now);
    broker.shards[0].handle_bytes(publisher, end, now);
    assert!(!broker.shards[0].wants_input(publisher), "it waits");
    broker.shards[0].end_turn(now);
    broker.give_here(publisher, &[]);
    assert!(broker.shards[0].wants_input(publisher));
    let got = payloads(Version::V311, &broker.take(subscriber));
    assert!(got == sent);
}
