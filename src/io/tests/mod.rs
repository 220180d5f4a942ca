//! The driver with real sockets, threads and shards.
//!
//! Nothing here waits for time to pass in the hope that something has happened: a client reads until
//! it has what must come, and a read that waits for half a minute is a failure.

mod client;
mod frames;
mod layered;
mod operations;
mod read_backs;
mod toy;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use glommio::ExecutorJoinHandle;
use rustix::net::sockopt::{
    set_socket_linger, set_socket_recv_buffer_size, set_socket_send_buffer_size,
};

use self::client::{connect, connect_plain, publish, retain, subscribe, Client, PINGREQ};
use super::clock::Clock;
use super::inherited::Inherited;
use super::listener;
use super::listener_set::ListenerSet;
use super::logins::{LoginSetup, Logins};
use super::mesh;
use super::shard_threads::{start_shards, Made};
use super::shared::SharedState;
use crate::ids::ShardId;
use crate::limits::Limits;
use crate::listener::Listener;
use crate::shard::{ListenerPolicy, PlacementSeed, Shard, ShardConfig};
use crate::transport::LayerFactory;

const PATIENCE: Duration = Duration::from_secs(30);
/// Of the one large message: more than the sockets of both sides hold.
const LARGE: usize = 8_000_000;
/// Of the broker's sockets.
const SEND_BUFFER: usize = 64 << 10;

struct Broker {
    address: SocketAddr,
    shared: Arc<SharedState>,
    threads: Vec<ExecutorJoinHandle<()>>,
}

impl Broker {
    fn start(shards: u16) -> Self {
        Self::start_with(shards, LayerFactory::plain())
    }

    fn start_with(shards: u16, factory: LayerFactory) -> Self {
        let plain = [Listener::plain("127.0.0.1:0".parse().unwrap())];
        let inherited = (Inherited::default(), Vec::new());
        let listeners =
            ListenerSet::open(&plain, vec![Arc::new(factory)], inherited, shards).unwrap();
        let listening = listeners.for_a_shard(ShardId(0)).unwrap().remove(0);
        let socket = listening.socket.unwrap();
        let address = listener::address(&socket).unwrap();
        // What is accepted has the same; it does not grow then.
        set_socket_send_buffer_size(&socket, SEND_BUFFER).unwrap();
        let shared = Arc::new(SharedState::new(shards).unwrap());
        let limits = Limits {
            packet_size_max: 2 * LARGE as u32,
            ..Limits::default()
        };
        let config = Arc::new(ShardConfig {
            shards,
            limits,
            listeners: Arc::new([ListenerPolicy::default()]),
            placement_seed: PlacementSeed([7; 16]),
            hash_seed: 7,
            own_terms: Arc::default(),
        });
        let clock = Clock::start();
        let make = move |id| Ok(Made::of(Shard::new(id, &config, 7, clock.now())));
        let logins = Logins::new(&LoginSetup::default(), &shared, clock);
        let meshes = mesh::connect(&shared);
        let (threads, _) = start_shards(&[], meshes, (&shared, &logins, clock), make, || {
            Ok(listeners)
        })
        .unwrap();
        Self {
            address,
            shared,
            threads,
        }
    }

    fn subscribed(&self, name: &str) -> Client {
        Client::subscribed(self.address, name)
    }

    /// A client that receives the wills of others.
    fn watcher(&self) -> Client {
        let mut client = self.subscribed("watcher");
        client.subscribe("gone");
        client
    }

    /// A client that has asked for a large retained message, which does not fit its socket, and has read
    /// only its beginning; and how much is left.
    fn slow_reader(&self, name: &str) -> (Client, usize) {
        let mut publisher = self.subscribed("publisher");
        publisher.send(&retain("large", &pattern()));
        publisher.ping();
        let mut slow = self.subscribed(name);
        slow.subscribe("large");
        // First byte, 4 of length, topic, and one of the payload.
        let read = slow.read(1 + 4 + 2 + 5 + 1);
        assert_eq!(read.last(), Some(&0));
        (slow, LARGE - 1)
    }

    fn stop(self) {
        self.shared.stop();
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

/// What is large.
fn pattern() -> Vec<u8> {
    (0..LARGE).map(|index| (index % 101) as u8).collect()
}

#[test]
fn echoes_over_one_two_and_four_shards_after_moving_connections_home() {
    for shards in [1, 2, 4] {
        let broker = Broker::start(shards);
        let mut clients: Vec<_> = (0..500)
            .map(|index| (format!("client {index:05}"), index))
            .map(|(name, index)| (broker.subscribed(&name), name, index))
            .collect();
        for round in 0..3 {
            for (client, name, index) in &mut clients {
                client.send(&publish(name, format!("{index}-{round}").as_bytes()));
            }
            for (client, name, index) in &mut clients {
                let expected = format!("{index}-{round}").into_bytes();
                assert_eq!(client.publication(), (name.clone(), expected));
            }
        }
        drop(clients);
        broker.stop();
    }
}

/// Bytes sent behind CONNECT, before the connection has moved, keep their order.
#[test]
fn bytes_follow_a_moving_connection_in_order() {
    let broker = Broker::start(2);
    let clients: Vec<_> = (0..20)
        .map(|index| {
            let mut client = Client::new(broker.address);
            let name = format!("client {index}");
            let mut all = [connect(&name), subscribe(&name)].concat();
            for number in 0..1_000_u32 {
                all.extend(publish(&name, &number.to_be_bytes()));
            }
            let mut sender = client.socket.try_clone().unwrap();
            let writer = thread::spawn(move || {
                for piece in all.chunks(1 + 777 * index) {
                    sender.write_all(piece).unwrap();
                }
            });
            let reader = thread::spawn(move || {
                client.expect_connack();
                let mut number = 0_u32;
                while number < 1_000 {
                    let (first, body) = client.frame();
                    if first == 0x90 {
                        continue; // held until all shards know of the subscription
                    }
                    assert!(first == 0x30 && body.ends_with(&number.to_be_bytes()));
                    number += 1;
                }
            });
            (writer, reader)
        })
        .collect();
    for (writer, reader) in clients {
        writer.join().unwrap();
        reader.join().unwrap();
    }
    broker.stop();
}

#[test]
fn a_reader_that_comes_late_gets_everything() {
    let broker = Broker::start(1);
    let (mut slow, left) = broker.slow_reader("slow");
    // Others are served while the slow one's socket is full.
    broker.subscribed("other").ping();
    assert!(slow.read(left) == pattern()[1..]);
    slow.ping();
    drop(slow);
    broker.stop();
}

/// The client sends without reading: the broker stops reading, and resumes when it can send again.
#[test]
fn input_waits_while_output_is_full() {
    /// Answers that fit neither the sockets nor the connection's outgoing bytes.
    const PINGS: usize = 2_000_000;
    /// As many bytes are read in any case; by then no socket has room for the answers.
    const READ_ANYWAY: usize = 1 << 20;
    let broker = Broker::start(1);
    let mut client = broker.subscribed("client");
    set_socket_recv_buffer_size(&client.socket, SEND_BUFFER).unwrap();
    let mut sender = client.socket.try_clone().unwrap();
    sender.write_all(&PINGREQ.repeat(READ_ANYWAY / 2)).unwrap();
    let rest = PINGREQ.repeat(PINGS - READ_ANYWAY / 2);
    let writer = thread::spawn(move || sender.write_all(&rest).unwrap());
    assert!(client.read(2 * PINGS) == [0xd0, 0].repeat(PINGS));
    writer.join().unwrap();
    drop(client);
    broker.stop();
}

/// Bytes and the end of the stream arrive together, as one event: both must be seen.
#[test]
fn the_end_behind_the_last_bytes_is_seen() {
    let broker = Broker::start(1);
    let mut watcher = broker.watcher();
    for _ in 0..50 {
        let mut client = broker.subscribed("client");
        client.send(&publish("watcher", b"last"));
        client.socket.shutdown(Shutdown::Write).unwrap();
        assert_eq!(watcher.publication().1, b"last");
        assert_eq!(watcher.publication().1, b"client", "its will");
        assert_eq!(client.read_to_end(), b"");
    }
    drop(watcher);
    broker.stop();
}

/// A client sends and resets: what was sent is still handled, and its end is noticed.
#[test]
fn what_was_sent_before_a_reset_is_handled() {
    let broker = Broker::start(1);
    let mut watcher = broker.watcher();
    for _ in 0..50 {
        let mut client = broker.subscribed("client");
        client.send(&publish("watcher", b"last"));
        let linger = Some(Duration::ZERO);
        set_socket_linger(&client.socket, linger).unwrap();
        drop(client);
        assert_eq!(watcher.publication().1, b"last");
        assert_eq!(watcher.publication().1, b"client", "its will");
    }
    drop(watcher);
    broker.stop();
}

/// The client is still sending when it is disconnected: without lingering the reset would take the
/// reason with it.
#[test]
fn the_last_words_reach_a_client_that_is_still_sending() {
    let broker = Broker::start(1);
    for _ in 0..20 {
        let mut client = Client::new(broker.address);
        client.send(&connect_plain(5, "client", 0));
        assert_eq!(client.frame().0, 0x20);
        client.send(&connect_plain(5, "client", 0)); // a second one is an error [MQTT-3.1.0-2]
        for _ in 0..20 {
            client.send(&[7; 5_000]);
        }
        let (first, body) = client.frame();
        assert_eq!((first, body[0]), (0xe0, 0x82));
        assert_eq!(client.socket.read(&mut [0]).unwrap(), 0, "our side is shut");
    }
    broker.stop();
}

/// Last words that do not fit the socket are sent to the end, also to a client that has closed its
/// side.
#[test]
fn long_last_words_reach_a_client_that_has_closed_its_side() {
    let broker = Broker::start(1);
    let (mut slow, left) = broker.slow_reader("slow");
    let other = broker.subscribed("slow"); // takes over: the first is to be closed
    slow.socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(slow.read_to_end().len(), left);
    drop(other);
    broker.stop();
}

#[test]
fn a_client_that_never_stops_sending_is_cut() {
    let broker = Broker::start(1);
    let mut client = broker.subscribed("client");
    client.send(&connect("client"));
    let cut = loop {
        if let Err(error) = client.socket.write_all(&[7; 100_000]) {
            break error;
        }
    };
    assert_ne!(cut.kind(), std::io::ErrorKind::WouldBlock);
    broker.stop();
}

/// A client that is disconnected and keeps its side open, without sending enough to be cut for that, is cut
/// in the end.
#[test]
fn a_closing_client_that_stays_is_aborted() {
    let broker = Broker::start(2);
    let mut client = broker.subscribed("client");
    client.send(&connect("client"));
    assert_eq!(client.read_to_end(), b"", "our side is shut");
    let end = Instant::now() + PATIENCE;
    while client.socket.write_all(&PINGREQ).is_ok() {
        assert!(Instant::now() < end, "it is still open");
        thread::sleep(Duration::from_millis(10));
    }
    broker.stop();
}

/// A deadline fires while the shard is parked, also one before a deadline that was set earlier.
#[test]
fn deadlines_wake_a_parked_shard() {
    let broker = Broker::start(2);
    let mut watcher = broker.watcher();
    let mut clients: Vec<_> = (0..4)
        .map(|index| {
            let mut far = Client::new(broker.address);
            far.send(&connect_plain(4, &format!("far {index}"), 200));
            far.expect_connack();
            let mut near = Client::new(broker.address);
            near.send(&connect_plain(4, &format!("near {index}"), 1));
            near.expect_connack();
            (far, near)
        })
        .collect();
    for (_, near) in &mut clients {
        assert_eq!(near.read_to_end(), b"", "its keep alive is over");
    }
    for (far, _) in &mut clients {
        far.ping();
    }
    watcher.ping();
    drop((clients, watcher));
    broker.stop();
}

/// Descriptors and ids are used again at once; late completions must not reach their successors.
#[test]
fn connections_come_and_go() {
    let broker = Broker::start(2);
    let mut watcher = broker.watcher();
    thread::scope(|scope| {
        for home in 0..4 {
            let address = broker.address;
            scope.spawn(move || {
                for _ in 0..500 {
                    let mut client = Client::new(address);
                    client.send(&connect(&format!("client {home}")));
                    client.expect_connack();
                    client.ping();
                }
            });
        }
        for _ in 0..2_000 {
            assert!(watcher.publication().1.starts_with(b"client "));
        }
    });
    drop(watcher);
    broker.stop();
}

#[test]
fn stopping_closes_the_listener_and_every_connection() {
    let broker = Broker::start(4);
    let mut clients: Vec<_> = (0..200)
        .map(|index| {
            let mut client = Client::new(broker.address);
            client.send(&connect_plain(4, &format!("client {index}"), 0));
            client.expect_connack();
            client
        })
        .collect();
    broker.shared.stop();
    for client in &mut clients {
        assert_eq!(client.read_to_end(), b"");
    }
    drop(clients);
    let address = broker.address;
    broker.stop();
    assert!(TcpStream::connect(address).is_err());
}
