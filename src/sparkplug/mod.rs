//! Sparkplug 3.0: topics of its namespace, what a broker reads of payloads, and the state of edge nodes, their
//! devices and host applications as it follows from what passes by.
//!
//! ```text
//! topic, payload ─► Topic, Outline ─► Sighting ─► Installation ─► rows, Finding
//! ```
//!
//! Nothing of a payload is trusted or kept: it is read in place, and what is no Sparkplug passes as any message does.

mod finding;
mod host_state;
mod installation;
mod node;
mod payload;
mod rows;
mod sighting;
#[cfg(test)]
mod tests;
mod topic;

pub use finding::Finding;
pub use host_state::HostState;
pub use installation::{Counts, Installation, STATE_BYTES};
pub use payload::{stamped, NotSparkplug, Outline};
pub use rows::{DeviceRow, HostRow, NodeRow};
pub use sighting::{Seen, Sighting};
pub use topic::{certificate_topic, concerns, is_certificate, node_key, Kind, Topic, CERTIFICATES};
