//! All integration tests in one binary: one link, one start.

mod bridge;
mod chaos;
mod cli;
mod conformance;
mod delivery;
mod metrics;
mod mqtt_sn;
mod plant;
mod process;
mod rumqtt;
mod sensors;
mod tidy;
mod verified;
mod wire;
