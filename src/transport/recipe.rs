//! Which layers the connections of a listener get.

use super::{Layer, Stack};

type Make = Box<dyn Fn() -> Box<dyn Layer> + Send + Sync>;

/// Makers of layers, the one next to the socket first. Shared by all shards.
#[derive(Default)]
pub struct Recipe {
    makers: Vec<Make>,
}

impl Recipe {
    /// No layer: MQTT straight on the socket.
    #[must_use]
    pub fn plain() -> Self {
        Self::default()
    }

    /// With one more layer on top.
    #[must_use]
    pub fn with(mut self, make: impl Fn() -> Box<dyn Layer> + Send + Sync + 'static) -> Self {
        self.makers.push(Box::new(make));
        self
    }

    /// Layers for a new connection; `None`: it needs none.
    #[must_use]
    pub fn stack(&self) -> Option<Stack> {
        let layers: Vec<_> = self.makers.iter().map(|make| make()).collect();
        (!layers.is_empty()).then(|| Stack::new(layers))
    }
}
