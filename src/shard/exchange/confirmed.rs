//! Confirmations: a node has applied a publication, so the shard that waits for it learns that.

use super::waits::WaitId;
use super::Exchange;
use crate::shard::durable::ticket::Awaited;
use crate::shard::mesh::block::Control;

impl Exchange {
    /// One node less is waited for.
    pub(super) fn confirm(&mut self, wait: WaitId) {
        if let Some(awaited) = self.waits.confirmed(wait) {
            self.confirm_to(awaited);
        }
    }

    /// No node is waited for.
    pub(super) fn confirm_to(&mut self, awaited: Awaited) {
        let Awaited { by, ticket } = awaited;
        if by == self.id {
            // It came from a node, and was handed on to another one.
            self.owed.committed(ticket, 1);
            return;
        }
        self.peers.send(by, Control::Committed { ticket, count: 1 });
    }
}
