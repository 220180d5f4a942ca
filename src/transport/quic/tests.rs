//! The value against quinn-proto as a client, in virtual time, over a network that loses, repeats, delays and reorders.

mod network;

use network::{Conditions, Network};

use super::{Event, Read};
use crate::time::Span;

const GOOD: Conditions = Conditions {
    loss: 0,
    copies: 0,
    delay_ms: (1, 1),
};
const BAD: Conditions = Conditions {
    loss: 8,
    copies: 8,
    delay_ms: (1, 60),
};

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 % 251) as u8).collect()
}

#[test]
fn bytes_arrive_in_order_both_ways_whatever_the_network_does() {
    for seed in 0..12 {
        let mut network = Network::new(4, seed, BAD);
        let client = network.connect();
        let sent = text(150_000);
        network.send(client, &sent);
        let mut moves = 0;
        network.run(Span::from_secs(300), |network| {
            // A third and two thirds of the way its address is another one.
            if network.received(client).len() > (moves + 1) * sent.len() / 3 && moves < 2 {
                moves += 1;
                network.move_client(client);
            }
            network.received(client).len() == sent.len()
        });
        assert!(network.received(client) == sent, "seed {seed}");
        assert_eq!(moves, 2);
        let stats = network.stats();
        assert!(stats.moved >= 2, "seed {seed}: {stats:?}");
        assert_eq!((stats.opened, stats.failed), (1, 0), "seed {seed}");
        network.audit();
    }
}

#[test]
fn a_client_that_has_not_shown_its_address_leaves_no_state() {
    let mut network = Network::new(1, 1, GOOD);
    let first = network.first_datagram();
    for host in 0..200 {
        let answers = network.deliver_from(host, &first);
        assert!(!answers.is_empty(), "it is asked for its address");
        let bytes: usize = answers.iter().map(Vec::len).sum();
        assert!(bytes <= first.len(), "{bytes} bytes for {}", first.len());
    }
    let quic = network.shard(0);
    assert_eq!((quic.half_open(), quic.is_quiet()), (0, true));
    assert_eq!(quic.poll_timeout(), None);
    assert_eq!((quic.stats().retries, quic.stats().refused), (200, 0));
    assert_eq!(network.admitted(), 0);
}

#[test]
fn a_token_of_another_address_or_of_another_time_is_none() {
    let mut network = Network::new(1, 1, GOOD);
    let with_token = network.second_datagram();
    network.deliver_from(77, &with_token);
    assert_eq!(network.admitted(), 0, "of another address");
    network.now = network.now + Span::from_secs(11); // without a word of the client
    network.deliver_own(&with_token);
    assert_eq!(network.admitted(), 0, "too late");
    let mut network = Network::new(1, 1, GOOD);
    let with_token = network.second_datagram();
    network.deliver_own(&with_token);
    assert_eq!(network.admitted(), 1);
}

#[test]
fn a_client_that_opens_no_stream_is_let_go() {
    let mut network = Network::new(1, 1, GOOD);
    network.connect(); // and no stream
    network.wait(Span::from_secs(9));
    assert_eq!(network.shard(0).half_open(), 1);
    network.wait(Span::from_secs(2));
    assert_eq!(network.shard(0).half_open(), 0);
    assert_eq!(network.shard(0).stats().failed, 1);
    network.wait(Span::from_secs(10));
    assert_eq!(network.shard(0).poll_timeout(), None, "nothing is left");
    network.audit();
}

#[test]
fn what_was_written_arrives_before_the_end() {
    for seed in 0..8 {
        let mut network = Network::new(2, seed, BAD);
        let client = network.connect();
        network.send(client, b"hello");
        network.run(Span::from_secs(60), |network| {
            network.received(client).len() == 5
        });
        let last = text(20_000);
        network.say_and_finish(&last);
        network.run(Span::from_secs(60), |network| network.is_closed(client));
        assert!(network.received(client)[5..] == last, "seed {seed}");
        network.wait(Span::from_secs(20));
        network.audit();
    }
}

#[test]
fn a_stream_that_nobody_reads_stops_its_client() {
    let mut network = Network::new(1, 3, GOOD);
    network.does_read = false;
    let client = network.connect();
    network.send(client, &text(2_000_000));
    network.wait(Span::from_secs(20));
    let taken = 2_000_000 - network.unsent(client);
    assert!(taken <= 600_000, "{taken} bytes were taken of the client");
    network.does_read = true;
    network.wake();
    network.run(Span::from_secs(60), |network| {
        network.received(client).len() == 2_000_000
    });
}

#[test]
fn an_event_of_one_that_ended_finds_nothing() {
    let mut network = Network::new(1, 3, GOOD);
    let client = network.connect();
    network.send(client, b"x");
    network.run(Span::from_secs(5), |network| {
        !network.received(client).is_empty()
    });
    let key = network.key();
    network.close(client);
    network.wait(Span::from_secs(1));
    assert!(matches!(network.last_event(), Some(Event::Ended { .. })));
    let now = network.now;
    let quic = network.shard_mut(0);
    assert_eq!(quic.read(key, 10, now), Read::End);
    assert_eq!(quic.write(key, b"lost", now), 4);
    quic.finish(key, now);
}
