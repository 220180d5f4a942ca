//! The driver with real sockets and threads, and a stand-in for the shard.
//!
//! Nothing here waits for time to pass in the hope that something has happened: a client reads until
//! it has what must come, and a read that waits for half a minute is a failure.

mod operations;
mod stand_in;
mod toy;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use glommio::ExecutorJoinHandle;

use self::stand_in::{pattern, Gone, StandIn, HEADER};
use self::toy::{Seen, Slow, Toy, ANSWER, GOODBYE, HELLO, NONSENSE};
use super::clock::Clock;
use super::gate::Gate;
use super::listener::{self, Listening};
use super::logins::{LoginSetup, Logins};
use super::runtime::start_shards;
use super::shared::SharedState;
use crate::listener::Listener;
use crate::shard::CloseCause;
use crate::transport::LayerFactory;

const PATIENCE: Duration = Duration::from_secs(30);

struct Broker {
    address: SocketAddr,
    shared: Arc<SharedState>,
    threads: Vec<ExecutorJoinHandle<()>>,
    gone: Receiver<Gone>,
}

impl Broker {
    fn start(shards: u16) -> Self {
        Self::start_with(shards, LayerFactory::plain())
    }

    fn start_with(shards: u16, factory: LayerFactory) -> Self {
        let listener = listener::open("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener::address(&listener).unwrap();
        let listening = Listening {
            socket: listener,
            factory: Arc::new(factory),
            gate: Arc::new(Gate::new(&Listener::default(), "here".into())),
        };
        let shared = Arc::new(SharedState::new(shards).unwrap());
        let (sender, gone) = channel();
        let make = move |id| StandIn::new(id, shards, sender.clone());
        let clock = Clock::start();
        let logins = Logins::start(Arc::default(), &LoginSetup::default(), &shared, clock).unwrap();
        let threads = start_shards(&[], vec![listening], &shared, &logins, clock, make).unwrap();
        Self {
            address,
            shared,
            threads,
            gone,
        }
    }

    fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    fn open(&self, home: u8, mode: u8, n: u32) -> TcpStream {
        open(self.address, home, mode, n)
    }

    fn gone(&self) -> Gone {
        self.gone.recv_timeout(PATIENCE).unwrap()
    }

    /// Call when the clients are dropped: a closing connection waits for its client, and the
    /// stand-in, other than the real shard, without end.
    fn stop(self) {
        self.shared.stop();
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client.set_nodelay(true).unwrap();
    client
}

fn open(address: SocketAddr, home: u8, mode: u8, n: u32) -> TcpStream {
    let mut client = connect(address);
    client.write_all(&header(home, mode, n)).unwrap();
    client
}

fn header(home: u8, mode: u8, n: u32) -> [u8; HEADER] {
    let [a, b, c, d] = n.to_le_bytes();
    [home, mode, a, b, c, d]
}

fn read(client: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    client.read_exact(&mut bytes).unwrap();
    bytes
}

fn read_to_end(client: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn echoes_over_one_two_and_four_shards_after_moving_connections_home() {
    for shards in [1, 2, 4] {
        let broker = Broker::start(shards);
        let mut clients: Vec<_> = (0..500)
            .map(|index| (index, broker.open(index as u8, b'e', 0)))
            .collect();
        for round in 0..3 {
            for (index, client) in &mut clients {
                write!(client, "{index:05}-{round}").unwrap();
            }
            for (index, client) in &mut clients {
                let expected = format!("{index:05}-{round}");
                assert_eq!(read(client, expected.len()), expected.as_bytes());
            }
        }
        let homes: Vec<u16> = clients
            .iter()
            .map(|(index, _)| *index as u16 % 256 % shards)
            .collect();
        drop(clients);
        let mut counts = vec![0; usize::from(shards)];
        for _ in &homes {
            let gone = broker.gone();
            assert_eq!(gone.received, HEADER + 3 * 7);
            assert_eq!(gone.cause, CloseCause::EndOfStream);
            counts[usize::from(gone.shard)] += 1;
        }
        for (shard, count) in (0..).zip(counts) {
            assert_eq!(count, homes.iter().filter(|home| **home == shard).count());
        }
        broker.stop();
    }
}

/// Bytes sent behind the header, before the connection has moved, keep their order.
#[test]
fn bytes_follow_a_moving_connection_in_order() {
    let broker = Broker::start(2);
    let body: Vec<u8> = (0..100_000).map(pattern).collect();
    let clients: Vec<_> = (0..20)
        .map(|index| {
            let mut client = broker.connect();
            let body = body.clone();
            let mut sender = client.try_clone().unwrap();
            let writer = thread::spawn(move || {
                let all = [&header(index, b'e', 0)[..], &body].concat();
                for piece in all.chunks(1 + 777 * usize::from(index)) {
                    sender.write_all(piece).unwrap();
                }
            });
            (writer, thread::spawn(move || read(&mut client, 100_000)))
        })
        .collect();
    for (writer, reader) in clients {
        writer.join().unwrap();
        assert!(reader.join().unwrap() == body);
    }
    broker.stop();
}

/// Much more than the rings hold, without any other load: a sender that parks over a full ring
/// must be woken when there is room.
#[test]
fn blocks_cross_in_order_however_full_the_rings() {
    for shards in [2, 4] {
        let broker = Broker::start(shards);
        let mut clients: Vec<_> = (0..shards as u8)
            .map(|home| broker.open(home, b'b', 50_000))
            .collect();
        for client in &mut clients {
            assert_eq!(read(client, 4), b"done");
        }
        drop(clients);
        broker.stop();
    }
}

#[test]
fn a_reader_that_comes_late_gets_everything() {
    const SIZE: u32 = 20_000_000;
    let broker = Broker::start(1);
    let mut slow = broker.open(0, b'w', SIZE);
    // Others are served while the slow one's socket is full.
    let mut other = broker.open(0, b'e', 0);
    other.write_all(b"still here").unwrap();
    assert_eq!(read(&mut other, 10), b"still here");
    let bytes = read(&mut slow, SIZE as usize);
    assert!(bytes
        .iter()
        .zip(0..)
        .all(|(byte, index)| *byte == pattern(index)));
    drop(slow);
    drop(other);
    broker.stop();
}

/// The client sends without reading: the broker stops reading, and resumes when it can send again.
#[test]
fn input_waits_while_output_is_full() {
    const SIZE: usize = 30_000_000;
    let broker = Broker::start(1);
    let mut client = broker.open(0, b'e', 0);
    let mut sender = client.try_clone().unwrap();
    let writer = thread::spawn(move || {
        let bytes: Vec<u8> = (0..SIZE as u32).map(pattern).collect();
        sender.write_all(&bytes).unwrap();
    });
    let bytes = read(&mut client, SIZE);
    assert!(bytes
        .iter()
        .zip(0..)
        .all(|(byte, index)| *byte == pattern(index)));
    writer.join().unwrap();
    drop(client);
    broker.stop();
}

/// Bytes and the end of the stream arrive together, as one event: both must be seen.
#[test]
fn the_end_behind_the_last_bytes_is_seen() {
    let broker = Broker::start(1);
    let mut client = broker.open(0, b'p', 50);
    assert_eq!(read(&mut client, 4), b"wait");
    client.write_all(b"last").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut client), b"latelast");
    let gone = broker.gone();
    assert_eq!(
        (gone.received, gone.cause),
        (HEADER + 4, CloseCause::EndOfStream)
    );
    drop(client);
    broker.stop();
}

/// A client sends and resets. The broker notices when it writes; what was sent is still handled.
#[test]
fn what_was_sent_before_a_reset_is_handled() {
    let broker = Broker::start(1);
    let mut client = broker.open(0, b'p', 100);
    assert_eq!(read(&mut client, 4), b"wait");
    client.write_all(b"last").unwrap();
    let linger = Some(Duration::ZERO);
    rustix::net::sockopt::set_socket_linger(&client, linger).unwrap();
    drop(client);
    let gone = broker.gone();
    assert_eq!(
        (gone.received, gone.cause),
        (HEADER + 4, CloseCause::Failed)
    );
    broker.stop();
}

/// The client is still sending when it is disconnected: without lingering the reset would take the
/// reason with it.
#[test]
fn the_last_words_reach_a_client_that_is_still_sending() {
    let broker = Broker::start(1);
    for _ in 0..20 {
        let mut client = broker.open(0, b'c', 0);
        for _ in 0..20 {
            client.write_all(&[7; 5_000]).unwrap();
        }
        assert_eq!(read(&mut client, 3), b"bye");
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "our side is shut");
        drop(client);
        assert_eq!(broker.gone().cause, CloseCause::Asked);
    }
    broker.stop();
}

/// Last words that do not fit the socket are sent to the end, also to a client that has closed its
/// side.
#[test]
fn long_last_words_reach_a_client_that_has_closed_its_side() {
    const SIZE: u32 = 20_000_000;
    let broker = Broker::start(1);
    let mut client = broker.open(0, b'w', SIZE);
    assert_eq!(read(&mut client, 1), [0]);
    broker.shared.stop(); // closes: everything queued is sent first
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut client).len(), SIZE as usize - 1);
    drop(client);
    assert_eq!(broker.gone().cause, CloseCause::Asked);
    broker.stop();
}

#[test]
fn a_client_that_never_stops_sending_is_cut() {
    let broker = Broker::start(1);
    let mut client = broker.open(0, b'c', 0);
    let cut = loop {
        if let Err(error) = client.write_all(&[7; 100_000]) {
            break error;
        }
    };
    assert_ne!(cut.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(broker.gone().cause, CloseCause::Asked);
    broker.stop();
}

#[test]
fn an_abort_closes_at_once() {
    let broker = Broker::start(2);
    let mut client = broker.open(1, b'a', 0);
    assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    assert_eq!(broker.gone().cause, CloseCause::Asked);
    drop(client);
    broker.stop();
}

/// A deadline fires while the shard is parked, also one before a deadline that was set earlier.
#[test]
fn deadlines_wake_a_parked_shard() {
    const TEN_MINUTES_MS: u32 = 600_000;
    let broker = Broker::start(2);
    let far = broker.open(1, b't', TEN_MINUTES_MS);
    for _ in 0..3 {
        let mut near = broker.open(1, b't', 20);
        assert_eq!(read(&mut near, 4), b"time");
    }
    drop(far);
    broker.stop();
}

/// Descriptors and ids are used again at once; late completions must not reach their successors.
#[test]
fn connections_come_and_go() {
    let broker = Broker::start(2);
    thread::scope(|scope| {
        for home in 0..4 {
            let address = broker.address;
            scope.spawn(move || {
                for round in 0..500_u32 {
                    let mut client = open(address, home, b'e', 0);
                    client.write_all(&round.to_le_bytes()).unwrap();
                    assert_eq!(read(&mut client, 4), round.to_le_bytes());
                }
            });
        }
    });
    for _ in 0..2_000 {
        assert_eq!(broker.gone().received, HEADER + 4);
    }
    broker.stop();
}

#[test]
fn stopping_closes_the_listener_and_every_connection() {
    let broker = Broker::start(4);
    let mut clients: Vec<_> = (0..200)
        .map(|index| {
            let mut client = broker.open(index, b'e', 0);
            client.write_all(b"x").unwrap();
            assert_eq!(read(&mut client, 1), b"x");
            client
        })
        .collect();
    broker.shared.stop();
    for client in &mut clients {
        assert_eq!(read_to_end(client), b"");
    }
    drop(clients);
    let address = broker.address;
    broker.stop();
    assert!(TcpStream::connect(address).is_err());
}

const LOW: u8 = 0x11;
const HIGH: u8 = 0x42;

fn two_toys() -> LayerFactory {
    LayerFactory::plain()
        .with(|| Box::new(Toy::new(LOW)))
        .with(|| Box::new(Toy::new(HIGH)))
}

/// A client that has sent its hello to both layers.
fn greet(broker: &Broker) -> TcpStream {
    let mut client = broker.connect();
    client.write_all(&[HELLO, HELLO ^ LOW]).unwrap();
    assert_eq!(read(&mut client, 2), [ANSWER, ANSWER ^ LOW]);
    client
}

fn driver_stats(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ LOW ^ HIGH).collect()
}

/// Layers move home with their connection, and bytes of a layer pass through those below it.
#[test]
fn layers_wrap_what_they_carry_and_move_home_with_it() {
    for shards in [1, 2] {
        let broker = Broker::start_with(shards, two_toys());
        for home in 0..20 {
            let mut client = greet(&broker);
            client
                .write_all(&driver_stats(&header(home, b'e', 0)))
                .unwrap();
            client.write_all(&driver_stats(b"abcdefg")).unwrap();
            assert_eq!(read(&mut client, 7), driver_stats(b"abcdefg"));
            client.write_all(&[GOODBYE]).unwrap();
            assert_eq!(read_to_end(&mut client), [GOODBYE ^ LOW, GOODBYE]);
            let gone = broker.gone();
            assert_eq!(
                (gone.received, gone.cause),
                (HEADER + 7, CloseCause::EndOfStream)
            );
            assert_eq!(gone.identity.as_deref(), Some("toy 66"));
        }
        broker.stop();
    }
}

/// Much more than a socket takes at once, also as last words.
#[test]
fn layers_send_everything_to_a_reader_that_comes_late() {
    const SIZE: u32 = 20_000_000;
    let broker = Broker::start_with(1, two_toys());
    let mut client = greet(&broker);
    client
        .write_all(&driver_stats(&header(0, b'w', SIZE)))
        .unwrap();
    assert_eq!(read(&mut client, 1), driver_stats(&[0]));
    broker.shared.stop(); // closes: everything queued is sent first
    let rest = read_to_end(&mut client);
    let (bytes, goodbyes) = rest.split_at(SIZE as usize - 1);
    assert!(bytes
        .iter()
        .zip(1..)
        .all(|(byte, index)| byte ^ LOW ^ HIGH == pattern(index)));
    assert_eq!(goodbyes, [GOODBYE ^ LOW, GOODBYE]);
    drop(client);
    assert_eq!(broker.gone().cause, CloseCause::Asked);
    broker.stop();
}

#[test]
fn a_layer_that_cannot_go_on_ends_its_connection() {
    let broker = Broker::start_with(1, two_toys());
    let mut client = greet(&broker);
    client
        .write_all(&driver_stats(&header(0, b'e', 0)))
        .unwrap();
    client.write_all(&driver_stats(b"last")).unwrap();
    client.write_all(&[NONSENSE]).unwrap();
    let mut said = driver_stats(b"lastnonsense");
    said.extend([GOODBYE ^ LOW, GOODBYE]);
    assert_eq!(read_to_end(&mut client), said);
    drop(client);
    let gone = broker.gone();
    assert_eq!((gone.received, gone.cause), (HEADER + 4, CloseCause::Asked));
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
    let mut established = broker.connect();
    let begin = [&[HELLO], &header(0, b'e', 0)[..], b"x"].concat();
    established.write_all(&begin).unwrap();
    assert_eq!(read(&mut established, 2), [ANSWER, b'x']);
    let mut clients: Vec<_> = (0..NEW).map(|_| broker.connect()).collect();
    for client in &mut clients {
        client.write_all(&[0]).unwrap(); // home shard 0; nothing else is sent yet
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
    clients[0].write_all(&[HELLO]).unwrap();
    wait_for(HELLO, 2);
    for client in &mut clients[1..] {
        client.write_all(&[HELLO]).unwrap();
    }
    established.write_all(b"y").unwrap();
    drop(gate);
    assert_eq!(read(&mut established, 1), b"y");
    for client in &mut clients {
        assert_eq!(read(client, 1), [ANSWER]);
    }
    let firsts = seen.firsts.lock().unwrap().clone();
    let hellos = firsts.iter().take_while(|first| **first != b'y');
    let hellos = hellos.filter(|first| **first == HELLO).count();
    assert_eq!(hellos, 2, "its own, and the one that held the driver");
    drop((clients, established));
    broker.stop();
}
