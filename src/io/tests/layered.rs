//! Connections with transport layers, in toys' place of TLS.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::client::{connect, connect_plain, publish, Client, PINGREQ};
use super::toy::{Seen, Slow, Toy, ANSWER, GOODBYE, HELLO, NONSENSE};
use super::{pattern, retain, Broker, LARGE, PATIENCE};
use crate::transport::LayerFactory;

const LOW: u8 = 0x11;
const HIGH: u8 = 0x42;

fn two_toys() -> LayerFactory {
    LayerFactory::plain()
        .with(|| Box::new(Toy::new(LOW)))
        .with(|| Box::new(Toy::new(HIGH)))
}

/// A client that has sent its hello to both layers.
fn greet(broker: &Broker, name: &str) -> Client {
    let mut client = Client::new(broker.address);
    client.send(&[HELLO, HELLO ^ LOW]);
    assert_eq!(client.read(2), [ANSWER, ANSWER ^ LOW]);
    client.key = LOW ^ HIGH;
    client.send(&connect(name));
    client.expect_connack();
    client
}

/// Sends a byte of the lowest layer's own.
fn send_raw(client: &mut Client, byte: u8) {
    let byte = byte ^ client.key;
    client.send(&[byte]);
}

/// Layers move home with their connection, and bytes of a layer pass through those below it.
#[test]
fn layers_wrap_what_they_carry_and_move_home_with_it() {
    for shards in [1, 2] {
        let broker = Broker::start_with(shards, two_toys());
        let mut watcher = greet(&broker, "watcher");
        watcher.subscribe("gone");
        for index in 0..20 {
            let name = format!("client {index}");
            let mut client = greet(&broker, &name);
            client.subscribe(&name);
            client.send(&publish(&name, b"abcdefg"));
            assert_eq!(client.publication(), (name.clone(), b"abcdefg".to_vec()));
            send_raw(&mut client, GOODBYE);
            assert_eq!(client.read_to_end(), [GOODBYE ^ LOW, GOODBYE]);
            assert_eq!(watcher.publication().1, name.into_bytes(), "its will");
        }
        drop(watcher);
        broker.stop();
    }
}

/// Much more than a socket takes at once, also as last words.
#[test]
fn layers_send_everything_to_a_reader_that_comes_late() {
    let broker = Broker::start_with(1, two_toys());
    let mut publisher = greet(&broker, "publisher");
    publisher.send(&retain("large", &pattern()));
    publisher.ping();
    let mut slow = greet(&broker, "slow");
    slow.subscribe("large");
    slow.read(1 + 4 + 2 + 5);
    let other = greet(&broker, "slow"); // takes over: the first is to be closed
    let rest = slow.read_to_end();
    let (bytes, goodbyes) = rest.split_at(LARGE);
    let expected = pattern();
    let mut pairs = bytes.iter().zip(&expected);
    assert!(pairs.all(|(byte, expected)| byte ^ LOW ^ HIGH == *expected));
    assert_eq!(goodbyes, [GOODBYE ^ LOW, GOODBYE]);
    drop((publisher, slow, other));
    broker.stop();
}

#[test]
fn a_layer_that_cannot_go_on_ends_its_connection() {
    let broker = Broker::start_with(1, two_toys());
    let mut watcher = greet(&broker, "watcher");
    watcher.subscribe("gone");
    let mut client = greet(&broker, "client");
    client.send(&publish("gone", b"last"));
    send_raw(&mut client, NONSENSE);
    assert_eq!(watcher.publication().1, b"last");
    assert_eq!(watcher.publication().1, b"client", "its will");
    assert_eq!(client.read_to_end(), [GOODBYE ^ LOW, GOODBYE]);
    drop((client, watcher));
    broker.stop();
}

/// Handshakes wait by the hundred when an established client sends something: it is read before the next
/// of them. The driver is held in the first handshake until everything is there.
#[test]
fn an_established_client_is_read_before_handshakes_that_wait() {
    const NEW: usize = 300;
    let seen = Arc::new(Seen::default());
    let layer = Arc::clone(&seen);
    let factory = LayerFactory::plain().with(move || {
        let seen = Arc::clone(&layer);
        Box::new(Slow { seen, open: false })
    });
    let broker = Broker::start_with(1, factory);
    let mut established = Client::new(broker.address);
    established.send(&[&[HELLO][..], &connect_plain(4, "client", 0)].concat());
    assert_eq!(established.read(1), [ANSWER]);
    established.expect_connack();
    let mut clients: Vec<_> = (0..NEW).map(|_| Client::new(broker.address)).collect();
    for client in &mut clients {
        client.send(&[0]); // discarded before the hello
    }
    let count = |byte| {
        let firsts = seen.firsts.lock().unwrap();
        firsts.iter().filter(|first| **first == byte).count()
    };
    let wait_for = |byte, least| {
        let end = Instant::now() + PATIENCE;
        while count(byte) < least {
            assert!(Instant::now() < end, "{} of {least}", count(byte));
            thread::yield_now();
        }
    };
    wait_for(0, NEW);
    let gate = seen.gate.lock().unwrap();
    clients[0].send(&[HELLO]);
    wait_for(HELLO, 2);
    for client in &mut clients[1..] {
        client.send(&[HELLO]);
    }
    established.send(&PINGREQ);
    drop(gate);
    assert_eq!(established.frame().0, 0xd0);
    for client in &mut clients {
        assert_eq!(client.read(1), [ANSWER]);
    }
    let firsts = seen.firsts.lock().unwrap().clone();
    let hellos = firsts.iter().take_while(|first| **first != PINGREQ[0]);
    let hellos = hellos.filter(|first| **first == HELLO).count();
    assert_eq!(hellos, 2, "its own, and the one that held the driver");
    drop((clients, established));
    broker.stop();
}
