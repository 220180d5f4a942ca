//! Messages that wait in logs of another number of shards.

use super::*;

/// Ten messages wait for three sessions in the logs of two shards, and one more for each in a window.
fn waiting() -> Life {
    let mut life = Life::of(setup(2), Vec::new(), SEGMENT_BYTES);
    for name in [b'a', b'b', b'c'] {
        let link = life.resume(name, false);
        life.subscribe(link, b't', 2);
        if name == b'c' {
            life.publish(link, 2, b't', 1, 99); // it is not acknowledged
        }
        life.close(link);
    }
    let publisher = life.resume(b'p', false);
    for n in 1..=10 {
        life.publish(publisher, 2, b't', n, n);
    }
    life
}

fn here_bytes(life: &Life) -> usize {
    let shards = life.world.shards.iter();
    let sessions = shards.flat_map(|shard| {
        let clients = &shard.clients;
        let ids = clients.by_client_id.values();
        ids.map(|id| &clients.session(*id).session)
    });
    sessions
        .map(|session| session.queue.here_bytes() + session.window.here_bytes())
        .sum()
}

/// Shards that have read the logs of others, and have not begun to copy from them.
fn just_restored(life: Life, shards: u16) -> Life {
    let mut next = Life::of(setup(shards), Vec::new(), SEGMENT_BYTES);
    for shard in &mut next.world.shards {
        let disks = life.disks.iter().enumerate();
        let states = disks.map(|(of, disk)| {
            let fold = shard.begin_fold_of_former(ShardId(of as u16));
            read(fold, disk, of).1
        });
        let state = KeptState::of_several(states.collect::<Vec<_>>());
        shard.restore(state, next.world.now);
    }
    next.formers = life.disks;
    next
}

#[test]
fn with_another_number_of_shards_what_waits_stays_out_of_memory() {
    let mut life = waiting();
    for shards in [1, 3, 2, 4] {
        let before = life.sessions();
        let next = just_restored(life.killed(0, shards), shards + 1);
        assert_eq!(here_bytes(&next), 0);
        let mut next = next;
        next.settle();
        assert_eq!(here_bytes(&next), 0);
        assert!(next.world.shards.iter().all(Shard::is_committed));
        next.formers.clear();
        life = next.killed(0, shards + 1); // of what the new logs have
        let found = life.sessions();
        assert!(found.keys().eq(before.keys()));
        for (name, image) in found {
            let before = at_rest(before[&name].clone());
            let image = at_rest(image);
            assert_eq!((image.queue, image.window), (before.queue, before.window));
        }
    }
    let link = life.resume(b'a', true);
    let sent = (1..=10).flat_map(|n| [0x32, 7, 0, 1, b't', 0, n + 1, 0, n]);
    let received = life.received(link);
    assert_eq!(received.len(), 99);
    assert!(received[9..].iter().copied().eq(sent), "{received:x?}");
}

/// However many sessions of a shard wait for it.
#[test]
fn a_message_is_copied_once() {
    let mut next = just_restored(waiting(), 1);
    next.settle();
    let places = |name: &str| {
        let clients = &next.world.shards[0].clients;
        let session = &clients.session(clients.by_client_id[name]).session;
        let places: Vec<_> = session.stored().map(|one| one.place()).collect();
        places
    };
    let of_a = places("a");
    assert_eq!(of_a.len(), 11);
    // Those two were on one shard, or each message was in two logs before.
    let shared = |name| places(name).iter().filter(|one| of_a.contains(one)).count();
    assert!(
        shared("b") == 11 || shared("c") == 11 || places("b") == places("c"),
        "two of three are on one of two shards"
    );
}

#[test]
fn something_else_than_what_was_written_is_copied_nowhere() {
    for cut in [0, 20] {
        let mut next = just_restored(waiting(), 1);
        let now = next.world.now;
        let it = &mut next.world.shards[0];
        it.end_turn(now);
        let read = it.poll_read().expect("there is something to copy");
        let former = read.former.expect("it is in another log");
        assert!(it.poll_read().is_none(), "one piece at a time");
        let disk = &next.formers[usize::from(former)];
        let (from, bytes) = (read.offset as usize, read.bytes as usize);
        let mut found = disk.segment(read.segment).unwrap()[from..from + bytes].to_vec();
        *found.last_mut().unwrap() ^= 1; // between two of them may be something else
        found.truncate(bytes - cut);
        let error = it.handle_read(read.id, &found, now).unwrap_err();
        assert_eq!(error.former, Some(former));
    }
}

/// A process that ends before its logs count has changed nothing.
#[test]
fn nothing_counts_before_all_of_it_is_written() {
    let mut next = just_restored(waiting(), 3);
    for _ in 0..40 {
        let is_committed = |life: &Life, shard: usize| life.world.shards[shard].is_committed();
        for shard in 0..3 {
            let now = next.world.now;
            next.world.shards[shard].end_turn(now);
            let sessions = next.world.shards[shard].client_ids().count();
            let fold = next.world.shards[shard].begin_fold();
            let found = read(fold, &next.disks[shard], shard).1.sessions.len();
            if is_committed(&next, shard) {
                assert_eq!(found, sessions, "shard {shard}");
            }
            next.read_back(shard);
            next.write(shard);
        }
    }
    assert!(next.world.shards.iter().all(Shard::is_committed));
}
