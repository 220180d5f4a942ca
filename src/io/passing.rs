//! Connections on their way: to another shard, to another node, and from one.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::layers::Layers;
use crate::cluster::lanes::Peer;
use crate::cluster::Node;
use crate::shard::Origin;

/// A connection on its way to its home shard. Dropped, it closes.
pub(super) struct MovedSocket {
    pub(super) socket: OwnedFd,
    pub(super) origin: Origin,
    pub(super) layers: Option<Box<Layers>>,
    /// Bytes read and not yet handled, CONNECT first.
    pub(super) bytes: Vec<u8>,
}

/// A connection that another node has accepted, on its way to a shard.
pub(super) struct Relayed {
    pub(super) socket: OwnedFd,
    pub(super) origin: Origin,
}

/// A connection that a shard has let go.
pub(super) struct RelayedClient {
    pub(super) socket: OwnedFd,
    pub(super) layers: Option<Box<Layers>>,
    pub(super) to: Arc<Peer>,
    pub(super) origin: Origin,
    /// From CONNECT on.
    pub(super) bytes: Vec<u8>,
    pub(super) counted: Counted,
}

/// A connection counts as open until this is dropped.
pub(super) struct Counted(Option<Box<dyn FnOnce() + Send>>);

impl Counted {
    /// `closed` counts its end.
    pub(super) fn new(closed: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(closed)))
    }

    /// A shard of this process has it again.
    pub(super) fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(closed) = self.0.take() {
            closed();
        }
    }
}

/// Orders to the thread.
pub(super) enum RelayOrder {
    Take(Box<RelayedClient>),
    /// A node is dead: what was passed on to it ends, and its clients connect again.
    Gone(Node),
}
