//! Broken rules, counted each by itself.

use crate::testing::{World, V311, V5};

fn broken(broker: &World) -> Vec<(&'static str, u64)> {
    broker.shards[0].stats().violations.rows().collect()
}

#[test]
fn each_rule_that_a_client_breaks_is_counted_once() {
    let mut broker = World::of_one_shard(|limits| limits.topic_levels_max = 2);
    let (id, _) = broker.connect(V311, b'a');
    broker.give_here(id, &crate::testing::connect_packet(V311, b'a'));
    let id = broker.open_here().unwrap();
    broker.give_here(id, b"GET / HTTP/1.1\r\n\r\n");
    let (id, _) = broker.connect(V5, b'b');
    // A topic of three levels at QoS 1 is refused by its acknowledgement; the connection stays open.
    broker.give_here(id, b"\x32\x0a\0\x05a/b/c\0\x01\0");
    assert_eq!(broker.take(id), b"\x40\x03\0\x01\x90");
    broker.give_here(id, b"\x82\x0b\0\x02\0\0\x05a/b/c\0");
    assert_eq!(broker.take(id), b"\x90\x04\0\x02\0\x8f");
    broker.give_here(id, b"\x40\x02\0\0"); // PUBACK of identifier 0
    let expected = [
        ("PacketIdZero", 1),
        ("HttpUnasked", 1),
        ("SecondConnect", 1),
        ("TopicTooDeep", 1),
        ("FilterTooDeep", 1),
    ];
    assert_eq!(broken(&broker), expected);
}
