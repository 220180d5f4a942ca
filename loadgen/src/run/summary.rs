//! The result of a run, from its plan, its totals and the reports of its workers.

use std::collections::BTreeMap;

use base64::prelude::{Engine as _, BASE64_STANDARD};
use hdrhistogram::Histogram;

use super::totals::{BrokerSamples, RunTotals};
use crate::bottleneck::{Evidence, Rate, LATE_NS};
use crate::engine::Report;
use crate::histogram::{curve, encode};
use crate::live::duration;
use crate::meter::{Count, Counts, Timing, UNANSWERED};
use crate::plan::{Options, Plan};
use crate::results::{
    BrokerProcess, DeliveryAudit, DescribedPlan, Generator, Latency, RunResult, Saturation, Totals,
    Verdict, SCHEMA_VERSION,
};
use crate::{audience, audit, system};

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
    let truth = audit::delivery(plan, reports, &run.missing, interrupted.is_some());
    let censored = censor(&truth, &counts, &mut run);
    let mut errors = errors(plan, reports, &counts, interrupted.as_ref());
    let truth = with_takeovers(truth, &counts, interrupted.is_some());
    let truth = with_restarts(truth, &counts, &run);
    add_silence(&mut errors, &truth);
    let mut notes = notes(&counts, reports);
    notes.extend(circumstances(plan, &counts, &mut run));
    let saturation = saturation(plan, &run);
    notes.extend(run.remark.take());
    let latencies = latencies(&mut run, censored);
    let totals = totals(&counts, &run);
    let measured = (
        rate(plan, &totals, saturation.is_some()),
        main_p99_us(&latencies),
    );
    let targets = targets(plan);
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
        errors,
        plan: DescribedPlan::of(plan),
        broker_name: options.broker_name.clone(),
        closed_loop: plan.has_closed_loop(),
        inconclusive: false,
        verdict: Verdict::default(), // of the whole command: set where its assertions are
        saturated: saturation,
        found: None,
        interrupted,
        clients: u64::from(plan.clients()),
        totals,
        truth,
        generator: generator(reports, &counts, &mut run, measured),
        latencies,
        broker: run.broker.map(broker),
        idle: run.idle,
        assertions: Vec::new(),
        steps: Vec::new(),
        stages: run.stages,
        restarts: run.restarts,
        series: run.seconds,
        agents: Vec::new(),
        notes,
        intervals: run.intervals,
    }
}

/// A broker that delivered nothing at all.
fn add_silence(errors: &mut BTreeMap<String, u64>, truth: &DeliveryAudit) {
    let (expected, received) = (sum(truth.expected), sum(truth.received));
    if expected > 0 && received == 0 {
        errors.insert("nothing of what was published arrived".into(), expected);
    }
}

/// The first address of each.
fn targets(plan: &Plan) -> Vec<String> {
    let first = plan.connection.targets.iter().filter_map(|own| own.first());
    first.map(ToString::to_string).collect()
}

fn sum(by_qos: [u64; 3]) -> u64 {
    by_qos.iter().sum()
}

/// Old connections that the broker left open.
fn with_takeovers(mut truth: DeliveryAudit, counts: &Counts, is_cut_off: bool) -> DeliveryAudit {
    let open = counts.get(Count::NotTakenOver);
    if open > 0 && !is_cut_off {
        let all = open + counts.get(Count::TakenOver);
        truth.broken_promises.push(format!(
            "{open} of {all} old connections were not closed when their client identifiers connected again \
             [MQTT-3.1.4-3]"
        ));
    }
    truth
}

/// Sessions that a broker did not have any more after it was killed.
fn with_restarts(mut truth: DeliveryAudit, counts: &Counts, run: &RunTotals) -> DeliveryAudit {
    let lost = counts.get(Count::SessionLost);
    if lost > 0 && !run.restarts.is_empty() {
        truth.broken_promises.push(format!(
            "{lost} times the broker did not have the session of a client that came back after it was killed"
        ));
    }
    truth
}

/// The storm of stored messages, in a sentence.
fn stored(counts: &Counts, run: &mut RunTotals) -> Option<String> {
    let stored = run.timings.of(Timing::LastStored).max();
    let received = counts.get(Count::Received);
    (stored > 0).then(|| {
        format!(
            "stored messages: {received} within {} of asking, {:.0} per second",
            duration(stored as f64 / 1e3),
            received as f64 * 1e9 / stored as f64
        )
    })
}

/// Notes about this kind of run.
fn circumstances(plan: &Plan, counts: &Counts, run: &mut RunTotals) -> Vec<String> {
    let notes = [restarts(run), stored(counts, run), not_compared(plan)];
    notes.into_iter().flatten().collect()
}

/// What a sample leaves open.
fn not_compared(plan: &Plan) -> Option<String> {
    match plan.connection.sample.one_of {
        1 => None,
        0 => Some("payloads, topic names and properties were not compared (--check-content 0)".into()),
        one_of => Some(format!(
            "payload, topic name and properties were compared in one of {one_of} messages: what was altered in \
             others is not known"
        )),
    }
}

/// A broker that falls behind; what waits in it on purpose is no backlog.
fn saturation(plan: &Plan, run: &RunTotals) -> Option<Saturation> {
    let receivers = audience::receivers_per_message(plan).unwrap_or(0);
    // What waits while the broker is away is none of its doing.
    let is_stored = plan.groups.iter().any(|group| group.gets_stored) || !run.restarts.is_empty();
    run.saturation(receivers).filter(|_| !is_stored)
}

/// The kills of the broker's process, in a sentence.
fn restarts(run: &RunTotals) -> Option<String> {
    let down = run.restarts.iter().map(|restart| restart.down_s);
    let longest = down.fold(0.0, f64::max);
    let count = run.restarts.len();
    (count > 0).then(|| {
        format!(
            "the broker was killed {count} times and accepted connections again within {}",
            duration(longest * 1e6)
        )
    })
}

/// Ages of what had not ended, among the timings: of acknowledgements and of deliveries.
fn censor(truth: &DeliveryAudit, counts: &Counts, run: &mut RunTotals) -> (u64, u64) {
    let cut_off = sum(truth.cut_off);
    // All were published before the end of the load: they are at least as old as that.
    let age_ns = run.ended_ns.saturating_sub(run.load_ended_ns).max(1);
    let timing = if run.timings.of(Timing::RoundTrip).is_empty() {
        Timing::EndToEnd
    } else {
        Timing::RoundTrip
    };
    run.timings.add_same(timing, age_ns, cut_off);
    let deliveries = counts.get(Count::CensoredDeliveries) + cut_off;
    (counts.get(Count::CensoredAcks), deliveries)
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
    for (count, sentence) in [
        (
            Count::Unacknowledged,
            "a PUBLISH had no answer when the run was over (QoS 1 and 2 promise one)",
        ),
        (
            Count::NotSent,
            "a message of the schedule was not sent: its connection was not there, or did not take it",
        ),
        (
            Count::ChurnMissed,
            "a client had not come back when it was its turn to leave again: the broker does not keep up with \
             the churn, or the group has too few clients for it",
        ),
        (
            Count::Overrun,
            "a message of the schedule was not sent: mqload was too slow for this rate",
        ),
    ] {
        if counts.get(count) > 0 {
            errors.insert(sentence.into(), counts.get(count));
        }
    }
    if let Some(sentence) = interrupted {
        *errors.entry(sentence.clone()).or_default() += 1;
    }
    errors
}

/// Latencies by name, of what was timed.
fn latencies(run: &mut RunTotals, censored: (u64, u64)) -> BTreeMap<String, Latency> {
    let mut latencies = BTreeMap::new();
    for timing in Timing::ALL {
        let histogram = run.timings.of(timing);
        if timing != Timing::ScheduleLag && !histogram.is_empty() {
            let mut own = latency(histogram);
            own.censored = match timing {
                Timing::PublishAck => censored.0,
                Timing::EndToEnd | Timing::RoundTrip => censored.1.min(own.count),
                _ => 0,
            };
            latencies.insert(timing.name().to_string(), own);
        }
    }
    latencies
}

/// 99th percentile of the latency that the run is about.
fn main_p99_us(latencies: &BTreeMap<String, Latency>) -> Option<f64> {
    let names = [
        "round_trip",
        "end_to_end",
        "publish_ack",
        "last_stored",
        "connect",
    ];
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
        failed_over: counts.get(Count::FailedOver),
        sessions_lost: counts.get(Count::SessionLost),
        published: counts.get(Count::Published),
        published_per_s: per_s(Count::Published),
        acknowledged: counts.get(Count::Acknowledged),
        unanswered: unanswered(counts),
        not_sent: counts.get(Count::NotSent) + counts.get(Count::Overrun),
        received: counts.get(Count::Received),
        received_per_s: per_s(Count::Received),
        bytes_sent: counts.get(Count::BytesSent),
        bytes_received: counts.get(Count::BytesReceived),
    }
}

/// Answers that did not come in time, by packet.
fn unanswered(counts: &Counts) -> BTreeMap<String, u64> {
    let at_end = ("publish_at_end", Count::Unacknowledged);
    let rows = UNANSWERED.into_iter().chain([at_end]);
    let rows = rows.map(|(name, count)| (name.to_string(), counts.get(count)));
    rows.filter(|(_, number)| *number > 0).collect()
}

fn latency(histogram: &Histogram<u64>) -> Latency {
    let us = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Latency {
        count: histogram.len(),
        censored: 0,
        min_us: histogram.min() as f64 / 1e3,
        mean_us: histogram.mean() / 1e3,
        p50_us: us(0.5),
        p90_us: us(0.9),
        p99_us: us(0.99),
        p999_us: us(0.999),
        p9999_us: us(0.9999),
        max_us: histogram.max() as f64 / 1e3,
        curve: curve(histogram),
        histogram: BASE64_STANDARD.encode(encode(histogram)),
    }
}

/// The rate measured, and whether it is only what was asked for.
fn rate(plan: &Plan, totals: &Totals, is_saturated: bool) -> Rate {
    let per_s = if totals.received > 0 {
        totals.received_per_s
    } else {
        totals.published_per_s
    };
    if !plan.has_load() || per_s == 0.0 {
        Rate::None
    } else if plan.has_closed_loop() || totals.not_sent > 0 || is_saturated {
        Rate::Most(per_s)
    } else {
        Rate::Kept(per_s)
    }
}

fn generator(
    reports: &[Report],
    counts: &Counts,
    run: &mut RunTotals,
    (rate, latency_p99_us): (Rate, Option<f64>),
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
        rate,
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
        notes.push(format!("tried again after: {sentence} ({count})"));
    }
    let sessions_lost = counts.get(Count::SessionLost);
    if sessions_lost > 0 {
        notes.push(format!(
            "{sessions_lost} times the broker did not have the session of a client that came back"
        ));
    }
    let failed_over = counts.get(Count::FailedOver);
    if failed_over > 0 {
        notes.push(format!(
            "{failed_over} times a client went on to the next target, since one had failed"
        ));
    }
    let held_back = counts.get(Count::HeldBack);
    if held_back > 0 {
        notes.push(format!(
            "{held_back} messages waited for room in a connection or for acknowledgements; their latency counts from the intended time"
        ));
    }
    notes
}
