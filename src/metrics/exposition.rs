//! Reports as text for Prometheus: its own format 0.0.4, or OpenMetrics 1.0.

use std::fmt::Write as _;

use super::family::{Family, Kind, Row, Scale, Series};
use super::mosquitto;
use super::report::{BridgeReport, BrokerReport, ShardReport};
use super::table;
use crate::bridge::Drop;
use crate::histogram::Histogram;
use crate::version;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// By the header Accept: OpenMetrics for a client that names it.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        match accept.contains("application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Everything of a report; `with_mosquitto` adds the names of mosquitto-exporter.
#[must_use]
pub fn text(report: &BrokerReport, format: Format, with_mosquitto: bool) -> String {
    let mut page = Page {
        text: String::new(),
        format,
    };
    for family in table::all() {
        page.family(family, report);
    }
    if with_mosquitto {
        for (name, value) in mosquitto::samples(report) {
            page.head(&name, Kind::Gauge, "As mosquitto-exporter has it.");
            page.sample(&name, &[], value);
        }
    }
    if format == Format::OpenMetrics {
        page.text.push_str("# EOF\n");
    }
    page.text
}

struct Page {
    text: String,
    format: Format,
}

impl Page {
    fn head(&mut self, name: &str, kind: Kind, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // A String takes everything.
        let _ = writeln!(
            self.text,
            "# HELP {name} {help}\n# TYPE {name} {}",
            kind.word()
        );
    }

    /// Label values may have any character.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        for (index, (label, of)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let of = of
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.text, "{before}{label}=\"{of}\"");
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{after} {value}");
    }

    fn family(&mut self, family: &Family, report: &BrokerReport) {
        let samples = family.sample_name();
        let head = match self.format {
            Format::Prometheus => &samples,
            Format::OpenMetrics => family.name,
        };
        self.head(head, family.kind, family.help);
        for (index, shard) in report.shards.iter().enumerate() {
            let number = index.to_string();
            let own = ("shard", &number[..]);
            match &family.series {
                Series::Shard(rows) => self.rows(&samples, &[own], rows, shard),
                Series::Histogram(scale, of) => self.histogram(&samples, own, scale, of(shard)),
                Series::Violations => {
                    for (rule, count) in shard.shard.stats.violations.rows() {
                        self.sample(&samples, &[own, ("rule", rule)], count as f64);
                    }
                }
                Series::Packets => self.packets(&samples, own, shard),
                _ => {}
            }
        }
        for listener in &report.listeners {
            let own = ("listener", &listener.name[..]);
            match &family.series {
                Series::Listener(rows) => self.rows(&samples, &[own], rows, listener),
                Series::ListenerRefusals => {
                    for (reason, count) in &listener.refused {
                        self.sample(&samples, &[own, ("reason", reason)], *count as f64);
                    }
                }
                Series::Handshakes => {
                    let counts = listener.handshakes.into_iter().flatten();
                    for (result, count) in ["completed", "failed"].into_iter().zip(counts) {
                        self.sample(&samples, &[own, ("result", result)], count as f64);
                    }
                }
                Series::Certificates => {
                    if let Some(until_s) = listener.certificate_until_s {
                        self.sample(&samples, &[own], until_s as f64);
                    }
                }
                _ => {}
            }
        }
        for hook in &report.hooks {
            let own = ("hook", hook.name);
            match &family.series {
                Series::Hook(rows) => self.rows(&samples, &[own], rows, hook),
                Series::HookHistogram(scale) => {
                    self.histogram(&samples, own, scale, &hook.latency);
                }
                _ => {}
            }
        }
        for bridge in &report.bridges {
            self.bridge(&samples, &family.series, bridge);
        }
        match &family.series {
            Series::Broker(rows) => self.rows(&samples, &[], rows, report),
            Series::Build => {
                let labels = [("version", version::VERSION), ("commit", version::COMMIT)];
                self.sample(&samples, &labels, 1.0);
            }
            _ => {}
        }
    }

    fn bridge(&mut self, samples: &str, series: &Series, bridge: &BridgeReport) {
        let own = ("bridge", &bridge.name[..]);
        match series {
            Series::Bridge(rows) => self.rows(samples, &[own], rows, bridge),
            Series::BridgeDrops => {
                for why in Drop::ALL {
                    let count = bridge.counts.dropped[why as usize];
                    self.sample(samples, &[own, ("reason", why.label())], count as f64);
                }
            }
            _ => {}
        }
    }

    fn rows<T>(&mut self, name: &str, own: &[(&str, &str)], rows: &[Row<T>], of: &T) {
        for row in rows {
            let labels: Vec<(&str, &str)> = own
                .iter()
                .copied()
                .chain(row.labels.iter().copied())
                .collect();
            self.sample(name, &labels, (row.read)(of));
        }
    }

    fn packets(&mut self, name: &str, own: (&str, &str), report: &ShardReport) {
        let stats = &report.shard.stats;
        for (direction, counts) in [("in", stats.packets_in()), ("out", stats.packets_out())] {
            for (packet, count) in counts {
                let labels = [own, ("direction", direction), ("type", packet)];
                self.sample(name, &labels, count as f64);
            }
        }
    }

    fn histogram(&mut self, name: &str, own: (&str, &str), scale: &Scale, of: &Histogram) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in scale.bounds.iter().zip(of.up_to(scale.bounds)) {
            let bound = format!("{:?}", *bound as f64 / scale.divisor);
            self.sample(&bucket, &[own, ("le", &bound)], count as f64);
        }
        self.sample(&bucket, &[own, ("le", "+Inf")], of.count() as f64);
        self.sample(
            &format!("{name}_sum"),
            &[own],
            of.sum() as f64 / scale.divisor,
        );
        self.sample(&format!("{name}_count"), &[own], of.count() as f64);
    }
}
