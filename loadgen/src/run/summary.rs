//! The result of a run, from its plan, its totals and the reports of its workers.

use std::collections::BTreeMap;

use base64::prelude::{Engine as _, BASE64_STANDARD};
use hdrhistogram::Histogram;

use super::totals::{BrokerSamples, RunTotals};
use crate::bottleneck::{Evidence, LATE_NS};
use crate::engine::Report;
use crate::histogram::encode;
use crate::meter::{Count, Counts, Timing};
use crate::plan::{Options, Plan};
use crate::results::{BrokerProcess, Generator, Latency, RunResult, Totals, SCHEMA_VERSION};
use crate::{audit, system};

/// Ticks of /proc per second.
const TICKS_PER_S: f64 = 100.0;

/// The result of a run.
pub(crate) fn result(
    plan: &Plan,
    options: &Options,
    reports: &[Report],
    mut run: RunTotals,
    started_unix_ms: u64,
) -> RunResult {
    let mut counts = Counts::default();
    for report in reports {
        counts.merge(&report.meter.counts);
    }
    let interrupted = run.stopped.take();
    let latencies = latencies(&mut run);
    let targets: Vec<String> = plan
        .connection
        .targets
        .iter()
        .map(ToString::to_string)
        .collect();
    RunResult {
        schema_version: SCHEMA_VERSION,
        mqload_version: env!("CARGO_PKG_VERSION").to_string(),
        scenario: plan.scenario.clone(),
        label: options.label.clone().unwrap_or_else(|| targets.join(",")),
        targets,
        command: options.command.clone(),
        seed: plan.seed,
        kernel: system::kernel(),
        cpu_model: system::cpu_model(),
        cores: system::cores().len(),
        threads: options.threads,
        started_unix_ms,
        duration_s: run.load_s,
        errors: errors(plan, reports, &counts, interrupted.as_ref()),
        interrupted,
        clients: u64::from(plan.clients()),
        totals: totals(&counts, &run),
        truth: audit::delivery(plan, reports, &run.missing),
        generator: generator(reports, &counts, &mut run, main_p99_us(&latencies)),
        latencies,
        broker: run.broker.map(broker),
        idle: run.idle,
        assertions: Vec::new(),
        steps: Vec::new(),
        stages: run.stages,
        series: run.seconds,
        agents: Vec::new(),
        notes: notes(&counts, reports),
        intervals: run.intervals,
    }
}

/// Errors by sentence, with counts: those of the workers, and those that only the whole run shows.
fn errors(
    plan: &Plan,
    reports: &[Report],
    counts: &Counts,
    interrupted: Option<&String>,
) -> BTreeMap<String, u64> {
    let mut errors: BTreeMap<String, u64> = BTreeMap::new();
    for (sentence, count) in reports.iter().flat_map(|report| &report.meter.errors) {
        *errors.entry(sentence.clone()).or_default() += count;
    }
    let away: u64 = reports.iter().map(|report| report.away).sum();
    if away > 0 && plan.connection.reconnect_per_s.is_some() {
        let sentence = "a client's connection was lost and could not be opened again";
        errors.insert(sentence.into(), away);
    }
    let tls = plan.connection.transport.tls.as_ref();
    let must_resume = tls.is_some_and(crate::transport::TlsSetup::must_resume);
    if must_resume && counts.get(Count::HandshakesResumed) == 0 {
        let sentence =
            "no session was resumed: the broker gives no tickets, or does not take them back";
        errors.insert(sentence.into(), 1);
    }
    if let Some(sentence) = interrupted {
        *errors.entry(sentence.clone()).or_default() += 1;
    }
    errors
}

/// Latencies by name, of what was timed.
fn latencies(run: &mut RunTotals) -> BTreeMap<String, Latency> {
    let mut latencies = BTreeMap::new();
    for timing in Timing::ALL {
        let histogram = run.timings.of(timing);
        if timing != Timing::ScheduleLag && !histogram.is_empty() {
            latencies.insert(timing.name().to_string(), latency(histogram));
        }
    }
    latencies
}

/// 99th percentile of the latency that the run is about.
fn main_p99_us(latencies: &BTreeMap<String, Latency>) -> Option<f64> {
    let names = ["round_trip", "end_to_end", "publish_ack"];
    let main = names.iter().find_map(|name| latencies.get(*name));
    main.map(|latency| latency.p99_us)
}

fn totals(counts: &Counts, run: &RunTotals) -> Totals {
    let per_s = |count: Count| {
        let (before, after) = &run.load_counts;
        (after.get(count) - before.get(count)) as f64 / run.load_s.max(1e-9)
    };
    Totals {
        connected: counts.get(Count::Connected),
        connected_per_s: run.connected as f64 / run.connect_s.max(1e-9),
        connect_failed: counts.get(Count::ConnectFailed),
        handshakes_full: counts.get(Count::HandshakesFull),
        handshakes_resumed: counts.get(Count::HandshakesResumed),
        disconnected: counts.get(Count::Disconnected),
        reconnected: counts.get(Count::Reconnected),
        reconnect_failed: counts.get(Count::ReconnectFailed),
        sessions_lost: counts.get(Count::SessionLost),
        published: counts.get(Count::Published),
        published_per_s: per_s(Count::Published),
        acknowledged: counts.get(Count::Acknowledged),
        received: counts.get(Count::Received),
        received_per_s: per_s(Count::Received),
        bytes_sent: counts.get(Count::BytesSent),
        bytes_received: counts.get(Count::BytesReceived),
    }
}

fn latency(histogram: &Histogram<u64>) -> Latency {
    let us = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
    let mut curve = Vec::new();
    for value in histogram.iter_quantiles(4) {
        let point = (
            value.quantile_iterated_to() * 100.0,
            value.value_iterated_to() as f64 / 1e3,
        );
        curve.push(point);
    }
    Latency {
        count: histogram.len(),
        min_us: histogram.min() as f64 / 1e3,
        mean_us: histogram.mean() / 1e3,
        p50_us: us(0.5),
        p90_us: us(0.9),
        p99_us: us(0.99),
        p999_us: us(0.999),
        p9999_us: us(0.9999),
        max_us: histogram.max() as f64 / 1e3,
        curve,
        histogram: BASE64_STANDARD.encode(encode(histogram)),
    }
}

fn generator(
    reports: &[Report],
    counts: &Counts,
    run: &mut RunTotals,
    latency_p99_us: Option<f64>,
) -> Generator {
    let share = |part: u64, report: &Report| part as f64 / report.load_wall_ns.max(1) as f64;
    let cpu = |report: &Report| share(report.load_cpu_ns, report);
    let awake = |report: &Report| (1.0 - share(report.load_asleep_ns, report)).max(cpu(report));
    let lag = run.timings.of(Timing::ScheduleLag);
    let late = lag.len() - lag.count_between(0, LATE_NS);
    let mut evidence = Evidence {
        worker_cpu: reports.iter().map(cpu).collect(),
        worker_awake: reports.iter().map(awake).collect(),
        lag_p99_us: lag.value_at_quantile(0.99) as f64 / 1e3,
        late_share: late as f64 / lag.len().max(1) as f64,
        latency_p99_us,
    };
    if run.load_s == 0.0 {
        // Without a load there was nothing to be late for.
        evidence.worker_awake.clone_from(&evidence.worker_cpu);
    }
    let reasons = evidence.reasons();
    Generator {
        is_bottleneck: !reasons.is_empty(),
        reasons,
        worker_cpu: evidence.worker_cpu,
        worker_awake: evidence.worker_awake,
        schedule_lag_p99_us: evidence.lag_p99_us,
        late_share: evidence.late_share,
        send_queue_bytes_max: counts.get(Count::SendQueueMax),
    }
}

fn broker(samples: BrokerSamples) -> BrokerProcess {
    BrokerProcess {
        pid: samples.pid,
        cpu_s: samples
            .last
            .cpu_ticks
            .saturating_sub(samples.first.cpu_ticks) as f64
            / TICKS_PER_S,
        rss_kb_start: samples.first.rss_kb,
        rss_kb_end: samples.last.rss_kb,
        rss_kb_max: samples.rss_kb_max,
        sockets: samples.last.sockets,
    }
}

fn notes(counts: &Counts, reports: &[Report]) -> Vec<String> {
    let mut notes = Vec::new();
    let mut interruptions: BTreeMap<&str, u64> = BTreeMap::new();
    for (sentence, count) in reports
        .iter()
        .flat_map(|report| &report.meter.interruptions)
    {
        *interruptions.entry(sentence).or_default() += count;
    }
    for (sentence, count) in interruptions {
        notes.push(format!("opened again after: {sentence} ({count})"));
    }
    let sessions_lost = counts.get(Count::SessionLost);
    if sessions_lost > 0 {
        notes.push(format!(
            "{sessions_lost} times the broker did not have the session of a client that came back"
        ));
    }
    let held_back = counts.get(Count::HeldBack);
    if held_back > 0 {
        notes.push(format!(
            "{held_back} messages waited for room in a connection or for acknowledgements; their latency counts from the intended time"
        ));
    }
    let not_sent = counts.get(Count::NotSent);
    if not_sent > 0 {
        notes.push(format!(
            "{not_sent} messages of the schedule could not be sent"
        ));
    }
    notes
}
