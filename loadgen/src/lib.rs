//! mqload: load for MQTT brokers, with latency from the intended send time and verified losses.

pub mod agents;
pub mod assertions;
pub mod audience;
pub mod audit;
pub mod bottleneck;
mod breaches;
pub mod cli;
pub mod client;
pub mod engine;
pub mod flows;
mod histogram;
pub mod liar;
pub mod live;
pub mod meter;
pub mod options;
pub mod output;
pub mod payload;
pub mod payload_size;
pub mod plan;
pub mod results;
pub mod run;
pub mod scenario_file;
pub mod scenarios;
pub mod sink;
pub mod sources;
pub mod system;
pub mod transport;
