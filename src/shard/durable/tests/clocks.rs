//! Wall clocks that are set while the process runs.

use super::*;

const HOUR_MS: u64 = 3_600_000;

/// A session whose client leaves after the clock was set is there at the next start, and ends in its time.
#[test]
fn a_clock_that_was_set_ends_no_session_and_prolongs_none() {
    for shards in [1, 2] {
        let mut life = Life::first(1);
        let link = life.resume(b's', false);
        life.subscribe(link, b't', 1);
        let wall = life.world.clocks().wall;
        life.world.set_wall(WallTime(wall.0 - HOUR_MS));
        life.close(link);
        let mut life = life.killed(1_000, shards);
        life.world.wait(Span::from_secs(90));
        let link = life.resume(b's', true);
        life.close(link);
        let mut life = life.killed(1_000, shards);
        life.world.wait(Span::from_secs(101));
        life.resume(b's', false);
    }
}

/// Messages expire as long after they came as they say, by a clock that was set back between two processes.
#[test]
fn a_message_expires_in_its_time() {
    let mut life = Life::first(1);
    let link = life.resume(b's', false);
    life.subscribe(link, b't', 1);
    life.close(link);
    let publisher = life.resume(b'p', false);
    for (id, expiry_s) in [(1, 10), (2, 90)] {
        let expiry = [2, 0, 0, 0, expiry_s];
        let packet = [&[0x32, 12, 0, 1, b't', 0, id, 5][..], &expiry, &[id]].concat();
        life.send(publisher, &packet);
    }
    let wall = life.world.clocks().wall;
    life.world.set_wall(WallTime(wall.0 - HOUR_MS));
    let mut life = life.killed(1_000, 1);
    life.world.wait(Span::from_secs(20));
    let link = life.resume(b's', true);
    let received = life.received(link);
    assert_eq!(received.last(), Some(&2), "{received:x?}");
    let left_s = received[received.len() - 2];
    assert!((69..=70).contains(&left_s), "{received:x?}");
}
