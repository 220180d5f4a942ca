//! The tree below `$SYS/broker`, with Mosquitto's names, types and meaning.
//!
//! A topic is published when its value has changed; the uptime always. Values are decimal numbers, but for
//! version and uptime, whose words tools know.

use std::collections::HashMap;

use super::load::{Load, SPANS};
use super::report::{BrokerReport, ShardReport};
use crate::time::Span;

/// What all topics begin with.
pub const ROOT: &str = "$SYS/broker/";

/// What was published last. Lives on: the thread that publishes.
#[derive(Debug, Default)]
pub struct SysTree {
    last: HashMap<String, String>,
    loads: HashMap<&'static str, Load>,
    clients_max: u64,
    memory_max: u64,
}

/// A topic below the root and its number.
type Number = (String, u64);

impl SysTree {
    /// What is to be published of a report, `since` after the update before: topic and payload.
    pub fn update(&mut self, report: &BrokerReport, since: Span) -> Vec<(String, String)> {
        let mut values = vec![
            (
                "version".into(),
                format!("ringmq version {}", env!("CARGO_PKG_VERSION")),
            ),
            (
                "uptime".into(),
                format!("{} seconds", report.process.up.as_secs()),
            ),
        ];
        let numbers = numbers(report).into_iter().chain(self.maxima(report));
        values.extend(numbers.map(|(topic, number)| (topic, number.to_string())));
        values.extend(self.loads(report, since));
        values.retain(|(topic, value)| {
            let before = self.last.insert(topic.clone(), value.clone());
            topic == "uptime" || before.as_ref() != Some(value)
        });
        let full = values
            .into_iter()
            .map(|(topic, value)| (format!("{ROOT}{topic}"), value));
        full.collect()
    }

    /// What is to be published so that none of the topics is retained any more.
    pub fn cleared(&mut self) -> Vec<(String, String)> {
        let topics = std::mem::take(&mut self.last).into_keys();
        topics
            .map(|topic| (format!("{ROOT}{topic}"), String::new()))
            .collect()
    }

    fn maxima(&mut self, report: &BrokerReport) -> [Number; 2] {
        self.clients_max = self.clients_max.max(sum(report, |one| one.shard.sessions));
        self.memory_max = self.memory_max.max(report.process.resident_bytes);
        [
            ("clients/maximum".into(), self.clients_max),
            ("heap/maximum".into(), self.memory_max),
        ]
    }

    fn loads(&mut self, report: &BrokerReport, since: Span) -> Vec<(String, String)> {
        let mut values = Vec::new();
        for (name, read) in LOADED {
            let load = self.loads.entry(name).or_default();
            if since > Span::ZERO {
                load.update(sum(report, *read) as f64, since);
            }
            for (average, (span, _)) in load.averages().into_iter().zip(SPANS) {
                values.push((format!("load/{name}/{span}"), format!("{average:.2}")));
            }
        }
        values
    }
}

type Read = fn(&ShardReport) -> u64;

fn sum(report: &BrokerReport, read: Read) -> u64 {
    report.shards.iter().map(read).sum()
}

fn packets_in(one: &ShardReport) -> u64 {
    let packets = one.shard.stats.packets_in();
    packets.iter().map(|(_, count)| count).sum()
}

fn packets_out(one: &ShardReport) -> u64 {
    let packets = one.shard.stats.packets_out();
    packets.iter().map(|(_, count)| count).sum()
}

fn dropped(one: &ShardReport) -> u64 {
    let stats = &one.shard.stats;
    stats.dropped_queue_full + stats.dropped_slow_reader + stats.dropped_over_rate
}

/// One that moves to its home counts once.
fn sockets(one: &ShardReport) -> u64 {
    let stats = &one.shard.stats;
    stats.connections_opened.saturating_sub(stats.handed_off)
}

/// Of rates per minute.
const LOADED: &[(&str, Read)] = &[
    ("messages/received", packets_in),
    ("messages/sent", packets_out),
    ("publish/dropped", dropped),
    ("publish/received", |one| {
        one.shard.stats.publications_received
    }),
    ("publish/sent", |one| one.shard.stats.deliveries_sent),
    ("bytes/received", |one| one.shard.stats.bytes_received),
    ("bytes/sent", |one| one.shard.stats.bytes_sent),
    ("sockets", sockets),
    ("connections", |one| one.shard.stats.connects_accepted),
];

/// Of all shards together.
const SUMS: &[(&str, Read)] = &[
    ("clients/total", |one| one.shard.sessions),
    ("clients/connected", |one| one.shard.connected),
    ("clients/active", |one| one.shard.connected),
    ("clients/disconnected", disconnected),
    ("clients/inactive", disconnected),
    ("clients/expired", |one| one.shard.stats.sessions_expired),
    ("connections/socket/count", sockets),
    ("messages/received", packets_in),
    ("messages/sent", packets_out),
    ("messages/stored", stored),
    ("messages/inflight", |one| one.kept.in_flight),
    ("store/messages/count", stored),
    ("store/messages/bytes", |one| {
        one.shard.retained_bytes + one.kept.queued_bytes
    }),
    ("bytes/received", |one| one.shard.stats.bytes_received),
    ("bytes/sent", |one| one.shard.stats.bytes_sent),
    ("publish/messages/received", |one| {
        one.shard.stats.publications_received
    }),
    ("publish/messages/sent", |one| {
        one.shard.stats.deliveries_sent
    }),
    ("publish/messages/dropped", dropped),
    ("publish/bytes/received", |one| {
        one.shard.stats.payload_bytes_received
    }),
    ("publish/bytes/sent", |one| {
        one.shard.stats.payload_bytes_sent
    }),
    ("retained messages/count", |one| one.shard.retained),
    ("subscriptions/count", |one| one.kept.subscriptions),
    ("shared_subscriptions/count", |one| {
        one.kept.shared_subscriptions
    }),
];

/// Of one shard, below `shards/N/`.
const EACH: &[(&str, Read)] = &[
    ("clients/total", |one| one.shard.sessions),
    ("clients/connected", |one| one.shard.connected),
    ("bytes/received", |one| one.shard.stats.bytes_received),
    ("bytes/sent", |one| one.shard.stats.bytes_sent),
    ("publish/messages/received", |one| {
        one.shard.stats.publications_received
    }),
    ("publish/messages/sent", |one| {
        one.shard.stats.deliveries_sent
    }),
    ("publish/messages/dropped", dropped),
    ("retained messages/count", |one| one.shard.retained),
    ("busy/milliseconds", |one| one.driver.busy.as_millis()),
    ("turn/p99/microseconds", |one| {
        one.driver.turn_length.quantile(0.99)
    }),
];

fn disconnected(one: &ShardReport) -> u64 {
    one.shard.sessions.saturating_sub(one.shard.connected)
}

fn stored(one: &ShardReport) -> u64 {
    one.shard.retained + one.kept.queued
}

/// All that are numbers and follow from one report.
pub(super) fn numbers(report: &BrokerReport) -> Vec<Number> {
    let mut numbers: Vec<Number> = SUMS
        .iter()
        .map(|(topic, read)| ((*topic).into(), sum(report, *read)))
        .collect();
    numbers.push(("heap/current".into(), report.process.resident_bytes));
    for packets in [packets_of(report, true), packets_of(report, false)] {
        numbers.extend(packets);
    }
    for (index, shard) in report.shards.iter().enumerate() {
        let each = EACH.iter();
        numbers.extend(each.map(|(topic, read)| (format!("shards/{index}/{topic}"), read(shard))));
    }
    numbers
}

fn packets_of(report: &BrokerReport, received: bool) -> Vec<Number> {
    let counts = report.shards.iter().map(|one| match received {
        true => one.shard.stats.packets_in(),
        false => one.shard.stats.packets_out(),
    });
    let direction = if received { "received" } else { "sent" };
    let mut sums: Vec<Number> = Vec::new();
    for counts in counts {
        for (index, (packet, count)) in counts.into_iter().enumerate() {
            match sums.get_mut(index) {
                Some((_, sum)) => *sum += count,
                None => sums.push((format!("mqtt/{packet}/{direction}"), count)),
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(received: u64) -> BrokerReport {
        let mut report = BrokerReport::default();
        report.shards.resize_with(2, ShardReport::default);
        report.shards[1].shard.stats.publications_received = received;
        report.process.up = Span::from_secs(12);
        report
    }

    #[test]
    fn all_topics_come_first_and_then_those_that_have_changed() {
        let mut tree = SysTree::default();
        let first = tree.update(&report(0), Span::ZERO);
        let value = |topics: &[(String, String)], name: &str| {
            let topic = format!("{ROOT}{name}");
            let found = topics.iter().find(|(own, _)| *own == topic);
            found.map(|(_, value)| value.clone())
        };
        assert_eq!(value(&first, "uptime").unwrap(), "12 seconds");
        assert_eq!(value(&first, "retained messages/count").unwrap(), "0");
        assert_eq!(
            value(&first, "load/publish/received/15min").unwrap(),
            "0.00"
        );
        assert_eq!(value(&first, "shards/1/bytes/sent").unwrap(), "0");
        assert!(value(&first, "version")
            .unwrap()
            .starts_with("ringmq version "));
        let next = tree.update(&report(0), Span::from_secs(10));
        assert_eq!(next.len(), 1, "only the uptime: {next:?}");
        let next = tree.update(&report(3), Span::from_secs(10));
        assert_eq!(value(&next, "publish/messages/received").unwrap(), "3");
        assert_eq!(value(&next, "mqtt/publish/received").unwrap(), "3");
        assert_eq!(value(&next, "load/publish/received/1min").unwrap(), "2.76");
        assert_eq!(value(&next, "shards/0/publish/messages/received"), None);
        let cleared = tree.cleared();
        assert_eq!(cleared.len(), first.len());
        assert_eq!(value(&cleared, "uptime").unwrap(), "");
        assert_eq!(tree.update(&report(3), Span::ZERO).len(), first.len());
    }
}
