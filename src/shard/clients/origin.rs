//! Origin of a connection: the client's address, its listener and its certificate's name.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::ids::{ConnectionId, ListenerId};
use crate::shard::clients::phase::Phase;
use crate::shard::Shard;
use crate::time::Time;

/// The remote end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteEnd {
    Ip(SocketAddr),
    /// A program of this machine through a Unix socket, which has no address.
    Unix,
}

impl RemoteEnd {
    /// `None`: a Unix socket.
    #[must_use]
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(address),
            Self::Unix => None,
        }
    }

    /// The same, without the port.
    #[must_use]
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }
}

/// What is known of a connection before its first byte of MQTT. Moves with it in a hand-off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Behind a proxy that the listener trusts: the address that the proxy forwards.
    pub peer: RemoteEnd,
    pub listener: ListenerId,
    /// User name that a verified client certificate gives.
    #[allow(clippy::box_collection)] // 8 bytes instead of 16 for all that have none
    pub identity: Option<Box<String>>,
    /// Its session keeps the will of its CONNECT (MQTT-SN, section 6.3). Such a connection is never moved, so this
    /// is in no image.
    pub keeps_will: bool,
    /// So many other nodes pass on what it sends. Such a connection is in no image either: a node is not upgraded.
    pub hops: u8,
}

impl Origin {
    #[must_use]
    pub fn new(peer: RemoteEnd, listener: ListenerId) -> Self {
        Self {
            peer,
            listener,
            identity: None,
            keeps_will: false,
            hops: 0,
        }
    }
}

impl fmt::Display for RemoteEnd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(out),
            Self::Unix => out.write_str("unix"),
        }
    }
}

impl Shard {
    /// The layers below MQTT have found out more about a connection than its socket shows: the
    /// client's address behind a proxy, its name in a certificate. Call before its first bytes.
    pub fn handle_origin(
        &mut self,
        connection: ConnectionId,
        peer: Option<RemoteEnd>,
        identity: Option<Box<str>>,
    ) {
        // One that is handed off has its origin.
        if let Some(state) = self.clients.connections.get_mut(connection) {
            debug_assert!(state.session().is_none(), "before the first bytes");
            if state.phase == Phase::AwaitLayers {
                state.phase = Phase::AwaitConnect;
            }
            let origin = &mut state.origin;
            origin.peer = peer.unwrap_or(origin.peer);
            let identity = identity.map(|name| Box::new(name.into()));
            origin.identity = identity.or(origin.identity.take());
        }
    }

    /// A layer below MQTT has failed; `text` is a sentence that says why. Its last bytes to the
    /// client are sent by the driver.
    pub fn handle_broken(&mut self, connection: ConnectionId, text: &str, now: Time) {
        let Some(state) = self.clients.connections.get(connection) else {
            return; // handed off, and the driver has not carried that out yet
        };
        self.outbox.stats.transport_errors += 1;
        if state.session().is_some() {
            self.end_connection(connection, None, text, now);
        } else {
            self.refuse_connect(connection, None, None, text, now);
        }
    }
}
