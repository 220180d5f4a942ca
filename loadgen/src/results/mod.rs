//! Results of a run as data: written as JSON, CSV, HDR log, table and HTML.

mod described;

use std::collections::BTreeMap;
use std::time::Duration;

pub use described::{
    DescribedGroup, DescribedLoad, DescribedMove, DescribedPlan, DescribedSize, DescribedStep,
};

/// Version of `schema/result-2.json`; raised when a field changes its meaning.
pub const SCHEMA_VERSION: u32 = 2;

/// One run of one scenario against one target set.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunResult {
    pub schema_version: u32,
    pub mqload_version: String,
    pub scenario: String,
    /// Name for reports; the target's address unless `--label` says otherwise.
    pub label: String,
    pub targets: Vec<String>,
    /// Command line as given.
    pub command: String,
    pub seed: u64,
    pub kernel: String,
    pub cpu_model: String,
    pub cores: usize,
    pub threads: usize,
    pub started_unix_ms: u64,
    /// Wall time of the load.
    pub duration_s: f64,
    /// Why the run ended before its plan did; its figures are those up to then.
    #[serde(default)]
    pub interrupted: Option<String>,
    pub clients: u64,
    #[serde(default)]
    pub plan: DescribedPlan,
    /// The broker's name and version: of `--broker-name`, else what it says of itself in `$SYS/broker/version`.
    #[serde(default)]
    pub broker_name: Option<String>,
    /// Some of the load waited for the broker: its stalls are not in the latencies.
    #[serde(default)]
    pub closed_loop: bool,
    /// Nothing is known about the broker: the generator was not able to find out.
    #[serde(default)]
    pub inconclusive: bool,
    /// In one word; the exit status says the same.
    #[serde(default)]
    pub verdict: Verdict,
    /// The broker did not keep up; `None` when it did.
    #[serde(default)]
    pub saturated: Option<Saturation>,
    /// Of `--find-max`.
    #[serde(default)]
    pub found: Option<FoundRate>,
    pub totals: Totals,
    /// By name: "end_to_end", "publish_ack", "connect", "subscribe", "round_trip" ...
    pub latencies: BTreeMap<String, Latency>,
    pub truth: DeliveryAudit,
    pub generator: Generator,
    /// Broker process, when `--broker-pid` is given.
    pub broker: Option<BrokerProcess>,
    /// What idle connections cost, when the scenario holds them.
    #[serde(default)]
    pub idle: Option<IdleCost>,
    /// Failed connects and other errors, by sentence, with counts.
    pub errors: BTreeMap<String, u64>,
    pub assertions: Vec<Assertion>,
    /// Of a sweep: its rates, each measured alone. The other figures are those of the last.
    #[serde(default)]
    pub steps: Vec<SweepStep>,
    /// Of a scenario file: its stages, one after the other.
    #[serde(default)]
    pub stages: Vec<StageResult>,
    /// Of `durable-*`: the kills of the broker's process.
    #[serde(default)]
    pub restarts: Vec<Restart>,
    /// Per second.
    pub series: Vec<Second>,
    pub notes: Vec<String>,
    /// The hosts that made the load; empty when mqload made it itself.
    #[serde(default)]
    pub agents: Vec<AgentResult>,
    /// Latencies of each second, for the HdrHistogram log; not in the JSON.
    #[serde(skip)]
    #[cfg_attr(test, schemars(skip))]
    pub intervals: Vec<Interval>,
}

/// The broker's process was killed and started again.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Restart {
    /// From the beginning of the run.
    pub at_s: f64,
    /// Until it accepted connections again.
    pub down_s: f64,
}

/// One of several generator hosts. All of them run on the coordinator's clock, as far as it is known.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AgentResult {
    pub address: String,
    pub kernel: String,
    pub cpu_model: String,
    /// How many of the `worker_cpu` in `generator` are its own, in the order of the agents.
    pub workers: usize,
    pub clients: u64,
    pub published: u64,
    pub received: u64,
    /// Its monotonic clock less the coordinator's before the run: of several exchanges, the estimate of
    /// that with the shortest round trip. Times were corrected by it.
    pub clock_offset_ns: i64,
    /// The true offset was at most this far from it: half of the shortest round trip.
    pub uncertainty_ns: u64,
    /// How far the estimate had moved when the run was over; 0 when the agent was lost.
    pub clock_drift_ns: i64,
    /// Why it was lost before the end of the run.
    pub lost: Option<String>,
}

/// One kind of latency over one second.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    /// From the beginning of the run.
    pub start: Duration,
    pub length: Duration,
    /// As in `latencies`.
    pub name: String,
    /// V2-deflate HdrHistogram in nanoseconds.
    pub histogram: Vec<u8>,
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Totals {
    pub connected: u64,
    /// While clients were being connected.
    #[serde(default)]
    pub connected_per_s: f64,
    pub connect_failed: u64,
    /// TLS handshakes in full, and those that resumed a session.
    #[serde(default)]
    pub handshakes_full: u64,
    #[serde(default)]
    pub handshakes_resumed: u64,
    /// Connections lost without being asked to end.
    pub disconnected: u64,
    /// Of `connected`: those opened again after they were lost.
    #[serde(default)]
    pub reconnected: u64,
    /// Attempts to open a lost connection again that failed.
    #[serde(default)]
    pub reconnect_failed: u64,
    /// Connections that went to the next target, since one had failed.
    #[serde(default)]
    pub failed_over: u64,
    /// Clients that came back for a session that the broker did not have.
    #[serde(default)]
    pub sessions_lost: u64,
    pub published: u64,
    pub published_per_s: f64,
    pub acknowledged: u64,
    /// Answers that did not come in time, by packet.
    #[serde(default)]
    pub unanswered: BTreeMap<String, u64>,
    /// Messages of the schedule that were not sent.
    #[serde(default)]
    pub not_sent: u64,
    pub received: u64,
    pub received_per_s: f64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

/// Percentiles in microseconds; `histogram` is a base64 V2-deflate HdrHistogram in nanoseconds.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Latency {
    pub count: u64,
    /// Of these: had not ended with the run, and stand with the age that they had reached.
    #[serde(default)]
    pub censored: u64,
    pub min_us: f64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub p9999_us: f64,
    pub max_us: f64,
    /// (percentile, microseconds), for the curve.
    pub curve: Vec<(f64, f64)>,
    pub histogram: String,
}

/// Messages promised against messages received, by QoS (index 0, 1, 2).
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeliveryAudit {
    pub expected: [u64; 3],
    pub received: [u64; 3],
    /// Acknowledged or of QoS 0, and did not come although there was time.
    pub lost: [u64; 3],
    /// Had not come when the run was cut off, or its connection did not answer any more.
    #[serde(default)]
    pub cut_off: [u64; 3],
    /// Refused by the broker in an acknowledgement.
    #[serde(default)]
    pub refused: [u64; 3],
    /// For clients whose subscriptions the broker did not grant.
    #[serde(default)]
    pub never_subscribed: [u64; 3],
    pub duplicates: [u64; 3],
    pub reordered: [u64; 3],
    /// Deliveries that were not what had been published, by kind.
    #[serde(default)]
    pub breaches: BTreeMap<String, u64>,
    /// QoS promises that were broken, as sentences.
    pub broken_promises: Vec<String>,
}

/// A figure that is mostly the generator's, and what that means for it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reason {
    pub about: About,
    pub sentence: String,
}

/// What a reason is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum About {
    Rate,
    Latency,
}

impl Reason {
    /// What the figure does not show.
    #[must_use]
    pub fn heading(&self) -> &'static str {
        match self.about {
            About::Rate => "NOT THE BROKER'S LIMIT",
            About::Latency => "NOT THE BROKER'S LATENCY",
        }
    }
}

/// Whether the generator itself was the limit.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Generator {
    pub is_bottleneck: bool,
    pub reasons: Vec<Reason>,
    /// Share of the load's time each worker had a core, 0 to 1.
    pub worker_cpu: Vec<f64>,
    /// Share of the load's time each worker had something to do, 0 to 1.
    #[serde(default)]
    pub worker_awake: Vec<f64>,
    /// From the intended send time to the moment the generator got to it.
    pub schedule_lag_p99_us: f64,
    /// Share of the scheduled messages handled over 1 ms late, 0 to 1.
    #[serde(default)]
    pub late_share: f64,
    /// Most bytes that waited in one connection's queue.
    pub send_queue_bytes_max: u64,
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BrokerProcess {
    pub pid: u32,
    pub cpu_s: f64,
    pub rss_kb_start: u64,
    pub rss_kb_end: u64,
    pub rss_kb_max: u64,
    pub sockets: u64,
}

/// At the end of a hold: resident memory above that before the first connection, by connection.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IdleCost {
    pub connections: u64,
    pub generator_kb_each: f64,
    pub generator_sockets: u64,
    /// With `--broker-pid`.
    pub broker_kb_each: Option<f64>,
    pub broker_sockets: Option<u64>,
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Assertion {
    /// As a sentence: "p99_ms <= 10".
    pub text: String,
    /// Which stage it is about; `None`: the whole run.
    #[serde(default)]
    pub stage: Option<String>,
    /// "p99_ms", "loss", "duplicates", "reordered" or "rate_min".
    pub metric: String,
    pub bound: f64,
    /// `None` when there was nothing to measure: then it has failed.
    pub measured: Option<f64>,
    pub passed: bool,
}

impl Assertion {
    /// What was measured, for people.
    #[must_use]
    pub fn measured_text(&self) -> String {
        match self.measured {
            None => "nothing".into(),
            Some(value) if self.metric.ends_with("_ms") => format!("{value:.3}"),
            Some(value) => format!("{value:.0}"),
        }
    }
}

/// What a run shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything held.
    #[default]
    Passed,
    /// Errors, broken promises or failed assertions.
    Failed,
    /// Nothing is known about the broker.
    Inconclusive,
}

/// The broker was behind by half a second or more when the load ended.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Saturation {
    /// Messages that had not arrived.
    pub backlog: u64,
    /// Of so many.
    pub expected: u64,
    pub received_per_s: f64,
}

impl Saturation {
    /// What it means for the figures.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!(
            "the broker did not keep up: when the load ended {} of {} messages had not arrived, and {:.0} per \
             second did. Latencies are those of a queue that grows",
            self.backlog, self.expected, self.received_per_s
        )
    }
}

/// The highest rate that met an objective.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FoundRate {
    pub found_rate_per_s: f64,
    pub objective_p99_us: f64,
    /// Why the next rate did not meet it.
    pub limit: Option<String>,
    pub tries: Vec<RateTry>,
}

/// One rate that was tried.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RateTry {
    pub rate_per_s: f64,
    pub met: bool,
    pub verdict: String,
}

/// One rate of a sweep.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SweepStep {
    /// Offered, messages per second.
    pub rate_per_s: f64,
    pub published_per_s: f64,
    pub received_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
    pub lost: u64,
    pub duplicates: u64,
    pub reordered: u64,
    pub errors: u64,
    /// The generator was the limit, not the broker.
    pub is_generator_limit: bool,
}

/// One stage of a scenario file. A message counts where it arrives, so the end of a stage's messages may
/// be among the next one's.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StageResult {
    pub name: String,
    /// Since the beginning of the run.
    pub start_s: f64,
    pub duration_s: f64,
    /// Clients connected at its end.
    pub connected: u64,
    pub published: u64,
    pub published_per_s: f64,
    pub received: u64,
    pub received_per_s: f64,
    pub errors: u64,
    /// Which of `latencies` the following are; `None` when nothing was timed.
    pub timed: Option<String>,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
    /// (percentile, microseconds), for the curve.
    #[serde(default)]
    pub curve: Vec<(f64, f64)>,
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Second {
    /// When it ended.
    pub at_s: f64,
    pub connected: u64,
    pub published: u64,
    pub received: u64,
    pub errors: u64,
    /// Which of `latencies` the following are; `None` when nothing was timed.
    #[serde(default)]
    pub timed: Option<String>,
    pub p50_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
    /// Pairs of bucket and count: bucket b has the values from 10^(b/10) to 10^((b+1)/10) microseconds.
    #[serde(default)]
    pub buckets: Vec<(i32, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    found.push(name.clone());
                    names(value, found);
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| names(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_field_is_in_the_description() {
        let mut full = RunResult {
            broker: Some(BrokerProcess::default()),
            idle: Some(IdleCost::default()),
            plan: DescribedPlan {
                groups: vec![DescribedGroup {
                    payload_sizes: vec![DescribedSize::default()],
                    ..DescribedGroup::default()
                }],
                steps: vec![DescribedStep {
                    moves: vec![DescribedMove::default()],
                    ..DescribedStep::default()
                }],
                loads: vec![DescribedLoad::default()],
                ..DescribedPlan::default()
            },
            found: Some(FoundRate {
                tries: vec![RateTry::default()],
                ..FoundRate::default()
            }),
            assertions: vec![Assertion::default()],
            saturated: Some(Saturation::default()),
            generator: Generator {
                reasons: vec![Reason {
                    about: About::Rate,
                    sentence: String::new(),
                }],
                ..Generator::default()
            },
            steps: vec![SweepStep::default()],
            stages: vec![StageResult::default()],
            series: vec![Second::default()],
            agents: vec![AgentResult::default()],
            ..RunResult::default()
        };
        full.latencies.insert("connect".into(), Latency::default());
        let mut found = Vec::new();
        names(&serde_json::to_value(full).unwrap(), &mut found);
        assert!(found.len() > 100, "{found:?}");
        let description = include_str!("../../RESULTS.md");
        for name in found {
            let is_named = description.contains(&format!("`{name}`"));
            assert!(is_named, "RESULTS.md does not name {name}");
        }
    }

    /// The schema is what the types say; `BLESS=1` writes it. A result has all fields.
    #[test]
    fn the_schema_is_that_of_the_types() {
        let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
        let mut schema = settings
            .into_generator()
            .into_root_schema_for::<RunResult>();
        schema.insert("title".into(), "A result of mqload".into());
        let id = "urn:mqload:result-2";
        schema.insert("$id".into(), id.into());
        let version = serde_json::json!({ "const": SCHEMA_VERSION });
        let properties = schema.get_mut("properties").unwrap();
        properties["schema_version"] = version;
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/result-2.json");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, text).unwrap();
        } else {
            let written = std::fs::read_to_string(path).unwrap();
            assert_eq!(written, text, "write it with BLESS=1");
        }
    }
}
