//! Notices of a shard for the log, seen from outside.

use super::*;
use crate::testing::{connect_packet, World, V311, V5};

/// Notices since the last call, as `seconds client-id: text`; closes what is to close.
fn told(broker: &mut World, lines: &mut Vec<String>) {
    while let Some(action) = broker.shards[0].poll_action() {
        match action {
            Action::Notice(notice) => {
                let second = broker.now.since(Time::ZERO).as_secs();
                let id = notice.client_id.as_deref().unwrap_or("-");
                lines.push(format!("{second} {id}: {}", notice.text));
            }
            Action::Close(id) | Action::Abort(id) => {
                let now = broker.now;
                broker.shards[0].handle_closed(id, CloseCause::Asked, now);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A session that outlives its connection, disconnected, with its queue of one message full.
fn with_absent_session(set: impl FnOnce(&mut Limits)) -> World {
    let mut broker = World::of_one_shard(|limits| {
        limits.queue_messages_max = 1;
        set(limits);
    });
    let id = broker.open_here().unwrap();
    let mut kept = connect_packet(V311, b'k');
    kept[9] = 0; // not a clean session
    broker.give_here(id, &kept);
    broker.give_here(id, &[0x82, 6, 0, 1, 0, 1, b't', 1]);
    broker.take(id);
    let now = broker.now;
    broker.shards[0].handle_closed(id, CloseCause::EndOfStream, now);
    broker
}

#[test]
fn a_client_that_is_away_costs_a_line_a_minute_and_hides_nobody() {
    let mut broker = with_absent_session(|_| {});
    let mut lines = Vec::new();
    let (publisher, _) = broker.connect(V311, b'p');
    told(&mut broker, &mut lines);
    assert_eq!(lines, [""; 0]);
    for n in 0..200u8 {
        broker.give_here(publisher, &[0x32, 6, 0, 1, b't', 0, n + 1, n]);
        if n == 100 {
            // Meanwhile others are refused.
            for name in *b"xyz" {
                let id = broker.open_here().unwrap();
                let mut with_will_qos_3 = connect_packet(V311, name);
                with_will_qos_3[9] = 0x1E;
                broker.give_here(id, &with_will_qos_3);
            }
        }
        broker.wait_here(1_000);
        told(&mut broker, &mut lines);
    }
    broker.wait_here(120_000);
    told(&mut broker, &mut lines);
    const FULL: &str =
        "k: messages dropped: the session's queue is full, queue-messages-max (1) wait";
    let full: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("queue is full"))
        .collect();
    assert_eq!(full[0], &format!("3 {FULL}"));
    assert!(full[1].contains(" more since the last line, "), "{full:?}");
    let last = format!("{FULL}: no more of it for a minute, 199 in all");
    assert!(full.last().unwrap().ends_with(&last), "{full:?}");
    assert!(full.len() <= 6, "{full:?}");
    let refused = lines
        .iter()
        .filter(|line| line.contains("connection refused"));
    assert_eq!(refused.count(), 3, "{lines:?}");
}

#[test]
fn takeovers_name_the_client_and_both_addresses_and_are_counted() {
    let mut broker = World::of_one_shard(|_| {});
    let mut lines = Vec::new();
    for _ in 0..100 {
        broker.connect(V311, b'c');
        broker.wait_here(100);
        told(&mut broker, &mut lines);
    }
    broker.wait_here(200_000);
    told(&mut broker, &mut lines);
    const TAKEN: &str =
        "c: session taken over: the connection from 127.0.0.1:50000 ends because a client with \
                         the same id has connected";
    let expected = [
        format!("1 {TAKEN}"),
        format!("61 {TAKEN}: 98 more since the last line, 99 in all"),
        format!("121 {TAKEN}: no more of it for a minute, 99 in all"),
    ];
    let takeovers: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("taken over"))
        .collect();
    assert_eq!(takeovers.len(), expected.len(), "{lines:?}");
    for (line, expected) in takeovers.iter().zip(&expected) {
        let text = |line: &str| line.split_once(' ').map(|(_, text)| text.to_owned());
        assert_eq!(text(line), text(expected));
    }
}

#[test]
fn connections_are_told_of_only_to_those_who_ask() {
    for asked in [false, true] {
        let mut broker = World::of_one_shard(|_| {});
        if asked {
            broker.shards[0].trace_connections();
        }
        let mut lines = Vec::new();
        let (id, _) = broker.connect(V5, b'c');
        broker.wait_here(1_500);
        broker.give_here(id, &[0xE0, 0]);
        told(&mut broker, &mut lines);
        let gone = broker.connect(V311, b'd').0;
        let now = broker.now;
        broker.shards[0].handle_closed(gone, CloseCause::EndOfStream, now);
        told(&mut broker, &mut lines);
        let expected = [
            "2 c: CONNECT accepted: MQTT 5.0, no user, keep alive 4 s, the session is new",
            "2 c: connection closed: DISCONNECT of the client; after 1.500 s, 18 bytes received, \
             16 bytes sent",
            "2 d: CONNECT accepted: MQTT 3.1.1, no user, keep alive 4 s, the session is new",
            "2 d: connection closed: the client closed it without DISCONNECT; after 0.000 s, 15 bytes \
             received, 4 bytes sent",
        ];
        assert_eq!(lines, if asked { &expected[..] } else { &[] });
    }
}

/// What, how much, how much there may be, and which option says so.
#[test]
fn what_is_too_large_or_too_many_is_said_with_numbers_and_option() {
    let set = |limits: &mut Limits| {
        limits.packet_size_max = 300;
        limits.topic_levels_max = 3;
        limits.subscriptions_max = 1;
        limits.client_id_bytes_max = 4;
        limits.receive_maximum = 1;
    };
    let rows: [(u8, &[u8], &str); 6] = [
        (
            V5,
            &[0x30, 0x80, 0x10],
            "disconnected: the packet has 2051 bytes, more than the 300 of packet-size-max",
        ),
        (
            V5,
            &[0x30, 10, 0, 7, b'a', b'/', b'b', b'/', b'c', b'/', b'd', 0],
            "disconnected: the topic has 4 levels, more than the 3 of topic-levels-max",
        ),
        (
            V5,
            &[0x30, 7, 0, 1, b't', 3, 0x23, 0xFF, 0xFF],
            "disconnected: the topic alias 65535 is above the 64 of topic-alias-maximum",
        ),
        (
            V5,
            &[0x34, 6, 0, 1, b't', 0, 1, 0, 0x34, 6, 0, 1, b't', 0, 2, 0],
            "disconnected: 1 messages are not acknowledged, and receive-maximum is 1",
        ),
        (
            V311,
            &[0x82, 10, 0, 1, 0, 1, b'a', 0, 0, 1, b'b', 0],
            "subscription to \"b\" refused: the session has as many subscriptions, or retained messages to \
             come for them, as the 1 of subscriptions-max allow",
        ),
        (
            V311,
            &[0x82, 12, 0, 1, 0, 7, b'a', b'/', b'b', b'/', b'c', b'/', b'd', 0],
            "subscription to \"a/b/c/d\" refused: the topic filter has 4 levels, more than the 3 of \
             topic-levels-max",
        ),
    ];
    for (version, bytes, expected) in rows {
        let mut broker = World::of_one_shard(set);
        let mut lines = Vec::new();
        let (id, _) = broker.connect(version, b'c');
        broker.give_here(id, bytes);
        told(&mut broker, &mut lines);
        let said = lines.iter().any(|line| line.contains(expected));
        assert!(said, "{expected}\nis not in {lines:?}");
    }
    let mut broker = World::of_one_shard(set);
    let id = broker.open_here().unwrap();
    let mut long = connect_packet(V311, b'c');
    long[1] += 4;
    long[13] = 5;
    long.extend_from_slice(b"cccc");
    broker.give_here(id, &long);
    let mut lines = Vec::new();
    told(&mut broker, &mut lines);
    let expected = "the client id has 5 bytes, more than the 4 of client-id-bytes-max";
    assert!(lines[0].contains(expected), "{lines:?}");
}
