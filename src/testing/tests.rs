use super::{connect_packet, Setup, World, V311};
use crate::shard::{Shard, TurnStep, TURN};
use crate::time::{Span, WallTime};

const SUBSCRIBE: &[u8] = &[0x82, 6, 0, 1, 0, 1, b't', 1];
const PUBLISH: &[u8] = &[0x32, 6, 0, 1, b't', 0, 7, b'x'];

/// A connected client of each letter, which came in at shards in turn, and the world.
fn connected(shards: u16, names: &[u8]) -> (World, Vec<usize>) {
    let mut world = World::calm(Setup::new(shards));
    let open = |(n, name): (usize, &u8)| {
        let link = world.open(n % usize::from(shards));
        world.send(link, &connect_packet(V311, *name));
        link
    };
    let links: Vec<_> = names.iter().enumerate().map(open).collect();
    world.settle();
    for link in &links {
        let connack = std::mem::take(&mut world.links[*link].received);
        assert_eq!(connack, [0x20, 2, 0, 0]);
    }
    (world, links)
}

#[test]
fn a_publication_reaches_a_subscriber_of_another_shard() {
    let names = b"abcdefgh";
    let (mut world, links) = connected(4, names);
    let homes = links.iter().filter_map(|link| world.links[*link].at);
    let homes: Vec<usize> = homes.map(|(shard, _)| shard).collect();
    assert!(homes.iter().any(|home| *home != homes[0]), "{homes:?}");
    for link in &links {
        world.send(*link, SUBSCRIBE);
    }
    world.settle();
    world.send(links[0], PUBLISH);
    world.settle();
    for link in &links[1..] {
        let received = &world.links[*link].received;
        assert_eq!(received, b"\x90\x03\0\x01\x01\x32\x06\0\x01t\0\x01x");
    }
    world.audit();
}

/// PUBACK is in no turn before the block for the other shard is in its ring.
#[test]
fn blocks_are_sent_before_answers() {
    let (mut world, links) = connected(2, b"abcdefgh");
    let home = |world: &World, link: usize| world.links[link].at.map(|(shard, _)| shard);
    let of = |shard| {
        let found = links
            .iter()
            .find(|link| home(&world, **link) == Some(shard));
        *found.expect("one of eight")
    };
    let (publisher, subscriber) = (of(0), of(1));
    world.send(subscriber, SUBSCRIBE);
    world.settle();
    world.send(publisher, PUBLISH);
    let mut is_sent = false;
    for step in TURN {
        world.step(0, *step);
        is_sent |= !world.are_rings_empty();
        let is_answered = !world.links[publisher].received.is_empty();
        assert!(is_sent || !is_answered, "{step:?}");
    }
    assert!(is_sent && world.links[publisher].received == [0x40, 2, 0, 7]);
}

#[test]
fn a_client_that_takes_nothing_gets_everything_later() {
    let (mut world, links) = connected(1, b"ab");
    world.send(links[1], SUBSCRIBE);
    world.settle();
    world.links[links[1]].received.clear();
    world.links[links[1]].is_stalled = true;
    world.send(links[0], PUBLISH);
    world.settle();
    assert!(world.links[links[1]].received.is_empty());
    world.resume_reading(links[1]);
    world.settle();
    assert_eq!(world.links[links[1]].received.len(), 8);
}

#[test]
fn ends_and_silence_close_connections() {
    let (mut world, links) = connected(1, b"ab");
    world.close(links[0]);
    world.step(0, TurnStep::EndTurn);
    assert_eq!(world.shards[0].connections(), 2);
    world.settle();
    assert_eq!(world.shards[0].connections(), 1);
    world.wait(Span::from_secs(7));
    assert!(!world.links[links[1]].is_open(), "keep alive");
    assert_eq!(
        world.shards.iter().map(Shard::connections).sum::<usize>(),
        0
    );
}

/// Its session lives for 3 s of monotonic time, whatever the wall clock is set to meanwhile.
#[test]
fn shards_learn_the_wall_clock_and_nothing_is_due_by_it() {
    let mut world = World::calm(Setup::new(1));
    let mut connect = b"\x10\x13\0\x04MQTT\x05\0\0\0\x05\x11\0\0\0\x03\0\x01c".to_vec();
    connect[1] = connect.len() as u8 - 2;
    let link = world.open(0);
    world.send(link, &connect);
    world.settle();
    world.close(link);
    world.settle();
    assert_eq!(world.shards[0].sessions(), 1);
    for wall in [WallTime(1 << 60), WallTime(0), WallTime::FAR] {
        world.set_wall(wall);
        world.settle();
        assert_eq!(world.shards[0].clocks(), world.clocks());
        assert_eq!(world.shards[0].clocks().wall, wall);
        assert_eq!(world.shards[0].sessions(), 1);
    }
    world.set_wall(WallTime(5));
    world.wait(Span::from_millis(2_900));
    assert_eq!(world.shards[0].sessions(), 1);
    assert_eq!(world.shards[0].clocks().wall, WallTime(2_905));
    world.wait(Span::from_millis(200));
    assert_eq!(world.shards[0].sessions(), 0);
}

/// A shard has so many requests for retained messages open at others, and clients are woken for other reasons while they wait
/// for one: none is forgotten, though nothing else happens.
#[test]
fn many_that_subscribe_at_once_get_what_is_retained() {
    let mut world = World::calm(Setup::new(2));
    let connect = |n: u16| {
        let [high, low] = [b'a' + (n / 26) as u8, b'a' + (n % 26) as u8];
        [
            16, 14, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 2, high, low,
        ]
    };
    let links: Vec<usize> = (0..500u16)
        .map(|n| {
            let link = world.open(usize::from(n % 2));
            world.send(link, &connect(n));
            link
        })
        .collect();
    world.settle();
    // Retained topics of both shards.
    for topic in b'a'..=b'h' {
        world.send(links[0], &[0x31, 4, 0, 1, topic, b'x']);
    }
    world.settle();
    let is_here = |link: &&usize| world.links[**link].at.is_some_and(|(shard, _)| shard == 0);
    let here: Vec<usize> = links.iter().filter(is_here).copied().collect();
    let (first, others) = here.split_at(100);
    let subscribe = |world: &mut World, links: &[usize]| {
        for link in links {
            world.links[*link].received.clear();
            world.send(*link, b"\x82\x06\0\x01\0\x01+\0");
        }
    };
    let turn = |world: &mut World, shard: usize| {
        for step in TURN {
            world.step(shard, *step);
        }
    };
    // The other shard has the subscriptions, and answers no request yet.
    let subscribe_and_ask = |world: &mut World, links: &[usize]| {
        subscribe(world, links);
        turn(world, 0);
        turn(world, 1);
        for _ in 0..16 {
            turn(world, 0);
        }
    };
    subscribe_and_ask(&mut world, first);
    for _ in 0..8 {
        for link in first {
            world.send(*link, b"\xc0\0"); // PINGREQ: when its answer is sent there is room
        }
        turn(&mut world, 0);
        turn(&mut world, 0);
    }
    subscribe_and_ask(&mut world, others);
    world.settle();
    for link in &here {
        let received = &world.links[*link].received;
        let count = received.windows(2).filter(|two| two == b"\x31\x04").count();
        assert_eq!(count, 8, "{received:?}");
    }
}
