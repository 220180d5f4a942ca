//! A fleet: the sockets of many clients, what each of them waits for, and repeats.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ringmq::mqtt_sn::{decode, encode, forwarded, unwrap_forwarded, Message};
use rustix::event::epoll;

/// Repeats of a message that is not answered.
const RETRIES: u8 = 4;
/// Clients with addresses of their own that one local address has ports for.
const PORTS: usize = 20_000;
/// Datagrams read of one socket before others have their turn.
const READS: usize = 64;

/// What a client waits for.
struct Request {
    datagram: Vec<u8>,
    sent: u8,
    number: u64,
}

/// See the module. Clients are numbers from 0 on.
pub(super) struct Fleet {
    sockets: Vec<UdpSocket>,
    /// Clients of each socket; 0: one, which is no node.
    nodes: usize,
    epoll: OwnedFd,
    requests: Vec<Option<Request>>,
    deadlines: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    requested: u64,
    retry: Duration,
    pub(super) retransmitted: u64,
    /// Clients that were not answered.
    pub(super) given_up: u64,
    arrived: Vec<(usize, Vec<u8>)>,
}

impl Fleet {
    pub(super) fn new(
        address: SocketAddr,
        clients: usize,
        nodes: usize,
        retry: Duration,
    ) -> Result<Self, String> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| e.to_string())?;
        let count = clients.div_ceil(nodes.max(1));
        let mut sockets = Vec::with_capacity(count);
        for number in 0..count {
            let socket = open(address, number / PORTS)
                .map_err(|error| format!("socket {number} of {count}: {error}"))?;
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, &socket, data, epoll::EventFlags::IN).map_err(|e| e.to_string())?;
            sockets.push(socket);
        }
        Ok(Self {
            sockets,
            nodes,
            epoll,
            requests: (0..clients).map(|_| None).collect(),
            deadlines: BinaryHeap::new(),
            requested: 0,
            retry,
            retransmitted: 0,
            given_up: 0,
            arrived: Vec::new(),
        })
    }

    pub(super) fn sockets(&self) -> &[UdpSocket] {
        &self.sockets
    }

    fn datagram(&self, client: usize, message: &Message<'_>) -> Vec<u8> {
        let mut datagram = Vec::new();
        if self.nodes > 0 {
            let node = (client % self.nodes) as u32;
            forwarded(&node.to_be_bytes(), &mut datagram);
        }
        encode(message, &mut datagram);
        datagram
    }

    fn put(&self, client: usize, datagram: &[u8]) {
        // One that finds no room is lost, as on any other part of its way.
        let _ = self.sockets[client / self.nodes.max(1)].send(datagram);
    }

    /// Sends a message that has no answer.
    pub(super) fn send(&self, client: usize, message: &Message<'_>) {
        let datagram = self.datagram(client, message);
        self.put(client, &datagram);
    }

    /// Sends a message, and again until [`Fleet::answered`].
    pub(super) fn ask(&mut self, client: usize, message: &Message<'_>) {
        let datagram = self.datagram(client, message);
        self.put(client, &datagram);
        self.requested += 1;
        self.requests[client] = Some(Request {
            datagram,
            sent: 1,
            number: self.requested,
        });
        let due = Instant::now() + self.retry;
        self.deadlines.push(Reverse((due, client, self.requested)));
    }

    pub(super) fn answered(&mut self, client: usize) {
        self.requests[client] = None;
    }

    pub(super) fn waits(&self, client: usize) -> bool {
        self.requests[client].is_some()
    }

    /// Waits for datagrams, at most so long, and repeats what is due. What has come is given to `handle`.
    pub(super) fn turn(
        &mut self,
        most: Duration,
        handle: &mut dyn FnMut(&mut Self, usize, &Message<'_>),
    ) -> Result<(), String> {
        self.repeat();
        let mut events = Vec::with_capacity(256);
        let wait = rustix::event::Timespec {
            tv_sec: most.as_secs() as i64,
            tv_nsec: i64::from(most.subsec_nanos()),
        };
        let spare = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.epoll, spare, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.to_string()),
        }
        for event in &events {
            self.read(event.data.u64() as usize);
        }
        for (client, datagram) in std::mem::take(&mut self.arrived) {
            if let Ok(message) = decode(&datagram) {
                handle(self, client, &message);
            }
        }
        Ok(())
    }

    fn read(&mut self, socket: usize) {
        let mut room = [0; 2_048];
        for _ in 0..READS {
            // An error is that there is nothing, or one of an earlier datagram.
            let Ok(length) = self.sockets[socket].recv(&mut room) else {
                return;
            };
            let datagram = &room[..length];
            let (node, message) = match unwrap_forwarded(datagram) {
                Ok(Some(inner)) => (inner.node.try_into().map(u32::from_be_bytes), inner.message),
                _ => (Ok(0), datagram),
            };
            let Ok(node) = node else {
                continue;
            };
            let client = socket * self.nodes.max(1) + node as usize;
            if client < self.requests.len() {
                self.arrived.push((client, message.to_vec()));
            }
        }
    }

    fn repeat(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((due, client, number))) = self.deadlines.peek().copied() {
            if due > now {
                return;
            }
            self.deadlines.pop();
            let Some(mut request) = self.requests[client].take_if(|one| one.number == number)
            else {
                continue;
            };
            if request.sent > RETRIES {
                self.given_up += 1;
                continue;
            }
            request.sent += 1;
            self.retransmitted += 1;
            self.put(client, &request.datagram);
            self.requests[client] = Some(request);
            self.deadlines
                .push(Reverse((now + self.retry, client, number)));
        }
    }
}

/// A socket at a local address; beyond the ports of one loopback address the next one is taken.
fn open(address: SocketAddr, range: usize) -> std::io::Result<UdpSocket> {
    let local: IpAddr = match address {
        SocketAddr::V4(to) if to.ip().is_loopback() => {
            Ipv4Addr::new(127, 0, (range >> 8) as u8, range as u8 + 1).into()
        }
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((local, 0))?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
