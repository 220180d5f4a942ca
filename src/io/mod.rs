//! Runtime and input/output: the only module that uses glommio, io_uring, sockets, clocks, threads and
//! signals.
//!
//! It is independent of MQTT: bytes, blocks and deadlines go in and out of [`crate::shard::Shard`];
//! sessions, topics and packets cannot be seen from here. It decides when a shard runs and how its bytes
//! are transported; the shard decides what they are.
//!
//! One glommio executor per shard runs one `driver` task; there is no task per connection. A
//! `poller` of its own reports which sockets are ready; reads are plain non-blocking calls, and the writes
//! of a turn are handed over together (`sends`). A shard with nothing to do sleeps in the poller's ring,
//! so nothing else may run on its executor.
//! Shards share nothing but the rings of the `mesh` and the state in `shared`.
//!
//! Rules: a shard never blocks (its one wait is in `Driver::park`), never waits for a peer, and makes
//! no system call for a peer that is awake. Bytes read are handed over in order and all of them; what
//! a peer has no room for stays with its sender, which is woken when there is room.

mod adopting;
pub mod aligned_buffer;
mod awake;
mod bridges;
mod broker;
mod clock;
mod cluster;
mod cluster_board;
mod commands;
mod commits;
mod controls;
mod cores;
mod counters;
mod data_dir;
mod datagrams;
mod driver;
mod errors;
mod fd_store;
mod file_watch;
mod foundation;
mod frame_writer;
mod gate;
mod gateway;
mod hook;
mod huge_pages;
mod inbox;
mod inherited;
mod input;
pub mod journal_tools;
mod lateness;
mod layered;
mod layers;
mod links;
mod listener;
mod listener_names;
mod listener_set;
mod listening;
mod log_copies;
mod logging;
mod logins;
mod looks;
mod measures;
mod memory;
mod memory_watch;
mod mesh;
mod no_file;
pub mod operations;
mod operators;
mod output;
mod passing;
mod pauses;
pub mod poller;
mod process_report;
mod queues;
mod quic;
mod quic_pairs;
mod read_backs;
mod reaped;
mod recovery;
mod reload;
mod ring;
mod runtime;
pub mod segment_files;
mod sends;
mod service_manager;
mod shard_threads;
mod shared;
mod shares;
mod signals;
mod sockets;
mod stage;
mod sys;
#[cfg(test)]
mod tests;
mod tls_files;
mod turn_length;
mod unix;
mod upgrade;

pub use bridges::{BridgeState, QueueState};
pub use broker::Broker;
pub use cluster_board::{ClusterState, NodeState};
pub use controls::{Apply, ListenerState, Reloaded};
pub use cores::{available_cores, Cores};
pub use errors::StartError;
pub use foundation::found_data_dir;
pub use inbox::Reply;
pub use logging::{flush as flush_log, start as start_logging};
pub use memory::memory_there_is;
pub use recovery::look_at_data_dir;
pub use reload::{Configuration, Renewed};
pub use runtime::{connections_allowed, io_uring_works, run, Startup};
pub use stage::Stage;
pub use tls_files::look_at_tls;
pub use upgrade::{refuse_upgrade, Successor};
