//! Outbox for the driver: datagrams, and what crosses to other shards.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};

use super::Gateway;
use crate::ids::{ListenerId, ShardId};
use crate::mqtt_sn::{encode, forwarded, Message};

/// Bytes of datagrams that wait for room towards another shard; more are dropped, as the kernel does.
const CROSSING_BYTES_MAX: usize = 1 << 20;

/// Who a peer is: 32 bytes where its address is of IPv4, since a hundred thousand may be known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerKey {
    pub listener: ListenerId,
    /// Of IPv4; of IPv6 `v6` has it, and these are zero.
    port: u16,
    ip: Ipv4Addr,
    v6: Option<Box<SocketAddrV6>>,
    /// Behind the forwarder at this address.
    pub node: Option<Box<[u8]>>,
}

const _: () = assert!(size_of::<PeerKey>() <= 32);

impl PeerKey {
    #[must_use]
    pub fn new(listener: ListenerId, address: SocketAddr, node: Option<Box<[u8]>>) -> Self {
        let (ip, port, v6) = match address {
            SocketAddr::V4(address) => (*address.ip(), address.port(), None),
            SocketAddr::V6(address) => (Ipv4Addr::UNSPECIFIED, 0, Some(Box::new(address))),
        };
        Self {
            listener,
            port,
            ip,
            v6,
            node,
        }
    }

    /// Of the peer, or of the forwarder before it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        match &self.v6 {
            None => (self.ip, self.port).into(),
            Some(address) => (**address).into(),
        }
    }
}

/// What one shard's gateway has for another's.
#[derive(Debug)]
pub enum Crossing {
    /// To the home of a client. `number` is the reader's, of this entry in its directory.
    Datagram {
        key: PeerKey,
        number: u32,
        bytes: Box<[u8]>,
    },
    /// To the home of a client: another one is at its address now.
    Replaced { key: PeerKey, number: u32 },
    /// To the reader: this is no client any more.
    Left { key: PeerKey, number: u32 },
}

/// A datagram to send.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub listener: ListenerId,
    pub address: SocketAddr,
    pub bytes: &'a [u8],
}

/// One datagram in the buffer.
#[derive(Debug)]
struct Written {
    listener: ListenerId,
    address: SocketAddr,
    end: usize,
}

#[derive(Debug)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    written: Vec<Written>,
    /// By shard.
    crossings: Vec<Vec<Crossing>>,
    crossing_bytes: Vec<usize>,
    /// Listeners that peers have left.
    pub(super) left: Vec<ListenerId>,
}

impl Outbox {
    pub(super) fn new(shards: u16) -> Self {
        Self {
            bytes: Vec::new(),
            written: Vec::new(),
            crossings: (0..shards).map(|_| Vec::new()).collect(),
            crossing_bytes: vec![0; usize::from(shards)],
            left: Vec::new(),
        }
    }

    /// A message to a peer.
    pub(super) fn send(&mut self, to: &PeerKey, message: &Message<'_>) {
        if let Some(node) = &to.node {
            forwarded(node, &mut self.bytes);
        }
        encode(message, &mut self.bytes);
        self.written.push(Written {
            listener: to.listener,
            address: to.address(),
            end: self.bytes.len(),
        });
    }

    /// False: there is no room for another datagram.
    pub(super) fn cross(&mut self, to: ShardId, crossing: Crossing) -> bool {
        if let Crossing::Datagram { bytes, .. } = &crossing {
            let waiting = &mut self.crossing_bytes[to.index()];
            if *waiting + bytes.len() > CROSSING_BYTES_MAX {
                return false;
            }
            *waiting += bytes.len();
        }
        self.crossings[to.index()].push(crossing);
        true
    }
}

impl Gateway {
    /// Datagrams to send, in order; forgotten by [`Gateway::handle_sent`].
    pub fn outgoing(&self) -> impl ExactSizeIterator<Item = Outgoing<'_>> {
        let mut begin = 0;
        let Outbox { written, bytes, .. } = &self.outbox;
        written.iter().map(move |one| {
            let range = std::mem::replace(&mut begin, one.end)..one.end;
            Outgoing {
                listener: one.listener,
                address: one.address,
                bytes: &bytes[range],
            }
        })
    }

    /// All of [`Gateway::outgoing`] was given to the kernel, or there was no room: what matters is repeated.
    pub fn handle_sent(&mut self) {
        self.stats.sent += self.outbox.written.len() as u64;
        self.outbox.written.clear();
        self.outbox.bytes.clear();
        self.outbox.bytes.shrink_to(256 << 10);
    }

    /// What crosses to another shard now; `None`: nothing.
    pub fn poll_crossings(&mut self, to: ShardId) -> Option<Vec<Crossing>> {
        let waiting = self.outbox.crossings.get_mut(to.index())?; // no gateway is beyond the shards
        if waiting.is_empty() {
            return None;
        }
        self.outbox.crossing_bytes[to.index()] = 0;
        Some(std::mem::take(waiting))
    }

    /// The listener of a peer that this shard admitted and that has left.
    pub fn poll_left(&mut self) -> Option<ListenerId> {
        self.outbox.left.pop()
    }
}
