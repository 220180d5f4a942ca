//! What lies between a client and its socket when that is not plain TCP: TLS, WebSocket, or both.
//!
//! [`Transport`] is what the plan says, a `Connector` what a worker makes of it, a `Link` the layers of
//! one connection. A plain connection has no link, and nothing of this on its way.

mod link;
mod options;
mod tickets;
mod tls;

use std::sync::Arc;

use ringmq::transport::websocket::{self, Target};

pub(crate) use link::{Link, Scratch};
pub use options::TransportOptions;
pub(crate) use options::{is_path, Naming, Switch, WS_PATH};
use tls::TlsClient;
pub use tls::{Handshake, TlsSetup};

/// How to speak to each of the targets.
#[derive(Clone, Debug, Default)]
pub struct Transport {
    pub tls: Option<TlsSetup>,
    /// By target.
    pub websocket: Option<Vec<Arc<Target>>>,
}

/// What a worker makes links with.
pub(crate) struct Connector {
    tls: Option<TlsSetup>,
    websocket: Option<Vec<Arc<Target>>>,
}

impl Connector {
    /// For a worker with so many clients; `None` when the transport is plain TCP.
    pub(crate) fn new(transport: &Transport, clients: usize) -> Option<Self> {
        if transport.tls.is_none() && transport.websocket.is_none() {
            return None;
        }
        let tls = transport.tls.as_ref();
        Some(Self {
            tls: tls.map(|tls| tls.with_own_tickets(clients)),
            websocket: transport.websocket.clone(),
        })
    }

    /// Layers for a new connection to a target, by its place.
    pub(crate) fn link(&self, target: usize) -> Link {
        let tls = self.tls.as_ref().map(|tls| tls.connect(target));
        let targets = self.websocket.as_ref();
        let websocket = targets.map(|targets| {
            let target = Arc::clone(&targets[target % targets.len()]);
            websocket::Client::new(target, fastrand::u64(..))
        });
        Link::new(tls, websocket)
    }
}
