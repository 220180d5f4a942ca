//! Messages that wait on the disk alone.

use super::*;

/// Everything that waits is on the disk alone.
fn life(segment_bytes: u32) -> Life {
    let mut setup = setup(1);
    setup.limits.queue_memory = 0;
    Life::of(setup, Vec::new(), segment_bytes)
}

fn here_bytes(life: &Life, name: &str) -> usize {
    let clients = &life.world.shards[0].clients;
    let session = &clients.session(clients.by_client_id[name]).session;
    session.queue.here_bytes() + session.window.here_bytes()
}

#[test]
fn what_waits_for_a_client_is_read_when_it_returns() {
    let mut life = life(SEGMENT_BYTES);
    let link = life.resume(b's', false);
    life.subscribe(link, b't', 1);
    life.close(link);
    let publisher = life.resume(b'p', false);
    for n in 1..=20 {
        life.publish(publisher, 2, b't', n, n);
    }
    assert_eq!(here_bytes(&life, "s"), 0);
    assert_eq!(life.sessions()["s"].queue.len(), 20);
    let link = life.resume(b's', true);
    let sent = |dup: u8| (1..=20).flat_map(move |n| [0x32 | dup, 7, 0, 1, b't', 0, n, 0, n]);
    assert_eq!(life.received(link), sent(0).collect::<Vec<u8>>());
    // Nothing is acknowledged: it is in flight, and on the disk alone while its client is away again.
    life.close(link);
    life.publish(publisher, 2, b't', 21, 21);
    assert_eq!(here_bytes(&life, "s"), 0);
    let link = life.resume(b's', true);
    let then = [0x32, 7, 0, 1, b't', 0, 21, 0, 21];
    assert_eq!(
        life.received(link),
        sent(8).chain(then).collect::<Vec<u8>>()
    );
}

/// A message waits for so long that its segment is used again many times.
fn over_cleaning(is_killed: bool) -> Vec<u8> {
    let mut life = life(16 << 10);
    life.world.shards[0].set_cleaning(64 << 10, 1 << 10);
    let link = life.resume(b'q', false);
    life.subscribe(link, b'q', 1);
    life.close(link);
    let publisher = life.resume(b'p', false);
    life.publish(publisher, 2, b'q', 1, 42);
    life.publish(publisher, 2, b'q', 1, 43);
    let link = life.resume(b's', false);
    life.subscribe(link, b't', 1);
    for round in 0..600_u16 {
        life.publish(publisher, 2, b't', 2, round as u8);
        let id = (round + 1).to_be_bytes();
        life.send(link, &[0x40, 2, id[0], id[1]]);
    }
    let first = life.disks[0].segments().next().unwrap().0;
    assert!(first > SegmentNumber(20), "{first:?}");
    assert_eq!(here_bytes(&life, "q"), 0);
    if is_killed {
        life = life.killed(0, 1);
    }
    let link = life.resume(b'q', true);
    life.received(link)
}

#[test]
fn what_waits_outlives_the_cleaning_of_its_segment() {
    let sent = [42, 43].into_iter().zip(1..);
    let sent = sent.flat_map(|(n, id)| [0x32, 7, 0, 1, b'q', 0, id, 0, n]);
    let sent: Vec<u8> = sent.collect();
    assert_eq!(over_cleaning(false), sent);
    assert_eq!(over_cleaning(true), sent);
}

/// Logs of another number of shards are not kept: what is in them is read.
#[test]
fn what_waits_is_read_for_another_number_of_shards() {
    let mut life = life(SEGMENT_BYTES);
    let link = life.resume(b's', false);
    life.subscribe(link, b't', 1);
    life.close(link);
    let publisher = life.resume(b'p', false);
    life.publish(publisher, 2, b't', 1, 42);
    let mut life = life.killed(0, 3);
    let link = life.resume(b's', true);
    assert_eq!(life.received(link), [0x32, 7, 0, 1, b't', 0, 1, 0, 42]);
}

/// Sessions with so many messages of 1,000 bytes each, and their clients back before anything is read.
fn back_with(sessions: u8, messages: u8) -> Life {
    let mut life = life(SEGMENT_BYTES);
    for name in 0..sessions {
        let link = life.resume(b'A' + name, false);
        life.subscribe(link, b't', 1);
        life.close(link);
    }
    let publisher = life.resume(b'p', false);
    for n in 1..=messages {
        let mut packet = vec![0x32, 0xEE, 7, 0, 1, b't', 0, n, 0];
        packet.resize(3 + 1_006, n);
        life.send(publisher, &packet);
    }
    life.stalled = Some(0);
    for name in 0..sessions {
        life.connect(b'A' + name, 100, 0, &[]);
    }
    while life.write(0) {}
    life
}

fn reads(life: &mut Life) -> Vec<ReadBack> {
    std::iter::from_fn(|| life.world.shards[0].poll_read()).collect()
}

#[test]
fn few_reads_are_on_their_way_at_a_time() {
    let mut life = back_with(40, 1);
    let first = reads(&mut life);
    assert_eq!(first.len(), 32);
    let bytes = life.disks[0].segment(first[0].segment).unwrap();
    let from = first[0].offset as usize;
    let bytes = bytes[from..from + first[0].bytes as usize].to_vec();
    let now = life.world.now;
    let it = &mut life.world.shards[0];
    it.handle_read(first[0].id, &bytes, now).unwrap();
    assert_eq!(reads(&mut life).len(), 1);
}

#[test]
fn something_else_than_what_was_written_is_an_error() {
    let mut life = back_with(1, 2);
    let read = reads(&mut life)[0];
    let segment = life.disks[0].segment(read.segment).unwrap();
    let from = read.offset as usize;
    let right = segment[from..from + read.bytes as usize].to_vec();
    let mut changed = right.clone();
    *changed.last_mut().unwrap() ^= 1;
    for wrong in [Vec::new(), right[..100].to_vec(), changed] {
        let mut life = back_with(1, 2);
        let read = reads(&mut life)[0];
        let now = life.world.now;
        let handled = life.world.shards[0].handle_read(read.id, &wrong, now);
        assert!(handled.is_err(), "{} bytes", wrong.len());
    }
}

#[test]
fn a_session_that_ended_while_it_was_read_needs_nothing() {
    let mut life = back_with(1, 1);
    let read = reads(&mut life)[0];
    life.connect(b'A', 0, 2, &[]); // Clean Start
    let now = life.world.now;
    life.world.shards[0].handle_read(read.id, &[], now).unwrap();
}

/// A publication has its place before it is there.
#[test]
fn nothing_is_read_before_it_is_written() {
    let mut life = life(SEGMENT_BYTES);
    let link = life.resume(b's', false);
    life.subscribe(link, b't', 1);
    life.close(link);
    let publisher = life.resume(b'p', false);
    life.stalled = Some(0);
    life.publish(publisher, 2, b't', 1, 42);
    assert_eq!(here_bytes(&life, "s"), 0);
    let link = life.connect(b's', 100, 0, &[]);
    assert!(reads(&mut life).is_empty());
    life.stalled = None;
    life.settle();
    let received = life.received(link);
    assert!(
        received.ends_with(&[0x32, 7, 0, 1, b't', 0, 1, 0, 42]),
        "{received:x?}"
    );
}
