//! The least that a broker can cost: a relay without MQTT.
//!
//! Answers CONNECT and SUBSCRIBE of version 3.1.1, learns from a publisher's first PUBLISH which
//! subscribers have its topic, and from then on copies bytes from its socket to theirs: one `recv` of at
//! most 64 KiB, and one `send` to each for what it brought. What a topic's only subscriber sends goes back
//! to the publisher in the same way, so that the two acknowledge to each other, with as many calls in
//! between as a broker makes. What `mqload pairs` and `mqload fan-out` (QoS 0) measure against it is the
//! price of the kernel and of the load generator's way of writing, below which no broker gets that makes
//! these calls. Topics must have one publisher: bytes of several would mix.
//!
//! ```sh
//! cargo run --release --example relay -- 1884
//! mqload pairs --clients 100 --max --batch 16 --payload-size 1k --target 127.0.0.1:1884 \
//!     --broker-pid PID
//! ```

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use ringmq::mqtt::frame::{next_frame, PACKET_SIZE_MAX};
use ringmq::mqtt::PacketType;
use rustix::event::{epoll, poll, PollFd, PollFlags};

/// As the broker reads at most at once.
const READ_BUFFER: usize = 64 << 10;
const EVENTS: usize = 256;
const LISTENER: u64 = u64::MAX;
const DISCONNECT: [u8; 2] = [0xe0, 0];

#[derive(Default)]
struct Relay {
    connections: HashMap<u64, Connection>,
    /// By topic: sockets, and whose they are.
    subscribers: HashMap<Vec<u8>, Vec<(u64, Rc<TcpStream>)>>,
}

struct Connection {
    socket: Rc<TcpStream>,
    /// Where its bytes go, once that is known.
    to: Vec<Rc<TcpStream>>,
    /// The beginning of a packet, until then.
    partial: Vec<u8>,
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let Some(port) = port else {
        eprintln!("usage: relay PORT");
        std::process::exit(2);
    };
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let ring = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    watch(&ring, &listener, LISTENER)?;
    println!(
        "relaying on 127.0.0.1:{port}, process {}",
        std::process::id()
    );
    let mut relay = Relay::default();
    let mut buffer = vec![0; READ_BUFFER];
    let mut events = Vec::with_capacity(EVENTS);
    let mut next = 0;
    loop {
        events.clear();
        epoll::wait(&ring, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let key = event.data.u64();
            if key != LISTENER {
                relay.read(key, &mut buffer)?;
                continue;
            }
            let (socket, _) = listener.accept()?;
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            watch(&ring, &socket, next)?;
            let connection = Connection {
                socket: Rc::new(socket),
                to: Vec::new(),
                partial: Vec::new(),
            };
            relay.connections.insert(next, connection);
            next += 1;
        }
    }
}

fn watch(ring: &OwnedFd, socket: impl AsFd, key: u64) -> io::Result<()> {
    let data = epoll::EventData::new_u64(key);
    Ok(epoll::add(ring, socket, data, epoll::EventFlags::IN)?)
}

impl Relay {
    fn read(&mut self, key: u64, buffer: &mut [u8]) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(&key) else {
            return Ok(());
        };
        let count = match (&*connection.socket).read(buffer) {
            Ok(0) | Err(_) => {
                self.connections.remove(&key);
                return Ok(());
            }
            Ok(count) => count,
        };
        if !connection.to.is_empty() {
            let bytes = &buffer[..count];
            if bytes == DISCONNECT {
                return Ok(()); // comes alone, when all else has arrived; not for the other side
            }
            return connection.to.iter().try_for_each(|to| send(to, bytes));
        }
        connection.partial.extend_from_slice(&buffer[..count]);
        while connection.to.is_empty() {
            let partial = std::mem::take(&mut connection.partial);
            let Ok(Some(frame)) = next_frame(&partial, PACKET_SIZE_MAX) else {
                connection.partial = partial;
                return Ok(());
            };
            connection.partial = partial[frame.length..].to_vec();
            match frame.packet_type() {
                Some(PacketType::Connect) => send(&connection.socket, &[0x20, 2, 0, 0])?,
                Some(PacketType::Subscribe) => {
                    let [high, low] = [frame.body[0], frame.body[1]];
                    let qos = frame.body[frame.body.len() - 1];
                    let filter = text(&frame.body[2..]).to_vec();
                    let subscribers = self.subscribers.entry(filter).or_default();
                    subscribers.push((key, Rc::clone(&connection.socket)));
                    send(&connection.socket, &[0x90, 3, high, low, qos])?;
                }
                Some(PacketType::Publish) => {
                    return self.begin(key, text(frame.body), &partial);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// From its first PUBLISH on a publisher's bytes go to the subscribers of that topic.
    fn begin(&mut self, key: u64, topic: &[u8], bytes: &[u8]) -> io::Result<()> {
        let Some(subscribers) = self.subscribers.get(topic) else {
            return Ok(());
        };
        let Some(publisher) = self.connections.get_mut(&key) else {
            return Ok(());
        };
        publisher.to = subscribers.iter().map(|(_, to)| Rc::clone(to)).collect();
        publisher.partial.clear();
        let back = Rc::clone(&publisher.socket);
        if let [(only, _)] = subscribers[..] {
            if let Some(subscriber) = self.connections.get_mut(&only) {
                subscriber.to = vec![back];
            }
        }
        let subscribers = subscribers.iter();
        subscribers
            .map(|(_, to)| to)
            .try_for_each(|to| send(to, bytes))
    }
}

/// The string, two bytes of length before it, at the beginning of `bytes`.
fn text(bytes: &[u8]) -> &[u8] {
    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    &bytes[2..2 + length]
}

/// Sends all of it, waiting for room: a relay has nothing better to do.
fn send(mut to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(&to, PollFlags::OUT)], None)?;
            }
            Err(_) => return Ok(()), // the subscriber is gone
        }
    }
    Ok(())
}
