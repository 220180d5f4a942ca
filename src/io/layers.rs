//! Layers of one connection (TLS, WebSocket, PROXY) as they travel with it, and their unsent bytes.
//!
//! What a stack wraps is sent in one call per flush; only what the socket has no room for is kept, so an idle
//! connection has no buffer.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{send, SendFlags};

use crate::transport::{LayerError, Stack};

/// Wrapped bytes waiting for the socket above which a connection is not read: a client cannot make
/// us answer (handshakes, pings) without reading the answers.
const UNSENT_MAX: usize = 64 << 10;

/// Layers of one connection and their unsent bytes. Moves with the connection.
pub(super) struct Layers {
    pub(super) stack: Stack,
    /// Wrapped and not yet taken by the socket.
    pub(super) unsent: Vec<u8>,
    pub(super) close_notify_sent: bool,
    /// A layer has failed: maybe nothing more can be wrapped.
    pub(super) is_broken: bool,
    /// Seen and not yet acted upon.
    pub(super) end: Option<End>,
}

pub(super) enum End {
    /// The client has sent its close message (close_notify, close frame).
    PeerClosed,
    Broken(LayerError),
}

/// What became of bytes given to a socket.
pub(super) enum Pushed {
    All,
    /// The socket has no more room.
    Part(usize),
    Failed,
}

impl Layers {
    pub(super) fn new(stack: Stack) -> Self {
        Self {
            stack,
            unsent: Vec::new(),
            close_notify_sent: false,
            is_broken: false,
            end: None,
        }
    }

    /// Sends what waits and then these bytes; what the socket has no room for waits.
    pub(super) fn push(&mut self, descriptor: &OwnedFd, bytes: &[u8]) -> Pushed {
        if self.unsent.is_empty() {
            let pushed = push(descriptor, bytes);
            if let Pushed::Part(count) = pushed {
                self.unsent.extend_from_slice(&bytes[count..]);
            }
            return pushed;
        }
        self.unsent.extend_from_slice(bytes);
        let pushed = push(descriptor, &self.unsent);
        match pushed {
            Pushed::All => self.unsent = Vec::new(),
            Pushed::Part(count) => drop(self.unsent.drain(..count)),
            Pushed::Failed => {}
        }
        pushed
    }

    /// False while the client does not read the answers of the layers.
    pub(super) fn wants_input(&self) -> bool {
        self.unsent.len() <= UNSENT_MAX
    }
}

pub(super) fn push(descriptor: &OwnedFd, bytes: &[u8]) -> Pushed {
    loop {
        return match send(descriptor, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) if count == bytes.len() => Pushed::All,
            Ok(count) => Pushed::Part(count),
            Err(Errno::AGAIN) => Pushed::Part(0),
            Err(Errno::INTR) => continue,
            Err(_) => Pushed::Failed,
        };
    }
}
