//! Captured packets of operators: terms, records, and those that wait to be asked for. Plain data.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use bytes::Bytes;

use crate::ids::ConnectionId;
use crate::mqtt::{Qos, Version};
use crate::shard::{CloseCause, RemoteEnd};
use crate::time::{Time, WallTime};

/// Captures at once.
pub const CAPTURES_MAX: usize = 8;
/// Bytes of records that wait to be asked for, of one capture; what is more is left out and counted.
const WAITING_MAX: usize = 1 << 20;
/// Captured connections whose clients are known after their end.
const NAMES_MAX: usize = 10_000;
/// Bytes of one record besides its packets.
const RECORD_BYTES: usize = 128;

/// Whose packets, or which topics; a capture that names nothing has nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureTerms {
    pub client: Option<Box<str>>,
    /// `client` is what client ids begin with.
    pub is_prefix: bool,
    pub address: Option<IpAddr>,
    /// Publications whose topic matches, of any publisher.
    pub filter: Option<Box<str>>,
}

/// Something that was captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureRecord {
    pub at: WallTime,
    pub connection: Option<ConnectionId>,
    pub client_id: Option<Box<str>>,
    pub peer: Option<RemoteEnd>,
    pub what: Captured,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Captured {
    Opened,
    /// Whole packets that were handled.
    In(Version, Box<[u8]>),
    /// Bytes that the socket took; packets may be cut.
    Out(Version, Box<[u8]>),
    /// Why the broker ends it.
    Ends(Box<str>),
    Closed(CloseCause),
    Publication {
        topic: Box<str>,
        qos: Qos,
        retain: bool,
        payload: Bytes,
    },
}

impl Captured {
    pub(super) fn bytes(&self) -> usize {
        RECORD_BYTES
            + match self {
                Self::In(_, bytes) | Self::Out(_, bytes) => bytes.len(),
                Self::Ends(text) => text.len(),
                Self::Publication { topic, payload, .. } => topic.len() + payload.len(),
                Self::Opened | Self::Closed(_) => 0,
            }
    }
}

/// Whether a connection is captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::shard) enum CaptureFlag {
    #[default]
    No,
    /// What is sent is captured once all before it is sent: until then a packet may have begun.
    Input,
    Both,
}

#[derive(Debug)]
pub(super) struct Capture {
    pub(super) id: u64,
    pub(super) terms: CaptureTerms,
    pub(super) until: Time,
    /// Sessions from here on have not been looked at.
    pub(super) unseen: Option<u32>,
    pub(super) waiting: VecDeque<CaptureRecord>,
    pub(super) bytes: usize,
    pub(super) left_out: u64,
}

/// Lives on: the shard. Bounded by [`CAPTURES_MAX`], [`WAITING_MAX`] and [`NAMES_MAX`].
#[derive(Debug, Default)]
pub(in crate::shard) struct Captures {
    pub(super) all: Vec<Capture>,
    /// Clients of captured connections: one that ends has no session any more.
    pub(super) names: BTreeMap<ConnectionId, Box<str>>,
}

impl CaptureTerms {
    pub(super) fn takes(&self, client_id: Option<&str>, address: Option<IpAddr>) -> bool {
        let client = self.client.as_deref();
        let by_id = client
            .zip(client_id)
            .is_some_and(|(wanted, name)| match self.is_prefix {
                true => name.starts_with(wanted),
                false => name == wanted,
            });
        by_id || (self.address.is_some() && self.address == address)
    }
}

impl Capture {
    pub(super) fn keep(&mut self, record: &CaptureRecord) {
        let bytes = record.what.bytes();
        if self.bytes + bytes > WAITING_MAX {
            self.left_out += 1;
            return;
        }
        self.bytes += bytes;
        self.waiting.push_back(record.clone());
    }
}

impl Captures {
    pub(super) fn take(&mut self, record: &CaptureRecord, now: Time) -> bool {
        let address = record.peer.and_then(RemoteEnd::ip);
        let (mut taken, name) = (false, record.client_id.as_deref());
        for capture in self.all.iter_mut().filter(|capture| capture.until > now) {
            if capture.terms.takes(name, address) {
                capture.keep(record);
                taken = true;
            }
        }
        taken
    }

    pub(super) fn know(&mut self, id: ConnectionId, name: &str) {
        if self.names.len() < NAMES_MAX {
            self.names.entry(id).or_insert_with(|| name.into());
        }
    }

    pub(super) fn wants(&self, client_id: Option<&str>, peer: RemoteEnd) -> bool {
        let takes = |capture: &Capture| capture.terms.takes(client_id, peer.ip());
        self.all.iter().any(takes)
    }
}
