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
//! `--tls CERTIFICATE KEY` and `--ws` put the broker's own layers between socket and relay: the same library, records
//! and frames, so that what is left of a broker's price is what it does besides.
//!
//! ```sh
//! cargo run --release --example relay -- 1884
//! mqload pairs --clients 100 --max --batch 16 --payload-size 1k --target 127.0.0.1:1884 \
//!     --broker-pid PID
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use ringmq::mqtt::frame::{next_frame, PACKET_SIZE_MAX};
use ringmq::mqtt::PacketType;
use ringmq::transport::tls::{Context, Material, Named, Settings, Tls};
use ringmq::transport::websocket::{Policy, Server};
use ringmq::transport::{LayerFactory, Scratch, Stack};
use rustix::event::{epoll, poll, PollFd, PollFlags};

/// As the broker reads at most at once.
const READ_BUFFER: usize = 64 << 10;
const EVENTS: usize = 256;
const LISTENER: u64 = u64::MAX;
const PINGREQ: [u8; 2] = [0xc0, 0];
const PINGRESP: [u8; 2] = [0xd0, 0];
const DISCONNECT: [u8; 2] = [0xe0, 0];

#[derive(Default)]
struct Relay {
    connections: HashMap<u64, Connection>,
    /// By topic: links, and whose they are.
    subscribers: HashMap<Vec<u8>, Vec<(u64, Rc<Link>)>>,
    scratch: Scratch,
}

/// A socket and the layers on it.
struct Link {
    socket: TcpStream,
    layers: Option<RefCell<Stack>>,
}

struct Connection {
    link: Rc<Link>,
    /// Where its bytes go, once that is known.
    to: Vec<Rc<Link>>,
    /// The beginning of a packet, until then.
    partial: Vec<u8>,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port = arguments.first().and_then(|text| text.parse().ok());
    let (Some(port), Some(factory)) = (port, layers_of(&arguments)) else {
        eprintln!("usage: relay PORT [--tls CERTIFICATE KEY] [--ws]");
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
            let layers = factory.stack(None).map(RefCell::new);
            let connection = Connection {
                link: Rc::new(Link { socket, layers }),
                to: Vec::new(),
                partial: Vec::new(),
            };
            relay.connections.insert(next, connection);
            next += 1;
        }
    }
}

/// `None`: the options are wrong, or a file of theirs is.
fn layers_of(arguments: &[String]) -> Option<LayerFactory> {
    let mut factory = LayerFactory::plain();
    if let Some(at) = arguments.iter().position(|argument| argument == "--tls") {
        let file = |name: &String| {
            let bytes = std::fs::read(name).ok()?;
            let name = name.clone();
            Some(Named { name, bytes })
        };
        let pair = (file(arguments.get(at + 1)?)?, file(arguments.get(at + 2)?)?);
        let material = Material {
            certificates: vec![pair],
            ..Material::default()
        };
        let context = Context::new(&Settings::default(), &material, &[]);
        let context = Arc::new(context.map_err(|problem| eprintln!("{problem}")).ok()?);
        factory = factory.with(move || Box::new(Tls::new(&context)));
    }
    if arguments.iter().any(|argument| argument == "--ws") {
        let policy = Arc::new(Policy {
            path: String::new(),
            origins: Vec::new(),
            trusted: Default::default(),
        });
        factory = factory.with(move || Box::new(Server::new(Arc::clone(&policy), None)));
    }
    Some(factory)
}

fn watch(ring: &OwnedFd, socket: impl AsFd, key: u64) -> io::Result<()> {
    let data = epoll::EventData::new_u64(key);
    Ok(epoll::add(ring, socket, data, epoll::EventFlags::IN)?)
}

impl Relay {
    /// What its socket has, through its layers.
    fn read(&mut self, key: u64, buffer: &mut [u8]) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(&key) else {
            return Ok(());
        };
        let link = Rc::clone(&connection.link);
        let count = match (&link.socket).read(buffer) {
            Ok(0) | Err(_) => {
                self.connections.remove(&key);
                return Ok(());
            }
            Ok(count) => count,
        };
        let bytes = &mut buffer[..count];
        let Some(layers) = &link.layers else {
            return self.handle(key, bytes);
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        let received = layers.borrow_mut().receive(bytes, &mut scratch);
        if !scratch.down.is_empty() {
            write_all(&link.socket, &scratch.down)?;
        }
        let up = std::mem::take(&mut scratch.up);
        self.scratch = scratch;
        if received.is_err() || layers.borrow().is_ended() {
            self.connections.remove(&key);
            return Ok(());
        }
        let handled = self.handle(key, &up);
        self.scratch.up = up;
        handled
    }

    fn handle(&mut self, key: u64, bytes: &[u8]) -> io::Result<()> {
        let Self {
            connections,
            scratch,
            ..
        } = self;
        let Some(connection) = connections.get_mut(&key).filter(|_| !bytes.is_empty()) else {
            return Ok(());
        };
        if !connection.to.is_empty() {
            // These come alone, when all else has arrived; not for the other side.
            let mut packets = bytes.chunks(2);
            if packets.all(|packet| packet == PINGREQ || packet == DISCONNECT) {
                let mut pings = bytes.chunks(2).filter(|packet| *packet == PINGREQ);
                return pings.try_for_each(|_| connection.link.send(&PINGRESP, scratch));
            }
            let mut to = connection.to.iter();
            return to.try_for_each(|to| to.send(bytes, scratch));
        }
        connection.partial.extend_from_slice(bytes);
        while connection.to.is_empty() {
            let partial = std::mem::take(&mut connection.partial);
            let Ok(Some(frame)) = next_frame(&partial, PACKET_SIZE_MAX) else {
                connection.partial = partial;
                return Ok(());
            };
            connection.partial = partial[frame.length..].to_vec();
            match frame.packet_type() {
                Some(PacketType::Connect) => connection.link.send(&[0x20, 2, 0, 0], scratch)?,
                Some(PacketType::PingReq) => connection.link.send(&PINGRESP, scratch)?,
                Some(PacketType::Subscribe) => {
                    let [high, low] = [frame.body[0], frame.body[1]];
                    let qos = frame.body[frame.body.len() - 1];
                    let filter = text(&frame.body[2..]).to_vec();
                    let subscribers = self.subscribers.entry(filter).or_default();
                    subscribers.push((key, Rc::clone(&connection.link)));
                    let answer = [0x90, 3, high, low, qos];
                    connection.link.send(&answer, scratch)?;
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
        let back = Rc::clone(&publisher.link);
        if let [(only, _)] = subscribers[..] {
            if let Some(subscriber) = self.connections.get_mut(&only) {
                subscriber.to = vec![back];
            }
        }
        let scratch = &mut self.scratch;
        let mut subscribers = subscribers.iter();
        subscribers.try_for_each(|(_, to)| to.send(bytes, scratch))
    }
}

/// The string, two bytes of length before it, at the beginning of `bytes`.
fn text(bytes: &[u8]) -> &[u8] {
    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    &bytes[2..2 + length]
}

impl Link {
    fn send(&self, bytes: &[u8], scratch: &mut Scratch) -> io::Result<()> {
        let Some(layers) = &self.layers else {
            return write_all(&self.socket, bytes);
        };
        let sent = layers.borrow_mut().send(&[IoSlice::new(bytes)], scratch);
        match sent {
            Ok(()) => write_all(&self.socket, &scratch.down),
            Err(_) => Ok(()), // the subscriber is gone
        }
    }
}

/// Sends all of it, waiting for room: a relay has nothing better to do.
fn write_all(mut to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
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
