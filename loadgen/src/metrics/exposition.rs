//! The figures as text that Prometheus and others read: OpenMetrics 1.0, or the older text format 0.0.4.

use std::fmt::Write as _;

use super::live::{Buckets, Snapshot, BOUNDS_S};
use crate::meter::{Count, Counts, UNANSWERED};

/// Which of the two texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    OpenMetrics,
    Text,
}

impl Format {
    /// What a client accepts.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A counter without `_total`, what it counts, and where that is.
struct Counter {
    name: &'static str,
    help: &'static str,
    counts: &'static [Count],
}

const fn counter(name: &'static str, help: &'static str, counts: &'static [Count]) -> Counter {
    Counter { name, help, counts }
}

const COUNTERS: &[Counter] = &[
    counter(
        "mqload_connects",
        "Connections that reached CONNACK.",
        &[Count::Connected],
    ),
    counter(
        "mqload_connect_failures",
        "Connections that did not.",
        &[Count::ConnectFailed],
    ),
    counter(
        "mqload_disconnects",
        "Connections lost without being asked to end.",
        &[Count::Disconnected],
    ),
    counter(
        "mqload_reconnects",
        "Connections opened again after a loss.",
        &[Count::Reconnected],
    ),
    counter(
        "mqload_published_messages",
        "PUBLISH packets sent.",
        &[Count::Published],
    ),
    counter(
        "mqload_acknowledged_messages",
        "PUBACK and PUBCOMP received.",
        &[Count::Acknowledged],
    ),
    counter(
        "mqload_received_messages",
        "PUBLISH packets received.",
        &[Count::Received],
    ),
    counter(
        "mqload_not_sent_messages",
        "Messages of the schedule that were not sent.",
        &[Count::NotSent, Count::Overrun],
    ),
    counter(
        "mqload_errors",
        "What went wrong, of any kind.",
        &[Count::Errors],
    ),
    counter(
        "mqload_breaches",
        "Deliveries that were not what had been published.",
        &[
            Count::Altered,
            Count::Foreign,
            Count::WrongTopic,
            Count::RaisedQos,
            Count::LoweredQos,
            Count::WrongRetain,
            Count::WrongDup,
            Count::WrongProperties,
            Count::WrongIdentifier,
            Count::WrongSession,
        ],
    ),
    counter(
        "mqload_sent_bytes",
        "Bytes sent on the sockets.",
        &[Count::BytesSent],
    ),
    counter(
        "mqload_received_bytes",
        "Bytes received on the sockets.",
        &[Count::BytesReceived],
    ),
];

/// Ticks of /proc per second.
const TICKS_PER_S: f64 = 100.0;

/// The whole text.
#[must_use]
pub fn exposition(own: &Snapshot, format: Format) -> String {
    let mut text = Text {
        format,
        out: String::new(),
    };
    let labels = format!(
        "scenario=\"{}\",label=\"{}\",version=\"{}\"",
        escaped(&own.scenario),
        escaped(&own.label),
        env!("CARGO_PKG_VERSION")
    );
    text.info("mqload_run", "What is run.", &labels);
    text.head("mqload_step", "gauge", "The step that the run is at.");
    text.sample(
        "mqload_step",
        &format!("step=\"{}\"", escaped(&own.step)),
        1.0,
    );
    text.gauge(
        "mqload_connections",
        "Clients connected now.",
        own.connected as f64,
    );
    if let Some(left) = own.left_s {
        text.gauge(
            "mqload_time_left_seconds",
            "Time that the plan has left.",
            left,
        );
    }
    text.counters(&own.counts());
    text.last_second(own);
    text.histograms(own);
    text.processes(own);
    if format == Format::OpenMetrics {
        text.out.push_str("# EOF\n");
    }
    text.out
}

struct Text {
    format: Format,
    out: String,
}

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.out, "# TYPE {name} {kind}");
        let unit = ["seconds", "bytes"]
            .iter()
            .find(|unit| name.ends_with(*unit));
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit) {
            let _ = writeln!(self.out, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.out, "# HELP {name} {help}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: f64) {
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{labels}}}")
        };
        let _ = writeln!(self.out, "{name}{labels} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, "gauge", help);
        self.sample(name, "", value);
    }

    fn info(&mut self, name: &str, help: &str, labels: &str) {
        let sample = format!("{name}_info");
        match self.format {
            Format::OpenMetrics => self.head(name, "info", help),
            Format::Text => self.head(&sample, "gauge", help),
        }
        self.sample(&sample, labels, 1.0);
    }

    /// The head of a counter, whose samples have this name and `_total`.
    fn counter(&mut self, name: &str, help: &str) -> String {
        let total = format!("{name}_total");
        match self.format {
            Format::OpenMetrics => self.head(name, "counter", help),
            Format::Text => self.head(&total, "counter", help),
        }
        total
    }

    fn counters(&mut self, counts: &Counts) {
        for Counter {
            name,
            help,
            counts: of,
        } in COUNTERS
        {
            let total = self.counter(name, help);
            let value: u64 = of.iter().map(|count| counts.get(*count)).sum();
            self.sample(&total, "", value as f64);
        }
        let total = self.counter(
            "mqload_unanswered",
            "Answers that did not come within --timeout.",
        );
        for (packet, count) in UNANSWERED {
            let labels = format!("packet=\"{packet}\"");
            self.sample(&total, &labels, counts.get(count) as f64);
        }
    }

    fn last_second(&mut self, own: &Snapshot) {
        let Some(second) = own.seconds.back() else {
            return;
        };
        let Some(timed) = &second.timed else { return };
        let name = "mqload_last_second_latency_seconds";
        self.head(
            name,
            "gauge",
            "Latency in the last second, of the kind that the run is about.",
        );
        for (which, us) in [
            ("p50", second.p50_us),
            ("p99", second.p99_us),
            ("max", second.max_us),
        ] {
            let labels = format!("latency=\"{timed}\",of=\"{which}\"");
            self.sample(name, &labels, us / 1e6);
        }
    }

    fn histograms(&mut self, own: &Snapshot) {
        let name = "mqload_latency_seconds";
        self.head(name, "histogram", "Latencies since the beginning, by kind.");
        for (kind, Buckets { counts, sum_s }) in &own.histograms {
            let mut sum = 0;
            for (place, count) in counts.iter().enumerate() {
                sum += count;
                let bound = BOUNDS_S
                    .get(place)
                    .map_or("+Inf".into(), |bound| format!("{bound:?}"));
                let labels = format!("latency=\"{kind}\",le=\"{bound}\"");
                self.sample(&format!("{name}_bucket"), &labels, sum as f64);
            }
            let labels = format!("latency=\"{kind}\"");
            self.sample(&format!("{name}_count"), &labels, sum as f64);
            self.sample(&format!("{name}_sum"), &labels, *sum_s);
        }
    }

    fn processes(&mut self, own: &Snapshot) {
        for (name, whose, process) in [
            ("mqload", "mqload", own.own),
            ("mqload_broker", "the broker", own.broker),
        ] {
            let Some(process) = process else { continue };
            let help = format!("CPU time of {whose}'s process.");
            let total = self.counter(&format!("{name}_cpu_seconds"), &help);
            self.sample(&total, "", process.cpu_ticks as f64 / TICKS_PER_S);
            let help = format!("Memory of {whose}'s process.");
            self.gauge(
                &format!("{name}_resident_memory_bytes"),
                &help,
                process.rss_kb as f64 * 1024.0,
            );
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::{Timing, Timings};
    use crate::metrics::Live;
    use crate::plan::Options;
    use crate::results::Second;

    fn live() -> Live {
        let words: Vec<String> = ["pairs", "--name", "a\"b"].map(str::to_string).into();
        let (plan, _) = crate::cli::plan_of(&words).unwrap();
        let live = Live::default();
        let second = Second {
            at_s: 1.0,
            connected: 2,
            timed: Some("end_to_end".into()),
            p99_us: 3_000.0,
            ..Second::default()
        };
        // Two runs of a search: counters continue.
        for _ in 0..2 {
            live.begin(&plan, &Options::default());
            let mut counts = Counts::default();
            counts.add(Count::Received, 5);
            let mut timings = Timings::default();
            timings.add_same(Timing::EndToEnd, 150_000, 4);
            timings.add_same(Timing::EndToEnd, 400_000_000_000, 1);
            live.second(("load", Some(3.5)), &second, &counts, &mut timings, None);
        }
        live
    }

    #[test]
    fn both_texts_have_the_same_figures() {
        let own = live().snapshot();
        let [open, old] =
            [Format::OpenMetrics, Format::Text].map(|format| exposition(&own, format));
        let samples = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.map(str::to_string).collect()
        };
        assert_eq!(samples(&open), samples(&old));
        for line in [
            "mqload_received_messages_total 10",
            "mqload_latency_seconds_bucket{latency=\"end_to_end\",le=\"0.0001\"} 0",
            "mqload_latency_seconds_bucket{latency=\"end_to_end\",le=\"0.0002\"} 8",
            "mqload_latency_seconds_bucket{latency=\"end_to_end\",le=\"300.0\"} 8",
            "mqload_latency_seconds_bucket{latency=\"end_to_end\",le=\"+Inf\"} 10",
            "mqload_latency_seconds_count{latency=\"end_to_end\"} 10",
            "mqload_last_second_latency_seconds{latency=\"end_to_end\",of=\"p99\"} 0.003",
            "mqload_time_left_seconds 3.5",
        ] {
            assert!(
                samples(&open).iter().any(|own| own == line),
                "{line} in {open}"
            );
        }
        assert!(
            open.contains("scenario=\"a\\\"b\"") && open.ends_with("\n# EOF\n"),
            "{open}"
        );
        assert!(
            open.contains("# TYPE mqload_received_messages counter"),
            "{open}"
        );
        assert!(
            old.contains("# TYPE mqload_received_messages_total counter"),
            "{old}"
        );
        assert!(!old.contains("EOF") && !old.contains("UNIT"), "{old}");
    }

    /// Every name in the dashboard is one that is served.
    #[test]
    fn the_dashboard_asks_for_names_that_exist() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/grafana/mqload.json");
        let dashboard = std::fs::read_to_string(path).unwrap();
        let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
        let mut own = live().snapshot();
        own.broker = own.own;
        let served = exposition(&own, Format::OpenMetrics);
        let served: Vec<&str> = served
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split(['{', ' ']).next().unwrap())
            .collect();
        let panels = dashboard["panels"].as_array().unwrap();
        let targets = panels
            .iter()
            .flat_map(|panel| panel["targets"].as_array().unwrap());
        let mut asked = 0;
        for target in targets {
            let query = target["expr"].as_str().unwrap();
            let words =
                query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            for name in words.filter(|word| word.starts_with("mqload_")) {
                assert!(served.contains(&name), "{name} of {query}");
                asked += 1;
            }
        }
        assert!(asked > 10, "{asked}");
    }
}
