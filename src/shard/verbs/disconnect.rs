//! DISCONNECT from a client.

use crate::ids::{ConnectionId, SessionId};
use crate::mqtt::{Disconnect, ReasonCode, Violation};
use crate::mutant::{is_on, Mutant};
use crate::shard::clients::activity::Ending;
use crate::shard::clients::flow::Flow;
use crate::shard::clients::teardown::WillFate;
use crate::shard::Shard;
use crate::time::Time;

impl Shard {
    pub(in crate::shard) fn on_disconnect(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        disconnect: &Disconnect<'_>,
        now: Time,
    ) -> Result<Flow, Violation> {
        let expiry_max_s = self.limits().session_expiry_max_s;
        let entry = self.clients.session_mut(session);
        if let Some(expiry_s) = disconnect.session_expiry_interval_s {
            // Section 3.14.2.2.2: an expiry of zero at CONNECT cannot be raised here.
            if !entry.session.is_durable() && expiry_s > 0 {
                return Err(Violation::ExpiryRaised);
            }
            entry.session.expiry_interval_s = expiry_s.min(expiry_max_s);
        }
        // Any reason but 0x00 leaves the will to be published [MQTT-3.14.4-3].
        let fate = match disconnect.reason {
            ReasonCode::Success if !is_on(Mutant::WillAfterDisconnect) => WillFate::Discard,
            _ => WillFate::Publish,
        };
        self.clients.trace_end(id, "DISCONNECT of the client");
        self.start_closing(id, now);
        let how = Ending::Disconnect(disconnect.reason);
        self.clients.note_ending(session, how, now);
        self.detach(session, fate, now);
        Ok(Flow::Stop)
    }
}
