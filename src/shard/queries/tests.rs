use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::{
    Answer, ClientFilter, ClientSort, Order, OrderedMessage, Query, SubscriptionsOf, ROWS_MAX,
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
        assert!(rows.len() <= 2);
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

pub(super) fn order(world: &mut World, order: Order) -> bool {
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

pub(super) fn publish(topic: &str, first: u8) -> Vec<u8> {
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
    assert!(order(&mut world, Order::EndSession("k".into())));
    assert_eq!(world.shards[0].sessions(), 0);
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

/// Filters that are not asked for are looked at in pieces, too.
#[test]
fn a_piece_looks_at_so_many_filters_and_no_more() {
    let mut world = World::of_one_shard(|_| {});
    let id = world.connect(V311, b'a').0;
    for n in 0..2_500 {
        world.give_here(id, &subscribe(&format!("f/{n}")));
        world.take(id);
    }
    let query = |from| Query::Subscriptions {
        of: SubscriptionsOf::Filter("g/#".into()),
        from,
        max: 10,
    };
    let first = world.shards[0].handle_query(&query((0, 0)), world.now);
    let Answer::Subscriptions { rows, next } = first else {
        panic!("another answer");
    };
    assert_eq!((rows.len(), next), (0, Some((0, 2_048))));
    let (rows, next) = (Vec::new(), None);
    let last = world.shards[0].handle_query(&query((0, 2_048)), world.now);
    assert_eq!(last, Answer::Subscriptions { rows, next });
}

#[test]
fn rows_and_activity_of_places_that_are_still_there() {
    let mut world = World::of_one_shard(|_| {});
    let ids = [b'a', b'b'].map(|name| world.connect(V311, name).0);
    world.give_here(ids[1], &publish("t", 0x30));
    let activity = Query::Activity { from: 0 };
    let Answer::Activity { rows, next } = world.shards[0].handle_query(&activity, world.now) else {
        panic!("another answer");
    };
    let published = rows.iter().map(|row| row.activity.publications);
    let published: Vec<u64> = published.collect();
    assert_eq!((&published[..], next), (&[0, 1][..], None));
    let places = Query::Rows(rows.iter().map(|row| row.place).collect());
    world.shards[0].handle_closed(ids[0], CloseCause::EndOfStream, world.now);
    let Answer::Clients { rows, .. } = world.shards[0].handle_query(&places, world.now) else {
        panic!("another answer");
    };
    let names: Vec<_> = rows.iter().map(|row| &*row.client_id).collect();
    assert_eq!(names, ["b"]);
}

#[test]
fn a_retained_message_that_has_expired_is_not_shown() {
    let mut world = World::of_one_shard(|_| {});
    let message = OrderedMessage {
        topic: "t".into(),
        payload: Bytes::from_static(b"x"),
        qos: Qos::AtMostOnce,
        retain: true,
        expiry: Some(Span::from_secs(1)),
    };
    order(&mut world, Order::Publish(Box::new(message)));
    let query = Query::RetainedMessage("t".into());
    let shown = |world: &mut World| {
        let answer = world.shards[0].handle_query(&query, world.now);
        matches!(answer, Answer::RetainedMessage(Some(_)))
    };
    assert!(shown(&mut world));
    world.wait_here(2_000);
    assert!(!shown(&mut world));
}
