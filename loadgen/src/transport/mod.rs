//! Transports other than plain TCP: TLS, WebSocket, or both, between a client and its socket.
//!
//! [`Transport`] is what the plan says, a `Connector` what a worker makes of it, a `Link` the layers of
//! one connection. A plain connection has no link, and nothing of this on its way.

mod link;
mod naming;
mod options;
mod tickets;
mod tls;

use std::sync::Arc;

use ringmq::transport::websocket::{self, Target};
use ringmq::transport::Layer;

pub(crate) use link::Link;
pub(crate) use naming::Naming;
pub use options::TransportOptions;
pub(crate) use options::{is_path, Switch, WS_PATH};
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

    /// Layers for a new connection to a target, by its place, of a client, by its group and number in it.
    pub(crate) fn link(&self, target: usize, client: (usize, u32)) -> Link {
        let mut layers: Vec<Box<dyn Layer>> = Vec::new();
        if let Some(tls) = &self.tls {
            layers.push(Box::new(tls.connect(target, client)));
        }
        if let Some(targets) = &self.websocket {
            let target = Arc::clone(&targets[target % targets.len()]);
            let client = websocket::Client::new(target, fastrand::u64(..));
            layers.push(Box::new(client));
        }
        Link::new(layers)
    }
}
