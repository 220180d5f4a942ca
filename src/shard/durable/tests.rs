//! Shards whose process ends, and shards that continue from the disks.

use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::journal::{DataId, Position, Record, Recovered, Recovery};
use crate::session::SessionImage;
use crate::testing::{Disk, Setup, World};
use crate::time::{Span, WallTime};

const DATA: DataId = DataId([5; 16]);
const SEGMENT_BYTES: u32 = 512 << 10;

/// A broker of one life, and its disks.
struct Life {
    world: World,
    disks: Vec<Disk>,
    segment_bytes: u32,
}

fn setup(shards: u16) -> Setup {
    let mut setup = Setup::new(shards);
    setup.limits.queue_qos0 = true;
    setup
}

impl Life {
    fn first(shards: u16) -> Self {
        Self::of(setup(shards), Vec::new(), SEGMENT_BYTES)
    }

    /// Continues from the disks of shards that may have been more or fewer.
    fn of(setup: Setup, before: Vec<Disk>, segment_bytes: u32) -> Self {
        let mut world = World::calm(setup);
        let shards = world.shards.len();
        let goes_on = before.len() == shards;
        let mut disks = Vec::new();
        let (clocks, now) = (world.clocks(), world.now);
        for shard in 0..shards {
            let it = &mut world.shards[shard];
            it.handle_clocks(clocks);
            let (recovered, state, disk) = if goes_on {
                let (recovered, state) = read(it, &before[shard], shard);
                let mut disk = before[shard].clone();
                disk.retain(&recovered.used);
                (recovered, state, disk)
            } else {
                let disks = before.iter().enumerate();
                let states = disks.map(|(of, disk)| read(it, disk, of).1);
                (
                    Recovered::default(),
                    KeptState::of_several(states),
                    Disk::default(),
                )
            };
            let log = Log::new(DATA, shard as u16, segment_bytes, &recovered);
            it.begin_journal(log, Durability::Commit);
            it.restore(state, now);
            disks.push(disk);
        }
        let mut life = Self {
            world,
            disks,
            segment_bytes,
        };
        life.settle();
        life
    }

    /// Everything that is under way happens, and is on the disk.
    fn settle(&mut self) {
        self.world.settle();
        for shard in 0..self.disks.len() {
            while self.write(shard) {}
        }
        self.world.settle();
        self.world.audit();
    }

    /// One frame of a shard; false when there was none.
    fn write(&mut self, shard: usize) -> bool {
        let (it, disk) = (&mut self.world.shards[shard], &mut self.disks[shard]);
        let wanted = it.segment_wanted().expect("a journal");
        let prepared = disk.segments().last().map_or(0, |(number, _)| number.0);
        for number in prepared + 1..=wanted.0 {
            disk.prepare(SegmentNumber(number), self.segment_bytes as usize, None);
        }
        it.handle_segment_ready(wanted);
        let Some(write) = it.poll_journal() else {
            return false;
        };
        disk.write(&write);
        disk.complete();
        it.handle_committed(self.world.now);
        if let Some(needed) = it.poll_retired() {
            let kept: Vec<_> = disk.segments().map(|(number, _)| number).collect();
            let kept: Vec<_> = kept.into_iter().filter(|one| *one >= needed).collect();
            disk.retain(&kept);
        }
        true
    }

    /// The process ends now, and another one begins after so long, with so many shards.
    fn killed(self, after_ms: u64, shards: u16) -> Self {
        let wall = self.world.clocks().wall;
        let mut setup = setup(shards);
        setup.wall = WallTime(wall.0 + after_ms);
        Self::of(setup, self.disks, self.segment_bytes)
    }

    /// A client of 5.0 with so many seconds of expiry, and what it is answered.
    fn connect(&mut self, name: u8, expiry_s: u8, flags: u8, will: &[u8]) -> usize {
        let mut packet = vec![0x10, 0, 0, 4];
        packet.extend_from_slice(b"MQTT\x05");
        packet.extend_from_slice(&[flags, 0, 0, 5, 0x11, 0, 0, 0, expiry_s, 0, 1, name]);
        packet.extend_from_slice(will);
        packet[1] = packet.len() as u8 - 2;
        let link = self.world.open(0);
        self.send(link, &packet);
        link
    }

    fn resume(&mut self, name: u8, is_present: bool) -> usize {
        let link = self.connect(name, 100, 0, &[]);
        let received = self.received(link);
        assert_eq!(received[..4], [0x20, received[1], is_present.into(), 0]);
        let rest = received[2 + usize::from(received[1])..].to_vec();
        self.world.links[link].received = rest;
        link
    }

    fn send(&mut self, link: usize, packet: &[u8]) {
        self.world.send(link, packet);
        self.settle();
    }

    fn received(&mut self, link: usize) -> Vec<u8> {
        std::mem::take(&mut self.world.links[link].received)
    }

    fn subscribe(&mut self, link: usize, topic: u8, qos: u8) {
        self.send(link, &[0x82, 7, 0, 1, 0, 0, 1, topic, qos]);
        let received = self.received(link);
        assert_eq!(received[..6], [0x90, 4, 0, 1, 0, qos]);
        self.world.links[link].received = received[6..].to_vec();
    }

    /// PUBLISH of one byte to a topic of one byte.
    fn publish(&mut self, link: usize, flags: u8, topic: u8, id: u8, payload: u8) {
        let packet = match flags & 6 {
            0 => vec![0x30 | flags, 5, 0, 1, topic, 0, payload],
            _ => vec![0x30 | flags, 7, 0, 1, topic, 0, id, 0, payload],
        };
        self.send(link, &packet);
    }

    fn close(&mut self, link: usize) {
        self.world.close(link);
        self.settle();
    }

    /// All sessions by client id, as another process would continue them.
    fn sessions(&self) -> BTreeMap<Rc<str>, SessionImage> {
        let mut all = BTreeMap::new();
        for shard in &self.world.shards {
            for id in shard.client_ids() {
                let mut image = shard.save_session(id).expect("nothing is on its way to it");
                // Of QoS 2 publications that other shards have, too, a repeat is to be delivered again.
                let received = &shard
                    .clients
                    .session(shard.clients.by_client_id[id])
                    .session
                    .received;
                image.received.open.retain(|id| received.is_in_log(*id));
                image.received.earlier.retain(|id| received.is_in_log(*id));
                all.insert(Rc::clone(id), image);
            }
        }
        all
    }
}

fn read(shard: &Shard, disk: &Disk, number: usize) -> (Recovered, KeptState) {
    let mut recovery = Recovery::new(DATA, number as u16);
    let mut fold = shard.begin_fold();
    for (segment, bytes) in disk.segments() {
        let visit = &mut |at, record: Record<'_>| {
            fold.record(at, record).expect("the shard has written it");
        };
        recovery
            .segment(segment, bytes, visit)
            .expect("not damaged");
    }
    (recovery.finish(), fold.finish())
}

/// What is left after the end of the connection, without the times.
fn at_rest(mut image: SessionImage) -> SessionImage {
    image.expires_at = None;
    image.will_due = None;
    image.window.resent = 0;
    image.window.quota = 0;
    image.window.quota_max = 0;
    for entry in &mut image.window.entries {
        if let crate::session::EntryImage::Release { took_quota } = entry {
            *took_quota = false;
        }
    }
    let open = std::mem::take(&mut image.received.open);
    image.received.earlier.extend(open);
    image.received.earlier.sort_unstable();
    image
}

#[test]
fn a_queue_is_delivered_in_order_after_a_kill() {
    let mut life = Life::first(1);
    let link = life.resume(b's', false);
    life.subscribe(link, b't', 1);
    life.close(link);
    let publisher = life.resume(b'p', false);
    for payload in 0..5 {
        life.publish(publisher, 2, b't', payload + 1, payload);
    }
    let mut life = life.killed(1_000, 1);
    assert_eq!(life.world.shards[0].sessions(), 2);
    let link = life.resume(b's', true);
    let expected = (0..5).flat_map(|n| [0x32, 7, 0, 1, b't', 0, n + 1, 0, n]);
    assert_eq!(life.received(link), expected.collect::<Vec<u8>>());
    // What it has acknowledged does not come again, what it has not does.
    life.send(link, &[0x40, 2, 0, 1, 0x40, 2, 0, 3]);
    let mut life = life.killed(1_000, 1);
    let link = life.resume(b's', true);
    let expected = [1, 3, 4].into_iter();
    let expected = expected.flat_map(|n| [0x3A, 7, 0, 1, b't', 0, n + 1, 0, n]);
    assert_eq!(life.received(link), expected.collect::<Vec<u8>>());
    // It is subscribed still.
    let publisher = life.resume(b'p', true);
    life.publish(publisher, 2, b't', 9, 9);
    assert_eq!(life.received(link), [0x32, 7, 0, 1, b't', 0, 6, 0, 9]);
}

#[test]
fn qos_2_is_exactly_once_over_kills_between_its_steps() {
    let mut life = Life::first(1);
    let link = life.resume(b's', false);
    life.subscribe(link, b't', 2);
    let publisher = life.resume(b'p', false);
    life.publish(publisher, 4, b't', 7, 1);
    assert_eq!(life.received(publisher), [0x50, 2, 0, 7]);
    assert_eq!(life.received(link), [0x34, 7, 0, 1, b't', 0, 1, 0, 1]);
    let mut life = life.killed(10, 1);
    // The publisher has not seen PUBREC: its repeat is acknowledged and not delivered.
    let publisher = life.resume(b'p', true);
    life.publish(publisher, 0xC, b't', 7, 1);
    assert_eq!(life.received(publisher), [0x50, 2, 0, 7]);
    let link = life.resume(b's', true);
    assert_eq!(life.received(link), [0x3C, 7, 0, 1, b't', 0, 1, 0, 1]);
    life.send(link, &[0x50, 2, 0, 1]);
    let mut life = life.killed(10, 1);
    let link = life.resume(b's', true);
    assert_eq!(life.received(link), [0x62, 2, 0, 1], "PUBREL");
    life.send(link, &[0x70, 2, 0, 1]);
    let publisher = life.resume(b'p', true);
    life.send(publisher, &[0x62, 2, 0, 7]);
    assert_eq!(life.received(publisher), [0x70, 2, 0, 7]);
    let mut life = life.killed(10, 1);
    let (publisher, link) = (life.resume(b'p', true), life.resume(b's', true));
    assert_eq!(life.received(link), b"");
    life.publish(publisher, 4, b't', 7, 2);
    assert_eq!(
        life.received(link),
        [0x34, 7, 0, 1, b't', 0, 2, 0, 2],
        "a new one"
    );
}

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
        let in_log = disks.map(|(n, disk)| read(&life.world.shards[n], disk, n).1.retained());
        assert_eq!(in_log.sum::<usize>(), 2, "from the log, too");
    }
}

#[test]
fn a_session_that_ended_does_not_come_back() {
    let mut life = Life::first(1);
    for name in b'a'..=b'e' {
        let link = life.resume(name, false);
        life.subscribe(link, b't', 1);
    }
    // One ends by DISCONNECT, one by Clean Start and its connection's end, one by resuming without expiry;
    // one expires.
    let link = life.resume(b'a', true);
    life.send(link, &[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0]);
    let link = life.connect(b'b', 0, 2, &[]);
    life.close(link);
    life.connect(b'c', 0, 0, &[]);
    let link = life.connect(b'd', 5, 0, &[]);
    life.close(link);
    let mut life = life.killed(6_000, 1);
    life.world.wait(Span::from_millis(20));
    assert_eq!(life.world.shards[0].sessions(), 1);
    let life = life.killed(10, 1);
    let names: Vec<Rc<str>> = life.sessions().into_keys().collect();
    assert_eq!(names, ["e".into()]);
}

/// Delay 3 s, topic `w`, payload `x`, QoS 1.
const DELAYED: &[u8] = b"\x05\x18\0\0\0\x03\0\x01w\0\x01x";
const AT_ONCE: &[u8] = b"\0\0\x01w\0\x01y";
/// CONNECT flags: a will of QoS 1.
const WILL: u8 = 0xC;

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
            segment_bytes: SEGMENT_BYTES,
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

/// A turn with more than a frame, of which only the first is on the disk: nothing of it counts.
#[test]
fn a_turn_counts_whole_or_not_at_all() {
    let mut life = Life::first(1);
    let link = life.resume(b's', false);
    life.subscribe(link, b't', 1);
    life.close(link);
    let publisher = life.resume(b'p', false);
    let before = life.sessions();
    let mut packet = vec![0x32, 0xE7, 0xA7, 0x0C, 0, 1, b't', 0, 1, 0];
    packet.resize(packet.len() + 201_697, 7);
    assert_eq!(packet.len(), 201_703 + 4);
    for id in 1..=3 {
        packet[8] = id;
        life.world.give(publisher, &packet);
    }
    life.world.step(0, crate::shard::TurnStep::EndTurn);
    assert!(life.write(0), "the first frame");
    assert_eq!(life.sessions()["s"].queue.len(), 3);
    let mut life = life.killed(0, 1);
    for (name, image) in life.sessions() {
        assert_eq!(at_rest(image), at_rest(before[&name].clone()));
    }
    // What follows does not join what was left.
    let publisher = life.resume(b'p', true);
    life.publish(publisher, 2, b't', 1, 9);
    let life = life.killed(0, 1);
    assert_eq!(life.sessions()["s"].queue.len(), 1);
}

/// What a process had not finished is not taken for a part of what the next one writes.
#[test]
fn the_next_turn_is_not_joined_with_one_that_was_cut() {
    let mut life = Life::first(1);
    life.resume(b's', false);
    let it = &life.world.shards[0];
    let mut fold = it.begin_fold();
    let mut recovery = Recovery::new(DATA, 0);
    let mut last = Position::default();
    for (segment, bytes) in life.disks[0].segments() {
        let visit = &mut |at, record: Record<'_>| {
            last = at;
            fold.record(at, record).unwrap();
        };
        recovery.segment(segment, bytes, visit).unwrap();
    }
    let mut ended = |key: u64, flags| {
        let record = Record {
            kind: record::kind::ENDED,
            flags,
            lane: it.routes.placement.lane_number("s"),
            body: &key.to_le_bytes(),
        };
        fold.record(last, record)
    };
    ended(1, record::FIRST).unwrap();
    ended(99, record::FIRST | record::LAST).unwrap();
    let no_turn = RecordError {
        at: last,
        problem: Problem::NoTurn,
    };
    assert_eq!(ended(1, record::LAST), Err(no_turn));
    let state = fold.finish();
    assert_eq!(state.sessions.len(), 1);
    assert_eq!(state.sessions[0].key, crate::session::SessionKey(1));
}

#[test]
fn a_publication_is_written_once_for_all_its_sessions() {
    let mut life = Life::first(1);
    for name in b'A'..=b'Z' {
        let link = life.resume(name, false);
        life.subscribe(link, b't', 1);
    }
    let publisher = life.resume(b'p', false);
    let mut packet = vec![0x32, 0xEF, 0x07, 0, 1, b't', 0, 1, 0];
    packet.resize(0x3EF + 3, 7);
    life.world.give(publisher, &packet);
    life.world.step(0, crate::shard::TurnStep::EndTurn);
    let durable = life.world.shards[0].durable.as_deref().unwrap();
    let bytes = durable.log.unwritten_bytes();
    // 26 sessions: 8 of each record, 8 of its key, 6 of what was sent.
    assert!((1_000..1_100 + 26 * 24).contains(&bytes), "{bytes}");
    life.settle();
    let before = life.sessions();
    for (name, image) in life.killed(0, 1).sessions() {
        assert_eq!(at_rest(image), at_rest(before[&name].clone()));
    }
}

/// Clients come and go and messages are queued and taken for as long as it takes to fill the log many times.
#[test]
fn the_log_is_cleaned_and_loses_nothing() {
    let mut life = Life::of(setup(1), Vec::new(), 16 << 10);
    let slack = 4 * u64::from(life.segment_bytes);
    let durable = life.world.shards[0].durable.as_deref_mut().unwrap();
    durable.ledger.cleaning.slack_bytes = slack;
    durable.ledger.cleaning.turn_bytes = 1 << 10;
    let quiet = life.resume(b'q', false);
    life.subscribe(quiet, b'q', 1);
    life.close(quiet);
    let publisher = life.resume(b'p', false);
    life.publish(publisher, 3, b'q', 1, 42);
    let link = life.resume(b's', false);
    life.subscribe(link, b't', 1);
    let mut most = 0;
    for round in 0..600_u16 {
        life.publish(publisher, 2, b't', 2, round as u8);
        let id = (round % 65_535 + 1).to_be_bytes();
        life.send(link, &[0x40, 2, id[0], id[1]]);
        most = most.max(life.disks[0].segments().count());
    }
    let first = life.disks[0].segments().next().unwrap().0;
    assert!(first > SegmentNumber(20), "{first:?}");
    // Four of slack, twice what is alive, which is little, two ahead, and what was not retired yet.
    assert!(most < 12, "{most} segments");
    let before = life.sessions();
    assert_eq!(before["q"].queue.len(), 1);
    let mut life = life.killed(0, 1);
    for (name, image) in life.sessions() {
        assert_eq!(at_rest(image), at_rest(before[&name].clone()));
    }
    let quiet = life.resume(b'q', true);
    assert_eq!(life.received(quiet), [0x32, 7, 0, 1, b'q', 0, 1, 0, 42]);
    life.subscribe(quiet, b'q', 0);
    assert_eq!(life.received(quiet), [0x31, 5, 0, 1, b'q', 0, 42]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Connect(u8, u8, bool),
    Close(u8),
    Disconnect(u8, u8),
    Subscribe(u8, u8, u8),
    Unsubscribe(u8, u8),
    Publish(u8, u8, u8, bool),
    Acknowledge(u8, u8, u8),
    Release(u8, u8),
    Wait,
    Kill(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let (client, topic, qos) = (0..4_u8, 0..4_u8, 0..3_u8);
    prop_oneof![
        3 => (client.clone(), 0..3_u8, prop::bool::weighted(0.2))
            .prop_map(|(client, expiry, clean)| Step::Connect(client, expiry, clean)),
        2 => client.clone().prop_map(Step::Close),
        1 => (client.clone(), 0..3_u8).prop_map(|(client, expiry)| Step::Disconnect(client, expiry)),
        3 => (client.clone(), topic.clone(), qos.clone())
            .prop_map(|(client, topic, qos)| Step::Subscribe(client, topic, qos)),
        1 => (client.clone(), topic.clone())
            .prop_map(|(client, topic)| Step::Unsubscribe(client, topic)),
        8 => (client.clone(), topic, qos, any::<bool>())
            .prop_map(|(client, topic, qos, retain)| Step::Publish(client, topic, qos, retain)),
        4 => (client.clone(), 4..8_u8, 1..6_u8)
            .prop_map(|(client, kind, id)| Step::Acknowledge(client, kind, id)),
        2 => (client, 1..4_u8).prop_map(|(client, id)| Step::Release(client, id)),
        1 => Just(Step::Wait),
        1 => (1..4_u16).prop_map(Step::Kill),
    ]
}

/// Filter of a topic of the steps: two of them are shared.
fn filter(topic: u8) -> Vec<u8> {
    match topic {
        0 | 1 => vec![b't' + topic],
        _ => [b"$share/g/".as_slice(), &[b't' + topic - 2]].concat(),
    }
}

fn run(life: &mut Life, links: &mut [Option<usize>; 4], step: Step) {
    let link_of = |links: &[Option<usize>; 4], client: u8| links[usize::from(client)];
    match step {
        Step::Connect(client, expiry, is_clean) => {
            let will: (u8, &[u8]) = match expiry {
                1 => (WILL, DELAYED),
                _ => (0, &[]),
            };
            let flags = will.0 | u8::from(is_clean) << 1;
            let link = life.connect(b'a' + client, expiry * 50, flags, will.1);
            links[usize::from(client)] = Some(link);
        }
        Step::Close(client) => {
            if let Some(link) = links[usize::from(client)].take() {
                life.close(link);
            }
        }
        Step::Disconnect(client, expiry) => {
            if let Some(link) = links[usize::from(client)].take() {
                life.send(link, &[0xE0, 7, 0, 5, 0x11, 0, 0, 0, expiry * 50]);
            }
        }
        Step::Subscribe(client, topic, qos) => {
            if let Some(link) = link_of(links, client) {
                let filter = filter(topic);
                let mut packet = vec![0x82, 6 + filter.len() as u8, 0, 1, 0, 0];
                packet.push(filter.len() as u8);
                packet.extend_from_slice(&filter);
                packet.push(qos);
                life.send(link, &packet);
            }
        }
        Step::Unsubscribe(client, topic) => {
            if let Some(link) = link_of(links, client) {
                let filter = filter(topic);
                let mut packet = vec![0xA2, 5 + filter.len() as u8, 0, 1, 0, 0];
                packet.push(filter.len() as u8);
                packet.extend_from_slice(&filter);
                life.send(link, &packet);
            }
        }
        Step::Publish(client, topic, qos, is_retained) => {
            if let Some(link) = link_of(links, client) {
                let topic = b't' + topic % 2;
                let flags = qos << 1 | u8::from(is_retained);
                life.publish(link, flags, topic, 1 + client, qos);
            }
        }
        Step::Acknowledge(client, kind, id) => {
            if let Some(link) = link_of(links, client) {
                let flags = if kind == 6 { 2 } else { 0 };
                life.send(link, &[kind << 4 | flags, 2, 0, id]);
            }
        }
        Step::Release(client, id) => {
            if let Some(link) = link_of(links, client) {
                life.send(link, &[0x62, 2, 0, id]);
            }
        }
        Step::Wait => {
            life.world.wait(Span::from_millis(2_000));
            life.settle();
        }
        Step::Kill(_) => {}
    }
}

/// All of it is there after the process has ended, but what ends with a connection.
fn kill_and_compare(life: Life, shards: u16) -> Life {
    let before = life.sessions();
    let kept = |life: &Life| {
        let shards = life.world.shards.iter();
        shards.map(Shard::retained_messages).sum::<usize>()
    };
    let retained = kept(&life);
    // The fold is compared before anything ends, in an empty shard each.
    let mut world = World::calm(setup(1));
    let clocks = world.clocks();
    world.shards[0].handle_clocks(clocks);
    let mut found = BTreeMap::new();
    for (number, disk) in life.disks.iter().enumerate() {
        for kept in read(&world.shards[0], disk, number).1.sessions {
            assert_eq!(
                found.insert(Rc::clone(&kept.image.client_id), kept.image),
                None
            );
        }
    }
    for (name, image) in before {
        if image.expiry_interval_s > 0 {
            let kept = found.remove(&name).expect("it is in the log");
            assert_eq!(kept.expires_at.is_some(), image.expires_at.is_some());
            assert_eq!(at_rest(kept), at_rest(image));
        } else if image.will.is_some() {
            assert_eq!(found.remove(&name).map(|kept| kept.will), Some(image.will));
        }
    }
    assert_eq!(found, BTreeMap::new(), "nothing else is in it");
    let life = life.killed(10, shards);
    assert_eq!(kept(&life), retained);
    life
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn shards_continue_where_they_were_killed(
        shards in 1..4_u16,
        steps in vec(step(), 0..60),
    ) {
        let mut life = Life::first(shards);
        let mut links = [None; 4];
        for step in steps {
            if let Step::Kill(shards) = step {
                life = kill_and_compare(life, shards);
                links = [None; 4];
            }
            run(&mut life, &mut links, step);
        }
        kill_and_compare(life, 1);
    }
}
