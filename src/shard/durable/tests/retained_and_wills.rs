//! Retained messages and wills over a kill.

use bytes::Bytes;

use super::*;
use crate::mqtt::Qos;
use crate::shard::{Answer, Query};
use crate::sparkplug::certificate_topic;

#[test]
fn retained_messages_are_set_replaced_and_cleared_for_good() {
    for shards in [1, 2] {
        let mut life = Life::first(shards);
        let publisher = life.resume(b'p', false);
        life.publish(publisher, 3, b'a', 1, 1);
        life.publish(publisher, 3, b'b', 2, 1);
        life.publish(publisher, 1, b'c', 0, 1);
        life.publish(publisher, 3, b'a', 3, 2);
        life.send(publisher, &[0x33, 6, 0, 1, b'b', 0, 4, 0]);
        // One with an expiry of 2 s.
        let expiring = [0x31, 10, 0, 1, b'e', 5, 2, 0, 0, 0, 2, 9];
        life.send(publisher, &expiring);
        for _ in 0..2 {
            life = life.killed(1_500, shards);
            let link = life.resume(b's', false);
            for (topic, expected) in [(b'a', Some(2)), (b'b', None), (b'c', Some(1))] {
                life.subscribe(link, topic, 0);
                let expected =
                    expected.map_or(Vec::new(), |payload| vec![0x31, 5, 0, 1, topic, 0, payload]);
                assert_eq!(life.received(link), expected);
            }
            let clean = life.connect(b's', 0, 2, &[]);
            life.close(clean);
        }
        let kept = |shard: &Shard| shard.retained_messages();
        let kept: usize = life.world.shards.iter().map(kept).sum();
        assert_eq!(kept, 2, "what has expired was removed");
        let disks = life.disks.iter().enumerate();
        let in_log = disks.map(|(n, disk)| {
            let fold = life.world.shards[n].begin_fold();
            read(fold, disk, n).1.retained()
        });
        assert_eq!(in_log.sum::<usize>(), 2, "from the log, too");
    }
}

/// Of Sparkplug: with its birth the certificate is acknowledged, too.
#[test]
fn certificates_are_kept() {
    const TOPIC: &str = "spBv1.0/g/NBIRTH/n";
    for shards in [1, 2] {
        let mut life = Life::first(shards);
        let node = life.resume(b'n', false);
        let birth = [b"\x32\x19\0\x12", TOPIC.as_bytes(), b"\0\x09\0\x18\0"].concat();
        life.stalled = (shards == 1).then_some(0);
        life.send(node, &birth);
        if life.stalled.take().is_some() {
            assert!(life.received(node).is_empty(), "it is not on the disk");
            life.settle();
        }
        assert_eq!(
            life.received(node),
            [0x40, 3, 0, 9, 0x10],
            "nobody has subscribed"
        );
        let mut life = life.killed(100, 3 - shards);
        let query = Query::RetainedMessage(certificate_topic(TOPIC).into());
        let now = life.world.now;
        let shards = life.world.shards.iter_mut();
        let answers = shards.map(|shard| shard.handle_query(&query, now));
        let found: Vec<_> = answers
            .filter_map(|answer| match answer {
                Answer::RetainedMessage(found) => found,
                other => panic!("{other:?}"),
            })
            .map(|row| (row.payload, row.qos))
            .collect();
        assert_eq!(found, [(Bytes::from_static(b"\x18\0"), Qos::AtLeastOnce)]);
    }
}

#[test]
fn wills_are_published_once_at_their_time() {
    let mut life = Life::first(1);
    let link = life.resume(b's', false);
    life.subscribe(link, b'w', 1);
    // Away for 2 s of the 3 s of its delay, when the process ends.
    let away = life.connect(b'a', 100, WILL, DELAYED);
    life.close(away);
    // Connected when it ends: one of a session without expiry, one with a delay.
    life.connect(b'b', 0, WILL, AT_ONCE);
    life.connect(b'c', 100, WILL, DELAYED);
    // It left by DISCONNECT: no will.
    let left = life.connect(b'd', 100, WILL, AT_ONCE);
    life.send(left, &[0xE0, 0]);
    life.world.wait(Span::from_millis(2_000));
    life.settle();
    let mut life = life.killed(500, 1);
    let link = life.resume(b's', true);
    assert_eq!(life.received(link), [0x32, 7, 0, 1, b'w', 0, 1, 0, b'y']);
    life.send(link, &[0x40, 2, 0, 1]);
    life.world.wait(Span::from_millis(450));
    life.settle();
    assert_eq!(life.received(link), b"");
    life.world.wait(Span::from_millis(100));
    life.settle();
    assert_eq!(
        life.received(link),
        [0x32, 7, 0, 1, b'w', 0, 2, 0, b'x'],
        "of a"
    );
    let mut life = life.killed(2_000, 1);
    let link = life.resume(b's', true);
    assert_eq!(life.received(link), [0x3A, 7, 0, 1, b'w', 0, 2, 0, b'x']);
    life.world.wait(Span::from_millis(600));
    life.settle();
    assert_eq!(
        life.received(link),
        [0x32, 7, 0, 1, b'w', 0, 3, 0, b'x'],
        "of c"
    );
    let mut life = life.killed(50_000, 1);
    let link = life.resume(b's', true);
    assert_eq!(life.received(link).len(), 2 * 9, "the same two");
}

#[test]
fn a_will_without_a_delay_is_published_although_its_client_is_back_first() {
    // The session of the one outlives its connection, that of the other does not.
    for (expiry, is_present) in [(100, true), (0, false)] {
        let mut world = World::calm(setup(1));
        world.begin_journals(Durability::Commit);
        let mut life = Life {
            world,
            disks: Vec::new(),
            formers: Vec::new(),
            segment_bytes: SEGMENT_BYTES,
            stalled: None,
        };
        let link = life.resume(b's', false);
        life.subscribe(link, b'w', 1);
        life.connect(b'b', expiry, WILL, AT_ONCE);
        let next = Setup {
            now: life.world.now,
            wall: life.world.clocks().wall,
            ..setup(1)
        };
        life.world.restart(&next, Durability::Commit).unwrap();
        // Its CONNECT is read in the first turn, before any timer.
        life.resume(b'b', is_present);
        let link = life.resume(b's', true);
        assert_eq!(life.received(link), [0x32, 7, 0, 1, b'w', 0, 1, 0, b'y']);
    }
}

/// A client takes the first of the retained messages that it has subscribed to, and the process ends.
#[test]
fn retained_messages_on_their_way_to_a_subscription_are_sent_by_the_next_process() {
    const PACKET_BYTES: usize = 9;
    for (shards, next) in [(1, 1), (2, 2), (3, 3), (1, 2), (3, 2)] {
        let mut setup = setup(shards);
        setup.limits.outgoing_window_max = 1;
        let mut life = Life::of(setup, Vec::new(), SEGMENT_BYTES);
        let publisher = life.resume(b'p', false);
        for (id, topic) in (1..).zip(b"abcdef") {
            life.publish(publisher, 3, *topic, id, *topic);
        }
        let link = life.resume(b's', false);
        life.subscribe(link, b'#', 1);
        assert_eq!(life.received(link).len(), PACKET_BYTES, "one of them");
        life = life.killed(10, next);
        let link = life.resume(b's', true);
        let received = life.received(link);
        let packets = received.chunks(PACKET_BYTES);
        let topics: std::collections::BTreeSet<u8> = packets.clone().map(|it| it[4]).collect();
        assert_eq!(
            topics,
            (b'a'..=b'f').collect(),
            "{shards} shards, then {next}"
        );
        let acks: Vec<u8> = packets.flat_map(|it| [0x40, 2, 0, it[6]]).collect();
        life.send(link, &acks);
        life = life.killed(10, next);
        let link = life.resume(b's', true);
        assert_eq!(life.received(link), b"", "they are sent");
    }
}
