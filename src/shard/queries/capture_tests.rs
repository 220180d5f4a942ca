//! Captures of packets, as operators ask for them.

use std::net::IpAddr;

use super::tests::{order, publish};
use super::{Answer, CaptureTerms, Captured, Order, OrderedMessage, Query, CAPTURES_MAX};
use crate::mqtt::Qos;
use crate::shard::CloseCause;
use crate::testing::{World, V311, V5};
use crate::time::Span;

/// What a capture has taken so far, in words.
fn captured(world: &mut World, id: u64) -> Option<Vec<String>> {
    let answer = world.shards[0].handle_query(&Query::CaptureRecords(id), world.now);
    let Answer::CaptureRecords(records) = answer else {
        panic!("{answer:?}");
    };
    let records = records?.0.into_iter();
    Some(
        records
            .map(|record| {
                let name = record.client_id.unwrap_or_else(|| "-".into());
                match record.what {
                    Captured::In(_, bytes) => format!("{name} in {}", bytes[0] >> 4),
                    Captured::Out(_, bytes) => format!("{name} out {}", bytes[0] >> 4),
                    Captured::Publication { topic, .. } => format!("{name} publishes {topic}"),
                    Captured::Ends(text) => format!("{name} ends: {text}"),
                    Captured::Opened => format!("{name} opened"),
                    Captured::Closed(_) => format!("{name} closed"),
                }
            })
            .collect(),
    )
}

fn begin(world: &mut World, id: u64, terms: CaptureTerms) -> bool {
    let lasts = Span::from_secs(10);
    let begin = Order::BeginCapture { id, terms, lasts };
    world.shards[0].handle_query(&Query::Order(begin), world.now) == Answer::Done(true)
}

fn of_client(name: &str) -> CaptureTerms {
    CaptureTerms {
        client: Some(name.into()),
        ..CaptureTerms::default()
    }
}

#[test]
fn a_client_that_is_there_and_one_that_comes_are_captured() {
    let mut world = World::of_one_shard(|_| {});
    let a = world.connect(V311, b'a').0;
    assert!(begin(&mut world, 1, of_client("a")) && begin(&mut world, 2, of_client("b")));
    assert_eq!(captured(&mut world, 1), Some(vec![])); // finds it
    world.give_here(a, &[0xC0, 0]);
    assert_eq!(world.take(a), [0xD0, 0]);
    let b = world.connect(V5, b'b').0;
    world.give_here(b, b"\x30\x04\x00\x01tx"); // a protocol error: no length of properties
    world.take(b);
    let c = world.connect(V311, b'c').0;
    world.give_here(c, &[0xC0, 0]);
    world.take(c);
    assert_eq!(captured(&mut world, 1).unwrap(), ["a in 12", "a out 13"]);
    let seen = captured(&mut world, 2).unwrap();
    assert_eq!(&seen[..3], ["b in 1", "b out 2", "b in 3"], "{seen:?}");
    assert!(seen[3].starts_with("b ends: malformed packet"), "{seen:?}");
    assert_eq!(&seen[4..], ["b out 14"]);
    assert_eq!(captured(&mut world, 3), None);
}

#[test]
fn an_address_is_captured_from_before_its_connect() {
    let mut world = World::of_one_shard(|_| {});
    let address = Some(IpAddr::from([127, 0, 0, 1]));
    let terms = CaptureTerms {
        address,
        ..CaptureTerms::default()
    };
    assert!(begin(&mut world, 1, terms));
    let id = world.open_here().unwrap();
    world.give_here(id, &[0xFF, 0xFF]);
    world.shards[0].handle_closed(id, CloseCause::EndOfStream, world.now);
    let seen = captured(&mut world, 1).unwrap();
    assert_eq!(seen[0], "- opened");
    assert!(
        seen.iter().any(|line| line.starts_with("- ends: ")),
        "{seen:?}"
    );
    assert_eq!(seen.last().unwrap(), "- closed");
}

#[test]
fn publications_of_a_topic_are_captured_whoever_sends_them() {
    let mut world = World::of_one_shard(|_| {});
    let terms = CaptureTerms {
        filter: Some("x/+".into()),
        ..CaptureTerms::default()
    };
    assert!(begin(&mut world, 1, terms));
    let a = world.connect(V311, b'a').0;
    let mut burst = publish("x/1", 0x30);
    burst.extend(publish("x/1", 0x30));
    burst.extend(publish("y/1", 0x30));
    world.give_here(a, &burst);
    let seen = captured(&mut world, 1).unwrap();
    assert_eq!(seen, ["a publishes x/1", "a publishes x/1"]);
}

/// The records of capture 0, each of which is more than a piece has, and how many were left out.
fn all_records(world: &mut World) -> (usize, u64) {
    let (mut records, mut left_out) = (0, 0);
    loop {
        let query = Query::CaptureRecords(0);
        let Answer::CaptureRecords(Some(piece)) = world.shards[0].handle_query(&query, world.now)
        else {
            panic!("it is not over");
        };
        records += piece.0.len();
        left_out += piece.1;
        if piece.0.is_empty() {
            return (records, left_out);
        }
        assert_eq!(piece.0.len(), 1);
    }
}

/// A capture ends by itself, is bounded, and gives each record once.
#[test]
fn a_capture_is_bounded_in_time_and_bytes() {
    let mut world = World::of_one_shard(|_| {});
    let large = CaptureTerms {
        filter: Some("#".into()),
        ..CaptureTerms::default()
    };
    for id in 0..CAPTURES_MAX as u64 {
        assert!(begin(&mut world, id, large.clone()));
    }
    assert!(!begin(&mut world, 99, large));
    let message = OrderedMessage {
        topic: "t".into(),
        payload: vec![0; 100 << 10].into(),
        qos: Qos::AtMostOnce,
        retain: false,
        expiry: None,
    };
    // What was taken makes room.
    for _ in 0..2 {
        for _ in 0..12 {
            order(&mut world, Order::Publish(Box::new(message.clone())));
        }
        assert_eq!(all_records(&mut world), (10, 2));
    }
    world.wait_here(10_000);
    assert_eq!(captured(&mut world, 0), None);
    let after = Order::Publish(Box::new(message));
    order(&mut world, after);
    assert!(order(&mut world, Order::EndCapture(1)) && !order(&mut world, Order::EndCapture(1)));
    world.audit();
}

#[test]
fn clients_are_captured_by_what_their_names_begin_with() {
    let mut world = World::of_one_shard(|_| {});
    let ids = [b'a', b'b'].map(|name| world.connect(V311, name).0);
    let terms = CaptureTerms {
        is_prefix: true,
        ..of_client("a")
    };
    assert!(begin(&mut world, 1, terms));
    for id in ids {
        world.give_here(id, &[0xC0, 0]);
        world.take(id);
    }
    assert_eq!(captured(&mut world, 1).unwrap(), ["a in 12", "a out 13"]);
}

/// Whose packet is half sent when a capture begins is shown from the next packet on.
#[test]
fn a_packet_that_had_begun_is_not_shown() {
    let mut world = World::of_one_shard(|_| {});
    let a = world.connect(V311, b'a').0;
    world.give_here(a, &[0xC0, 0]);
    assert!(begin(&mut world, 1, of_client("a")));
    assert_eq!(world.take(a), [0xD0, 0]);
    assert_eq!(captured(&mut world, 1), Some(vec![]));
    world.give_here(a, &[0xC0, 0]);
    world.take(a);
    assert_eq!(captured(&mut world, 1).unwrap(), ["a in 12", "a out 13"]);
}
