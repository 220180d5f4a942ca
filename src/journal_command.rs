//! `ringmq journal`: looks at the logs of a data directory that no broker uses, and repairs them.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use ringmq::io::journal_tools::{check, dump, repair, DumpOptions, Finding, ToolError};

/// Exit code when a log is damaged, and still is.
const EXIT_DAMAGED: u8 = 4;

/// `args` without the program's name and `journal`.
pub(super) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("ringmq journal");
    let matches = match command().try_get_matches_from(std::iter::once(name).chain(args)) {
        Ok(matches) => matches,
        Err(error) => error.exit(),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let done = carry_out(&matches, &mut out).and_then(|finding| {
        out.flush()?;
        Ok(finding)
    });
    match done {
        Ok(Finding::Whole) => ExitCode::SUCCESS,
        Ok(Finding::Damaged) => ExitCode::from(EXIT_DAMAGED),
        // A reader that has seen enough.
        Err(ToolError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = out.flush(); // what was found before comes first
            eprintln!("ringmq journal: {error}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let folder = || {
        Arg::new("folder")
            .required(true)
            .value_name("FOLDER")
            .help("The data directory (data-dir) of a broker that is stopped")
    };
    Command::new("ringmq journal")
        .about("Looks at the logs of a data directory, and repairs them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help("Exit codes: 0 all logs are whole, 1 it could not be done, 2 wrong arguments, 4 a log is damaged")
        .subcommand(
            Command::new("check")
                .about("Says of each log what it holds and whether it is whole; changes nothing")
                .arg(folder()),
        )
        .subcommand(
            Command::new("dump")
                .about("Writes what each record says, a line each; changes nothing")
                .arg(folder())
                .arg(flag("json").help("Each line is a JSON object"))
                .arg(flag("payloads").help("With the payloads of publications and wills")),
        )
        .subcommand(
            Command::new("repair")
                .about("Says what would be lost by making damaged logs whole; with --yes does it")
                .arg(folder())
                .arg(flag("yes").help("Do it; the files as they were are kept in a folder aside-N")),
        )
}

fn carry_out(matches: &ArgMatches, out: &mut dyn Write) -> Result<Finding, ToolError> {
    let folder = |matches: &ArgMatches| matches.get_one::<String>("folder").cloned();
    match matches.subcommand() {
        Some(("dump", given)) => {
            let options = DumpOptions {
                json: given.get_flag("json"),
                payloads: given.get_flag("payloads"),
            };
            dump(Path::new(&folder(given).unwrap_or_default()), options, out)
        }
        Some(("repair", given)) => {
            let path = folder(given).unwrap_or_default();
            repair(Path::new(&path), given.get_flag("yes"), out)
        }
        other => {
            let path = other.and_then(|(_, given)| folder(given));
            check(Path::new(&path.unwrap_or_default()), out)
        }
    }
}
