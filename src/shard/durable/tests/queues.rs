//! Sessions and their queues over a kill.

use super::*;

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
