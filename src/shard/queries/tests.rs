use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::{
    Answer, CaptureTerms, Captured, ClientFilter, ClientSort, Order, OrderedMessage, Query,
    SubscriptionsOf, CAPTURES_MAX, ROWS_MAX,
};
use crate::auth::OperatorBans;
use crate::mqtt::Qos;
use crate::shard::{CloseCause, Ending};
use crate::testing::{World, V311, V5};
use crate::time::Span;

/// All pieces of a listing, and how many there were.
fn clients(world: &mut World, filter: &ClientFilter, max: usize) -> (Vec<String>, usize) {
    let (mut names, mut pieces, mut from) = (Vec::new(), 0, Some(0));
    while let Some(place) = from {
        let query = Query::Clients {
            from: place,
            filter: filter.clone(),
            sort: None,
            max,
        };
        let Answer::Clients { rows, next } = world.shards[0].handle_query(&query, world.now) else {
            panic!("another answer");
        };
        assert!(rows.len() <= max.min(ROWS_MAX));
        names.extend(rows.into_iter().map(|row| row.client_id.to_string()));
        pieces += 1;
        from = next;
    }
    (names, pieces)
}

fn subscriptions(world: &mut World, of: SubscriptionsOf) -> BTreeSet<(String, String)> {
    let (mut found, mut from) = (BTreeSet::new(), Some((0, 0)));
    while let Some(place) = from {
        let query = Query::Subscriptions {
            of: of.clone(),
            from: place,
            max: 2,
        };
        let Answer::Subscriptions { rows, next } = world.shards[0].handle_query(&query, world.now)
        else {
            panic!("another answer");
        };
        for row in rows {
            found.insert((row.client_id.to_string(), row.filter.to_string()));
        }
        from = next;
    }
    found
}

fn detail(world: &mut World, name: &str) -> Option<Box<super::ClientDetail>> {
    match world.shards[0].handle_query(&Query::Client(name.into()), world.now) {
        Answer::Client(detail) => detail,
        other => panic!("{other:?}"),
    }
}

fn order(world: &mut World, order: Order) -> bool {
    let done = world.shards[0].handle_query(&Query::Order(order), world.now) == Answer::Done(true);
    world.settle();
    done
}

fn subscribe(filter: &str) -> Vec<u8> {
    let mut packet = vec![0x82, filter.len() as u8 + 5, 0, 1, 0, filter.len() as u8];
    packet.extend_from_slice(filter.as_bytes());
    packet.push(0);
    packet
}

fn publish(topic: &str, first: u8) -> Vec<u8> {
    let mut packet = vec![first, topic.len() as u8 + 3, 0, topic.len() as u8];
    packet.extend_from_slice(topic.as_bytes());
    packet.push(b'x');
    packet
}

#[test]
fn a_listing_comes_in_pieces_and_each_client_once() {
    let mut world = World::of_one_shard(|_| {});
    let names: Vec<u8> = (b'a'..=b'z').collect();
    for name in &names {
        world.connect(V311, *name);
    }
    let expected: Vec<String> = names.iter().map(|name| char::from(*name).into()).collect();
    for (max, pieces) in [(1, 26), (10, 3), (1_000, 1)] {
        let listed = clients(&mut world, &ClientFilter::default(), max);
        assert_eq!(listed, (expected.clone(), pieces), "{max} at a time");
    }
    // A page behind the end, and one of a shard that has had many clients.
    let query = Query::Clients {
        from: 9_999,
        filter: ClientFilter::default(),
        sort: None,
        max: 5,
    };
    let answer = world.shards[0].handle_query(&query, world.now);
    let (rows, next) = (Vec::new(), None);
    assert_eq!(answer, Answer::Clients { rows, next });
}

#[test]
fn a_piece_looks_at_so_many_places_and_no_more() {
    let mut world = World::of_one_shard(|_| {});
    let mut name = 0_u16;
    while world.shards[0].sessions() < 1_500 {
        let id = world.open_here().unwrap();
        let mut packet = vec![0x10, 16, 0, 4];
        packet.extend_from_slice(b"MQTT");
        packet.extend_from_slice(&[4, 2, 0, 0, 0, 4]);
        packet.extend_from_slice(format!("{name:04x}").as_bytes());
        world.give_here(id, &packet);
        name += 1;
    }
    let none = ClientFilter {
        prefix: Some("nobody".into()),
        ..ClientFilter::default()
    };
    assert_eq!(clients(&mut world, &none, 10), (Vec::new(), 2));
    let some = ClientFilter {
        prefix: Some("04".into()),
        ..ClientFilter::default()
    };
    assert_eq!(clients(&mut world, &some, 1_000).0.len(), 256);
}

#[test]
fn the_first_of_an_order_are_the_largest() {
    let mut world = World::of_one_shard(|_| {});
    let publisher = world.connect(V311, b'p').0;
    for (name, count) in [(b'a', 2), (b'b', 5), (b'c', 1), (b'd', 5)] {
        let id = world.connect(V311, name).0;
        for _ in 0..count {
            world.give_here(id, &publish("t", 0x30));
        }
    }
    world.give_here(publisher, &publish("t", 0x30));
    let query = Query::Clients {
        from: 0,
        filter: ClientFilter::default(),
        sort: Some(ClientSort::Publications),
        max: 3,
    };
    let Answer::Clients { rows, next } = world.shards[0].handle_query(&query, world.now) else {
        panic!("another answer");
    };
    let first: Vec<_> = rows
        .iter()
        .map(|row| (&*row.client_id, row.sorted_by))
        .collect();
    assert_eq!((first, next), (vec![("b", 5), ("d", 5), ("a", 2)], None));
}

#[test]
fn a_client_in_detail() {
    let mut world = World::of_one_shard(|_| {});
    let subscriber = world.subscribed(b's', 0);
    let publisher = world.connect(V5, b'p').0;
    world.give_here(publisher, b"\x30\x05\x00\x01t\x00x");
    assert_eq!(detail(&mut world, "nobody"), None);
    let found = detail(&mut world, "s").unwrap();
    let activity = found.row.activity.unwrap();
    assert_eq!((activity.deliveries, activity.publications), (1, 0));
    assert_eq!((found.row.subscriptions, found.row.queue_messages), (1, 0));
    assert_eq!(found.keep_alive.unwrap().as_secs(), 4);
    assert_eq!(found.last_ending, None);
    let answers = world.take(subscriber);
    assert_eq!(answers, b"\x30\x04\x00\x01tx");
    let found = detail(&mut world, "s").unwrap().row.activity.unwrap();
    assert_eq!((found.bytes_in, found.bytes_out), (15 + 8, 4 + 5 + 6));
    let found = detail(&mut world, "p").unwrap().row.activity.unwrap();
    assert_eq!((found.publications, found.deliveries), (1, 0));
}

#[test]
fn who_receives_a_topic_and_which_filters_overlap() {
    let mut world = World::of_one_shard(|_| {});
    for (name, filters) in [
        (b'a', &["x/+", "y", "#"][..]),
        (b'b', &["$share/g/x/1", "x/2"][..]),
        (b'c', &["$SYS/#"][..]),
    ] {
        let id = world.connect(V311, name).0;
        for filter in filters {
            world.give_here(id, &subscribe(filter));
        }
    }
    let set = |rows: &[(&str, &str)]| -> BTreeSet<(String, String)> {
        rows.iter()
            .map(|(a, b)| ((*a).into(), (*b).into()))
            .collect()
    };
    let topic = |name: &str| SubscriptionsOf::Topic(name.into());
    let found = subscriptions(&mut world, topic("x/1"));
    assert_eq!(
        found,
        set(&[("a", "x/+"), ("a", "#"), ("b", "$share/g/x/1")])
    );
    let found = subscriptions(&mut world, topic("$SYS/broker"));
    assert_eq!(found, set(&[("c", "$SYS/#")]));
    assert_eq!(subscriptions(&mut world, topic("$other")), set(&[]));
    let found = subscriptions(&mut world, SubscriptionsOf::Filter("+/2".into()));
    assert_eq!(found, set(&[("a", "x/+"), ("a", "#"), ("b", "x/2")]));
    let found = subscriptions(&mut world, SubscriptionsOf::Client("b".into()));
    assert_eq!(found, set(&[("b", "$share/g/x/1"), ("b", "x/2")]));
    assert_eq!(subscriptions(&mut world, SubscriptionsOf::All).len(), 6);
}

#[test]
fn orders_change_what_they_name_and_nothing_else() {
    let mut world = World::of_one_shard(|_| {});
    let s = world.subscribed(b's', 0);
    let gone = Order::Disconnect("nobody".into());
    assert!(!order(&mut world, gone));
    let message = OrderedMessage {
        topic: "t".into(),
        payload: Bytes::from_static(b"hello"),
        qos: Qos::AtLeastOnce,
        retain: true,
        expiry: None,
    };
    assert!(order(&mut world, Order::Publish(Box::new(message))));
    assert_eq!(world.take(s), b"\x30\x08\x00\x01thello");
    let topic = Query::RetainedMessage("t".into());
    let kept = world.shards[0].handle_query(&topic, world.now);
    let Answer::RetainedMessage(Some(row)) = kept else {
        panic!("{kept:?}");
    };
    assert_eq!((&*row.topic, &row.payload[..]), ("t", &b"hello"[..]));
    assert!(order(&mut world, Order::ClearRetained("t".into())));
    assert!(!order(&mut world, Order::ClearRetained("t".into())));
    let kept = world.shards[0].handle_query(&topic, world.now);
    assert_eq!(kept, Answer::RetainedMessage(None));
    assert!(order(&mut world, Order::EndSession("s".into())));
    assert!(detail(&mut world, "s").is_none());
    assert_eq!(world.shards[0].sessions(), 0);
    world.audit();
}

#[test]
fn a_session_stays_when_its_client_is_disconnected_and_says_why() {
    let mut world = World::of_one_shard(|_| {});
    let id = world.open_here().unwrap();
    // Expiry of 100 s.
    world.give_here(
        id,
        b"\x10\x13\x00\x04MQTT\x05\x02\x00\x00\x05\x11\x00\x00\x00\x64\x00\x01k",
    );
    world.take(id);
    assert!(order(&mut world, Order::Disconnect("k".into())));
    let found = detail(&mut world, "k").unwrap();
    assert!(found.row.peer.is_none());
    let ending = found.last_ending.unwrap().0;
    let reason = crate::mqtt::ReasonCode::AdministrativeAction;
    assert_eq!(ending, Ending::Broker(Some(reason)));
    assert!(!order(&mut world, Order::Disconnect("k".into())));
}

#[test]
fn who_is_banned_is_not_let_in() {
    let mut world = World::of_one_shard(|_| {});
    let bans = OperatorBans {
        clients: [Box::from("b")].into(),
        ..OperatorBans::default()
    };
    assert!(order(&mut world, Order::Bans(Arc::new(bans))));
    assert_eq!(world.connect(V311, b'a').1, [0x20, 2, 0, 0]);
    assert_eq!(world.connect(V311, b'b').1, [0x20, 2, 0, 5]);
    let (_, answer) = world.connect(V5, b'b');
    assert_eq!((answer[0], answer[3]), (0x20, 0x8A));
    order(&mut world, Order::Bans(Arc::default()));
    assert_eq!(world.connect(V311, b'b').1, [0x20, 2, 0, 0]);
}

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
    for _ in 0..12 {
        order(&mut world, Order::Publish(Box::new(message.clone())));
    }
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
            break;
        }
        assert_eq!(piece.0.len(), 1, "one is more than a piece has");
    }
    assert_eq!((records, left_out), (10, 2));
    world.wait_here(10_000);
    assert_eq!(captured(&mut world, 0), None);
    let after = Order::Publish(Box::new(message));
    order(&mut world, after);
    assert!(order(&mut world, Order::EndCapture(1)) && !order(&mut world, Order::EndCapture(1)));
    world.audit();
}
