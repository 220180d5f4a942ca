//! Turns with more work than their budget, seen from outside a shard.

use crate::limits::TURN_WORK;
use crate::shard::turn::budget::DISPATCH;
use crate::shard::*;
use crate::testing::{Setup, World};

const GROUPS: usize = 4_000;

fn world(shards: u16) -> World {
    World::calm(Setup {
        limits: Limits {
            outgoing_bytes_max: 1 << 30,
            ..Limits::default()
        },
        placement_seed: 3,
        ..Setup::new(shards)
    })
}

/// A connected v3.1.1 client; its home must be this shard.
fn connect(world: &mut World, shard: usize, client_id: &str) -> ConnectionId {
    let link = world.open(shard);
    world.links[link].is_stalled = true;
    let mut packet = vec![0x10, 12 + client_id.len() as u8];
    packet.extend_from_slice(b"\0\x04MQTT\x04\x02\0\0\0");
    packet.push(client_id.len() as u8);
    packet.extend_from_slice(client_id.as_bytes());
    world.give(link, &packet);
    assert_eq!(world.shards[shard].stats().handed_off, 0);
    let (_, id) = world.links[link].at.expect("it is at home");
    id
}

/// Bytes of a client, within a turn.
fn give(world: &mut World, shard: usize, id: ConnectionId, bytes: &[u8]) {
    world.shards[shard].handle_bytes(id, bytes, world.now);
}

/// A client id whose home is a shard.
fn client_id_of(shard: &Shard, stem: &str) -> String {
    let mut names = (0..).map(|n| format!("{stem}{n}"));
    let is_home = |name: &String| shard.routes.placement.home(name) == shard.id;
    names.find(is_home).unwrap()
}

fn subscribe(filter: &str) -> Vec<u8> {
    let mut packet = vec![0x82, 5 + filter.len() as u8, 0, 1, 0, filter.len() as u8];
    packet.extend_from_slice(filter.as_bytes());
    packet.push(0);
    packet
}

fn join_groups(world: &mut World, shard: usize, id: ConnectionId) {
    for n in 0..GROUPS {
        give(world, shard, id, &subscribe(&format!("$share/{n}/t")));
        world.step(shard, TurnStep::EndTurn);
    }
}

/// PUBLISH at QoS 0 on `t`, the payload a number.
fn publishes(count: u32) -> Vec<u8> {
    let one = |n: u32| [&[0x30, 7, 0, 1, b't'], &n.to_be_bytes()[..]].concat();
    (0..count).flat_map(one).collect()
}

fn deliveries(world: &World, shard: usize) -> usize {
    world.shards[shard].stats().deliveries_sent as usize
}

/// Ends turns until nothing waits for the next; returns how many.
fn turns(world: &mut World, shard: usize) -> usize {
    let mut turns = 0;
    let is_due = |world: &World| {
        let due = world.shards[shard].poll_timeout();
        due.is_some_and(|due| due <= world.now)
    };
    while is_due(world) {
        let before = deliveries(world, shard);
        world.step(shard, TurnStep::EndTurn);
        let work = (deliveries(world, shard) - before) * DISPATCH;
        assert!(
            work <= TURN_WORK + 2 * GROUPS * DISPATCH,
            "{work} in a turn"
        );
        world.audit();
        turns += 1;
    }
    turns
}

/// Carries the blocks of one shard for the other, as far as that one takes them.
fn cross(world: &mut World, from: usize, to: usize) {
    world.step(from, TurnStep::SendBlocks);
    world.step(to, TurnStep::PeerBlocks);
}

#[test]
fn a_few_bytes_for_many_groups_are_spread_over_turns() {
    let mut world = world(1);
    let member = connect(&mut world, 0, "member");
    join_groups(&mut world, 0, member);
    let publisher = connect(&mut world, 0, "publisher");
    let other = connect(&mut world, 0, "other");
    for id in [member, publisher, other] {
        world.take(id);
    }
    give(&mut world, 0, publisher, &publishes(50));
    let shard = &world.shards[0];
    assert!(shard.is_paused(publisher) && !shard.wants_input(publisher));
    world.step(0, TurnStep::EndTurn);
    let shard = &world.shards[0];
    assert!(shard.is_paused(publisher) && shard.wants_input(other));
    give(&mut world, 0, other, &[0xC0, 0]);
    let answer = world.take(other);
    assert_eq!(answer, [0xD0, 0], "the other is served in between");
    assert!(turns(&mut world, 0) > 10);
    let each: Vec<u8> = publishes(50)
        .chunks(9)
        .flat_map(|one| one.repeat(GROUPS))
        .collect();
    assert!(
        world.take(member) == each,
        "every message once for each group, in order"
    );
}

#[test]
fn finding_routes_is_work() {
    let mut world = world(1);
    let member = connect(&mut world, 0, "member");
    let publisher = connect(&mut world, 0, "publisher");
    for n in 0..1 << 12 {
        let levels = (0..12).map(|bit| if n >> bit & 1 == 1 { "+/" } else { "a/" });
        let filter = levels.collect::<String>() + "#";
        give(&mut world, 0, member, &subscribe(&filter));
        world.step(0, TurnStep::EndTurn);
    }
    let publish = |n| {
        let topic = format!("a/a/a/a/a/a/a/a/a/a/a/a/{n:03}");
        let header = [0x30, 2 + topic.len() as u8, 0, topic.len() as u8];
        [&header[..], topic.as_bytes()].concat()
    };
    let before = deliveries(&world, 0);
    let packets: Vec<u8> = (0..500).flat_map(publish).collect();
    give(&mut world, 0, publisher, &packets);
    assert!(world.shards[0].is_paused(publisher));
    assert!(deliveries(&world, 0) - before < 100);
    turns(&mut world, 0);
    assert_eq!(deliveries(&world, 0) - before, 500);
}

#[test]
fn what_was_sent_before_the_end_is_handled() {
    let mut world = world(1);
    let member = connect(&mut world, 0, "member");
    join_groups(&mut world, 0, member);
    let publisher = connect(&mut world, 0, "publisher");
    world.take(member);
    let packets = [&publishes(20)[..], &[0xE0, 0]].concat();
    give(&mut world, 0, publisher, &packets);
    let cause = CloseCause::EndOfStream;
    world.shards[0].handle_closed(publisher, cause, world.now);
    assert_eq!(world.shards[0].connections(), 2);
    turns(&mut world, 0);
    assert_eq!(world.shards[0].connections(), 1);
    assert_eq!(world.take(member).len(), 20 * 9 * GROUPS);
}

#[test]
fn a_publication_for_many_members_crosses_once() {
    let mut world = world(2);
    let ids: Vec<String> = world.shards.iter().map(|s| client_id_of(s, "c")).collect();
    let member = connect(&mut world, 1, &ids[1]);
    join_groups(&mut world, 1, member);
    let publisher = connect(&mut world, 0, &ids[0]);
    cross(&mut world, 1, 0);
    let payload = vec![b'x'; 3_000];
    let header = [0x30, 0xBB, 0x17, 0, 1, b't'];
    give(&mut world, 0, publisher, &[&header[..], &payload].concat());
    let (waiting, _) = world.shards[0].mesh.peers.most_waiting();
    assert!(
        waiting < GROUPS * 64,
        "{waiting} bytes for {GROUPS} members"
    );
    world.shards[1].set_turn_work(1_000);
    cross(&mut world, 0, 1);
    assert!(!world.shards[1].wants_publications(ShardId(0)));
    assert!(!world.are_rings_empty(), "the next block stays in its ring");
    world.take_at((1, member));
    while !world.are_rings_empty() {
        turns(&mut world, 1);
        assert!(world.shards[1].wants_publications(ShardId(0)));
        world.step(1, TurnStep::PeerBlocks);
    }
    turns(&mut world, 1);
    assert_eq!(deliveries(&world, 1), GROUPS);
}

#[test]
fn a_run_for_many_receivers_is_applied_in_pieces() {
    let mut world = world(2);
    let publisher_id = client_id_of(&world.shards[0], "p");
    let publisher = connect(&mut world, 0, &publisher_id);
    let receivers: Vec<_> = (0..64)
        .map(|n| {
            let client_id = client_id_of(&world.shards[1], &format!("r{n}-"));
            let id = connect(&mut world, 1, &client_id);
            give(&mut world, 1, id, &subscribe("t"));
            world.step(1, TurnStep::EndTurn);
            id
        })
        .collect();
    cross(&mut world, 1, 0);
    cross(&mut world, 0, 1); // SUBACKs are sent
    for id in &receivers {
        world.take_at((1, *id));
    }
    let flood = publishes(5_000);
    world.shards[1].set_turn_work(1_000);
    give(&mut world, 0, publisher, &flood);
    cross(&mut world, 0, 1);
    assert!(world.are_rings_empty(), "one block");
    assert!(
        !world.shards[1].wants_publications(ShardId(0)),
        "pieces wait"
    );
    let mut turns = 0;
    while world.shards[1]
        .poll_timeout()
        .is_some_and(|due| due <= world.now)
    {
        let before = deliveries(&world, 1);
        world.step(1, TurnStep::EndTurn);
        assert!(deliveries(&world, 1) - before < 64 * 5_000);
        turns += 1;
    }
    assert!(turns > 2);
    let there = &world.shards[1].mesh.peers;
    assert!(there.has_applied(&[1, 0]) && !there.has_applied(&[2, 0]));
    for id in receivers {
        assert!(world.take_at((1, id)) == flood, "everything once, in order");
    }
}
