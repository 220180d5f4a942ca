//! Connections whose layers look at them from time to time.

use super::layers::Layers;
use crate::ids::ConnectionId;
use crate::time::{Span, Time};

/// Connections whose layers look at them. Lives on: a driver.
#[derive(Default)]
pub(super) struct Looks {
    /// When, and how often.
    rows: Vec<(ConnectionId, Time, Span)>,
}

impl Looks {
    pub(super) fn add(&mut self, id: ConnectionId, layers: Option<&Layers>, now: Time) {
        if let Some(ms) = layers.and_then(|layers| layers.stack.look_every_ms()) {
            let period = Span::from_millis(ms.into());
            self.rows.push((id, now + period, period));
        }
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.rows.iter().map(|(_, due, _)| *due).min()
    }

    /// Those that are due; each is due again after its period.
    pub(super) fn due(&mut self, now: Time) -> Vec<ConnectionId> {
        let mut found = Vec::new();
        for (id, due, period) in &mut self.rows {
            if *due <= now {
                *due = now + *period;
                found.push(*id);
            }
        }
        found
    }

    pub(super) fn remove(&mut self, id: ConnectionId) {
        self.rows.retain(|(other, ..)| *other != id);
    }
}
