//! ringmq: an MQTT broker with one pinned executor per core.
//!
//! See `ARCHITECTURE.md` for the bird's-eye view. Dependency direction, checked by `tests/tidy.rs`:
//!
//! ```text
//! main -> admin -> io -> metrics -> shard -> session -> mqtt -> {time, limits, ids}
//!                     -> routing -> mqtt
//!                     -> auth    -> mqtt
//! ```
//!
//! Nothing below `io` reads a clock, a socket, the environment or a global.

pub mod admin;
pub mod admin_options;
pub mod auth;
pub mod bridge;
pub mod cluster;
pub mod config;
pub mod ctl;
pub mod gateway;
pub mod histogram;
pub mod ids;
pub mod image;
pub mod io;
pub mod journal;
pub mod limits;
pub mod listener;
pub mod metrics;
pub mod mosquitto;
pub mod mqtt;
pub mod mqtt_sn;
pub mod mutant;
pub mod own_files;
pub mod prng;
pub mod routing;
pub mod run_options;
pub mod session;
pub mod shard;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod sparkplug;
pub mod subcommands;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod top;
pub mod transport;
pub mod upgrade;
pub mod version;
