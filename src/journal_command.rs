//! `ringmq journal`: looks at the logs of a data directory that no broker uses, and repairs them.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::ArgMatches;
use ringmq::io::journal_tools::{check, dump, repair, DumpOptions, Finding, ToolError};
use ringmq::subcommands;

/// Exit code when a log is damaged, and still is.
const EXIT_DAMAGED: u8 = 4;

/// `args` without the program's name and `journal`.
pub(super) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("ringmq journal");
    let matches =
        match subcommands::journal().try_get_matches_from(std::iter::once(name).chain(args)) {
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
