//! The command line.

mod check;
mod find_max;
mod options;
mod report;
mod sweep;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::live::duration;
use crate::results::{IdleCost, RunResult};
use crate::run::run;
use crate::scenarios::{self, Scenario};
pub use options::{duration as parse_duration, Common, Traffic};

/// Load for MQTT brokers: open-loop schedules, latency from the intended send time, verified losses.
#[derive(Parser, Debug)]
#[command(name = "mqload", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Many publishers, one subscriber
    FanIn(scenarios::FanIn),
    /// One publisher, many subscribers
    FanOut(scenarios::FanOut),
    /// Publishers with one subscriber each
    Pairs(scenarios::Pairs),
    /// Receive only: subscribers of something that publishes by itself, such as `sink --fan-back`
    Listen(scenarios::Listen),
    /// Publish only: nobody subscribes
    Publish(scenarios::Publish),
    /// Requests and their answers
    RoundTrip(scenarios::RoundTrip),
    /// Connect clients, hold them idle, disconnect
    ConnectRamp(scenarios::ConnectRamp),
    /// All clients connect at once and leave again
    ConnectStorm(scenarios::ConnectStorm),
    /// All connections break at once and come back
    ReconnectStorm(scenarios::ReconnectStorm),
    /// Pairs with large payloads
    LargePayloads(scenarios::LargePayloads),
    /// Clients with wills lose their connections at once
    WillStorm(scenarios::WillStorm),
    /// Subscribers come back to messages kept for their sessions
    BacklogDrain(scenarios::BacklogDrain),
    /// Subscribers that share a subscription
    SharedGroup(scenarios::SharedGroup),
    /// Retained messages, asked for all at once
    RetainedStorm(scenarios::RetainedStorm),
    /// Fan-out with subscribers that read slowly
    SlowConsumer(scenarios::SlowConsumer),
    /// Subscribing and unsubscribing again and again
    Churn(scenarios::Churn),
    /// Client identifiers taken over by new connections
    TakeoverStorm(scenarios::TakeoverStorm),
    /// Exact, + and # subscriptions side by side
    WildcardMix(scenarios::WildcardMix),
    /// A null broker to measure mqload alone
    Sink(crate::sink::Sink),
    /// Results side by side
    Report(report::Report),
}

impl Command {
    /// What to run; `None` for the sink, which is no load.
    fn scenario(&self) -> Option<&dyn Scenario> {
        Some(match self {
            Self::FanIn(scenario) => scenario,
            Self::FanOut(scenario) => scenario,
            Self::Pairs(scenario) => scenario,
            Self::Listen(scenario) => scenario,
            Self::Publish(scenario) => scenario,
            Self::RoundTrip(scenario) => scenario,
            Self::ConnectRamp(scenario) => scenario,
            Self::ConnectStorm(scenario) => scenario,
            Self::ReconnectStorm(scenario) => scenario,
            Self::LargePayloads(scenario) => scenario,
            Self::WillStorm(scenario) => scenario,
            Self::BacklogDrain(scenario) => scenario,
            Self::SharedGroup(scenario) => scenario,
            Self::RetainedStorm(scenario) => scenario,
            Self::SlowConsumer(scenario) => scenario,
            Self::Churn(scenario) => scenario,
            Self::TakeoverStorm(scenario) => scenario,
            Self::WildcardMix(scenario) => scenario,
            Self::Sink(_) | Self::Report(_) => return None,
        })
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match (&cli.command, cli.command.scenario()) {
        (Command::Sink(sink), _) => crate::sink::run(sink).map(|()| None),
        (Command::Report(report), _) => report.write().map(|()| None),
        (_, Some(scenario)) => run_scenario(scenario).map(Some),
        (_, None) => Ok(None),
    };
    match outcome {
        Ok(Some(result)) => {
            if is_failure(&result) {
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("mqload: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn run_scenario(scenario: &dyn Scenario) -> Result<RunResult, String> {
    let common = scenario.common();
    let (mut plan, options) = (scenario.plan()?, common.options()?);
    if let Some(name) = &common.name {
        plan.scenario.clone_from(name);
    }
    common.check(&plan)?;
    common.set_sessions(&mut plan);
    let mut result = if common.find_max {
        find_max::find_max(&plan, &options, common.p99)?
    } else if let Some(sweep) = common.sweep {
        sweep::sweep(&plan, &options, sweep, common.step_duration)?
    } else {
        run(plan, &options)?
    };
    common.assertions.check(&mut result);
    print(&result);
    common.output.write(&result)?;
    Ok(result)
}

/// Trouble, or promises that were not kept.
fn is_failure(result: &RunResult) -> bool {
    !result.errors.is_empty()
        || !result.truth.broken_promises.is_empty()
        || result.assertions.iter().any(|assertion| !assertion.passed)
}

fn print_idle(idle: &IdleCost) {
    let broker = match (idle.broker_kb_each, idle.broker_sockets) {
        (Some(kb), Some(sockets)) => format!("{kb:.2} KB each in the broker ({sockets} sockets)"),
        _ => "give --broker-pid for the broker's".to_string(),
    };
    println!(
        "  {} connections idle: {:.2} KB each in mqload ({} sockets), {broker}",
        idle.connections, idle.generator_kb_each, idle.generator_sockets
    );
}

fn print(result: &RunResult) {
    let totals = &result.totals;
    println!(
        "{} against {}, {:.1} s, {} clients",
        result.scenario, result.label, result.duration_s, result.clients
    );
    if let Some(sentence) = &result.interrupted {
        println!("  PARTIAL: the run ended early ({sentence}); these are the figures up to then");
    }
    println!(
        "  published {:>12}  {:>12.0} per second",
        totals.published, totals.published_per_s
    );
    println!(
        "  received  {:>12}  {:>12.0} per second",
        totals.received, totals.received_per_s
    );
    println!(
        "  acknowledged {}, connected {}, failed {}, lost connections {}{}",
        totals.acknowledged,
        totals.connected,
        totals.connect_failed,
        totals.disconnected,
        match (totals.reconnected, totals.reconnect_failed) {
            (0, 0) => String::new(),
            (count, 0) => format!(", opened again {count}"),
            (count, failed) => format!(", opened again {count}, attempts failed {failed}"),
        }
    );
    if totals.published == 0 && totals.connected_per_s > 0.0 {
        println!("  connected {:.0} per second", totals.connected_per_s);
    }
    if let Some(idle) = &result.idle {
        print_idle(idle);
    }
    for (name, latency) in &result.latencies {
        println!(
            "  {name:<12} p50 {:>9}  p90 {:>9}  p99 {:>9}  p99.9 {:>9}  max {:>9}  ({} values)",
            duration(latency.p50_us),
            duration(latency.p90_us),
            duration(latency.p99_us),
            duration(latency.p999_us),
            duration(latency.max_us),
            latency.count
        );
    }
    let truth = &result.truth;
    for qos in (0..3).filter(|qos| truth.expected[*qos] > 0) {
        println!(
            "  QoS {qos}: expected {}, received {}, lost {}, duplicates {}, reordered {}",
            truth.expected[qos],
            truth.received[qos],
            truth.lost[qos],
            truth.duplicates[qos],
            truth.reordered[qos]
        );
    }
    if !result.steps.is_empty() {
        println!("{}", crate::output::steps(result));
    }
    for sentence in &truth.broken_promises {
        println!("  BROKEN PROMISE: {sentence}");
    }
    let cpu: Vec<String> = result
        .generator
        .worker_cpu
        .iter()
        .map(|share| format!("{:.0} %", share * 100.0))
        .collect();
    println!(
        "  generator: workers busy {}, schedule lag p99 {}, over 1 ms late {:.1} %, send queue up to {} bytes",
        cpu.join(", "),
        duration(result.generator.schedule_lag_p99_us),
        result.generator.late_share * 100.0,
        result.generator.send_queue_bytes_max
    );
    for reason in &result.generator.reasons {
        println!("  NOT THE BROKER'S LIMIT: {reason}");
    }
    if let Some(broker) = &result.broker {
        println!(
            "  broker: {:.2} s CPU, {} KB before, {} KB after, {} sockets",
            broker.cpu_s, broker.rss_kb_start, broker.rss_kb_end, broker.sockets
        );
    }
    for (sentence, count) in &result.errors {
        println!("  error ({count}): {sentence}");
    }
    for assertion in &result.assertions {
        let verdict = if assertion.passed { "passed" } else { "FAILED" };
        println!(
            "  assertion {verdict}: {} (measured {})",
            assertion.text, assertion.measured
        );
    }
    for note in &result.notes {
        println!("  note: {note}");
    }
}
