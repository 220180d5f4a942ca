//! The table of metrics: the one definition of their names, units and meaning. The log, `$SYS`, /metrics and
//! docs/metrics.md are made from it.

mod bridges;
mod broker;
mod cluster;
mod connections;
mod messages;
mod mqtt_sn;
mod quic;
mod shards;
mod sparkplug;

use super::family::Family;

/// All families, in the order of the page.
pub fn all() -> impl Iterator<Item = &'static Family> {
    let groups = [
        broker::FAMILIES,
        connections::FAMILIES,
        bridges::FAMILIES,
        cluster::FAMILIES,
        mqtt_sn::FAMILIES,
        quic::FAMILIES,
        messages::FAMILIES,
        shards::FAMILIES,
        sparkplug::FAMILIES,
    ];
    groups.into_iter().flatten()
}

/// A row that is a counter of a shard: the field is its name in the log.
macro_rules! counted {
    ($field:ident) => {
        counted!([] $field)
    };
    ([$($label:literal: $value:literal),*] $field:ident) => {
        crate::metrics::family::Row {
            labels: &[$(($label, $value)),*],
            logged: Some(stringify!($field)),
            read: |report| report.shard.stats.$field as f64,
        }
    };
}

/// A row that is computed.
macro_rules! row {
    ([$($label:literal: $value:literal),*] $read:expr) => {
        crate::metrics::family::Row {
            labels: &[$(($label, $value)),*],
            logged: None,
            read: $read,
        }
    };
}

use {counted, row};
