//! The names that mosquitto-exporter gives to the topics below `$SYS`: dashboards made for it go on without it.

use super::report::BrokerReport;
use super::sys::numbers;

/// Name and value of all numbers that follow from one report.
pub(super) fn samples(report: &BrokerReport) -> Vec<(String, f64)> {
    let own = numbers(report)
        .into_iter()
        .filter(|(topic, _)| !topic.starts_with("shards/"));
    own.map(|(topic, number)| (name(&topic), number as f64))
        .collect()
}

fn name(topic: &str) -> String {
    format!("broker_{}", topic.replace(['/', ' ', '-', '.'], "_"))
}
