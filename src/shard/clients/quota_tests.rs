//! Rates, half-open connections and pressure, seen from outside a shard.

use crate::limits::Rates;
use crate::mqtt::frame;
use crate::shard::*;
use crate::testing::{connect_packet, World, V311, V5};

const PUBLISH: u8 = 3;

/// PUBLISHes to `t`, each with its number as payload, and for QoS 1 as identifier.
fn publishes(qos: u8, numbers: std::ops::RangeInclusive<u8>) -> Vec<u8> {
    let one = |number| match qos {
        0 => vec![0x30, 4, 0, 1, b't', number],
        _ => vec![0x32, 6, 0, 1, b't', 0, number, number],
    };
    numbers.flat_map(one).collect()
}

/// The last byte of each PUBLISH.
fn payloads(bytes: &[u8]) -> Vec<u8> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Ok(Some(frame)) = frame::next_frame(&bytes[at..], u32::MAX) {
        if frame.first >> 4 == PUBLISH {
            found.extend(frame.body.last());
        }
        at += frame.length;
    }
    found
}

fn messages_in(per_s: u32) -> Rates {
    let mut rates = Rates::default();
    rates.incoming.messages_per_s = Some(per_s);
    rates
}

fn messages_out(per_s: u32) -> Rates {
    let mut rates = Rates::default();
    rates.outgoing.messages_per_s = Some(per_s);
    rates
}

#[test]
fn who_sends_too_fast_is_read_later_and_loses_nothing() {
    let mut broker = World::of_one_shard(|limits| limits.client_rates = messages_in(10));
    let receiver = broker.subscribed(b'r', 0);
    let (fast, _) = broker.connect(V311, b'f');
    let (slow, _) = broker.connect(V311, b's');
    broker.give_here(fast, &publishes(0, 1..=10));
    assert!(broker.shards[0].wants_input(fast), "a burst");
    broker.give_here(fast, &publishes(0, 11..=110));
    assert!(!broker.shards[0].wants_input(fast));
    assert_eq!(
        payloads(&broker.take(receiver)).len(),
        110,
        "all were taken"
    );
    broker.give_here(slow, &publishes(0, 1..=1));
    assert!(
        broker.shards[0].wants_input(slow),
        "others are not slowed down"
    );
    broker.give_here(receiver, &[0xC0, 0]);
    broker.wait_here(5_900);
    assert!(!broker.shards[0].wants_input(fast));
    broker.give_here(receiver, &[0xC0, 0]);
    // Longer than its keep alive: its pings are in its socket.
    broker.wait_here(4_200);
    assert!(
        broker.shards[0].wants_input(fast),
        "after ten seconds in all"
    );
    assert_eq!(broker.shards[0].stats().reads_paused, 1);
    broker.give_here(fast, &publishes(0, 1..=1));
    assert!(broker.shards[0].wants_input(fast));
}

#[test]
fn bytes_of_all_packets_count() {
    let mut broker = World::of_one_shard(|limits| {
        limits.client_rates.incoming.bytes_per_s = Some(100);
        limits.rate_burst_s = 0;
    });
    let (client, _) = broker.connect(V311, b'c');
    broker.wait_here(200);
    assert!(broker.shards[0].wants_input(client), "CONNECT is paid");
    broker.give_here(client, &[0xC0, 0].repeat(50));
    assert!(!broker.shards[0].wants_input(client));
    broker.wait_here(990);
    assert!(!broker.shards[0].wants_input(client));
    broker.wait_here(20);
    assert!(broker.shards[0].wants_input(client));
}

#[test]
fn clients_of_a_listener_share_its_rate() {
    let mut broker = World::of_one_shard(|limits| limits.listener_rates = messages_in(10));
    let (first, _) = broker.connect(V311, b'1');
    let (second, _) = broker.connect(V311, b'2');
    broker.give_here(first, &publishes(0, 1..=15));
    broker.give_here(second, &publishes(0, 1..=5));
    assert!(!broker.shards[0].wants_input(first) && !broker.shards[0].wants_input(second));
    // The first is ready after 0.5 s alone; what the second sent is ahead of it, too.
    broker.wait_here(600);
    assert!(!broker.shards[0].wants_input(first));
    broker.wait_here(500);
    assert!(broker.shards[0].wants_input(first) && broker.shards[0].wants_input(second));
}

#[test]
fn qos_1_waits_and_keeps_its_order() {
    let mut broker = World::of_one_shard(|limits| limits.client_rates = messages_out(5));
    let receiver = broker.subscribed(b'r', 1);
    let (sender, _) = broker.connect(V311, b's');
    broker.give_here(sender, &publishes(1, 1..=20));
    assert_eq!(broker.take(sender).len(), 20 * 4, "all are acknowledged");
    let mut seen = payloads(&broker.take(receiver));
    assert_eq!(seen, (1..=6).collect::<Vec<u8>>(), "the burst and one");
    for _ in 0..14 {
        broker.wait_here(200);
        broker.give_here(receiver, &[0xC0, 0]);
        seen.extend(payloads(&broker.take(receiver)));
    }
    assert_eq!(seen, (1..=20).collect::<Vec<u8>>());
    assert_eq!(broker.shards[0].stats().dropped_over_rate, 0);
    assert!(broker.shards[0].stats().sends_paused > 0);
}

#[test]
fn qos_0_over_the_rate_is_dropped_and_counted() {
    for rates_of_listener in [false, true] {
        let mut broker = World::of_one_shard(|limits| {
            let rates = if rates_of_listener {
                &mut limits.listener_rates
            } else {
                &mut limits.client_rates
            };
            *rates = messages_out(5);
        });
        let receiver = broker.subscribed(b'r', 0);
        let (sender, _) = broker.connect(V311, b's');
        broker.give_here(sender, &publishes(0, 1..=20));
        let seen = payloads(&broker.take(receiver));
        assert_eq!(seen, (1..=6).collect::<Vec<u8>>());
        assert_eq!(broker.shards[0].stats().dropped_over_rate, 14);
        broker.wait_here(200);
        broker.give_here(sender, &publishes(0, 30..=30));
        assert_eq!(payloads(&broker.take(receiver)), [30]);
    }
}

#[test]
fn retained_messages_wait_for_the_rate() {
    let mut broker = World::of_one_shard(|limits| limits.client_rates = messages_out(5));
    let (sender, _) = broker.connect(V311, b's');
    for number in 1..=20 {
        broker.give_here(sender, &[0x31, 6, 0, 3, b't', b'/', b'A' + number, number]);
    }
    let (receiver, _) = broker.connect(V311, b'r');
    broker.give_here(receiver, &[0x82, 8, 0, 1, 0, 3, b't', b'/', b'+', 0]);
    let mut seen = payloads(&broker.take(receiver));
    assert!(seen.len() <= 6, "{seen:?}");
    for _ in 0..16 {
        broker.wait_here(200);
        broker.give_here(receiver, &[0xC0, 0]);
        seen.extend(payloads(&broker.take(receiver)));
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=20).collect::<Vec<u8>>());
}

#[test]
fn a_connection_takes_its_timers_with_it() {
    let mut broker = World::of_one_shard(|limits| {
        limits.client_rates = messages_in(1);
        limits.client_rates.outgoing.messages_per_s = Some(1);
    });
    let client = broker.subscribed(b'c', 1);
    broker.give_here(client, &publishes(1, 1..=200));
    assert!(!broker.shards[0].wants_input(client));
    broker.shards[0].handle_closed(client, CloseCause::EndOfStream, broker.now);
    broker.shards[0].end_turn(broker.now);
    assert_eq!(broker.shards[0].poll_timeout(), None);
}

#[test]
fn half_open_connections_are_bounded() {
    let mut broker = World::of_one_shard(|limits| limits.half_open_max = Some(2));
    let (live, _) = broker.connect(V311, b'a');
    let (first, second) = (broker.open_here().unwrap(), broker.open_here().unwrap());
    assert_eq!(broker.open_here(), None);
    broker.give_here(first, &connect_packet(V311, b'b'));
    let third = broker.open_here().expect("one of them is open");
    assert_eq!(broker.open_here(), None);
    broker.shards[0].handle_closed(second, CloseCause::Failed, broker.now);
    broker.give_here(third, &[0xFF]);
    assert!(
        broker.open_here().is_some() && broker.open_here().is_some(),
        "closed, refused"
    );
    assert_eq!(broker.open_here(), None);
    assert_eq!(broker.shards[0].stats().refused_half_open, 3);
    assert!(broker.shards[0].wants_input(live));
    broker.shards[0].audit().unwrap();
}

#[test]
fn under_pressure_nobody_else_is_let_in() {
    let mut broker = World::of_one_shard(|_| {});
    let receiver = broker.subscribed(b'r', 0);
    for (memory, turns) in [(true, false), (false, true)] {
        broker.shards[0].handle_pressure(Pressure { memory, turns });
        let (_, answer) = broker.connect(V311, b'n');
        assert_eq!(answer, [0x20, 2, 0, 3]);
        let (_, answer) = broker.connect(V5, b'n');
        assert_eq!((answer[0], answer[3]), (0x20, 0x97));
        broker.give_here(receiver, &publishes(0, 1..=1));
        assert_eq!(payloads(&broker.take(receiver)), [1], "who is in is served");
    }
    let stats = *broker.shards[0].stats();
    assert_eq!((stats.refused_memory, stats.refused_turns), (2, 2));
    assert_eq!(stats.connects_refused, 4);
    broker.shards[0].handle_pressure(Pressure::default());
    let (_, answer) = broker.connect(V311, b'n');
    assert_eq!(answer, [0x20, 2, 0, 0]);
}
