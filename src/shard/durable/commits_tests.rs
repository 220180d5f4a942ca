//! Replies wait until what they promise is on the disk, and nothing else waits.

use crate::journal::Record;
use crate::limits::{LOG_HIGH_WATER, TICKETS_MAX};
use crate::mutant::{switch, Mutant};
use crate::shard::{Durability, NotSaved, TurnStep};
use crate::testing::{connect_packet, Environment, Setup, World, V311, V5};

const CONNACK: &[u8] = &[0x20, 2, 0, 0];
const SUBSCRIBE_QOS2: &[u8] = &[0x82, 6, 0, 1, 0, 1, b't', 2];
const SUBACK_QOS2: &[u8] = &[0x90, 3, 0, 1, 2];
const UNSUBSCRIBE: &[u8] = &[0xA2, 5, 0, 2, 0, 1, b't'];
const UNSUBACK: &[u8] = &[0xB0, 2, 0, 2];
const PINGREQ: &[u8] = &[0xC0, 0];
const PINGRESP: &[u8] = &[0xD0, 0];

/// Writes are durable when the test says so.
struct ByHand;

impl Environment for ByHand {
    fn commit_turns(&mut self, _shard: usize) -> Option<u32> {
        None
    }
}

fn publish(qos: u8, topic: u8, packet_id: u8) -> [u8; 8] {
    [0x30 | qos << 1, 6, 0, 1, topic, 0, packet_id, b'x']
}

fn ack(first: u8, packet_id: u8) -> [u8; 4] {
    [first, 2, 0, packet_id]
}

/// A CONNECT whose session is durable.
fn durable(name: u8) -> Vec<u8> {
    let mut connect = connect_packet(V311, name);
    connect[9] = 0; // not Clean Session
    connect
}

/// Appends what `count` bytes of records are.
fn record(world: &mut World<ByHand>, shard: usize, count: usize) {
    let body = vec![0; count];
    let record = Record {
        kind: 0xFF,
        flags: 0,
        lane: 0,
        body: &body,
    };
    let durable = world.shards[shard].durable.as_deref_mut();
    durable.expect("a journal").log.append(&record);
}

fn turn(world: &mut World<ByHand>, shard: usize) -> bool {
    let moved = world.turn(shard);
    world.shards[shard].audit().unwrap();
    moved
}

fn settle(world: &mut World<ByHand>) {
    while (0..world.shards.len()).fold(false, |moved, shard| turn(world, shard) | moved) {}
}

/// Writes all there is to all disks.
fn write_all(world: &mut World<ByHand>) {
    loop {
        settle(world);
        let shards = 0..world.shards.len();
        if !shards.fold(false, |moved, shard| world.complete_write(shard) | moved) {
            return;
        }
    }
}

fn broker(shards: u16, durability: Durability) -> World<ByHand> {
    let mut world = World::new(Setup::new(shards), ByHand);
    world.begin_journals(durability);
    world
}

fn take(world: &mut World<ByHand>, link: usize) -> Vec<u8> {
    std::mem::take(&mut world.links[link].received)
}

/// A client that is connected, everything committed.
fn client(world: &mut World<ByHand>, connect: &[u8]) -> usize {
    let link = world.open(0);
    world.send(link, connect);
    write_all(world);
    assert_eq!(take(world, link), CONNACK);
    link
}

/// Of a client or topic with a name of one letter.
fn home_of(world: &World<ByHand>, name: u8) -> usize {
    let name = (name as char).to_string();
    world.shards[0].routes.placement.home(&name).index()
}

/// A client whose home is this shard.
fn client_at(world: &mut World<ByHand>, shard: usize, connect: fn(u8) -> Vec<u8>) -> usize {
    for name in b'a'..=b'z' {
        let taken = world.shards.iter().any(|it| {
            let name = std::str::from_utf8(std::slice::from_ref(&name)).unwrap();
            it.clients.by_client_id.contains_key(name)
        });
        if !taken && home_of(world, name) == shard {
            return client(world, &connect(name));
        }
    }
    panic!("no name has its home at {shard}");
}

fn clean(name: u8) -> Vec<u8> {
    connect_packet(V311, name)
}

fn subscribed(world: &mut World<ByHand>, link: usize) {
    world.send(link, SUBSCRIBE_QOS2);
    write_all(world);
    assert_eq!(take(world, link), SUBACK_QOS2);
}

/// Nothing comes before the disk has what was recorded, and then this.
fn comes_after_commit(world: &mut World<ByHand>, link: usize, expected: &[u8]) {
    settle(world);
    assert_eq!(take(world, link), b"", "before it is committed");
    assert!(world.complete_write(0));
    settle(world);
    assert_eq!(take(world, link), expected);
}

#[test]
fn connack_waits_for_a_session_that_is_recorded_or_ends_one() {
    let mut world = broker(1, Durability::Commit);
    let mut with_will = clean(b'a');
    with_will[1] += 6;
    with_will[9] |= 1 << 2;
    with_will.extend_from_slice(&[0, 1, b't', 0, 1, b'w']);
    for connect in [with_will, durable(b'a'), clean(b'a')] {
        let link = world.open(0);
        world.send(link, &connect);
        comes_after_commit(&mut world, link, CONNACK);
    }
    let link = world.open(0);
    world.send(link, &clean(b'a'));
    settle(&mut world);
    assert_eq!(take(&mut world, link), CONNACK);
}

#[test]
fn what_needs_no_commit_does_not_wait_for_what_others_need() {
    let mut world = broker(1, Durability::Commit);
    let subscriber = client(&mut world, &durable(b's'));
    subscribed(&mut world, subscriber);
    let (waits, other) = (
        client(&mut world, &clean(b'p')),
        client(&mut world, &clean(b'o')),
    );
    let sent = [PINGREQ, &publish(1, b't', 1), PINGREQ, &publish(1, b'u', 2)].concat();
    world.send(waits, &sent);
    world.send(other, &publish(1, b'u', 3));
    settle(&mut world);
    assert_eq!(take(&mut world, other), ack(0x40, 3));
    assert_eq!(take(&mut world, waits), PINGRESP, "what came before");
    assert_eq!(
        take(&mut world, subscriber),
        publish(1, b't', 1),
        "QoS 1 out"
    );
    assert!(world.complete_write(0));
    settle(&mut world);
    let in_order = [&ack(0x40, 1)[..], PINGRESP, &ack(0x40, 2)].concat();
    assert_eq!(take(&mut world, waits), in_order);
}

#[test]
fn each_step_of_qos_2_waits_where_its_session_is_durable() {
    let mut world = broker(1, Durability::Commit);
    let (from, to) = (
        client(&mut world, &durable(b'p')),
        client(&mut world, &durable(b's')),
    );
    // There is no subscriber: the identifier is what is promised.
    world.send(from, &publish(2, b't', 9));
    comes_after_commit(&mut world, from, &ack(0x50, 9));
    world.send(from, &ack(0x62, 9));
    comes_after_commit(&mut world, from, &ack(0x70, 9));
    world.send(from, &ack(0x62, 9));
    settle(&mut world);
    assert_eq!(take(&mut world, from), ack(0x70, 9), "nothing has changed");

    subscribed(&mut world, to);
    let transient = client(&mut world, &clean(b'c'));
    world.send(transient, &publish(2, b't', 4));
    settle(&mut world);
    assert_eq!(take(&mut world, transient), b"");
    comes_after_commit(&mut world, to, &publish(2, b't', 1));
    assert_eq!(take(&mut world, transient), ack(0x50, 4));
    world.send(transient, &ack(0x62, 4));
    settle(&mut world);
    assert_eq!(
        take(&mut world, transient),
        ack(0x70, 4),
        "its session is not recorded"
    );
    world.send(to, &ack(0x50, 1));
    comes_after_commit(&mut world, to, &ack(0x62, 1));
    world.send(to, &[&ack(0x70, 1)[..], UNSUBSCRIBE].concat());
    comes_after_commit(&mut world, to, UNSUBACK);
}

/// A retained message is kept without any subscriber.
#[test]
fn puback_of_a_retained_message_waits_for_its_home() {
    for shards in [1, 2] {
        let mut world = broker(shards, Durability::Commit);
        let link = client_at(&mut world, 0, clean);
        for home in 0..usize::from(shards) {
            let topic = (b'a'..=b'z').find(|topic| home_of(&world, *topic) == home);
            let topic = topic.expect("one of 26");
            let mut publish = publish(1, topic, 1);
            publish[0] |= 1;
            world.send(link, &publish);
            settle(&mut world);
            assert_eq!(take(&mut world, link), b"", "before it is committed");
            assert!(world.complete_write(home));
            settle(&mut world);
            assert_eq!(take(&mut world, link), ack(0x40, 1));
        }
    }
}

#[test]
fn suback_waits_for_barrier_and_commit() {
    let mut world = broker(1, Durability::Commit);
    let link = client(&mut world, &durable(b'a'));
    world.send(link, SUBSCRIBE_QOS2);
    comes_after_commit(&mut world, link, SUBACK_QOS2);
    for is_barrier_first in [true, false] {
        let mut world = broker(2, Durability::Commit);
        let link = client_at(&mut world, 0, durable);
        world.send(link, SUBSCRIBE_QOS2);
        if is_barrier_first {
            settle(&mut world);
            assert_eq!(take(&mut world, link), b"", "the barrier is reached");
            assert!(world.complete_write(0));
        } else {
            turn(&mut world, 0);
            assert!(world.complete_write(0));
            turn(&mut world, 0);
            assert_eq!(take(&mut world, link), b"", "it is committed");
        }
        write_all(&mut world);
        assert_eq!(take(&mut world, link), SUBACK_QOS2);
    }
}

/// A publisher at shard 0 and a durable subscriber at each of two shards, and a PUBLISH that both have in
/// their logs.
fn across(world: &mut World<ByHand>) -> usize {
    let subscribers = [0, 1].map(|shard| client_at(world, shard, durable));
    for link in subscribers {
        subscribed(world, link);
    }
    let publisher = client_at(world, 0, clean);
    world.send(publisher, &publish(1, b't', 1));
    settle(world);
    for link in subscribers {
        assert_eq!(take(world, link), publish(1, b't', 1));
    }
    assert_eq!(take(world, publisher), b"");
    publisher
}

#[test]
fn puback_waits_for_the_commit_of_a_peer_and_its_own() {
    for [first, second] in [[0, 1], [1, 0]] {
        let mut world = broker(2, Durability::Commit);
        let publisher = across(&mut world);
        assert!(world.complete_write(first));
        settle(&mut world);
        assert_eq!(take(&mut world, publisher), b"");
        assert!(world.complete_write(second));
        settle(&mut world);
        assert_eq!(take(&mut world, publisher), ack(0x40, 1));
    }
}

#[test]
fn the_faults_of_the_simulator_show() {
    let mut world = broker(2, Durability::Commit);
    let publisher = across(&mut world);
    write_all(&mut world);
    assert_eq!(take(&mut world, publisher), ack(0x40, 1));
    switch(Some(Mutant::ForgetPeersCommit));
    world.send(publisher, &publish(1, b't', 2));
    settle(&mut world);
    assert!(world.complete_write(0));
    settle(&mut world);
    assert_eq!(take(&mut world, publisher), ack(0x40, 2));
    write_all(&mut world);
    switch(Some(Mutant::AckBeforeCommit));
    world.send(publisher, &publish(1, b't', 3));
    settle(&mut world);
    switch(None);
    assert_eq!(take(&mut world, publisher), ack(0x40, 3));
}

/// The member that was chosen has left when the publication arrives, and another shard's gets it.
#[test]
fn a_publication_that_is_handed_on_is_confirmed_by_whom_it_came_to() {
    const SUBSCRIBE: &[u8] = b"\x82\x0f\0\x01\0\x0a$share/g/t\x01";
    for last in [0, 2] {
        let mut world = broker(3, Durability::Commit);
        let members = [1, last].map(|shard| client_at(&mut world, shard, durable));
        let publisher = client_at(&mut world, 0, clean);
        let mut is_handed_on = false;
        for (member, packet_id) in [(0, 1), (0, 2), (0, 3)] {
            for member in [members[0], members[1]] {
                world.send(member, SUBSCRIBE);
                write_all(&mut world);
                take(&mut world, member);
            }
            world.send(publisher, &publish(1, b't', packet_id));
            turn(&mut world, 0);
            // It leaves while the publication is on its way to it.
            world.send(members[member], b"\xa2\x0e\0\x02\0\x0a$share/g/t");
            world.step(1, TurnStep::ReadEstablished);
            settle(&mut world);
            let is_handed_to = !take(&mut world, members[1]).is_empty();
            is_handed_on |= is_handed_to && world.shards[1].stats().redispatched > 0;
            // All but the one it came to have their records on the disk.
            for shard in (0..3).filter(|shard| *shard != last) {
                world.complete_write(shard);
                settle(&mut world);
            }
            assert_eq!(take(&mut world, publisher), b"");
            write_all(&mut world);
            assert_eq!(take(&mut world, publisher), ack(0x40, packet_id));
            world.send(members[1], &ack(0x40, packet_id));
            write_all(&mut world);
        }
        assert!(is_handed_on);
    }
}

#[test]
fn acknowledgements_at_intervals_wait_for_nothing() {
    let mut world = broker(2, Durability::Interval);
    let links = [0, 1].map(|shard| client_at(&mut world, shard, durable));
    world.send(links[1], SUBSCRIBE_QOS2);
    settle(&mut world);
    assert_eq!(take(&mut world, links[1]), SUBACK_QOS2);
    world.send(links[0], &publish(2, b't', 1));
    settle(&mut world);
    assert_eq!(take(&mut world, links[0]), ack(0x50, 1));
    assert_eq!(take(&mut world, links[1]), publish(2, b't', 1));
}

#[test]
fn a_connection_that_ends_takes_what_is_held_with_it() {
    let mut world = broker(1, Durability::Commit);
    let subscriber = client(&mut world, &durable(b's'));
    subscribed(&mut world, subscriber);
    let links = [b'a', b'b', b'c'].map(|name| client(&mut world, &clean(name)));
    for link in links {
        world.send(link, &publish(1, b't', 1));
    }
    settle(&mut world);
    world.close(links[0]);
    let (_, id) = world.links[links[1]].at.unwrap();
    world.give(links[1], &[0xE0, 0]); // DISCONNECT
    let connection = world.shards[0].clients.connection(id);
    assert!(connection.outgoing.is_empty() && !connection.outgoing.is_held());
    settle(&mut world);
    assert!(!world.links[links[1]].is_open(), "it waits for no disk");
    write_all(&mut world);
    let received = links.map(|link| take(&mut world, link));
    assert_eq!(received, [vec![], vec![], ack(0x40, 1).to_vec()]);
}

/// It learns why, ahead of what was not promised.
#[test]
fn a_connection_that_is_ended_gets_disconnect_in_place_of_what_is_held() {
    let mut world = broker(1, Durability::Commit);
    let subscriber = client(&mut world, &durable(b's'));
    subscribed(&mut world, subscriber);
    let links = [0; 2].map(|shard| world.open(shard));
    world.send(links[0], &connect_packet(V5, b'a'));
    write_all(&mut world);
    take(&mut world, links[0]);
    world.send(links[0], &[0x32, 7, 0, 1, b't', 0, 1, 0, b'x']);
    settle(&mut world);
    world.send(links[1], &connect_packet(V5, b'a'));
    settle(&mut world);
    let received = take(&mut world, links[0]);
    assert_eq!((received[0], received[2]), (0xE0, 0x8E), "{received:?}");
    assert!(!world.links[links[0]].is_open());
}

/// What is held waits for this shard's disk, so it stays here.
#[test]
fn a_connection_with_held_replies_is_not_handed_over() {
    let mut world = broker(1, Durability::Commit);
    let link = client(&mut world, &durable(b's'));
    world.send(link, SUBSCRIBE_QOS2);
    settle(&mut world);
    let (_, id) = world.links[link].at.unwrap();
    let taken = world.shards[0].take_connection(id);
    assert_eq!(taken.err(), Some(NotSaved::Busy));
    write_all(&mut world);
    assert!(world.shards[0].take_connection(id).is_ok());
}

#[test]
fn a_disk_that_stalls_stops_only_those_who_need_it() {
    let mut world = broker(2, Durability::Commit);
    let subscriber = client_at(&mut world, 1, durable);
    subscribed(&mut world, subscriber);
    let [waits, other] = [0, 0].map(|shard| client_at(&mut world, shard, clean));
    world.send(waits, &publish(1, b't', 1));
    settle(&mut world);
    record(&mut world, 1, LOG_HIGH_WATER);
    settle(&mut world);
    for (link, topic) in [(waits, b't'), (other, b'u')] {
        world.send(link, &publish(1, topic, 2));
    }
    settle(&mut world);
    assert_eq!(world.links[waits].unread(), 8);
    assert_eq!(take(&mut world, other), ack(0x40, 2));
    // Longer than its keep alive: it is not read because of us.
    world.now = world.now + crate::time::Span::from_secs(20);
    world.send(other, PINGREQ);
    settle(&mut world);
    assert!(world.links[waits].is_open());
    write_all(&mut world);
    assert_eq!(world.links[waits].unread(), 0);
    assert_eq!(
        take(&mut world, waits),
        [ack(0x40, 1), ack(0x40, 2)].concat()
    );
}

#[test]
fn turns_share_a_ticket_when_there_are_too_many() {
    let mut world = broker(1, Durability::Commit);
    let subscriber = client(&mut world, &durable(b's'));
    subscribed(&mut world, subscriber);
    let link = client(&mut world, &clean(b'p'));
    let turns = TICKETS_MAX + 50;
    for _ in 0..turns {
        world.send(link, &publish(1, b't', 1));
        turn(&mut world, 0);
    }
    assert!(take(&mut world, link).is_empty());
    let durable = world.shards[0].durable.as_deref().unwrap();
    assert_eq!(durable.commits.in_flight(), TICKETS_MAX + 1);
    write_all(&mut world);
    assert!(take(&mut world, link) == ack(0x40, 1).repeat(turns));
    let durable = world.shards[0].durable.as_deref().unwrap();
    assert_eq!(durable.commits.in_flight(), 0);
}

/// Its queue is full, and the policy is to disconnect: it would publish the same again and again if it never got the
/// acknowledgements of what it has published.
#[test]
fn who_is_disconnected_for_its_queue_has_the_replies_it_waited_for() {
    let mut setup = Setup::new(1);
    setup.limits.queue_policy = crate::limits::QueuePolicy::Disconnect;
    setup.limits.queue_messages_max = 1;
    setup.limits.outgoing_window_max = 1;
    let mut world = World::new(setup, ByHand);
    world.begin_journals(Durability::Commit);
    let link = client(&mut world, &durable(b'a'));
    subscribed(&mut world, link);
    let packets: Vec<_> = (1..=3).map(|id| publish(1, b't', id)).collect();
    world.send(link, &packets.concat());
    settle(&mut world);
    assert_eq!(take(&mut world, link), publish(1, b't', 1), "not committed");
    assert!(world.links[link].is_open());
    world.send(link, &publish(1, b't', 4));
    settle(&mut world);
    assert_eq!(world.links[link].unread(), 8, "it is not read");
    write_all(&mut world);
    let acks: Vec<_> = (1..=3).map(|id| ack(0x40, id)).collect();
    assert_eq!(take(&mut world, link), acks.concat());
    assert!(!world.links[link].is_open());
}
