//! Layer factory: makes the stack of a listener's connections.

use std::net::IpAddr;
use std::sync::Arc;

use super::quic;
use super::tls::Tickets;
use super::{Layer, Stack};

/// From the address of the socket's other end, `None` for a Unix socket.
type Make = Box<dyn Fn(Option<IpAddr>) -> Box<dyn Layer> + Send + Sync>;

/// Makers of layers, the one next to the socket first. Shared by all shards.
#[derive(Default)]
pub struct LayerFactory {
    makers: Vec<Make>,
    certificate_until_s: Option<i64>,
    tickets: Option<Arc<Tickets>>,
    quic: Option<Arc<quic::Context>>,
}

impl LayerFactory {
    /// No layer: MQTT straight on the socket.
    #[must_use]
    pub fn plain() -> Self {
        Self::default()
    }

    /// With one more layer on top.
    #[must_use]
    pub fn with(self, make: impl Fn() -> Box<dyn Layer> + Send + Sync + 'static) -> Self {
        self.with_for(move |_| make())
    }

    /// The same, for a layer that depends on the source of a connection: the address of the
    /// socket's other end, `None` for a Unix socket.
    #[must_use]
    pub fn with_for(
        mut self,
        make: impl Fn(Option<IpAddr>) -> Box<dyn Layer> + Send + Sync + 'static,
    ) -> Self {
        self.makers.push(Box::new(make));
        self
    }

    /// With certificates, the first of which ends then, in seconds since 1970.
    #[must_use]
    pub fn certified_until(mut self, until_s: Option<i64>) -> Self {
        self.certificate_until_s = until_s;
        self
    }

    /// With session tickets that another process can be given.
    #[must_use]
    pub fn with_tickets(mut self, tickets: Arc<Tickets>) -> Self {
        self.tickets = Some(tickets);
        self
    }

    /// Of a listener of QUIC, whose streams have no layer.
    #[must_use]
    pub fn with_quic(mut self, context: quic::Context) -> Self {
        self.quic = Some(Arc::new(context));
        self
    }

    #[must_use]
    pub fn tickets(&self) -> Option<&Tickets> {
        self.tickets.as_deref()
    }

    #[must_use]
    pub fn quic(&self) -> Option<&Arc<quic::Context>> {
        self.quic.as_ref()
    }

    #[must_use]
    pub fn certificate_until_s(&self) -> Option<i64> {
        self.certificate_until_s
    }

    /// Layers for a new connection from this address; `None`: it needs none.
    #[must_use]
    pub fn stack(&self, from: Option<IpAddr>) -> Option<Stack> {
        let layers: Vec<_> = self.makers.iter().map(|make| make(from)).collect();
        (!layers.is_empty()).then(|| Stack::new(layers))
    }
}
