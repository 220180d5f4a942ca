//! Metrics: one table of what is counted, and the forms in which it leaves the broker. Pure: reports come
//! from `io`, texts and values go to a service.
//!
//! ```text
//! shards, listeners, process ─► BrokerReport ─┬─► exposition (/metrics)
//!              table ─────────────────────────┼─► sys ($SYS)
//!                                             └─► log (SIGUSR1)
//! ```

pub mod exposition;
mod family;
mod load;
mod mosquitto;
mod report;
pub mod sys;
mod table;

pub use family::{Family, Kind, Series};
pub use report::{
    BridgeReport, BrokerReport, ClusterReport, DriverReport, HookReport, ListenerReport,
    ProcessReport, ShardReport,
};
pub use table::all;
