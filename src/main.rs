//! The `ringmq` program: options, start, wait.

mod doctor;
mod import;
mod journal_command;
mod passwd;
mod token;

use std::io::Write;
use std::process::ExitCode;

use ringmq::admin;
use ringmq::config::{self, Change, Checked, Command, Machine};
use ringmq::ctl;
use ringmq::ids::SHARDS_MAX;
use ringmq::io::{
    available_cores, connections_allowed, flush_log, look_at_data_dir, memory_there_is,
    refuse_upgrade, run, start_logging, Configuration, Renewed, StartError, Startup,
};
use ringmq::top;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code when the options or the configuration file are wrong.
const EXIT_CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    match args.nth(1).as_ref().and_then(|word| word.to_str()) {
        Some("passwd") => return passwd::run(args),
        Some("ctl") => return ctl::run(args),
        Some("top") => return top::run(args),
        Some("journal") => return journal_command::run(args),
        Some("token") => return token::run(args),
        Some("doctor") => return doctor::run(args),
        Some("import") => return import::run(args),
        // A word that is found where it is looked for.
        Some("upgrade") => {
            return ctl::run(std::iter::once("upgrade".into()).chain(args));
        }
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
            refuse_upgrade(&problems.to_string());
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
    start_logging(checked.log_level, checked.run.log_format);
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
        bridges: checked.bridges.clone(),
        shards,
        cores,
        available: available.count,
        limits: checked.limits.clone(),
        run: checked.run.clone(),
        admin: checked.admin.clone(),
    };
    let live = Live {
        in_force: checked,
        read: None,
        memory: machine.memory,
    };
    let outcome = run(&startup, Box::new(live), |broker| {
        admin::start(&startup.admin, broker)
    });
    flush_log();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringmq: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The configuration while the broker runs.
struct Live {
    in_force: Checked,
    /// Read and not applied yet.
    read: Option<Checked>,
    memory: Option<u64>,
}

impl Configuration for Live {
    fn read_again(&mut self) -> Result<Renewed, String> {
        let mut checked = match config::load(std::env::args_os()) {
            Ok(Command::Run(checked)) => *checked,
            Ok(_) => return Err("the command line asks for no broker".into()),
            Err(problems) => return Err(problems.to_string()),
        };
        checked.fit_to(self.memory);
        let Change { in_force, lines } = Change::between(&self.in_force, &checked);
        let lines = lines.into_iter();
        let lines = lines.map(|line| (line.text, line.needs_restart)).collect();
        let renewed = Renewed {
            listeners: in_force.all_listeners(),
            bridges: in_force.bridges.clone(),
            limits: in_force.limits.clone(),
            auth: in_force.files(),
            run: in_force.run.clone(),
            admin: in_force.admin.clone(),
            log_level: (in_force.log_level != self.in_force.log_level)
                .then_some(in_force.log_level),
            lines,
        };
        self.read = Some(in_force);
        Ok(renewed)
    }

    fn is_in_force(&mut self) {
        if let Some(read) = self.read.take() {
            self.in_force = read;
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
