//! The only place that knows glommio, io_uring, sockets, clocks, threads and signals.
//!
//! It knows nothing of MQTT: bytes, blocks and deadlines go in and out of [`crate::shard::Shard`].
//! One glommio executor per shard runs one [`driver`] task; there is no task per connection. A
//! [`poller`] of its own tells which sockets are ready; reads and writes are plain non-blocking calls.

mod clock;
mod cores;
mod driver;
mod listener;
mod logging;
mod mesh;
mod poller;
mod runtime;
mod signals;
mod sockets;

pub use cores::available_cores;
pub use logging::start as start_logging;
pub use runtime::{run, StartError, Startup};
