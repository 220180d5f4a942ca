//! The command line.

mod options;

use std::process::ExitCode;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::find_max::find_max;
use crate::live::duration;
use crate::output;
use crate::results::RunResult;
use crate::run::run;
use crate::scenarios::{self, Scenario};
use crate::sink;
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
    /// One shared group of subscribers
    Shared(scenarios::Shared),
    /// Requests and answers, timed over the whole way
    RequestResponse(scenarios::RequestResponse),
    /// Many connections that only stay
    #[command(alias = "connect-storm")]
    Idle(scenarios::Idle),
    /// Clients cut off and back all at once
    ReconnectStorm(scenarios::ReconnectStorm),
    /// Wildcard subscribers to many retained messages
    Retained(scenarios::Retained),
    /// Messages kept for subscribers that are away
    Backlog(scenarios::Backlog),
    /// Subscribers that read slowly
    SlowConsumer(scenarios::SlowConsumer),
    /// Wills of many clients cut off at once
    WillStorm(scenarios::WillStorm),
    /// Sessions taken over by second connections
    TakeoverStorm(scenarios::Takeover),
    /// Subscriptions that come and go under load
    Churn(scenarios::Churn),
    /// Exact and wildcard filters over the same messages
    WildcardMix(scenarios::WildcardMix),
    /// Large payloads
    Large(scenarios::Large),
    /// A broker that acknowledges and discards, or fans back: calibrates the generator alone
    Sink(sink::Sink),
    /// Results side by side
    Report(Report),
}

/// Results of `--json`, as a table and a page.
#[derive(Args, Debug)]
struct Report {
    /// Files that --json wrote
    #[arg(required = true)]
    results: Vec<PathBuf>,
    /// Writes a page with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Report {
    fn write(&self) -> Result<(), String> {
        let results = self
            .results
            .iter()
            .map(|path| output::read(path))
            .collect::<Result<Vec<_>, _>>()?;
        println!("{}", output::comparison(&results));
        match &self.html {
            Some(path) => output::write(path, &output::page(&results)?),
            None => Ok(()),
        }
    }
}

impl Command {
    fn run(&self) -> Result<bool, String> {
        let scenario: &dyn Scenario = match self {
            Self::FanIn(scenario) => scenario,
            Self::FanOut(scenario) => scenario,
            Self::Pairs(scenario) => scenario,
            Self::Shared(scenario) => scenario,
            Self::RequestResponse(scenario) => scenario,
            Self::Idle(scenario) => scenario,
            Self::ReconnectStorm(scenario) => scenario,
            Self::Retained(scenario) => scenario,
            Self::Backlog(scenario) => scenario,
            Self::SlowConsumer(scenario) => scenario,
            Self::WillStorm(scenario) => scenario,
            Self::TakeoverStorm(scenario) => scenario,
            Self::Churn(scenario) => scenario,
            Self::WildcardMix(scenario) => scenario,
            Self::Large(scenario) => scenario,
            Self::Sink(sink) => return sink.run().map(|()| true),
            Self::Report(report) => return report.write().map(|()| true),
        };
        run_scenario(scenario)
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(sentence) => {
            eprintln!("mqload: {sentence}");
            ExitCode::FAILURE
        }
    }
}

/// Runs, prints and writes; false when something failed.
fn run_scenario(scenario: &dyn Scenario) -> Result<bool, String> {
    let common = scenario.common();
    let options = common.options()?;
    let plan = scenario.plan()?;
    let mut result = if common.find_max {
        find_max(&plan, common.p99, &options)?
    } else {
        run(plan, &options)?
    };
    common.assertions.check(&mut result);
    print(&result);
    common.output.write(&result)?;
    Ok(!is_failure(&result))
}

/// Trouble, or promises that were not kept.
fn is_failure(result: &RunResult) -> bool {
    !result.errors.is_empty()
        || !result.truth.broken_promises.is_empty()
        || result.assertions.iter().any(|assertion| !assertion.passed)
}

fn print(result: &RunResult) {
    let totals = &result.totals;
    println!(
        "{} against {}, {:.1} s, {} clients",
        result.scenario, result.label, result.duration_s, result.clients
    );
    println!(
        "  published {:>12}  {:>12.0} per second",
        totals.published, totals.published_per_s
    );
    println!(
        "  received  {:>12}  {:>12.0} per second",
        totals.received, totals.received_per_s
    );
    println!(
        "  acknowledged {}, connected {}, failed {}, lost connections {}",
        totals.acknowledged, totals.connected, totals.connect_failed, totals.disconnected
    );
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
        "  generator: workers busy {}, schedule lag p99 {}, send queue up to {} bytes",
        cpu.join(", "),
        duration(result.generator.schedule_lag_p99_us),
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
