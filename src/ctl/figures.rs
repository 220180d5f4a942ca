//! Verbs that show how a broker is: its shards, what took how long, its last hour; and the levels of retained topics.

use clap::ArgMatches;
use serde_json::{json, Map, Value};

use super::arguments::{count, limit, limit_arg, number, option, text, with};
use super::client::{Client, Failure};
use super::table::{plain, table};
use super::verbs::Verb;

/// Rows of one page.
const PAGE: u64 = 1_000;

pub(super) const FIGURES: &[Verb] = &[
    Verb {
        name: "shards",
        about: "Shows what each shard holds; with --json what it has counted, too",
        args: Vec::new,
        run: |client, _, each| each(&client.get("/api/v1/shards")?),
        show: |value| {
            let columns = [
                ("SHARD", "shard"),
                ("CONNECTIONS", "connections"),
                ("SESSIONS", "sessions"),
                ("RETAINED", "retained_messages"),
                ("RETAINED BYTES", "retained_bytes"),
                ("BUSY MS", "busy_ms"),
            ];
            table(&value["shards"], &columns)
        },
    },
    Verb {
        name: "latency",
        about:
            "Shows how long things took, in microseconds: in the last seconds and since the start",
        args: Vec::new,
        run: |client, _, each| each(&client.get("/api/v1/latency")?),
        show: show_latency,
    },
    Verb {
        name: "history",
        about: "Shows the last hour, every five seconds",
        args: || vec![count("after", "What is later than this second alone")],
        run: |client, own, each| {
            let after = number(own, "after").map(|after| after.to_string());
            each(&client.get(&with("/api/v1/history", &[("after", after)]))?)
        },
        show: show_history,
    },
    Verb {
        name: "levels",
        about: "Lists the next levels of the topics of retained messages",
        args: || {
            vec![
                option(
                    "below",
                    "TOPIC",
                    "Below this one; the first levels unless given",
                ),
                limit_arg(),
            ]
        },
        run: |client, own, each| each(&levels(client, own)?),
        show: |value| {
            let columns = [
                ("LEVEL", "name"),
                ("MESSAGE", "has_message"),
                ("LEVELS BELOW", "has_below"),
            ];
            table(&value["levels"], &columns)
        },
    },
    Verb {
        name: "openapi",
        about: "Prints the description of the API",
        args: Vec::new,
        run: |client, _, each| each(&client.get("/api/v1/openapi.json")?),
        show: |value| format!("{value:#}\n"),
    },
];

/// All pages of a level as one; where a page ends is a name here.
fn levels(client: &Client, own: &ArgMatches) -> Result<Value, Failure> {
    let max = limit(own);
    let mut rows: Vec<Value> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let left = max.saturating_sub(rows.len() as u64).clamp(1, PAGE);
        let pairs = [
            ("below", text(own, "below").map(String::from)),
            ("after", after.take()),
            ("limit", Some(left.to_string())),
        ];
        let mut answer = client.get(&with("/api/v1/retained/levels", &pairs))?;
        if let Some(page) = answer["levels"].as_array_mut() {
            rows.append(page);
        }
        after = answer["next"].as_str().map(Into::into);
        if after.is_none() || rows.len() as u64 >= max {
            return Ok(json!({ "levels": rows, "next": after }));
        }
    }
}

/// One row for each thing that was measured.
fn show_latency(value: &Value) -> String {
    let mut rows = Vec::new();
    for (name, when) in [
        ("recent", "last seconds"),
        ("since_start", "since the start"),
    ] {
        for (what, measured) in value[name].as_object().into_iter().flatten() {
            let mut row = measured.clone();
            if row.is_object() {
                row["what"] = json!(what);
                row["when"] = json!(when);
                rows.push(row);
            }
        }
    }
    let columns = [
        ("WHAT", "what"),
        ("WHEN", "when"),
        ("COUNT", "count"),
        ("P50", "p50_us"),
        ("P90", "p90_us"),
        ("P99", "p99_us"),
        ("P99.9", "p999_us"),
        ("LONGEST", "max_us"),
    ];
    table(&Value::Array(rows), &columns)
}

/// One row for each sample, with some of its counters since the sample before.
fn show_history(value: &Value) -> String {
    let names = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().map(plain).collect()
    };
    let (counters, latencies) = (names(&value["counters"]), names(&value["latencies"]));
    let samples = value["samples"]
        .as_array()
        .map_or(&[][..], |samples| samples);
    let rows = samples.iter().map(|sample| {
        let mut row = sample.as_object().cloned().unwrap_or_else(Map::new);
        for (name, count) in counters
            .iter()
            .zip(sample["counts"].as_array().into_iter().flatten())
        {
            row.insert(name.clone(), count.clone());
        }
        for (name, spans) in latencies
            .iter()
            .zip(sample["latencies_us"].as_array().into_iter().flatten())
        {
            row.insert(format!("{name}_p99"), spans[1].clone());
        }
        Value::Object(row)
    });
    let columns = [
        ("TIME", "time_s"),
        ("CONNECTIONS", "connections"),
        ("SESSIONS", "sessions"),
        ("RETAINED", "retained_messages"),
        ("IN", "publications_received"),
        ("OUT", "deliveries_sent"),
        ("DELIVERY P99", "delivery_p99"),
        ("TURN P99", "turn_p99"),
        ("MEMORY", "memory_bytes"),
    ];
    table(&Value::Array(rows.collect()), &columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_row_with_its_counters_by_name() {
        let text = show_history(&json!({
            "counters": ["deliveries_sent", "publications_received"],
            "latencies": ["delivery", "turn"],
            "samples": [{ "time_s": 7, "connections": 2, "sessions": 3, "retained_messages": 4, "memory_bytes": 5,
                "counts": [20, 10], "latencies_us": [null, [1, 9]] }],
        }));
        let cells: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(cells, ["7", "2", "3", "4", "10", "20", "-", "9", "5"]);
    }

    #[test]
    fn what_was_not_measured_has_no_row() {
        let turn =
            json!({ "count": 1, "p50_us": 2, "p90_us": 3, "p99_us": 4, "p999_us": 5, "max_us": 6 });
        let text =
            show_latency(&json!({ "recent": { "turn": null }, "since_start": { "turn": turn } }));
        assert_eq!(text.lines().count(), 2, "{text}");
        let row = text.lines().nth(1).unwrap();
        assert!(row.starts_with("turn  since the start  1"), "{text}");
    }
}
