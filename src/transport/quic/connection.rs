//! One connection, and an answer of its stream.

use std::cmp::Reverse;
use std::net::SocketAddr;

use bytes::Bytes;
use quinn_proto::{ConnectionHandle, StreamId};

use crate::time::Time;

/// A connection by its place and how many were there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub index: u32,
    pub generation: u32,
}

/// An answer of a stream that is read.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Bytes(Bytes),
    /// Nothing now; an event says when.
    Nothing,
    /// Its end, or that of its connection.
    End,
}

/// A deadline of the connection in a place; stale when the place has another generation.
pub(super) type Deadline = Reverse<(Time, u32, u32)>;

pub(super) struct Connection {
    pub(super) inner: quinn_proto::Connection,
    pub(super) handle: ConnectionHandle,
    pub(super) generation: u32,
    /// The one that carries MQTT.
    pub(super) stream: Option<StreamId>,
    /// Its user wants events of it.
    pub(super) is_told: bool,
    /// Ended: it lives on for packets that are on their way (RFC 9000 section 10.2).
    pub(super) is_ended: bool,
    /// By when it has to have opened its stream, or to have acknowledged the last of it.
    pub(super) deadline: Time,
    /// For which a timer is in the list.
    pub(super) armed: Time,
    /// In the list of those that may have something to send.
    pub(super) is_listed: bool,
    pub(super) address: SocketAddr,
}

impl Connection {
    pub(super) fn key(&self) -> Key {
        Key {
            index: self.handle.0 as u32,
            generation: self.generation,
        }
    }
}
