//! The sockets of one shard, by connection.

use std::os::fd::OwnedFd;

use super::layers::Layers;
use crate::ids::{ConnectionId, ListenerId};

/// Where a socket is in its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Open,
    /// Closes once everything outgoing is sent; what arrives is discarded.
    Flushing,
    /// The same, and the client has closed its side: nothing more will be read.
    LastBytes,
    /// Our side is shut; what arrives is discarded until the client closes, so that our last bytes
    /// are not lost to a reset.
    Lingering,
}

/// One connected socket. Lives on: the shard that reads it.
pub(super) struct Socket {
    pub(super) descriptor: OwnedFd,
    pub(super) id: ConnectionId,
    pub(super) listener: ListenerId,
    /// None on a plain connection.
    pub(super) layers: Option<Box<Layers>>,
    /// May have bytes: in the list of sockets to read, or held back.
    pub(super) listed: bool,
    /// The end of the stream or an error is behind the bytes.
    pub(super) hangup: bool,
    /// The last write found no room; a poll for room is in the ring.
    pub(super) blocked: bool,
    /// Another process has handed it over, and it is not read yet.
    pub(super) was_moved: bool,
    pub(super) ending: Ending,
    /// Bytes discarded since the end began.
    pub(super) discarded: u32,
}

const _: () = assert!(size_of::<Option<Socket>>() <= 32, "per idle connection");

impl Socket {
    pub(super) fn new(
        descriptor: OwnedFd,
        id: ConnectionId,
        listener: ListenerId,
        layers: Option<Box<Layers>>,
    ) -> Self {
        Self {
            descriptor,
            id,
            listener,
            layers,
            listed: false,
            hangup: false,
            blocked: false,
            was_moved: false,
            ending: Ending::Open,
            discarded: 0,
        }
    }
}

/// Sockets by the index of their connection id.
#[derive(Default)]
pub(super) struct Sockets {
    table: Vec<Option<Socket>>,
}

impl Sockets {
    pub(super) fn insert(&mut self, socket: Socket) {
        let index = socket.id.index as usize;
        if self.table.len() <= index {
            self.table.resize_with(index + 1, || None);
        }
        self.table[index] = Some(socket);
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Socket> {
        let socket = self.table.get(id.index as usize)?.as_ref()?;
        (socket.id == id).then_some(socket)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Socket> {
        let socket = self.table.get_mut(id.index as usize)?.as_mut()?;
        (socket.id == id).then_some(socket)
    }

    /// The socket a completion names by index and part of a generation.
    pub(super) fn named(&mut self, id: ConnectionId) -> Option<&mut Socket> {
        let socket = self.table.get_mut(id.index as usize)?.as_mut()?;
        super::poller::same_generation(socket.id.generation, id.generation).then_some(socket)
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Socket> {
        let slot = self.table.get_mut(id.index as usize)?;
        if slot.as_ref()?.id != id {
            return None;
        }
        slot.take()
    }
}
