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
pub(crate) use options::{is_path, Speaks, Switch, WS_PATH};
pub use tls::{Handshake, TlsSetup};

/// Layers between MQTT and the socket towards one target.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    pub tls: bool,
    pub websocket: Option<Arc<Target>>,
}

impl Layers {
    /// As in URLs: "tcp", "tls", "ws" or "wss".
    #[must_use]
    pub fn name(&self) -> &'static str {
        match (self.tls, self.websocket.is_some()) {
            (false, false) => "tcp",
            (true, false) => "tls",
            (false, true) => "ws",
            (true, true) => "wss",
        }
    }
}

/// How to speak to each of the targets.
#[derive(Clone, Debug, Default)]
pub struct Transport {
    /// By target; empty: plain TCP to all of them.
    pub layers: Vec<Layers>,
    /// Of those with TLS.
    pub tls: Option<TlsSetup>,
}

impl Transport {
    /// What is spoken, each once, in the order of the targets.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for name in self.layers.iter().map(Layers::name) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() {
            names.push(Layers::default().name());
        }
        names
    }
}

/// What a worker makes links with.
pub(crate) struct Connector {
    layers: Vec<Layers>,
    tls: Option<TlsSetup>,
}

impl Connector {
    /// For a worker with so many clients.
    pub(crate) fn new(transport: &Transport, clients: usize) -> Self {
        let tls = transport.tls.as_ref();
        Self {
            layers: transport.layers.clone(),
            tls: tls.map(|tls| tls.with_own_tickets(clients)),
        }
    }

    /// Layers for a new connection to a target, by its place, of a client, by its group and number in it; `None`
    /// when that is plain TCP.
    pub(crate) fn link(&self, target: usize, client: (usize, u32)) -> Option<Link> {
        let own = self.layers.get(target)?;
        let mut layers: Vec<Box<dyn Layer>> = Vec::new();
        if let Some(tls) = self.tls.as_ref().filter(|_| own.tls) {
            layers.push(Box::new(tls.connect(target, client)));
        }
        if let Some(target) = &own.websocket {
            let client = websocket::Client::new(Arc::clone(target), fastrand::u64(..));
            layers.push(Box::new(client));
        }
        (!layers.is_empty()).then(|| Link::new(layers))
    }
}
