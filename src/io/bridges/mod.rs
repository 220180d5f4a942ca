//! Bridges: a thread for each, which resolves names, connects, and gives the socket to the shards.
//!
//! From then on the connection is one as any other: its topmost layer ([`layer`]) turns the conversation with the
//! remote into one of a client of ours. The thread learns of its end by the layer's reports, waits as the backoff
//! wants it, and begins again. So nothing that may block is done by a shard. Reports and orders of operators come by
//! one channel, which is all that a thread waits for ([`wake`]).

mod attempt;
mod dial;
mod files;
mod keeper;
mod layer;
mod local;
mod log;
mod probe;
mod renew;
mod roster;
mod status;
mod wake;

pub(super) use layer::Dialled;
pub(super) use local::session;
pub(super) use renew::renew;
pub(super) use roster::Roster;
pub use status::{BridgeState, QueueState};
