//! docs/metrics.md, the dashboard and the alerts against the table of metrics.
//!
//! The page is written from the table by `UPDATE_METRICS=1 cargo test --test all metrics`, and is never edited.

use std::collections::BTreeSet;
use std::path::Path;

use ringmq::metrics::{all, sys, BrokerReport, Kind, Series, ShardReport};
use ringmq::time::Span;

const PAGE: &str = "docs/metrics.md";
const HEAD: &str = "\
# Metrics

<!-- written by: UPDATE_METRICS=1 cargo test --test all metrics -->

`/metrics` on the admin listener (`admin-listen`) has these for Prometheus, as OpenMetrics or in its older text format, by
Accept. Nothing is per client. Histograms are recorded inside the shards, within 1 %, and leave in buckets whose bounds grow
by about three. A token with the role `metrics` reads this page and nothing else.

```yaml
scrape_configs:
  - job_name: ringmq
    static_configs: [{ targets: [\"127.0.0.1:9183\"] }]
```

A dashboard for Grafana is in `deploy/grafana/`, alerts for Prometheus are in `deploy/prometheus/`. The last column is the
name in the line that SIGUSR1 writes to the log.

| name | kind | labels | meaning | in the log |
| --- | --- | --- | --- | --- |
";
const SYS: &str = "
## $SYS

Every `sys-interval` (10 s; 0: never) the broker publishes what has changed below `$SYS/broker/`, retained, with the names and
the meaning that Mosquitto gives them; below `shards/N/` each shard for itself. Clients publish nothing there, `#` and `+/...` do
not match it, and an ACL file must grant it by name (`topic read $SYS/#`). It counts against no limit of retained messages
and is in no journal. `load/...` are exponential averages per minute.

`log/E`, `W`, `I` and `D` are lines of the log, with `sys-log` alone, as with Mosquitto's `log_dest topic`: lines name clients and
addresses, so an ACL file should say who may read them. They are not retained, and left out while a shard has too much to do.

Of Mosquitto's there are not 2.1's `packet/out/...`: what a connection is to be sent is bytes here and no packets any more.
`store/messages/...` counts what waits for clients, and `ringmq_messages_dropped_total` what is dropped for those that do not
read.

";

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for family in all() {
        let labels = family.labels().join(", ");
        let logged: Vec<String> = match &family.series {
            Series::Shard(rows) => {
                let logged = rows.iter().filter_map(|row| row.logged);
                logged.map(|name| format!("`{name}`")).collect()
            }
            _ => Vec::new(),
        };
        page.push_str(&format!(
            "| `{}` | {} | {labels} | {} | {} |\n",
            family.sample_name(),
            family.kind.word(),
            family.help,
            logged.join(", "),
        ));
    }
    page.push_str(SYS);
    for topic in sys_topics() {
        page.push_str(&format!("- `{topic}`\n"));
    }
    page
}

/// All topics of a broker of one shard.
fn sys_topics() -> BTreeSet<String> {
    let report = BrokerReport {
        shards: vec![ShardReport::default()],
        ..BrokerReport::default()
    };
    let values = sys::SysTree::default().update(&report, Span::ZERO);
    let topics = values
        .into_iter()
        .map(|(topic, _)| topic.replace("/shards/0/", "/shards/N/"));
    topics.collect()
}

#[test]
fn the_page_is_the_table() {
    let page = page();
    if std::env::var_os("UPDATE_METRICS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
        std::fs::write(path, &page).unwrap();
    }
    assert!(
        read(PAGE) == page,
        "{PAGE} is out of date; run: UPDATE_METRICS=1 cargo test --test all metrics"
    );
}

/// Every counter of a shard that the log shows is a metric, but for sums of others.
#[test]
fn every_counter_is_a_metric() {
    const SUMS: [&str; 5] = [
        "connections_refused", // with those that the driver refuses
        "logins_refused",
        "publications_received", // less the other QoS: QoS 0
        "deliveries_sent",
        "disconnects_sent", // a type of packet, as the next
    ];
    let rows = all().flat_map(|family| match &family.series {
        Series::Shard(rows) => rows.iter().filter_map(|row| row.logged).collect(),
        _ => Vec::new(),
    });
    let shown: BTreeSet<&str> = rows.chain(SUMS).chain(["auths_sent"]).collect();
    let report = ShardReport::default();
    let counted: BTreeSet<&str> = report.shard.stats.rows().map(|(name, _)| name).collect();
    assert_eq!(counted, shown);
}

#[test]
fn names_are_as_prometheus_wants_them() {
    let mut seen = BTreeSet::new();
    for family in all() {
        let name = family.name;
        assert!(seen.insert(name), "{name} is there twice");
        assert!(
            name.starts_with("ringmq_") || name.starts_with("process_"),
            "{name}"
        );
        assert!(
            !name.ends_with("_total") && !name.ends_with("_count"),
            "{name}"
        );
        assert!(family.help.ends_with('.'), "{name}");
    }
}

/// Names of metrics in a text: words that begin as they do.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let metrics = words.filter(|word| word.starts_with("ringmq_") || word.starts_with("process_"));
    metrics.map(str::to_owned).collect()
}

#[test]
fn dashboard_and_alerts_name_metrics_that_exist() {
    let mut names: BTreeSet<String> = all().map(|family| family.sample_name()).collect();
    for family in all().filter(|family| family.kind == Kind::Histogram) {
        let parts = ["_bucket", "_sum", "_count"];
        names.extend(parts.map(|part| format!("{}{part}", family.name)));
    }
    for path in ["deploy/grafana/ringmq.json", "deploy/prometheus/alerts.yml"] {
        let named = named(&read(path));
        assert!(named.len() > 5, "{path}");
        let unknown: Vec<_> = named.difference(&names).collect();
        assert!(unknown.is_empty(), "{path} names {unknown:?}");
    }
}
