//! Everything of some shards goes to others.

use crate::testing::{connect_packet, Fate, Setup, World};
use crate::time::Span;

/// CONNECT of a v5 client whose session lives for 100 s, with a will on `w`.
fn connect(name: u8) -> Vec<u8> {
    let mut packet = vec![0x10, 0];
    packet.extend_from_slice(b"\0\x04MQTT\x05\x04\0\x04\x05\x11\0\0\0\x64\0\x01");
    packet.push(name);
    packet.extend_from_slice(b"\0\0\x01w\0\x01!");
    packet[1] = packet.len() as u8 - 2;
    packet
}

fn joined(world: &mut World, shard: usize, name: u8) -> usize {
    let link = world.open(shard);
    world.send(link, &connect(name));
    world.settle();
    world.links[link].received.clear();
    link
}

fn subscribe(world: &mut World, link: usize, filter: u8) {
    world.send(link, &[0x82, 7, 0, 1, 0, 0, 1, filter, 1]);
    world.settle();
    world.links[link].received.clear();
}

fn received(world: &mut World, link: usize) -> Vec<u8> {
    std::mem::take(&mut world.links[link].received)
}

#[test]
fn shards_made_anew_continue_everything_whatever_their_number() {
    let mut world = World::calm(Setup::new(3));
    let sub = joined(&mut world, 0, b's');
    subscribe(&mut world, sub, b't');
    let watcher = joined(&mut world, 1, b'v');
    subscribe(&mut world, watcher, b'w');
    let away = joined(&mut world, 2, b'a');
    subscribe(&mut world, away, b't');
    world.send(away, &[0xE0, 0]);
    world.settle();
    let publisher = joined(&mut world, 1, b'p');
    // One that waits for the client that is away and is retained, and the start of another.
    world.send(publisher, b"\x33\x08\0\x01t\0\x07\0ab\x32\x08\0\x01");
    let opening = world.open(2);
    let packet = connect_packet(4, b'o');
    world.send(opening, &packet[..5]);
    world.settle();
    assert_eq!(received(&mut world, sub), b"\x32\x08\0\x01t\0\x01\0ab");
    for (count, shards) in [2, 4, 1, 3].into_iter().enumerate() {
        let setup = Setup {
            seed: count as u64,
            now: world.now,
            ..Setup::new(shards)
        };
        for part in [0, 50, 100] {
            assert!(world.upgrade(&setup, Fate::Dies(part)).unwrap().is_none());
        }
        assert!(world.upgrade(&setup, Fate::Serves).unwrap().is_some());
        assert_eq!(world.shards.len(), usize::from(shards));
        world.settle();
        world.audit();
    }
    world.send(publisher, b"t\0\x08\0cd");
    world.send(opening, &packet[5..]);
    world.settle();
    assert_eq!(
        received(&mut world, publisher),
        [0x40, 2, 0, 7, 0x40, 2, 0, 8]
    );
    assert_eq!(received(&mut world, opening), [0x20, 2, 0, 0]);
    assert_eq!(received(&mut world, sub), b"\x32\x08\0\x01t\0\x02\0cd");
    let back = world.open(0);
    world.send(back, &connect(b'a'));
    world.settle();
    let got = received(&mut world, back);
    assert_eq!(got[..3], [0x20, got[1], 1], "session present");
    let expected = b"\x32\x08\0\x01t\0\x01\0ab\x32\x08\0\x01t\0\x02\0cd";
    assert_eq!(got[2 + usize::from(got[1])..], *expected);
    let fresh = joined(&mut world, 0, b'f');
    world.send(fresh, b"\x82\x07\0\x01\0\0\x01t\x01");
    world.settle();
    let got = received(&mut world, fresh);
    assert!(got.ends_with(b"\0\x01t\0\x01\0ab"), "retained: {got:?}");
    // Wills and keep alives: that of 4 s is over for all who were silent.
    world.close(publisher);
    world.settle();
    assert!(received(&mut world, watcher).ends_with(b"!"));
    assert_ne!(connections(&world), 0);
    world.wait(Span::from_secs(7));
    assert_eq!(connections(&world), 0);
}

fn connections(world: &World) -> usize {
    world.shards.iter().map(|shard| shard.connections()).sum()
}
