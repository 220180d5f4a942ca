//! A result as text, after the run.

use std::io::Write;

use crate::live::duration;
use crate::output;
use crate::results::{AgentResult, DeliveryAudit, Generator, IdleCost, RunResult, Totals};
use crate::terminal::{Lines, Terminal};

/// Writes a line; a reader that takes only the first ones, like head(1), does no harm.
macro_rules! print_line {
    ($out:expr, $($text:tt)*) => {{
        let _ = writeln!($out, $($text)*);
    }};
}

/// With fewer connections the fixed memory of the workers is most of what each seems to cost.
const IDLE_MIN: u64 = 1_000;

fn print_idle(out: &mut dyn Write, idle: &IdleCost) {
    let own = if idle.connections < IDLE_MIN {
        let all = idle.generator_kb_each * idle.connections as f64;
        format!("mqload has grown by {all:.0} KB in all, too few to say what each costs")
    } else {
        format!("{:.2} KB each in mqload", idle.generator_kb_each)
    };
    let broker = match (idle.broker_kb_each, idle.broker_sockets) {
        (Some(kb), Some(sockets)) => format!("{kb:.2} KB each in the broker ({sockets} sockets)"),
        _ => "give --broker-pid for the broker's".to_string(),
    };
    print_line!(
        out,
        "  {} connections idle: {own} ({} sockets), {broker}",
        idle.connections,
        idle.generator_sockets
    );
}

fn print_heading(out: &mut Lines<'_>, result: &RunResult) {
    let name = result.broker_name.as_ref();
    let lasted = match result.duration_s {
        0.0 => String::new(), // of a load, and there was none
        lasted => format!("{lasted:.1} s, "),
    };
    print_line!(
        out,
        "{} against {}{}, {lasted}{} clients",
        result.scenario,
        result.label,
        name.map_or(String::new(), |name| format!(" ({name})")),
        result.clients
    );
}

/// Prints a result: totals first, then latencies, deliveries and the circumstances.
pub(super) fn print(out: &mut dyn Write, terminal: Terminal, result: &RunResult) {
    let out = &mut Lines::new(out, terminal);
    print_heading(out, result);
    if let Some(sentence) = &result.interrupted {
        print_line!(
            out,
            "  PARTIAL: the run ended early ({sentence}); these are the figures up to then"
        );
    }
    print_totals(out, &result.totals, result.truth.expected.iter().sum());
    if let Some(idle) = &result.idle {
        print_idle(out, idle);
    }
    print_latencies(out, result);
    if result.closed_loop {
        print_line!(out, "  {CLOSED_LOOP}");
    }
    print_deliveries(out, &result.truth);
    if let Some(saturation) = &result.saturated {
        print_line!(out, "  SATURATED: {}", saturation.sentence());
    }
    if !result.steps.is_empty() {
        print_line!(out, "{}", output::steps(result, terminal.width));
    }
    if !result.stages.is_empty() {
        print_line!(out, "{}", output::stages(result, terminal.width));
    }
    for sentence in &result.truth.broken_promises {
        print_line!(out, "  BROKEN PROMISE: {sentence}");
    }
    print_generator(out, &result.generator);
    if let Some(broker) = &result.broker {
        print_line!(
            out,
            "  broker: {:.2} s CPU, {} KB before, {} KB after, {} sockets",
            broker.cpu_s,
            broker.rss_kb_start,
            broker.rss_kb_end,
            broker.sockets
        );
    }
    for (sentence, count) in &result.errors {
        print_line!(out, "  error ({count}): {sentence}");
    }
    for assertion in &result.assertions {
        let verdict = if assertion.passed { "passed" } else { "FAILED" };
        print_line!(
            out,
            "  assertion {verdict}: {} (measured {})",
            assertion.text,
            assertion.measured_text()
        );
    }
    for agent in &result.agents {
        print_agent(out, agent);
    }
    for note in &result.notes {
        print_line!(out, "  note: {note}");
    }
}

fn print_totals(out: &mut dyn Write, totals: &Totals, expected: u64) {
    let mut acknowledged = String::new();
    if totals.published + totals.received + expected > 0 {
        acknowledged = format!("acknowledged {}, ", totals.acknowledged);
        print_line!(
            out,
            "  published {:>12}  {:>12.0} per second",
            totals.published,
            totals.published_per_s
        );
        print_line!(
            out,
            "  received  {:>12}  {:>12.0} per second",
            totals.received,
            totals.received_per_s
        );
    }
    print_line!(
        out,
        "  {acknowledged}connected {}, failed {}, lost connections {}{}",
        totals.connected,
        totals.connect_failed,
        totals.disconnected,
        match (totals.reconnected, totals.reconnect_failed) {
            (0, 0) => String::new(),
            (count, 0) => format!(", opened again {count}"),
            (count, failed) => format!(", opened again {count}, attempts failed {failed}"),
        }
    );
    let (full, resumed) = (totals.handshakes_full, totals.handshakes_resumed);
    if full + resumed > 0 {
        print_line!(out, "  TLS handshakes {full} in full, {resumed} resumed");
    }
    if totals.published == 0 && totals.connected_per_s > 0.0 {
        print_line!(out, "  connected {:.0} per second", totals.connected_per_s);
    }
}

fn print_latencies(out: &mut dyn Write, result: &RunResult) {
    if !result.latencies.is_empty() {
        let heads = ["p50", "p90", "p99", "p99.9", "max"].map(|head| format!("{head:>9}"));
        print_line!(
            out,
            "  {:<17} {} {:>9}",
            "latency",
            heads.join(" "),
            "values"
        );
    }
    for (name, latency) in &result.latencies {
        let times = [
            latency.p50_us,
            latency.p90_us,
            latency.p99_us,
            latency.p999_us,
            latency.max_us,
        ];
        let times = times.map(|us| format!("{:>9}", duration(us)));
        print_line!(out, "  {name:<17} {} {:>9}", times.join(" "), latency.count);
    }
    for (name, latency) in &result.latencies {
        if latency.censored > 0 {
            let (open, all) = (latency.censored, latency.count);
            print_line!(
                out,
                "  {name}: {open} of {all} values had not ended: at least that"
            );
        }
    }
}

/// What percentiles of a closed loop leave out.
const CLOSED_LOOP: &str =
    "closed loop: what a stall of the broker keeps from being sent is not in these \
                           percentiles; an open loop (--rate) shows it";

fn print_deliveries(out: &mut dyn Write, audit: &DeliveryAudit) {
    for qos in (0..3).filter(|qos| audit.expected[*qos] > 0) {
        print_line!(
            out,
            "  QoS {qos}: expected {}, received {}, lost {}, duplicates {}, reordered {}",
            audit.expected[qos],
            audit.received[qos],
            audit.lost[qos],
            audit.duplicates[qos],
            audit.reordered[qos]
        );
        let others = [
            ("cut off", audit.cut_off[qos]),
            ("refused by the broker", audit.refused[qos]),
            ("never subscribed to", audit.never_subscribed[qos]),
        ];
        let others = others.iter().filter(|(_, count)| *count > 0);
        let others: Vec<String> = others
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        if !others.is_empty() {
            print_line!(
                out,
                "         not arrived, and not lost: {}",
                others.join(", ")
            );
        }
    }
}

fn print_generator(out: &mut dyn Write, generator: &Generator) {
    let cpu: Vec<String> = generator
        .worker_cpu
        .iter()
        .map(|share| format!("{:.0} %", share * 100.0))
        .collect();
    print_line!(
        out,
        "  generator: workers busy {}, send queue up to {} bytes",
        cpu.join(", "),
        generator.send_queue_bytes_max
    );
    // Without a rate of messages or connections nothing was due at any time.
    if generator.schedule_lag_p99_us > 0.0 {
        print_line!(
            out,
            "    schedule lag p99 {}, over 1 ms late {:.1} %",
            duration(generator.schedule_lag_p99_us),
            generator.late_share * 100.0
        );
    }
    for reason in &generator.reasons {
        print_line!(out, "  {}: {}", reason.heading(), reason.sentence);
    }
}

fn print_agent(out: &mut dyn Write, agent: &AgentResult) {
    print_line!(
            out, "  agent {}: {} clients, published {}, received {}, clock offset {} ns (+- {} ns), drift {} ns",
            agent.address,
            agent.clients,
            agent.published,
            agent.received,
            agent.clock_offset_ns,
            agent.uncertainty_ns,
            agent.clock_drift_ns
        );
}
