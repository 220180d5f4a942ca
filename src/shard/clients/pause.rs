//! Connections whose packets wait for the next turn: how they wait, resume and end.

use crate::ids::ConnectionId;
use crate::mutant::{is_on, Mutant};
use crate::shard::clients::connection::Connection;
use crate::shard::clients::hold::Hold;
use crate::shard::clients::Clients;
use crate::shard::turn::budget::TurnBudget;
use crate::shard::{CloseCause, Shard};
use crate::time::Time;

impl Shard {
    /// Handles the packets of a paused connection; one whose socket is closed may end after them.
    pub(in crate::shard) fn resume(&mut self, id: ConnectionId, now: Time) {
        let Some(connection) = self.clients.connections.get_mut(id) else {
            return; // we ended it, and its socket is closed
        };
        if self.mesh.holds_back(connection) {
            self.turn.budget.put_off(id);
            return;
        }
        connection.holds.remove(Hold::NextTurn);
        let mut bytes = std::mem::take(&mut connection.partial);
        if is_on(Mutant::ForgetPausedPackets) {
            bytes.clear();
        }
        let (used, flow) = self.process(id, &bytes, now);
        self.after(id, &bytes[used..], flow);
        let Some(connection) = self.clients.connections.get(id) else {
            return; // it was handed off
        };
        let waits =
            connection.holds.contains(Hold::NextTurn) || connection.holds.contains(Hold::Decision);
        if let (false, Some(cause)) = (waits, connection.gone) {
            self.handle_closed(id, cause, now);
        }
    }
}

impl Clients {
    /// The packets in a connection's `partial` wait for the next turn.
    pub(in crate::shard) fn pause(&mut self, id: ConnectionId, budget: &mut TurnBudget) {
        self.connection_mut(id).holds.insert(Hold::NextTurn);
        budget.put_off(id);
    }

    /// The socket of a connection that waits is closed: true when what it sent before is to be handled
    /// first.
    pub(in crate::shard) fn closes_later(
        &mut self,
        id: ConnectionId,
        cause: CloseCause,
        budget: &mut TurnBudget,
    ) -> bool {
        // One that was handed off does not wait.
        let connection = self.connections.get_mut(id);
        let is_live = |connection: &Connection| connection.session().is_some();
        let waits = connection.filter(|c| {
            let is_asking = c.holds.contains(Hold::Decision) && is_live(c);
            let awaits_room = c.holds.contains(Hold::Disk) || c.holds.contains(Hold::Queue);
            c.holds.contains(Hold::NextTurn) || awaits_room || is_asking
        });
        match waits {
            Some(connection) if cause != CloseCause::Asked => {
                connection.gone = Some(cause);
                // The publication that waits was not taken; what is behind it may be a DISCONNECT.
                if connection.holds.remove(Hold::Disk) | connection.holds.remove(Hold::Queue) {
                    self.pause(id, budget);
                }
                true
            }
            _ => false,
        }
    }
}
