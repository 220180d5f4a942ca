//! Messages of shared groups that wait on the disk alone, and what becomes of them when their member leaves.

use super::*;

const COUNT: u8 = 20;

/// Everything that waits is on the disk alone.
fn life(shards: u16) -> Life {
    let mut setup = setup(shards);
    setup.limits.queue_memory = 0;
    Life::of(setup, Vec::new(), SEGMENT_BYTES)
}

/// `$share/g/t` at QoS 1.
fn join(life: &mut Life, link: usize) {
    let filter = b"$share/g/t";
    let mut packet = vec![0x82, 16, 0, 1, 0, 0, filter.len() as u8];
    packet.extend_from_slice(filter);
    packet.push(1);
    life.send(link, &packet);
    let received = life.received(link);
    assert_eq!(received[..6], [0x90, 4, 0, 1, 0, 1]);
}

fn publish_all(life: &mut Life) {
    let publisher = life.resume(b'p', false);
    for n in 1..=COUNT {
        life.publish(publisher, 2, b't', n, n);
    }
    life.close(publisher);
}

/// Payloads of the packets of QoS 1 that a client was sent, with its answers to them.
fn taken(life: &mut Life, link: usize) -> Vec<u8> {
    let received = life.received(link);
    let mut payloads = Vec::new();
    let mut rest = received.as_slice();
    while let [first, length, body @ ..] = rest {
        let (body, behind) = body.split_at(usize::from(*length));
        if first & 0xF0 == 0x30 {
            payloads.push(*body.last().unwrap());
            life.send(link, &[0x40, 2, body[3], body[4]]);
        }
        rest = behind;
    }
    payloads
}

fn here_bytes(life: &Life) -> usize {
    let shards = life.world.shards.iter();
    shards
        .map(|shard| {
            let ids = shard.clients.sessions.ids().into_iter();
            let sessions = ids.map(|id| &shard.clients.session(id).session);
            sessions
                .map(|session| session.queue.here_bytes() + session.window.here_bytes())
                .sum::<usize>()
        })
        .sum()
}

/// A client on the same shard as `d`, which is the first, or on another one.
fn other_member(life: &Life, is_near: bool) -> u8 {
    let placement = &life.world.shards[0].routes.placement;
    let home = |name: u8| placement.home(std::str::from_utf8(&[name]).unwrap()).0;
    assert_eq!(home(b'd'), 0);
    let is_it = |name: &u8| (home(*name) == 0) == is_near && *name != b'd' && *name != b'p';
    (b'a'..=b'z').find(is_it).unwrap()
}

/// `d` is a member and away, with all messages, which are on the disk alone.
fn with_messages(shards: u16) -> Life {
    let mut life = life(shards);
    let link = life.resume(b'd', false);
    join(&mut life, link);
    life.close(link);
    publish_all(&mut life);
    assert_eq!(here_bytes(&life), 0);
    life
}

fn all() -> Vec<u8> {
    (1..=COUNT).collect()
}

/// How `d` gives up what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Its session ends.
    Ends,
    /// It leaves the group.
    Unsubscribes,
    /// It comes, and leaves before it has been sent anything.
    Closes,
}

const WAYS: [Way; 3] = [Way::Ends, Way::Unsubscribes, Way::Closes];

/// Another client joins, and is there or away, while `d` gives up what it has. Nothing of that is read or written yet.
fn give_up(life: &mut Life, way: Way, other: u8, is_away: bool) -> usize {
    let link = life.resume(other, false);
    join(life, link);
    if is_away {
        life.close(link);
    }
    life.stalled = Some(0);
    match way {
        Way::Ends => drop(life.connect(b'd', 0, 2, &[])), // Clean Start
        Way::Unsubscribes => {
            let link = life.connect(b'd', 100, 0, &[]);
            life.send(link, b"\xA2\x0F\0\x02\0\0\x0A$share/g/t");
        }
        Way::Closes => {
            let link = life.connect(b'd', 100, 0, &[]);
            life.close(link);
        }
    }
    assert_eq!(estates(life), 1, "{way:?}");
    link
}

fn go_on(life: &mut Life) {
    life.stalled = None;
    life.settle();
    assert_eq!(estates(life), 0);
}

fn estates(life: &Life) -> usize {
    let shards = life.world.shards.iter();
    let durable = shards.filter_map(|shard| shard.durable.as_deref());
    durable.map(|durable| durable.estates.len()).sum()
}

fn dropped(life: &Life) -> u64 {
    let shards = life.world.shards.iter();
    shards.map(|shard| shard.stats().dropped_no_member).sum()
}

#[test]
fn what_waits_for_a_group_is_read_when_its_member_returns() {
    for shards in [1, 2] {
        for is_killed in [false, true] {
            let mut life = with_messages(shards);
            if is_killed {
                // Cleaning would read some of it.
                let never = Some((1 << 40, 0));
                life = Life::cleaned(setup(shards), life.disks, life.segment_bytes, never);
                assert_eq!(here_bytes(&life), 0);
            }
            let link = life.resume(b'd', true);
            assert_eq!(taken(&mut life, link), all(), "{shards}, {is_killed}");
        }
    }
}

#[test]
fn what_a_member_leaves_on_the_disk_is_handed_on() {
    for (shards, is_near) in [(1, true), (2, true), (2, false)] {
        for way in WAYS {
            // To a member that is away one hands on at its own end alone, or when it leaves the group.
            for is_away in [false, way != Way::Closes] {
                let case = format!("{shards} shards, near: {is_near}, {way:?}, away: {is_away}");
                let mut life = with_messages(shards);
                let other = other_member(&life, is_near);
                let mut link = give_up(&mut life, way, other, is_away);
                let sessions: usize = life.world.shards.iter().map(Shard::sessions).sum();
                assert_eq!(sessions, 3, "it is nobody's session: {case}");
                go_on(&mut life);
                if is_away {
                    assert_eq!(here_bytes(&life), 0, "{case}");
                    link = life.resume(other, true);
                }
                assert_eq!(taken(&mut life, link), all(), "{case}");
            }
        }
    }
}

/// The process ends after so many reads and writes since they were given up.
fn killed_while_handing_on(is_near: bool, steps: usize, shards: u16) -> (usize, Vec<u8>) {
    let mut life = with_messages(2);
    let other = other_member(&life, is_near);
    give_up(&mut life, Way::Ends, other, true);
    let mut done = 0;
    while done < steps {
        let steps = [Life::write, Life::write, Life::read_back];
        let mut steps = steps.iter().zip([0, 1, 0]);
        let found = steps.find(|(step, shard)| step(&mut life, *shard));
        life.world.settle();
        if found.is_none() {
            break;
        }
        done += 1;
    }
    let mut life = life.killed(0, shards);
    assert_eq!(estates(&life), 0, "all is handed on");
    let link = life.resume(other, true);
    (done, taken(&mut life, link))
}

#[test]
fn what_a_member_leaves_outlives_a_kill_at_any_step() {
    for is_near in [true, false] {
        for shards in [1, 2, 3] {
            for steps in 0.. {
                let (done, mut got) = killed_while_handing_on(is_near, steps, shards);
                if shards != 2 {
                    got.sort_unstable(); // what is held for shards then comes after what was not read yet
                }
                // Before the first write the log does not know that it has been given up.
                let is_known = done > 0;
                let expected = if is_known { all() } else { Vec::new() };
                assert_eq!(
                    got, expected,
                    "{steps} steps, then {shards} shards, near: {is_near}"
                );
                if done < steps {
                    assert!(done > 3, "{done} steps are all");
                    break;
                }
            }
        }
    }
}

#[test]
fn what_is_left_and_nobody_can_take_is_dropped_and_counted() {
    let mut life = with_messages(1);
    let other = other_member(&life, true);
    let link = give_up(&mut life, Way::Ends, other, false);
    life.send(link, b"\xA2\x0F\0\x02\0\0\x0A$share/g/t");
    go_on(&mut life);
    assert_eq!(taken(&mut life, link), b"");
    assert_eq!(dropped(&life), u64::from(COUNT));
    let life = life.killed(0, 1);
    assert_eq!((estates(&life), dropped(&life)), (0, 0));
}
