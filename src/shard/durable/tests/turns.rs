//! Records of a turn, and the log as it is cleaned.

use super::*;

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
            kind: kind::ENDED,
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

/// A publication waits for the disk of another shard for so long that the log which holds it is cleaned many times.
fn held_over_cleaning() -> Vec<u8> {
    let mut life = Life::of(setup(2), Vec::new(), 16 << 10);
    let home = |life: &Life, name: u8| {
        let name = char::from(name).to_string();
        life.world.shards[0].routes.placement.home(&name).index()
    };
    let at = |life: &Life, shard, not| {
        let mut names = (b'a'..=b'z').filter(|name| *name != not && *name != b't');
        names
            .find(|name| home(life, *name) == shard)
            .expect("a name")
    };
    let (near, far) = (at(&life, 0, 0), at(&life, 1, 0));
    let publisher = at(&life, 0, near);
    let durable = life.world.shards[0].durable.as_deref_mut().unwrap();
    durable.ledger.cleaning.slack_bytes = 64 << 10;
    durable.ledger.cleaning.turn_bytes = 1 << 10;
    let link = life.resume(far, false);
    life.subscribe(link, b't', 2);
    life.close(link);
    let link = life.resume(near, false);
    life.subscribe(link, b'u', 1);
    let publisher = life.resume(publisher, false);
    life.stalled = Some(1);
    life.publish(publisher, 4, b't', 1, 42);
    for round in 0..600_u16 {
        life.publish(publisher, 2, b'u', 2, 0);
        let id = (round % 65_535 + 1).to_be_bytes();
        life.send(link, &[0x40, 2, id[0], id[1]]);
    }
    let first = life.disks[0].segments().next().unwrap().0;
    assert!(first > SegmentNumber(20), "{first:?}");
    let mut life = life.killed(0, 2);
    let link = life.resume(far, true);
    life.received(link)
}

#[test]
fn what_is_held_outlives_the_cleaning_of_its_segment() {
    assert_eq!(held_over_cleaning(), [0x34, 7, 0, 1, b't', 0, 1, 0, 42]);
    crate::mutant::switch(Some(Mutant::CleaningForgetsHeld));
    let forgotten = held_over_cleaning();
    crate::mutant::switch(None);
    assert_eq!(forgotten, b"");
}
