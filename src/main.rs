//! The `ringmq` program: options, start, wait.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use ringmq::config::{self, Checked, Command};
use ringmq::ids::SHARDS_MAX;
use ringmq::io::{available_cores, flush_log, run, start_logging, Cores, Startup};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code when the options or the configuration file are wrong.
const EXIT_CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    match config::load(std::env::args_os()) {
        Ok(Command::Run(checked)) => start(checked),
        Ok(
            Command::CheckOk(text)
            | Command::Help(text)
            | Command::Version(text)
            | Command::Example(text),
        ) => print(&text),
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::from(EXIT_CONFIGURATION)
        }
    }
}

fn start(checked: Checked) -> ExitCode {
    start_logging(checked.log_level);
    let available = available_cores();
    let shards = checked
        .shards
        .unwrap_or_else(|| available.count.min(SHARDS_MAX) as u16);
    let cores = cores_to_pin(&checked, shards, &available);
    let bound = checked.memory_bound(shards);
    tracing::info!("{}", bound.summary());
    tracing::debug!("{bound}");
    let startup = Startup {
        listeners: checked.listeners,
        shards,
        cores,
        limits: checked.limits,
        shutdown_timeout: Duration::from_secs(checked.shutdown_timeout.as_secs()),
    };
    let outcome = run(&startup);
    flush_log();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringmq: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One core for each shard, or none; says which and why.
fn cores_to_pin(checked: &Checked, shards: u16, available: &Cores) -> Vec<usize> {
    let version = env!("CARGO_PKG_VERSION");
    let count = available.count;
    let mut cores = available.pinnable.clone();
    if usize::from(shards) > count {
        tracing::warn!(
            "ringmq {version}: {shards} shards on {count} cores, not pinned; more shards than \
             cores cost time and win nothing"
        );
        return Vec::new();
    }
    let (pinned, why) = match (checked.pin, cores.len() >= usize::from(shards)) {
        (true, true) => ("each pinned to a core of its own", ""),
        (true, false) => ("not pinned", ", which are shared (cgroup quota)"),
        (false, _) => ("not pinned", ""),
    };
    tracing::info!("ringmq {version}: {shards} shards on {count} cores{why}, {pinned}");
    cores.truncate(usize::from(shards));
    if pinned == "not pinned" {
        cores.clear();
    }
    cores
}

/// A reader that has seen enough (`ringmq --help | head -1`) is no failure.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}
