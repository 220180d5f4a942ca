//! The command line.

mod compare;
mod find_max;
mod print;
mod report;
mod scenario_files;
mod sweep;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::broker_name;
use crate::options::{check_password, Setup};
use crate::plan::{Options, Plan};
use crate::results::{RunResult, Verdict};
use crate::run::run;
use crate::scenarios::{self, Scenario};
use crate::secrets;
use crate::terminal::Terminal;
use print::print;

/// Exit status of a run that shows nothing about the broker.
const INCONCLUSIVE: u8 = 3;

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
    /// Publish only, without subscribers
    Publish(scenarios::Publish),
    /// Requests and their answers
    RoundTrip(scenarios::RoundTrip),
    /// Connect clients, hold them idle, disconnect
    ConnectRamp(scenarios::ConnectRamp),
    /// All clients connect at once and leave again
    ConnectStorm(scenarios::ConnectStorm),
    /// All connections break at once and come back
    ReconnectStorm(scenarios::ReconnectStorm),
    /// TLS handshakes in full, all at once
    HandshakeStorm(scenarios::HandshakeStorm),
    /// TLS handshakes that resume sessions, all at once
    ResumptionStorm(scenarios::ResumptionStorm),
    /// Pairs with large payloads
    LargePayloads(scenarios::LargePayloads),
    /// Clients with wills lose their connections at once
    WillStorm(scenarios::WillStorm),
    /// Subscribers come back to messages kept for their sessions
    BacklogDrain(scenarios::BacklogDrain),
    /// Sessions and their messages after the broker was killed
    DurableSessions(scenarios::DurableSessions),
    /// Retained messages after the broker was killed
    DurableRetained(scenarios::DurableRetained),
    /// Wills of clients that were connected when the broker was killed
    DurableWills(scenarios::DurableWills),
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
    /// Clients of MQTT-SN over UDP
    Sn(crate::sn::Sn),
    /// A scenario of your own, from a file
    Run(scenario_files::RunFile),
    /// Looks for mistakes in scenario files
    Check(scenario_files::Check),
    /// A null broker to measure mqload alone
    Sink(crate::sink::Sink),
    /// A broker that lies on request, to try what notices
    Liar(crate::liar::Liar),
    /// Results side by side
    Report(report::Report),
    /// Two versions compared over several rounds: is the new one worse?
    Compare(compare::Compare),
    /// Waits for runs of a coordinator on another host
    Agent(crate::agents::Listen),
}

impl Command {
    /// A built-in scenario, when it is one.
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
            Self::HandshakeStorm(scenario) => scenario,
            Self::ResumptionStorm(scenario) => scenario,
            Self::LargePayloads(scenario) => scenario,
            Self::WillStorm(scenario) => scenario,
            Self::BacklogDrain(scenario) => scenario,
            Self::DurableSessions(scenario) => scenario,
            Self::DurableRetained(scenario) => scenario,
            Self::DurableWills(scenario) => scenario,
            Self::SharedGroup(scenario) => scenario,
            Self::RetainedStorm(scenario) => scenario,
            Self::SlowConsumer(scenario) => scenario,
            Self::Churn(scenario) => scenario,
            Self::TakeoverStorm(scenario) => scenario,
            Self::WildcardMix(scenario) => scenario,
            Self::Sn(_)
            | Self::Run(_)
            | Self::Check(_)
            | Self::Sink(_)
            | Self::Liar(_)
            | Self::Report(_)
            | Self::Compare(_)
            | Self::Agent(_) => return None,
        })
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    secrets::hide();
    if let Command::Compare(compare) = &cli.command {
        return compare.run().unwrap_or_else(|sentence| {
            eprintln!("mqload: {sentence}");
            ExitCode::FAILURE
        });
    }
    if let Command::Sn(sn) = &cli.command {
        return match crate::sn::run(sn) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(sentence) => {
                eprintln!("mqload: {sentence}");
                ExitCode::FAILURE
            }
        };
    }
    let outcome = match (&cli.command, cli.command.scenario()) {
        (Command::Sink(sink), _) => crate::sink::run(sink).map(|()| None),
        (Command::Liar(liar), _) => crate::liar::run(liar).map(|()| None),
        (Command::Report(report), _) => report.write().map(|()| None),
        (Command::Agent(agent), _) => crate::agents::listen(agent, plan_of).map(|()| None),
        (Command::Run(run), _) => run_file(run).map(Some),
        (Command::Check(check), _) => check.files().map(|()| None),
        (_, Some(scenario)) => run_scenario(scenario).map(Some),
        (_, None) => Ok(None),
    };
    match outcome {
        Ok(Some(result)) => match result.verdict {
            Verdict::Passed => ExitCode::SUCCESS,
            Verdict::Failed => ExitCode::FAILURE,
            Verdict::Inconclusive => ExitCode::from(INCONCLUSIVE),
        },
        Ok(None) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("mqload: {sentence}");
            ExitCode::FAILURE
        }
    }
}

/// The command line as a value, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// What a command line asks for; how an agent reads that of its coordinator.
///
/// # Errors
/// A sentence when it is no scenario, or its options do not fit together.
pub fn plan_of(arguments: &[String]) -> Result<(Plan, Options), String> {
    let words = std::iter::once("mqload").chain(arguments.iter().map(String::as_str));
    let cli = Cli::try_parse_from(words).map_err(|error| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().to_string()
    })?;
    if let Command::Run(run) = &cli.command {
        let (_, plan, options) = run.prepare()?;
        return Ok((plan, options));
    }
    let scenario = cli.command.scenario().ok_or("that is no scenario")?;
    prepare(scenario)
}

fn prepare(scenario: &dyn Scenario) -> Result<(Plan, Options), String> {
    let common = scenario.common();
    let (mut plan, options) = (scenario.plan()?, common.setup.options()?);
    if let Some(name) = &common.name {
        plan.scenario.clone_from(name);
    }
    common.set_versions(&mut plan);
    common.feed(&mut plan, scenario.counted())?;
    common.check(&plan)?;
    check_password(&plan)?;
    common.assertions.fit(&plan)?;
    common.set_sessions(&mut plan);
    Ok((plan, options))
}

fn run_scenario(scenario: &dyn Scenario) -> Result<RunResult, String> {
    let common = scenario.common();
    let (plan, mut options) = prepare(scenario)?;
    common.setup.output.check()?;
    options.live = common.setup.watch()?;
    let has_agents = !common.setup.agents.agents.is_empty();
    if has_agents && (common.find_max || common.sweep.is_some()) {
        let sentence =
            "--find-max and --sweep try many rates with one generator: leave --agents out";
        return Err(sentence.into());
    }
    let asked = plan.clone();
    let mut result = if common.find_max {
        find_max::find_max(&plan, &options, common.p99)?
    } else if let Some(sweep) = common.sweep {
        sweep::sweep(&plan, &options, sweep, common.step_duration)?
    } else {
        run_here_or_on_agents(plan, &options, &common.setup)?
    };
    common.assertions.check(&mut result);
    finish(result, &asked, &common.setup)
}

/// Runs a scenario file.
fn run_file(run: &scenario_files::RunFile) -> Result<RunResult, String> {
    let (file, plan, mut options) = run.prepare()?;
    run.setup.output.check()?;
    options.live = run.setup.watch()?;
    let mut result = run_here_or_on_agents(plan.clone(), &options, &run.setup)?;
    file.assertions.check(&mut result);
    for stage in &file.stage_assertions {
        stage.check(&mut result);
    }
    finish(result, &plan, &run.setup)
}

/// Judges, writes and prints a result.
fn finish(mut result: RunResult, plan: &Plan, setup: &Setup) -> Result<RunResult, String> {
    result.verdict = verdict(&result);
    // After the run, which it does not disturb. What agents reach may not be what is reached from here.
    let may_ask = setup.output.tells_all() && setup.agents.agents.is_empty();
    if result.broker_name.is_none() && result.interrupted.is_none() && may_ask {
        result.broker_name = broker_name::ask(plan);
    }
    let written = setup.output.write(&result);
    if setup.output.has_stdout() {
        let mut out = std::io::stderr();
        let terminal = Terminal::of(&out);
        print(&mut out, terminal, &result);
    } else {
        let mut out = std::io::stdout();
        let terminal = Terminal::of(&out);
        print(&mut out, terminal, &result);
    }
    written.map(|()| result)
}

fn run_here_or_on_agents(
    plan: Plan,
    options: &Options,
    setup: &Setup,
) -> Result<RunResult, String> {
    if setup.agents.agents.is_empty() {
        run(plan, options)
    } else {
        crate::agents::run_on_agents(plan, options, &setup.agents)
    }
}

fn verdict(result: &RunResult) -> Verdict {
    if result.inconclusive {
        return Verdict::Inconclusive;
    }
    let has_failed = !result.errors.is_empty()
        || !result.truth.broken_promises.is_empty()
        || result.assertions.iter().any(|assertion| !assertion.passed);
    if has_failed {
        Verdict::Failed
    } else {
        Verdict::Passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Assertion;

    #[test]
    fn one_thing_that_does_not_hold_fails_a_run() {
        let with = |change: fn(&mut RunResult)| {
            let mut result = RunResult::default();
            change(&mut result);
            verdict(&result)
        };
        assert_eq!(with(|_| {}), Verdict::Passed);
        let failing: [fn(&mut RunResult); 3] = [
            |result| result.errors = [("x".to_string(), 1)].into(),
            |result| result.truth.broken_promises.push("x".into()),
            |result| result.assertions.push(Assertion::default()),
        ];
        for change in failing {
            assert_eq!(with(change), Verdict::Failed);
        }
        let unknown = |result: &mut RunResult| {
            result.inconclusive = true;
            result.errors.insert("x".into(), 1);
        };
        assert_eq!(with(unknown), Verdict::Inconclusive, "nothing is known");
    }
}
