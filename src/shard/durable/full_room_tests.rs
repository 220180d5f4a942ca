//! A disk that is full and has room again, by what subscribers take or from outside, and a log of which nothing is left.

use super::full_tests::{connect, durable, publish, Full, QUOTA_EXCEEDED, SUCCESS};
use crate::testing::{V311, V5};
use crate::time::Span;

/// Small, so that they are used up.
const SEGMENT_BYTES: usize = 64 << 10;
/// From one commit to the next while the disk is full, and a little more.
const COMMIT: Span = Span::from_millis(60);

/// A broker whose disk has room for so many segments beyond those that are there.
fn with_room_for(more: usize) -> (Full, usize) {
    let (mut it, kept, _) = Full::with_segments(1, SEGMENT_BYTES);
    it.world.segments_max = it.world.segments() + more;
    (it, kept)
}

/// PUBLISH of 5.0 to `t` at QoS 1 with 1,000 bytes.
fn large(id: u8) -> Vec<u8> {
    let mut packet = vec![0x32, 0xEE, 7, 0, 1, b't', 0, id, 0];
    packet.resize(3 + 1_006, b'x');
    packet
}

/// How many publications were taken before one was refused.
fn publish_until_refused(it: &mut Full) -> u8 {
    let publisher = it.client(&connect(V5, b'p'), SUCCESS);
    for id in 1..=250 {
        it.world.send(publisher, &large(id));
        it.world.settle();
        it.world.wait(COMMIT);
        let answer = it.taken(publisher);
        assert_eq!((answer[0], answer[3]), (0x40, id));
        if answer[1] > 2 && answer[4] == QUOTA_EXCEEDED {
            return id - 1;
        }
    }
    panic!("the disk is not full");
}

/// Opens a connection of the durable client `k`, which has a session.
fn come_back(it: &mut Full) -> usize {
    let link = it.world.open(0);
    it.world.send(link, &durable(b'k'));
    it.world.settle();
    it.world.wait(COMMIT);
    link
}

/// The publications of QoS 1 in what a client was sent behind CONNACK, all acknowledged.
fn acknowledge_all(it: &mut Full, link: usize, packets: &[u8]) -> usize {
    let mut rest = packets;
    let mut count = 0;
    while let [0x32, _, _, _, _, _, high, low, ..] = rest {
        it.world.send(link, &[0x40, 2, *high, *low]);
        rest = &rest[large(0).len()..];
        count += 1;
    }
    it.world.settle();
    it.world.wait(COMMIT);
    count
}

#[test]
fn a_full_disk_frees_itself_when_its_subscribers_take_what_waits() {
    let (mut it, kept) = with_room_for(2);
    it.world.close(kept);
    let mut total = 0;
    for _ in 0..3 {
        let taken = publish_until_refused(&mut it);
        assert!(taken > 3, "{taken} publications were taken");
        total += usize::from(taken);
        let link = come_back(&mut it);
        let mut received = it.taken(link);
        assert_eq!(
            (received[0], received[2], received[3]),
            (0x20, 1, SUCCESS),
            "it is served"
        );
        received.drain(..2 + usize::from(received[1]));
        let mut left = usize::from(taken);
        while left > 0 {
            left -= acknowledge_all(&mut it, link, &received);
            received = it.taken(link);
        }
        it.world.wait(Span::from_secs(1));
        assert!(
            it.world.shards[0].has_room_everywhere(),
            "after {total} publications"
        );
        it.world.close(link);
        it.world.settle();
    }
}

/// Most of the log is of a session that ends; what the others have is more than the room that is left, and is moved
/// within it a segment at a time.
#[test]
fn a_full_disk_has_room_again_when_a_session_ends_for_which_most_of_it_was_kept() {
    let (mut it, kept, _) = Full::with_memory(1, SEGMENT_BYTES, 0);
    it.world.segments_max = it.world.segments() + 20;
    it.world.close(kept);
    let other = it.client(&durable(b'j'), SUCCESS);
    it.world.send(other, &[0x82, 7, 0, 1, 0, 0, 1, b'v', 1]);
    it.world.settle();
    it.world.close(other);
    let publisher = it.client(&connect(V5, b'p'), SUCCESS);
    let (mut waits, mut id) = (0_usize, 0_u8);
    let is_full = |it: &Full| {
        let durable = it.world.shards[0].durable.as_deref().unwrap();
        durable.full.own
    };
    while !is_full(&it) {
        for topic in *b"vvt" {
            id = id % 250 + 1;
            let mut packet = large(id);
            packet[5] = topic;
            it.world.send(publisher, &packet);
            it.world.settle();
            it.world.wait(COMMIT);
            let answer = it.taken(publisher);
            let is_taken = answer[1] == 2 || answer[4] != QUOTA_EXCEEDED;
            waits += usize::from(is_taken && topic == b't');
        }
    }
    let durable_of = |it: &Full| {
        let durable = it.world.shards[0].durable.as_deref().unwrap();
        (durable.alive(0), durable.log.room())
    };
    let ends = it.world.open(0);
    it.world.send(ends, &connect(V5, b'j')); // clean start, and it ends with its connection
    it.world.close(ends);
    it.world.settle();
    let (alive, room) = durable_of(&it);
    assert!(alive > room / 2, "{alive} bytes would fit into {room}");
    it.world.wait(Span::from_secs(20));
    assert!(!is_full(&it), "there is room again: {:?}", durable_of(&it));
    let link = come_back(&mut it);
    let mut received = it.taken(link);
    received.drain(..2 + usize::from(received[1]));
    let mut found = 0;
    while !received.is_empty() {
        found += acknowledge_all(&mut it, link, &received);
        received = it.taken(link);
    }
    assert_eq!(found, waits);
}

/// Comes and goes until no more than so much of the log is left.
fn use_up(it: &mut Full, left: u64) {
    for _ in 0..200 {
        let link = come_back(it);
        it.world.close(link);
        it.world.settle();
        it.world.wait(COMMIT);
        let durable = it.world.shards[0].durable.as_deref().unwrap();
        if durable.full.own && durable.log.room() <= left {
            return;
        }
    }
    panic!("more is left");
}

fn with_nothing_left() -> (Full, usize, usize) {
    let (mut it, kept) = with_room_for(0);
    // One that stays, with something to be answered at QoS 2.
    let stays = it.client(&durable(b's'), SUCCESS);
    assert_eq!(
        it.answer(stays, &publish(V5, 0x34, b'u', 1)),
        (0x50, 1, SUCCESS)
    );
    it.world.close(kept);
    it.world.segments_max = 0;
    use_up(&mut it, 0);
    let brief = it.client(&connect(V5, b'c'), SUCCESS);
    (it, stays, brief)
}

#[test]
fn who_comes_back_when_nothing_is_left_is_refused() {
    let (mut it, _, brief) = with_nothing_left();
    it.client(&durable(b'k'), QUOTA_EXCEEDED);
    let mut old = connect(V311, b'k');
    old[9] = 0;
    it.client(&old, 3);
    // So would be the end of its session.
    it.client(&connect(V5, b'k'), QUOTA_EXCEEDED);
    it.world.send(brief, &[0xC0, 0]);
    assert_eq!(it.taken(brief), [0xD0, 0], "what is not written is served");
    it.world.segments_max = usize::MAX;
    it.world.settle();
    let link = come_back(&mut it);
    let received = it.taken(link);
    assert_eq!((received[0], received[3]), (0x20, SUCCESS));
}

#[test]
fn who_waits_for_an_answer_when_nothing_is_left_is_disconnected_in_the_end() {
    let release = [0x62, 2, 0, 1];
    let unsubscribe = [0xA2, 6, 0, 2, 0, 0, 1, b't'];
    for (request, answer) in [(&release[..], 0x70), (&unsubscribe, 0xB0)] {
        for has_room_in_time in [true, false] {
            let (mut it, stays, _) = with_nothing_left();
            it.world.send(stays, request);
            assert_eq!(it.taken(stays), b"", "it is not written");
            it.world.wait(Span::from_secs(5));
            assert!(it.world.links[stays].is_open());
            if has_room_in_time {
                it.world.segments_max = usize::MAX;
                it.world.settle();
                it.world.wait(Span::from_secs(60));
                assert_eq!(it.taken(stays)[0], answer);
                assert!(it.world.links[stays].is_open());
                continue;
            }
            it.world.wait(Span::from_secs(20));
            let told = it.taken(stays);
            assert_eq!((told[0], told[2]), (0xE0, QUOTA_EXCEEDED));
            let text = String::from_utf8_lossy(&told).into_owned();
            assert!(
                text.contains("nothing more can be kept in data-dir"),
                "{text}"
            );
            assert!(!it.world.links[stays].is_open());
        }
    }
}

/// A CONNECT of the durable client `k` with a will of so many bytes to `u`.
fn with_will(bytes: u16) -> Vec<u8> {
    let mut connect = durable(b'k');
    connect[9] |= 4;
    connect.extend_from_slice(&[0, 0, 1, b'u']);
    connect.extend_from_slice(&bytes.to_be_bytes());
    connect.resize(connect.len() + usize::from(bytes), b'w');
    let length = connect.len() - 2;
    let length = [
        length as u8 | 0x80,
        (length >> 7) as u8 | 0x80,
        (length >> 14) as u8,
    ];
    connect.splice(1..2, length);
    connect
}

/// It needs more than what is left.
#[test]
fn whose_connack_waits_when_nothing_is_left_is_refused_in_the_end() {
    let (mut it, kept) = with_room_for(0);
    it.world.close(kept);
    it.world.segments_max = 0;
    use_up(&mut it, 16 << 10);
    let brief = it.client(&connect(V5, b'c'), SUCCESS);
    it.world.send(brief, &[0x82, 7, 0, 2, 0, 0, 1, b'u', 0]);
    assert_eq!(it.taken(brief)[0], 0x90);
    let link = it.world.open(0);
    it.world.send(link, &with_will(20_000));
    it.world.settle();
    it.world.wait(Span::from_secs(5));
    assert_eq!(it.taken(link), b"");
    it.world.wait(Span::from_secs(20));
    let told = it.taken(link);
    assert_eq!(
        (told[0], told[3]),
        (0x20, QUOTA_EXCEEDED),
        "and nothing else"
    );
    assert_eq!(told.len(), 2 + usize::from(told[1]));
    assert!(!it.world.links[link].is_open());
    assert_eq!(it.taken(brief), b"", "its will was not taken");
}

/// A connection that ends while its CONNACK waits for the disk is sent nothing [MQTT-3.14.0-1].
#[test]
fn nothing_comes_before_a_connack_that_waits() {
    let (mut it, kept) = with_room_for(0);
    it.world.close(kept);
    it.world.segments_max = 0;
    use_up(&mut it, 100 << 10);
    let links = [0; 2].map(|_| {
        let link = it.world.open(0);
        it.world.send(link, &durable(b'k'));
        it.world.settle();
        link
    });
    let received = links.map(|link| it.taken(link));
    assert_eq!(received, [b"", b""], "the next commit is some time later");
    assert!(!it.world.links[links[0]].is_open(), "taken over");
    it.world.wait(COMMIT);
    assert_eq!(it.taken(links[1])[0], 0x20);
}
