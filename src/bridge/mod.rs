//! Bridges: a client of another broker whose local half is an ordinary session of ours.
//!
//! A [`Relay`] stands between two conversations of MQTT: with the remote broker, of which it is a client, and with
//! the home shard of its local client id, of which it is a client, too. It passes packets on and keeps their packet
//! identifiers, so that it has no queue and no exchange of its own to lose:
//!
//! ```text
//! remote broker ◄── PUBLISH 7 ──── Relay ◄── PUBLISH 7 ──── session "bridge.site" of a shard
//!               ─── PUBACK 7 ────►       ─── PUBACK 7 ────►   window, queue, journal
//!               ─── PUBLISH 4 ───►       ─── PUBLISH 4 ───►   received identifiers
//!               ◄── PUBREC 4 ─────       ◄── PUBREC 4 ─────
//! ```
//!
//! What is not acknowledged by the remote stays in the local session, and what is not acknowledged by the local
//! session stays in the remote's. Both sessions resume, so QoS 2 is exactly once over reconnects of either side.
//!
//! Everything here is a value without sockets, clocks and threads; `io` carries its bytes.

mod backoff;
mod counts;
mod ids;
mod incoming;
mod line;
mod local;
mod properties;
mod relay;
mod remote;
mod terms;
#[cfg(test)]
mod tests;
mod waiting;

pub use backoff::Backoff;
pub use counts::{Counts, Drop};
pub use line::{Direction, Line};
pub use relay::{Ended, Event, Link, LocalLimits, Relay};
pub use terms::{
    look_for_loops, own_terms, Bridge, Dialect, Notify, Order, RetainFlag, Start, TlsTerms, Words,
};
pub use waiting::{forgetting, waiting};
