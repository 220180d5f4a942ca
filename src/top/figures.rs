//! Figures: what two readings say together, rates above all.

use serde_json::{json, Map, Value};

use super::reading::Reading;

/// Of one shard or of all; rates per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    pub(super) connections: u64,
    pub(super) sessions: u64,
    pub(super) retained: u64,
    pub(super) messages_in: f64,
    pub(super) messages_out: f64,
    pub(super) bytes_in: f64,
    pub(super) bytes_out: f64,
    pub(super) connects: f64,
    pub(super) dropped: f64,
    /// Part of its time that a shard had something to do; of all: their mean.
    pub(super) busy: f64,
}

/// Something that clients would rather not see.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refused {
    pub(super) name: String,
    pub(super) per_s: f64,
    pub(super) count: u64,
}

pub(super) struct Figures {
    /// Between the readings.
    pub(super) seconds: f64,
    /// What `/broker` answers.
    pub(super) broker: Value,
    /// Processor time per time: 1 is one core.
    pub(super) cpu: f64,
    pub(super) total: Load,
    pub(super) shards: Vec<Load>,
    /// Those that have happened, those that happen now first.
    pub(super) refused: Vec<Refused>,
    /// By what is measured; `null`: nothing was.
    pub(super) latency: Value,
    pub(super) clients: Value,
    pub(super) sort: &'static str,
}

/// Parts of the names of counters of what was dropped, refused or broken.
const REFUSED: [&str; 9] = [
    "dropped",
    "refused",
    "errors",
    "malformed",
    "banned",
    "timeouts",
    "unavailable",
    "wrong",
    "busy",
];

/// Reads counters; what a broker that has started anew counts began at zero.
struct Between<'a> {
    before: &'a Value,
    now: &'a Value,
    seconds: f64,
}

impl Between<'_> {
    fn rate(&self, name: &str) -> f64 {
        let of = |reading: &Value| reading[name].as_u64().unwrap_or(0);
        let (before, now) = (of(self.before), of(self.now));
        let grown = if now >= before { now - before } else { now };
        grown as f64 / self.seconds
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let counters = self.now.as_object();
        counters.into_iter().flatten().map(|(name, _)| &name[..])
    }
}

fn load(before: &Value, now: &Value, seconds: f64) -> Load {
    let counters = Between {
        before: &before["counters"],
        now: &now["counters"],
        seconds,
    };
    let own = Between {
        before,
        now,
        seconds,
    };
    let gauge = |name: &str| now[name].as_u64().unwrap_or(0);
    let dropped = counters
        .names()
        .filter(|name| name.starts_with("dropped_"))
        .map(|name| counters.rate(name));
    Load {
        connections: gauge("connections"),
        sessions: gauge("sessions"),
        retained: gauge("retained_messages"),
        messages_in: counters.rate("publications_received"),
        messages_out: counters.rate("deliveries_sent"),
        bytes_in: counters.rate("bytes_received"),
        bytes_out: counters.rate("bytes_sent"),
        connects: counters.rate("connections_opened"),
        dropped: dropped.sum(),
        busy: (own.rate("busy_ms") / 1_000.0).min(1.0),
    }
}

fn sum(shards: &[Load]) -> Load {
    let mut sum = Load::default();
    for one in shards {
        sum.connections += one.connections;
        sum.sessions += one.sessions;
        sum.retained += one.retained;
        sum.messages_in += one.messages_in;
        sum.messages_out += one.messages_out;
        sum.bytes_in += one.bytes_in;
        sum.bytes_out += one.bytes_out;
        sum.connects += one.connects;
        sum.dropped += one.dropped;
        sum.busy += one.busy / shards.len() as f64;
    }
    sum
}

/// Over all shards.
fn refused(before: &[Value], now: &[Value], seconds: f64) -> Vec<Refused> {
    let mut all: Vec<Refused> = Vec::new();
    for (shard, now) in now.iter().enumerate() {
        let none = Value::Null;
        let counters = Between {
            before: before.get(shard).map_or(&none, |one| &one["counters"]),
            now: &now["counters"],
            seconds,
        };
        for name in counters.names() {
            let count = counters.now[name].as_u64().unwrap_or(0);
            if count == 0 || !REFUSED.iter().any(|part| name.contains(part)) {
                continue;
            }
            let per_s = counters.rate(name);
            match all.iter_mut().find(|one| one.name == name) {
                Some(one) => {
                    one.per_s += per_s;
                    one.count += count;
                }
                None => all.push(Refused {
                    name: name.into(),
                    per_s,
                    count,
                }),
            }
        }
    }
    all.sort_by(|a, b| {
        (b.per_s, b.count)
            .partial_cmp(&(a.per_s, a.count))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    all
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], |rows| rows)
}

impl Figures {
    pub(super) fn between(before: &Reading, now: &Reading) -> Self {
        let seconds = now.at.duration_since(before.at).as_secs_f64().max(0.001);
        let (old, new) = (rows(&before.shards), rows(&now.shards));
        let none = Value::Null;
        let shards = new.iter().enumerate();
        let shards = shards.map(|(shard, one)| load(old.get(shard).unwrap_or(&none), one, seconds));
        let shards: Vec<Load> = shards.collect();
        let process = Between {
            before: &before.broker,
            now: &now.broker,
            seconds,
        };
        Self {
            seconds,
            broker: now.broker.clone(),
            cpu: process.rate("cpu_ms") / 1_000.0,
            total: sum(&shards),
            shards,
            refused: refused(old, new, seconds),
            latency: now.latency["recent"].clone(),
            clients: now.clients.clone(),
            sort: now.sort,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let shards = self.shards.iter().enumerate().map(|(shard, load)| {
            let mut row = load_json(load);
            row.insert("shard".into(), json!(shard));
            Value::Object(row)
        });
        let refused = self.refused.iter();
        let refused = refused.map(
            |one| json!({ "name": one.name, "per_s": rounded(one.per_s), "count": one.count }),
        );
        json!({
            "seconds": rounded(self.seconds),
            "broker": self.broker,
            "cpu": rounded(self.cpu),
            "total": load_json(&self.total),
            "shards": shards.collect::<Vec<_>>(),
            "refused": refused.collect::<Vec<_>>(),
            "latency": self.latency,
            "sort": self.sort,
            "clients": self.clients,
        })
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

fn load_json(load: &Load) -> Map<String, Value> {
    let counts = [
        ("connections", load.connections),
        ("sessions", load.sessions),
        ("retained_messages", load.retained),
    ];
    let rates = [
        ("messages_in_per_s", load.messages_in),
        ("messages_out_per_s", load.messages_out),
        ("bytes_in_per_s", load.bytes_in),
        ("bytes_out_per_s", load.bytes_out),
        ("connections_opened_per_s", load.connects),
        ("dropped_per_s", load.dropped),
        ("busy", load.busy),
    ];
    let counts = counts.map(|(name, count)| (name.to_owned(), json!(count)));
    let rates = rates.map(|(name, rate)| (name.to_owned(), json!(rounded(rate))));
    counts.into_iter().chain(rates).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// A reading of two shards, the second of which has counted so many.
    pub(in crate::top) fn reading(at: Instant, count: u64) -> Reading {
        let shard = |shard: u64, count: u64| {
            json!({
                "shard": shard, "connections": 3, "sessions": 4, "retained_messages": 5,
                "busy_ms": count,
                "counters": {
                    "publications_received": count, "deliveries_sent": 2 * count,
                    "bytes_received": 10 * count, "bytes_sent": 0, "connections_opened": 7,
                    "dropped_queue_full": count / 10, "logins_wrong": 1,
                },
            })
        };
        Reading {
            at,
            broker: json!({
                "version": "1", "stage": "ready", "uptime_s": 3_661, "cpu_ms": count,
                "memory_bytes": 1_500_000, "memory_limit_bytes": 0, "connections_max": 100,
            }),
            shards: json!([shard(0, 0), shard(1, count)]),
            latency: json!({ "recent": { "delivery": {
                "count": 9, "p50_us": 120, "p90_us": 400, "p99_us": 1_500, "p999_us": 20_000, "max_us": 3_000_000,
            }, "commit": null } }),
            clients: json!([{ "client_id": "a\u{1b}[2J", "publications_per_s": 5.0, "deliveries_per_s": 0.0 }]),
            sort: "rate",
        }
    }

    #[test]
    fn rates_are_what_lies_between_two_readings() {
        let start = Instant::now();
        let before = reading(start, 100);
        let now = reading(start + Duration::from_secs(2), 1_100);
        let figures = Figures::between(&before, &now);
        assert_eq!(figures.total.connections, 6);
        assert_eq!(figures.total.messages_in, 500.0);
        assert_eq!(figures.total.messages_out, 1_000.0);
        assert_eq!((figures.shards[0].busy, figures.shards[1].busy), (0.0, 0.5));
        assert_eq!(figures.total.busy, 0.25);
        assert_eq!(figures.cpu, 0.5);
        let names: Vec<&str> = figures.refused.iter().map(|one| &one.name[..]).collect();
        assert_eq!(names, ["dropped_queue_full", "logins_wrong"]);
        assert_eq!(
            (figures.refused[0].per_s, figures.refused[1].count),
            (50.0, 2)
        );
        let shown = figures.to_json();
        assert_eq!(shown["total"]["dropped_per_s"], 50.0);
        assert_eq!(shown["shards"][1]["shard"], 1);
    }

    #[test]
    fn a_broker_that_has_started_anew_counts_from_zero() {
        let start = Instant::now();
        let before = reading(start, 1_000_000);
        let now = reading(start + Duration::from_secs(1), 30);
        assert_eq!(Figures::between(&before, &now).total.messages_in, 30.0);
    }
}
