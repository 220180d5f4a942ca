//! `$SYS`: a thread that asks the shards for their counters and has one of them publish what has changed.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::broker::Broker;
use super::clock::wall;
use super::inbox::ShardCommand;
use super::logging;
use super::stage::Stage;
use crate::ids::ShardId;
use crate::metrics::sys::SysTree;
use crate::time::{Span, Time};

/// Messages of one command: a shard publishes them in some ten microseconds.
const MESSAGES_EACH: usize = 32;

/// Publishes at once, and then at each multiple of the interval of the wall clock, until the broker stops. `intervals`
/// brings other ones; while it is zero nothing is published.
pub(super) fn start(broker: Broker, intervals: Receiver<Span>) -> std::io::Result<()> {
    let mut interval = broker.shared().options().sys_interval;
    let publish = move || {
        broker.yield_to_shards();
        let mut tree = SysTree::default();
        let mut before: Option<Time> = None;
        while broker.stage() == Stage::Ready {
            let report = (interval > Span::ZERO).then(|| broker.gather());
            if let Some(report) = report.flatten() {
                let now = Time::ZERO + report.process.up;
                let since = before.map_or(Span::ZERO, |before| now.since(before));
                before = Some(now);
                publish(&broker, tree.update(&report, since));
            }
            let other = match interval {
                Span::ZERO => intervals.recv().map_err(RecvTimeoutError::from),
                _ => intervals.recv_timeout(until_next(interval)),
            };
            match other {
                Ok(Span::ZERO) => {
                    publish(&broker, tree.cleared());
                    (interval, before) = (Span::ZERO, None);
                }
                Ok(other) => interval = other,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return, // the process ends
            }
        }
    };
    thread::Builder::new().name("sys".into()).spawn(publish)?;
    Ok(())
}

/// The lines of the log, where `sys-log` is on. They wait for nothing: while the shard has too much to do they are left out.
pub(super) fn follow_log(broker: Broker) {
    let publish = move |level, line| {
        if broker.stage() == Stage::Ready && broker.shared().options().sys_log {
            let line = ShardCommand::LogLine(log_topic(level), line);
            broker.shared().try_send(ShardId(0), line);
        }
    };
    logging::follow(Box::new(publish));
}

/// As Mosquitto names them.
fn log_topic(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "$SYS/broker/log/E",
        tracing::Level::WARN => "$SYS/broker/log/W",
        tracing::Level::INFO => "$SYS/broker/log/I",
        _ => "$SYS/broker/log/D",
    }
}

/// All by one shard, so that they keep their order; each is kept where its topic belongs.
fn publish(broker: &Broker, mut values: Vec<(String, String)>) {
    while !values.is_empty() {
        let rest = values.split_off(values.len().min(MESSAGES_EACH));
        broker.send(ShardId(0), ShardCommand::Status(values));
        values = rest;
    }
}

fn until_next(interval: Span) -> Duration {
    let now = wall().0;
    let interval = interval.as_millis();
    Duration::from_millis(interval - now % interval)
}
