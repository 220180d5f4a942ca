//! Space of a log: how much of the disk it takes, and how much a turn writes to keep it so.

use super::*;

const SMALL: u32 = 16 << 10;
/// A log is not cleaned.
const NEVER: u64 = 1 << 40;

/// So many messages wait for `q`, whose client is away.
fn life(memory: u64, waiting: u8, cleaning: Option<(u64, usize)>) -> (Life, usize) {
    let mut setup = setup(1);
    setup.limits.queue_memory = memory;
    let mut life = Life::cleaned(setup, Vec::new(), SMALL, cleaning);
    let link = life.resume(b'q', false);
    life.subscribe(link, b'q', 1);
    life.close(link);
    let publisher = life.resume(b'p', false);
    for n in 0..waiting {
        life.publish(publisher, 2, b'q', 1, n);
    }
    (life, publisher)
}

/// One message that is published and acknowledged.
fn pass_one(life: &mut Life, publisher: usize, subscriber: usize, round: u16) {
    life.publish(publisher, 2, b't', 2, round as u8);
    let id = (round + 1).to_be_bytes();
    life.send(subscriber, &[0x40, 2, id[0], id[1]]);
}

fn waits_for(life: &mut Life, name: u8) -> Vec<u8> {
    let link = life.resume(name, true);
    let received = life.received(link);
    received.chunks(9).map(|packet| packet[8]).collect()
}

/// The oldest segment that the log has of what waits for a session, and the one of its image.
fn places_of(life: &Life, name: &str) -> (SegmentNumber, SegmentNumber) {
    let shard = &life.world.shards[0];
    let id = shard.clients.by_client_id[name];
    let session = &shard.clients.session(id).session;
    let places = session.stored().map(|one| one.place().segment);
    let ledger = &shard.durable.as_deref().unwrap().ledger;
    let kept = ledger.sessions.values().find(|kept| kept.session == id);
    let image = kept.unwrap().segment.unwrap();
    (SegmentNumber(places.min().unwrap()), image)
}

#[test]
fn a_log_takes_twice_what_is_alive_and_a_segment() {
    for waiting in [0, 250] {
        let (mut life, publisher) = life(0, waiting, None);
        let subscriber = life.resume(b's', false);
        life.subscribe(subscriber, b't', 1);
        let mut alive = 0;
        for round in 0..200 {
            pass_one(&mut life, publisher, subscriber, round);
            let durable = life.world.shards[0].durable.as_deref_mut().unwrap();
            alive = alive.max(durable.alive(0));
            // Those ahead, the one that is written, the one more, and one whose end is not on the disk yet.
            let segments = life.disks[0].segments().count() as u64;
            let most = 2 * alive / u64::from(SMALL) + u64::from(SEGMENTS_AHEAD) + 3;
            assert!(segments <= most, "{segments} segments, {alive} bytes");
        }
        assert_eq!(waits_for(&mut life, b'q').len(), usize::from(waiting));
    }
}

/// A session ends for which most of the log was kept, and no client writes anything more.
#[test]
fn space_is_given_back_though_nothing_changes() {
    for memory in [0, 1 << 30] {
        // A frame of one turn, whose end is padded, is mostly full.
        let (mut life, publisher) = life(memory, 0, Some((0, 4 << 10)));
        let link = life.resume(b'r', false);
        life.subscribe(link, b'r', 1);
        life.close(link);
        for n in 0..250 {
            life.publish(publisher, 2, b'r', 1, n);
            life.publish(publisher, 2, b'r', 1, n);
            life.publish(publisher, 2, b'r', 1, n);
            life.publish(publisher, 2, b'q', 1, n);
        }
        let before = life.disks[0].segments().count();
        let ends = life.connect(b'r', 0, 2, &[]); // clean start, and it ends with its connection
        life.close(ends);
        let durable = life.world.shards[0].durable.as_deref_mut().unwrap();
        let most = 2 * durable.alive(0) / u64::from(SMALL) + u64::from(SEGMENTS_AHEAD) + 3;
        let after = life.disks[0].segments().count();
        assert!(
            after as u64 <= most,
            "{after} of {before} segments, not {most}"
        );
        assert!(after < before, "{after} of {before} segments");
        let clients = &life.world.shards[0].clients;
        let session = &clients.session(clients.by_client_id["q"]).session;
        assert!(
            memory > 0 || session.queue.here_bytes() == 0,
            "moved by memory"
        );
        // What it was, and in its order.
        let mut life = Life::of(setup(1), life.disks, SMALL);
        let sent: Vec<u8> = (0..250).collect();
        assert_eq!(waits_for(&mut life, b'q'), sent);
    }
}

#[test]
fn what_waits_takes_no_more_memory_than_it_may() {
    const MEMORY: usize = 2 << 10;
    let (mut life, publisher) = life(MEMORY as u64, 0, Some((NEVER, 0)));
    let mut most = 0;
    for n in 0..100 {
        life.publish(publisher, 2, b'q', 1, n);
        let clients = &life.world.shards[0].clients;
        let session = &clients.session(clients.by_client_id["q"]).session;
        most = most.max(session.queue.here_bytes());
        assert!(most <= MEMORY, "{most} bytes");
    }
    assert!(most > MEMORY / 2, "{most} bytes");
    assert_eq!(waits_for(&mut life, b'q').len(), 100);
}

/// There is memory for all of it, but an image would be larger than what a turn may write.
#[test]
fn what_waits_leaves_memory_before_a_large_image_is_written() {
    let (mut life, publisher) = life(1 << 30, 200, Some((NEVER, 0)));
    life.world.shards[0].set_cleaning(0, 4 << 10);
    let subscriber = life.resume(b's', false);
    life.subscribe(subscriber, b't', 1);
    let mut least = usize::MAX;
    for round in 0..60 {
        pass_one(&mut life, publisher, subscriber, round);
        let clients = &life.world.shards[0].clients;
        let session = &clients.session(clients.by_client_id["q"]).session;
        // Those that were read to be moved are there again.
        least = least.min(session.queue.here_bytes());
        assert_eq!(
            (session.queue.len(), session.queue.bytes() > 20_000),
            (200, true)
        );
    }
    assert!(least < 8 << 10, "{least} bytes");
    let sent: Vec<u8> = (0..200).collect();
    assert_eq!(waits_for(&mut life, b'q'), sent);
}

fn uncleaned(disks: Vec<Disk>) -> Life {
    Life::cleaned(setup(1), disks, SMALL, Some((NEVER, 0)))
}

/// A repair gives up the beginning of a log, in which messages lie whose session is known behind it.
#[test]
fn messages_in_a_part_that_a_repair_gave_up_are_dropped() {
    let (life, _) = life(0, 100, Some((NEVER, 0)));
    // A queue that may be shorter than it was is written anew, and most of what waits stays where it was.
    let mut setup = setup(1);
    setup.limits.queue_messages_max = 90;
    setup.limits.queue_memory = 0;
    let mut life = Life::cleaned(setup, life.disks, SMALL, Some((NEVER, 0)));
    let (oldest, first) = places_of(&life, "q");
    assert!(first > oldest, "{first:?} {oldest:?}");
    // Two messages behind that are kept.
    let publisher = life.resume(b'p', true);
    life.publish(publisher, 2, b'q', 1, 100);
    life.publish(publisher, 2, b'q', 1, 101);
    let shard = &life.world.shards[0];
    let session = &shard
        .clients
        .session(shard.clients.by_client_id["q"])
        .session;
    let places = session.stored().map(|one| one.place().segment);
    assert_eq!(places.filter(|segment| *segment >= first.0).count(), 2);
    let kept = life.disks[0].segments().map(|(number, _)| number);
    let kept: Vec<_> = kept.filter(|number| *number >= first).collect();
    life.disks[0].retain(&kept);
    let mut life = uncleaned(life.disks);
    let link = life.resume(b'q', true);
    let received = life.received(link);
    let of = |n: u8, id: u8, dup: u8| [0x32 | dup, 7, 0, 1, b'q', 0, id, 0, n];
    assert_eq!(received, [of(100, 1, 0), of(101, 2, 0)].concat());
    life.send(link, &[0x40, 2, 0, 1]);
    // What the first start has written is all that the second one needs to know.
    let mut life = uncleaned(life.disks);
    let link = life.resume(b'q', true);
    assert_eq!(life.received(link), of(101, 2, 8));
}

/// Logs of another number of shards are taken over in turns of a bounded size.
#[test]
fn what_other_logs_held_is_written_a_piece_at_a_time() {
    let (mut life, publisher) = life(1 << 30, 100, None);
    let names = b"abcdefghijklmno";
    for name in names {
        let link = life.resume(*name, false);
        life.subscribe(link, b'q', 1);
        life.close(link);
    }
    for n in 100..200 {
        life.publish(publisher, 2, b'q', 1, n);
    }
    let whole = life
        .sessions()
        .into_iter()
        .map(|(id, it)| (id, at_rest(it)));
    let whole: BTreeMap<_, _> = whole.collect();
    let fold = || life.world.shards[0].begin_fold_of_former(ShardId(0));
    let states = life.disks.iter().map(|disk| read(fold(), disk, 0).1);
    let state = KeptState::of_several(states.collect::<Vec<_>>());
    let mut next = Life::of(setup(1), Vec::new(), SEGMENT_BYTES);
    next.formers = life.disks;
    let shard = &mut next.world.shards[0];
    shard.set_cleaning(0, 1 << 10);
    shard.restore(state, next.world.now);
    let mut turns = 0;
    while !next.world.shards[0].is_committed() {
        next.world.shards[0].end_turn(next.world.now);
        while next.read_back(0) {}
        let unwritten = next.world.shards[0].durable.as_deref().unwrap();
        assert!(
            unwritten.log.unwritten_bytes() < 16 << 10,
            "a turn writes too much"
        );
        while next.write(0) {}
        turns += 1;
    }
    assert!(turns > 10, "{turns} turns");
    let next = next.killed(0, 1);
    let found = next
        .sessions()
        .into_iter()
        .map(|(id, it)| (id, at_rest(it)));
    assert!(found.collect::<BTreeMap<_, _>>().keys().eq(whole.keys()));
    for (id, image) in next.sessions() {
        assert_eq!(at_rest(image).queue, whole[&id].queue, "{id}");
    }
}
