//! Connections whose packets wait for the next turn: how they wait, resume and end.

use crate::ids::ConnectionId;
use crate::mutant::{is_on, Mutant};
use crate::shard::clients::connection::Connection;
use crate::shard::clients::hold::Hold;
use crate::shard::{CloseCause, Shard};
use crate::time::Time;

impl Shard {
    /// The packets in a connection's `partial` wait for the next turn.
    pub(in crate::shard) fn pause(&mut self, id: ConnectionId) {
        if let Some(connection) = self.clients.connections.get_mut(id) {
            connection.holds.insert(Hold::NextTurn);
            self.turn.budget.put_off(id);
        }
    }

    /// Handles the packets of a paused connection; one whose socket is closed may end after them.
    pub(in crate::shard) fn resume(&mut self, id: ConnectionId, now: Time) {
        let Some(connection) = self.clients.connections.get(id) else {
            return;
        };
        if self.holds_back(connection) {
            self.turn.budget.put_off(id);
            return;
        }
        let Some(connection) = self.clients.connections.get_mut(id) else {
            return;
        };
        connection.holds.remove(Hold::NextTurn);
        let mut bytes = std::mem::take(&mut connection.partial);
        if is_on(Mutant::ForgetPausedPackets) {
            bytes.clear();
        }
        let (used, flow) = self.process(id, &bytes, now);
        self.after(id, &bytes[used..], flow);
        let Some(connection) = self.clients.connections.get(id) else {
            return;
        };
        let waits =
            connection.holds.contains(Hold::NextTurn) || connection.holds.contains(Hold::Decision);
        if let (false, Some(cause)) = (waits, connection.gone) {
            self.handle_closed(id, cause, now);
        }
    }

    /// The socket of a connection that waits is closed: true when what it sent before is to be handled
    /// first.
    pub(in crate::shard) fn closes_later(&mut self, id: ConnectionId, cause: CloseCause) -> bool {
        let connection = self.clients.connections.get_mut(id);
        let is_live = |connection: &Connection| connection.session().is_some();
        let waits = connection.filter(|c| {
            let is_asking = c.holds.contains(Hold::Decision) && is_live(c);
            c.holds.contains(Hold::NextTurn) || is_asking
        });
        match waits {
            Some(connection) if cause != CloseCause::Asked => {
                connection.gone = Some(cause);
                true
            }
            _ => false,
        }
    }
}
