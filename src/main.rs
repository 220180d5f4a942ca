//! The `ringmq` program: options, start, wait.

mod ctl;
mod journal_command;
mod passwd;
mod token;

use std::io::Write;
use std::process::ExitCode;

use ringmq::admin;
use ringmq::config::{self, Checked, Command, Machine};
use ringmq::ids::SHARDS_MAX;
use ringmq::io::{
    available_cores, connections_allowed, flush_log, look_at_data_dir, memory_there_is, run,
    start_logging, StartError, Startup,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code when the options or the configuration file are wrong.
const EXIT_CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    match args.nth(1) {
        Some(word) if word == "passwd" => return passwd::run(args),
        Some(word) if word == "ctl" => return ctl::run(args),
        Some(word) if word == "token" => return token::run(args),
        Some(word) if word == "journal" => return journal_command::run(args),
        _ => {}
    }
    match config::load(std::env::args_os()) {
        Ok(Command::Run(checked)) => start(*checked),
        Ok(Command::CheckOk(checked, text)) => match checked_text(*checked, &text) {
            Ok(text) => print(&text),
            Err(error) => {
                eprintln!("ringmq: {error}");
                ExitCode::from(EXIT_CONFIGURATION)
            }
        },
        Ok(Command::Help(text) | Command::Version(text) | Command::Example(text)) => print(&text),
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::from(EXIT_CONFIGURATION)
        }
    }
}

/// Output of `--check-config`: the values in use, and what follows from them on this machine.
fn checked_text(mut checked: Checked, text: &str) -> Result<String, StartError> {
    let machine = machine(&checked, available_cores().count);
    let data = look_at_data_dir(&checked.run, machine.shards)?;
    let data = data.map(|found| format!("data directory {found}\n"));
    let data = data.unwrap_or_default();
    checked.fit_to(machine.memory);
    let bound = checked.memory_bound(machine);
    let warning = bound.warning().map(|text| format!("warning: {text}\n"));
    let warning = warning.unwrap_or_default();
    Ok(format!("{text}\n{data}{bound}{warning}"))
}

fn machine(checked: &Checked, cores: usize) -> Machine {
    let shards = checked.shards.unwrap_or(cores.min(SHARDS_MAX) as u16);
    Machine {
        shards,
        connections: connections_allowed(shards),
        memory: memory_there_is(),
    }
}

fn start(mut checked: Checked) -> ExitCode {
    start_logging(checked.log_level);
    let available = available_cores();
    let machine = machine(&checked, available.count);
    let shards = machine.shards;
    checked.fit_to(machine.memory);
    let enough = available.pinnable.len() >= usize::from(shards);
    let cores = if checked.pin && enough {
        available.pinnable
    } else {
        Vec::new()
    };
    tracing::info!("ringmq {}", env!("CARGO_PKG_VERSION"));
    let bound = checked.memory_bound(machine);
    tracing::info!("{}", bound.summary());
    if let Some(warning) = bound.warning() {
        tracing::warn!("{warning}");
    }
    tracing::debug!("{bound}");
    let startup = Startup {
        auth: checked.files(),
        listeners: checked.all_listeners(),
        shards,
        cores,
        available: available.count,
        limits: checked.limits,
        run: checked.run,
    };
    let admin = checked.admin;
    let outcome = run(&startup, |broker| admin::start(&admin, broker));
    flush_log();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringmq: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A reader that has seen enough (`ringmq --help | head -1`) is no failure.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}
