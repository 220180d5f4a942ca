//! A full disk: who is refused, who waits, and who notices nothing.

use crate::limits::Limits;
use crate::shard::Durability;
use crate::testing::{connect_packet, Calm, Setup, World, V311, V5};
use crate::time::Span;

pub(super) const QUOTA_EXCEEDED: u8 = 0x97;
pub(super) const SUCCESS: u8 = 0;
const SEGMENT_BYTES: usize = 256 << 10;
const NO_MATCHING: u8 = 0x10;
const SUBSCRIBE_T: &[u8] = &[0x82, 7, 0, 1, 0, 0, 1, b't', 2];
const SUBSCRIBE_U: &[u8] = &[0x82, 7, 0, 2, 0, 0, 1, b'u', 1];

/// Without keep alive.
pub(super) fn connect(version: u8, name: u8) -> Vec<u8> {
    let mut connect = connect_packet(version, name);
    connect[10..12].fill(0);
    connect
}

/// A CONNECT of 5.0 with a Session Expiry Interval.
pub(super) fn durable(name: u8) -> Vec<u8> {
    let mut connect = connect(V5, name);
    connect[9] = 0;
    connect[1] += 5;
    connect[12] = 5;
    connect.splice(13..13, [0x11, 0, 0, 0, 60]);
    connect
}

pub(super) fn publish(version: u8, first: u8, topic: u8, id: u8) -> Vec<u8> {
    let mut packet = vec![first, 0, 0, 1, topic];
    if first & 6 != 0 {
        packet.extend_from_slice(&[0, id]);
    }
    if version == V5 {
        packet.push(0);
    }
    packet.push(b'x');
    packet[1] = packet.len() as u8 - 2;
    packet
}

pub(super) struct Full {
    pub(super) world: World<Calm>,
    limited: usize,
}

impl Full {
    /// The subscriber of `t` outlives its connection, the one of `u` does not.
    pub(super) fn new(shards: u16) -> (Self, usize, usize) {
        Self::with_segments(shards, SEGMENT_BYTES)
    }

    pub(super) fn with_segments(shards: u16, segment_bytes: usize) -> (Self, usize, usize) {
        Self::with_memory(shards, segment_bytes, Limits::default().queue_memory)
    }

    /// Queues take no more memory than that.
    pub(super) fn with_memory(
        shards: u16,
        segment_bytes: usize,
        queue_memory: u64,
    ) -> (Self, usize, usize) {
        let mut setup = Setup::new(shards);
        setup.limits.queue_memory = queue_memory;
        setup.limits.disk_full_timeout_s = 10;
        setup.limits.queue_qos0 = true;
        let mut world = World::new(setup, Calm);
        world.segment_bytes = segment_bytes;
        world.begin_journals(Durability::Commit);
        let limited = world.shards.len() - 1;
        let mut it = Self { world, limited };
        let kept = it.client(&durable(b'k'), SUCCESS);
        let brief = it.client(&connect(V5, b'b'), SUCCESS);
        for (link, subscribe) in [(kept, SUBSCRIBE_T), (brief, SUBSCRIBE_U)] {
            it.world.send(link, subscribe);
            assert_eq!(it.taken(link)[0], 0x90);
        }
        (it, kept, brief)
    }

    pub(super) fn client(&mut self, connect: &[u8], expected: u8) -> usize {
        let link = self.world.open(0);
        self.world.send(link, connect);
        let connack = self.taken(link);
        assert_eq!((connack[0], connack[3]), (0x20, expected), "{connack:x?}");
        link
    }

    pub(super) fn taken(&mut self, link: usize) -> Vec<u8> {
        self.world.settle();
        for shard in &self.world.shards {
            shard.audit().unwrap();
        }
        std::mem::take(&mut self.world.links[link].received)
    }

    fn set_full(&mut self, is_full: bool) {
        let now = self.world.now;
        self.world.shards[self.limited].handle_disk_full(is_full, now);
        self.world.settle();
    }

    /// First byte, packet identifier and reason code of the answer to a packet of 5.0.
    pub(super) fn answer(&mut self, link: usize, packet: &[u8]) -> (u8, u8, u8) {
        self.world.send(link, packet);
        let answer = self.taken(link);
        let reason = if answer[1] > 2 { answer[4] } else { SUCCESS };
        (answer[0], answer[3], reason)
    }

    pub(super) fn refused(&self) -> u64 {
        let shards = self.world.shards.iter();
        shards.map(|shard| shard.stats().refused_disk).sum()
    }
}

#[test]
fn what_needs_room_is_refused_and_the_rest_is_served() {
    for shards in [1, 3] {
        let (mut it, kept, brief) = Full::new(shards);
        let publisher = it.client(&connect(V5, b'p'), SUCCESS);
        let before = publish(V5, 0x32, b't', 1);
        assert_eq!(it.answer(publisher, &before), (0x40, 1, SUCCESS));
        let delivered = it.taken(kept);
        assert_eq!(delivered[..5], publish(V5, 0x32, b't', 1)[..5]);
        it.set_full(true);
        // At QoS 1, at QoS 2, and to be retained.
        for (first, topic, answer) in [(0x32, b't', 0x40), (0x34, b't', 0x50), (0x33, b'n', 0x40)] {
            let packet = publish(V5, first, topic, 2);
            let expected = (answer, 2, QUOTA_EXCEEDED);
            assert_eq!(it.answer(publisher, &packet), expected, "{shards} shards");
        }
        assert_eq!(it.taken(kept), b"", "it was refused");
        assert_eq!(it.refused(), 3);
        // A message that no session keeps, and QoS 0.
        let transient = publish(V5, 0x32, b'u', 3);
        assert_eq!(it.answer(publisher, &transient), (0x40, 3, SUCCESS));
        assert_eq!(it.taken(brief).len(), transient.len());
        let to_nobody = publish(V5, 0x32, b'n', 4);
        assert_eq!(it.answer(publisher, &to_nobody), (0x40, 4, NO_MATCHING));
        it.world.send(publisher, &publish(V5, 0x30, b't', 0));
        assert_eq!(it.taken(kept), publish(V5, 0x30, b't', 0));
        // To acknowledge and to unsubscribe frees room.
        it.world.send(kept, &[0x40, 2, 0, delivered[6]]);
        let unsubscribe = [0xA2, 6, 0, 5, 0, 0, 1, b't'];
        it.world.send(kept, &unsubscribe);
        assert_eq!(it.taken(kept)[0], 0xB0);
        it.set_full(false);
        it.world.send(kept, SUBSCRIBE_T);
        assert_eq!(it.taken(kept)[0], 0x90);
        let after = publish(V5, 0x32, b't', 5);
        assert_eq!(it.answer(publisher, &after), (0x40, 5, SUCCESS));
    }
}

#[test]
fn no_further_state_is_kept() {
    let (mut it, kept, _) = Full::new(2);
    it.set_full(true);
    it.client(&durable(b'n'), QUOTA_EXCEEDED);
    it.world.send(kept, SUBSCRIBE_U);
    let suback = it.taken(kept);
    assert_eq!(
        (suback[0], suback[suback.len() - 1]),
        (0x90, QUOTA_EXCEEDED)
    );
    let brief = it.client(&connect(V5, b'm'), SUCCESS);
    it.world.send(brief, SUBSCRIBE_U);
    assert_eq!(it.taken(brief).last(), Some(&1), "its session ends with it");
    it.client(&durable(b'k'), SUCCESS); // it has a session
    it.set_full(false);
    it.client(&durable(b'n'), SUCCESS);
}

#[test]
fn retained_at_qos_0_is_delivered_and_neither_kept_nor_an_older_one() {
    let (mut it, _, brief) = Full::new(1);
    let publisher = it.client(&connect(V5, b'p'), SUCCESS);
    it.world.send(publisher, &publish(V5, 0x31, b'u', 0));
    assert_eq!(it.taken(brief).len(), publish(V5, 0x30, b'u', 0).len());
    assert_eq!(it.world.shards[0].snapshot().retained, 1);
    it.set_full(true);
    it.world.send(publisher, &publish(V5, 0x31, b'u', 0));
    assert_eq!(it.taken(brief).len(), publish(V5, 0x30, b'u', 0).len());
    assert_eq!(it.world.shards[0].snapshot().retained, 0);
    // To clear needs no room, and so is no reason to refuse.
    let clear = [0x33, 6, 0, 1, b'u', 0, 7, 0];
    assert_eq!(it.answer(publisher, &clear), (0x40, 7, SUCCESS));
}

/// 3.1.1 has no reason code: the packet waits, and all that follows it.
#[test]
fn clients_of_3_1_1_wait_and_are_disconnected_in_the_end() {
    for shards in [1, 3] {
        let (mut it, kept, _) = Full::new(shards);
        // They are not silent, they are not read.
        let publishers = [b'p', b'q'].map(|name| it.client(&connect_packet(V311, name), SUCCESS));
        it.set_full(true);
        for link in publishers {
            let packets = [publish(V311, 0x32, b't', 1), vec![0xC0, 0]].concat();
            it.world.send(link, &packets);
            assert_eq!(it.taken(link), b"");
        }
        it.world.wait(Span::from_secs(9));
        assert!(it.world.links[publishers[0]].is_open());
        it.set_full(false);
        for link in publishers {
            assert_eq!(it.taken(link), [0x40, 2, 0, 1, 0xD0, 0], "{shards} shards");
        }
        assert_eq!(it.taken(kept).len(), 2 * publish(V5, 0x32, b't', 1).len());
        it.set_full(true);
        for link in publishers {
            it.world.send(link, &publish(V311, 0x32, b't', 2));
            assert_eq!(it.taken(link), b"");
            it.world.wait(Span::from_secs(3));
        }
        for (link, wait_s) in publishers.into_iter().zip([5, 3]) {
            assert!(it.world.links[link].is_open());
            it.world.wait(Span::from_secs(wait_s));
            assert_eq!(it.taken(link), b"", "no acknowledgement");
            assert!(!it.world.links[link].is_open(), "disk-full-timeout");
        }
        assert_eq!(it.taken(kept), b"");
        assert_eq!(it.refused(), 2);
    }
}

/// What is behind a publication that waits is handled when the client has closed.
#[test]
fn a_disconnect_behind_what_waits_is_heeded() {
    let (mut it, kept, brief) = Full::new(1);
    let mut connect = connect_packet(V311, b'w');
    connect[1] += 6;
    connect[9] |= 1 << 2;
    connect.extend_from_slice(&[0, 1, b'u', 0, 1, b'w']);
    for (last, has_will) in [(&[0xE0, 0][..], false), (&[], true)] {
        let link = it.client(&connect, SUCCESS);
        it.set_full(true);
        let packets = [&publish(V311, 0x32, b't', 1)[..], last].concat();
        it.world.send(link, &packets);
        it.world.close(link);
        assert_eq!(it.taken(link), b"");
        assert_eq!(!it.taken(brief).is_empty(), has_will);
        it.set_full(false);
        assert_eq!(it.taken(kept), b"", "it was not acknowledged");
    }
}

/// What is repeated was written before; the identifier of a durable publisher is written.
#[test]
fn identifiers_of_qos_2_need_room_once() {
    let (mut it, _, _) = Full::new(1);
    let publisher = it.client(&durable(b'p'), SUCCESS);
    let brief = it.client(&connect(V5, b'q'), SUCCESS);
    let taken = publish(V5, 0x34, b't', 1);
    assert_eq!(it.answer(publisher, &taken), (0x50, 1, SUCCESS));
    it.set_full(true);
    let repeated = publish(V5, 0x3C, b't', 1);
    assert_eq!(it.answer(publisher, &repeated), (0x50, 1, SUCCESS));
    let to_nobody = publish(V5, 0x34, b'n', 2);
    assert_eq!(it.answer(publisher, &to_nobody), (0x50, 2, QUOTA_EXCEEDED));
    assert_eq!(it.answer(brief, &to_nobody), (0x50, 2, NO_MATCHING));
}

#[test]
fn a_group_needs_room_when_the_next_member_is_durable() {
    let (mut it, kept, brief) = Full::new(1);
    for (member, topic) in [(kept, b'm'), (brief, b'z')] {
        let mut subscribe = b"\x82\x10\0\x03\0\0\x0a$share/g/".to_vec();
        subscribe.extend_from_slice(&[topic, 1]);
        it.world.send(member, &subscribe);
        assert_eq!(it.taken(member)[0], 0x90);
    }
    let publisher = it.client(&connect(V5, b'p'), SUCCESS);
    it.set_full(true);
    let expected = (0x40, 1, QUOTA_EXCEEDED);
    assert_eq!(it.answer(publisher, &publish(V5, 0x32, b'm', 1)), expected);
    let expected = (0x40, 2, SUCCESS);
    assert_eq!(it.answer(publisher, &publish(V5, 0x32, b'z', 2)), expected);
}

/// `queue-qos0` writes what waits for a client that is away, which is promised to no client.
#[test]
fn qos_0_is_not_queued_without_room() {
    let (mut it, kept, _) = Full::new(1);
    it.world.send(kept, b"\x82\x10\0\x03\0\0\x0a$share/g/m\x01");
    assert_eq!(it.taken(kept)[0], 0x90);
    it.world.close(kept);
    let publisher = it.client(&connect(V5, b'p'), SUCCESS);
    for is_full in [false, true] {
        it.set_full(is_full);
        for topic in [b't', b'm'] {
            it.world.send(publisher, &publish(V5, 0x30, topic, 0));
        }
        it.world.settle();
    }
    let link = it.world.open(0);
    it.world.send(link, &durable(b'k'));
    let received = it.taken(link);
    let queued = &received[2 + usize::from(received[1])..];
    let expected = [b't', b'm'].map(|topic| publish(V5, 0x30, topic, 0));
    assert_eq!(queued, expected.concat(), "those of before");
}

/// Those that wait and have left are forgotten long before the time of those that stay is over.
#[test]
fn who_has_left_does_not_wait() {
    let (mut it, _, _) = Full::new(1);
    it.set_full(true);
    for _ in 0..200 {
        let link = it.client(&connect_packet(V311, b'w'), SUCCESS);
        it.world.send(link, &publish(V311, 0x32, b't', 1));
        it.world.close(link);
        it.world.settle();
    }
    let waiting = it.world.shards[0].durable.as_ref().unwrap().full.waiting();
    assert!(waiting < 100, "{waiting}");
}
