//! Sessions with very many filters end in pieces, and what clients may keep is bounded in bytes.

use crate::ids::{ConnectionId, ListenerId, ShardId};
use crate::limits::{Limits, CONTROL_BYTES_HIGH_WATER};
use crate::session::subscription_cost;
use crate::shard::Pressure;
use crate::shard::{
    CloseCause, Lane, ListenerPolicy, Origin, PlacementSeed, RemoteEnd, Shard, ShardConfig,
};
use crate::testing::{connect_packet, World, V311, V5};
use crate::time::Time;

const NOW: Time = Time(1_000_000_000);
const FILTERS: usize = 3_000;

/// A SUBSCRIBE at QoS 0 to each filter, without properties.
fn subscribe(version: u8, filters: impl IntoIterator<Item = String>) -> Vec<u8> {
    let mut body = vec![0, 1];
    if version == V5 {
        body.push(0);
    }
    for filter in filters {
        body.extend_from_slice(&(filter.len() as u16).to_be_bytes());
        body.extend_from_slice(filter.as_bytes());
        body.push(0);
    }
    packet(0x82, &body)
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let more = u8::from(left > 127) << 7;
        bytes.push(left as u8 & 127 | more);
        left >>= 7;
        if left == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

fn filters(stem: &str) -> impl Iterator<Item = String> + '_ {
    (0..FILTERS).map(move |n| format!("{stem}{n}/x"))
}

/// The codes of the last packet of an answer, a SUBACK with so many.
fn codes(answer: &[u8], count: usize) -> &[u8] {
    &answer[answer.len() - count..]
}

fn close(broker: &mut World, id: ConnectionId) {
    let now = broker.now;
    broker.shards[0].handle_closed(id, CloseCause::EndOfStream, now);
}

#[test]
fn sessions_with_many_filters_end_in_pieces() {
    let mut broker = World::of_one_shard(|_| {});
    broker.shards[0].set_turn_work(1_000);
    let ids: Vec<_> = (b'a'..=b'd')
        .map(|name| {
            let (id, _) = broker.connect(V311, name);
            let stem = if name == b'd' { "$share/g/" } else { "f/" };
            broker.give_here(id, &subscribe(V311, filters(stem)));
            broker.take(id);
            id
        })
        .collect();
    let (other, _) = broker.connect(V311, b'o');
    for id in ids {
        close(&mut broker, id);
    }
    assert_eq!(broker.shards[0].sessions(), 1, "they are gone at once");
    assert_eq!(broker.shards[0].clients.leaving.filters(), 4 * FILTERS);
    let mut turns = 0;
    while !broker.shards[0].clients.leaving.is_empty() {
        assert_eq!(broker.shards[0].poll_timeout(), Some(Time::ZERO));
        broker.give_here(other, &[0xC0, 0]);
        assert_eq!(broker.take(other), [0xD0, 0], "others are served between");
        broker.shards[0].audit().unwrap();
        turns += 1;
    }
    assert!(turns > 50, "{turns}");
    assert_eq!(broker.shards[0].routes.index.count_matching("f/7/x"), 0);
    assert_eq!(broker.shards[0].routes.index.group("g", "7/x"), None);
}

/// However little a turn may do, it takes a part of what waits.
#[test]
fn very_many_filters_leave_in_a_bounded_number_of_turns() {
    let mut broker = World::of_one_shard(|_| {});
    let (id, _) = broker.connect(V311, b'a');
    broker.give_here(id, &subscribe(V311, filters("f/")));
    broker.take(id);
    broker.shards[0].set_turn_work(2);
    close(&mut broker, id);
    let (now, mut turns) = (broker.now, 0);
    while !broker.shards[0].clients.leaving.is_empty() {
        broker.shards[0].end_turn(now);
        turns += 1;
    }
    assert!((100..1_000).contains(&turns), "{turns}");
}

/// The same client connects again, with the same filters, before those of its old session are removed.
#[test]
fn a_session_that_begins_again_keeps_its_filters() {
    let mut broker = World::of_one_shard(|_| {});
    broker.shards[0].set_turn_work(1_000);
    let (id, _) = broker.connect(V311, b'a');
    broker.give_here(
        id,
        &subscribe(V311, filters("f/").chain(filters("$share/g/"))),
    );
    close(&mut broker, id);
    let (id, _) = broker.connect(V311, b'a');
    assert!(!broker.shards[0].clients.leaving.is_empty());
    broker.give_here(
        id,
        &subscribe(V311, filters("f/").chain(filters("$share/g/"))),
    );
    broker.wait_here(1);
    assert!(broker.shards[0].clients.leaving.is_empty());
    broker.take(id);
    for topic in [b"f/7/x".as_slice(), b"7/x"] {
        let mut publish = vec![0, topic.len() as u8];
        publish.extend_from_slice(topic);
        publish.push(b'!');
        broker.give_here(id, &packet(0x30, &publish));
        assert_eq!(broker.take(id), packet(0x30, &publish));
    }
}

/// Members of many groups that lose their connections: the groups are notified in pieces, and a member
/// that is connected again by then is not announced as disconnected.
#[test]
fn members_of_many_groups_go_away_in_pieces() {
    let mut broker = World::of_one_shard(|_| {});
    broker.shards[0].set_turn_work(1_000);
    let persistent = |name| {
        let mut bytes = connect_packet(V311, name);
        bytes[9] = 0; // no clean session
        bytes
    };
    for name in *b"ab" {
        let id = broker.open_here().unwrap();
        broker.give_here(id, &persistent(name));
        broker.give_here(id, &subscribe(V311, filters("$share/g/")));
        close(&mut broker, id);
        assert!(!broker.shards[0].clients.leaving.is_empty(), "it waits");
    }
    let id = broker.open_here().unwrap();
    broker.give_here(id, &persistent(b'b'));
    broker.wait_here(1);
    assert!(broker.shards[0].clients.leaving.is_empty());
    let group = broker.shards[0].routes.index.group("g", "7/x").unwrap();
    let member = broker.shards[0].routes.index.choose(group, None).unwrap();
    let b = broker.shards[0].clients.by_client_id["b"];
    let b = broker.shards[0]
        .clients
        .sessions
        .get(b)
        .unwrap()
        .member
        .unwrap();
    assert_eq!((member.id, member.connected), (b, true));
    let other = broker.shards[0]
        .routes
        .index
        .choose(group, Some((ShardId(0), b)));
    assert!(!other.unwrap().connected);
}

#[test]
fn filters_are_bounded_in_bytes() {
    let long = |n: usize| format!("{n}{}", "x".repeat(999));
    let room = 10 * subscription_cost(&long(0));
    let mut broker = World::of_one_shard(|limits| limits.subscription_bytes_max = room as u64);
    for (version, refused) in [(V5, 0x97), (V311, 0x80)] {
        let (id, _) = broker.connect(version, version);
        broker.give_here(id, &subscribe(version, (0..9).map(long)));
        broker.take(id);
        broker.give_here(id, &subscribe(version, [long(9), "t".into(), long(3)]));
        let answer = broker.take(id);
        assert_eq!(codes(&answer, 3), [0, refused, 0], "what is there may stay");
        let mut body = vec![0, 2, 0, 0, 0];
        if version == V311 {
            body.truncate(4);
        }
        let at = body.len() - 2;
        body[at..].copy_from_slice(&1_000_u16.to_be_bytes());
        body.extend_from_slice(long(3).as_bytes());
        broker.give_here(id, &packet(0xA2, &body));
        broker.take(id);
        broker.give_here(id, &subscribe(version, ["t".into()]));
        assert_eq!(codes(&broker.take(id), 1), [0], "one less makes room");
        broker.shards[0].audit().unwrap();
    }
}

/// No session can have more filters than its limit, so the rest of such a packet costs nothing.
#[test]
fn a_packet_of_more_filters_than_a_session_may_have() {
    let mut broker = World::of_one_shard(|limits| limits.subscriptions_max = 3);
    let (id, _) = broker.connect(V5, b'a');
    broker.give_here(id, &subscribe(V5, (0..5).map(|_| "t".into())));
    assert_eq!(codes(&broker.take(id), 5), [0, 0, 0, 0x97, 0x97]);
}

#[test]
fn subscriptions_are_work() {
    let mut broker = World::of_one_shard(|_| {});
    broker.shards[0].set_turn_work(100);
    let (id, _) = broker.connect(V311, b'a');
    let many = subscribe(V311, ["t".into()]).repeat(50);
    let now = broker.now;
    broker.shards[0].handle_bytes(id, &many, now);
    assert!(broker.shards[0].is_paused(id));
    broker.wait_here(1);
    assert_eq!(broker.take(id).len(), 50 * 5, "all are answered");
}

#[test]
fn while_memory_is_short_nothing_more_is_kept() {
    let mut broker = World::of_one_shard(|_| {});
    let (new, _) = broker.connect(V5, b'n');
    let (old, _) = broker.connect(V311, b'o');
    broker.give_here(new, &subscribe(V5, ["a".into()]));
    broker.give_here(old, &packet(0x31, b"\0\x01r12"));
    broker.take(new);
    broker.shards[0].handle_pressure(Pressure {
        memory: true,
        turns: false,
    });
    broker.give_here(new, &subscribe(V5, ["a".into(), "b".into()]));
    assert_eq!(codes(&broker.take(new), 2), [0, 0x97]);
    broker.give_here(old, &subscribe(V311, ["b".into()]));
    assert_eq!(codes(&broker.take(old), 1), [0x80]);
    // v5 gets a reason code, with QoS 1 and 2; of others it is delivered and not retained.
    for (first, ack) in [(0x33, 0x40), (0x35, 0x50)] {
        broker.give_here(new, &packet(first, b"\0\x01a\0\x01\0x"));
        let answer = broker.take(new);
        assert_eq!(
            (answer[0], answer[4]),
            (ack, 0x97),
            "not delivered: {answer:?}"
        );
        assert_eq!(answer.len(), 2 + answer[1] as usize);
    }
    for first in [0x31, 0x33] {
        let with_id: &[u8] = if first == 0x33 {
            b"\0\x01a\0\x07x"
        } else {
            b"\0\x01ax"
        };
        broker.give_here(old, &packet(first, with_id));
        assert_eq!(broker.take(new), packet(0x30, b"\0\x01a\0x"), "delivered");
    }
    assert_eq!(broker.take(old), [0x40, 2, 0, 7]);
    broker.give_here(new, &packet(0x31, b"\0\x01a\0x"));
    assert_eq!(broker.take(new), packet(0x30, b"\0\x01a\0x"), "delivered");
    assert_eq!(broker.shards[0].retained_messages(), 1);
    // What takes no more room than before is kept, and clearing works.
    broker.give_here(old, &packet(0x31, b"\0\x01r34"));
    assert_eq!(broker.shards[0].retained_messages(), 1);
    broker.give_here(new, &packet(0x33, b"\0\x01r\0\x02\0"));
    assert_eq!(broker.shards[0].retained_messages(), 0);
    broker.shards[0].audit().unwrap();
    broker.shards[0].handle_pressure(Pressure::default());
    broker.give_here(new, &packet(0x33, b"\0\x01a\0\x03\0x"));
    assert_eq!(broker.shards[0].retained_messages(), 1);
    broker.shards[0].handle_pressure(Pressure {
        memory: true,
        turns: false,
    });
    broker.give_here(old, &packet(0x31, b"\0\x01alonger"));
    let kept = broker.shards[0].retained_messages();
    assert_eq!(kept, 0, "an older value must not look like the latest");
}

#[test]
fn queues_do_not_grow_while_memory_is_short() {
    let mut broker = World::of_one_shard(|_| {});
    let id = broker.open_here().unwrap();
    let mut bytes = connect_packet(V311, b'q');
    bytes[9] = 0;
    broker.give_here(id, &bytes);
    broker.give_here(id, &[0x82, 6, 0, 1, 0, 1, b't', 1]);
    close(&mut broker, id);
    let (publisher, _) = broker.connect(V311, b'p');
    let publish = |n: u8| packet(0x32, &[0, 1, b't', 0, n, n]);
    for n in 1..=5 {
        broker.give_here(publisher, &publish(n));
    }
    broker.shards[0].handle_pressure(Pressure {
        memory: true,
        turns: false,
    });
    for n in 6..=9 {
        broker.give_here(publisher, &publish(n));
    }
    let session = broker.shards[0].clients.by_client_id["q"];
    let queue = &broker.shards[0]
        .clients
        .sessions
        .get(session)
        .unwrap()
        .session
        .queue;
    assert_eq!(queue.len(), 5);
    let front = queue.front().and_then(|one| one.delivery()).unwrap();
    assert_eq!(front.publication.payload.as_ref(), [5]);
    assert_eq!(broker.shards[0].stats().dropped_queue_full, 4);
}

/// Two shards: what one session can put in front of another shard is bounded in bytes, and what
/// leaves waits for room.
#[test]
fn filters_on_their_way_to_another_shard_are_bounded_in_bytes() {
    let config = std::sync::Arc::new(ShardConfig {
        shards: 2,
        limits: Limits {
            subscription_bytes_max: 1 << 30,
            ..Limits::default()
        },
        listeners: [ListenerPolicy::default()].into(),
        placement_seed: PlacementSeed([3; 16]),
        hash_seed: 3,
        own_terms: Default::default(),
    });
    let mut shard = Shard::new(ShardId(0), &config, 5, NOW);
    let name = (b'a'..=b'z')
        .find(|name| shard.routes.placement.home(&char::from(*name).to_string()) == ShardId(0));
    let open = |shard: &mut Shard| {
        let origin = Origin::new(RemoteEnd::Unix, ListenerId(0));
        let id = shard.handle_opened(origin, NOW).unwrap();
        shard.handle_bytes(id, &connect_packet(V311, name.unwrap()), NOW);
        id
    };
    let id = open(&mut shard);
    let mut sent = 0;
    while shard.wants_input(id) {
        let filter = format!("{sent}{}", "x".repeat(60_000));
        shard.handle_bytes(id, &subscribe(V311, [filter]), NOW);
        shard.end_turn(NOW);
        // SUBACKs wait, too: 64 at most.
        let last = shard.mesh.peers.last_barrier();
        shard.on_barrier_applied(ShardId(1), last, [0, 0].into(), NOW);
        sent += 1;
        assert!(sent < 1_000);
    }
    // Each crosses as a change, and some as a walk over retained messages.
    assert!(2 * sent * 60_000 > CONTROL_BYTES_HIGH_WATER);
    shard.audit().unwrap();
    shard.handle_closed(id, CloseCause::EndOfStream, NOW);
    shard.end_turn(NOW);
    assert_eq!(
        shard.clients.leaving.filters(),
        sent,
        "there is no room to tell of it"
    );
    assert_ne!(shard.poll_timeout(), Some(Time::ZERO));
    while shard.poll_block(ShardId(1), Lane::Control).is_some() {
        shard.end_turn(NOW);
        shard.audit().unwrap();
    }
    assert!(shard.clients.leaving.is_empty());
}

/// SUBSCRIBEs on one shard raise barriers that no peer would answer.
#[test]
fn a_single_shard_keeps_no_barriers() {
    let mut broker = World::of_one_shard(|_| {});
    let (id, _) = broker.connect(V311, b'a');
    for _ in 0..10 {
        broker.give_here(id, &subscribe(V311, ["t".into()]));
    }
    assert_eq!(broker.shards[0].mesh.barriers_open(), 0);
}

/// What waits for an ended session is dropped a piece at a time, while others are served.
#[test]
fn a_long_queue_is_dropped_in_pieces() {
    const WAITING: usize = 20_000;
    let mut broker = World::of_one_shard(|limits| {
        limits.queue_messages_max = WAITING as u32;
        limits.queue_bytes_max = 64 << 20;
    });
    let mut connect = vec![0, 4, b'M', b'Q', b'T', b'T', V5, 0, 0, 0];
    connect.extend_from_slice(&[5, 0x11, 0, 0, 1, 0, 0, 1, b'q']);
    let away = broker.open_here().expect("it is not refused");
    broker.give_here(away, &packet(0x10, &connect));
    broker.give_here(away, &[0x82, 7, 0, 1, 0, 0, 1, b't', 1]);
    close(&mut broker, away);
    let (other, _) = broker.connect(V311, b'o');
    let burst = [0x32, 6, 0, 1, b't', 0, 1, b'x'].repeat(500);
    for _ in 0..WAITING / 500 {
        broker.give_here(other, &burst);
        broker.take(other);
    }
    let waiting = |shard: &Shard| shard.clients.leaving.has_queues();
    let id = broker.shards[0].clients.by_client_id["q"];
    let session = &broker.shards[0].clients.session(id).session;
    assert_eq!(session.queue.len(), WAITING);
    let now = broker.now;
    broker.shards[0].end_session(id, now);
    let mut turns = 0;
    while waiting(&broker.shards[0]) {
        assert_eq!(broker.shards[0].poll_timeout(), Some(Time::ZERO));
        broker.shards[0].end_turn(now);
        turns += 1;
    }
    assert_eq!(turns, 5, "4,096 messages in each");
}
