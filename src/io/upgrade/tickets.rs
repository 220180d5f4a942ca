//! Keys of session tickets: a client of TLS that comes back resumes with the new process what it had with the old one.

use crate::io::listener_set::ListenerSet;
use crate::upgrade::TicketKeys;

/// Of all listeners that have some, when they give no more tickets.
pub(super) fn of(listeners: &ListenerSet) -> Vec<TicketKeys> {
    let keys = listeners.open_ones().filter_map(|(address, factory, _)| {
        let keys = factory.tickets()?.give();
        Some(TicketKeys { address, keys })
    });
    keys.collect()
}

/// Takes them, as far as TLS is what it was there.
pub(super) fn take(listeners: &ListenerSet, given: &[TicketKeys]) {
    for (address, factory, gate) in listeners.open_ones() {
        let own = given.iter().find(|keys| keys.address == address);
        if let (Some(own), Some(tickets)) = (own, factory.tickets()) {
            if !tickets.take(&own.keys) {
                let name = gate.name();
                tracing::info!(
                    "upgrade: TLS of the listener on {name} has changed: its tickets end"
                );
            }
        }
    }
}
