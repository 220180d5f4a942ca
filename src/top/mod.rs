//! `ringmq top`: a running broker as a screen that renews itself, or as text or JSON where there is no terminal. A client of
//! the API, as `ringmq ctl` is.
//!
//! ```text
//! API ─► Reading ─┬─► Figures (rates between two readings) ─┬─► screen
//!     ─► Reading ─┘                                         ├─► text (--once)
//!                                                           └─► JSON (--json)
//! ```

mod figures;
mod reading;
mod screen;
mod terminal;
mod text;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::{value_parser, Arg, ArgAction, ArgMatches, Command};

use crate::ctl::{self, Failure};
use figures::Figures;
use reading::{Reader, ORDERS};

/// `args` without the program's name and `top`.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("ringmq top");
    let matches = match command().try_get_matches_from(std::iter::once(name).chain(args)) {
        Ok(matches) => matches,
        Err(error) => error.exit(),
    };
    ctl::ended("ringmq top", show(&matches))
}

/// The command line, for manual pages and completions, too.
#[must_use]
pub fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        let arg = Arg::new(name).long(name);
        arg.action(ArgAction::SetTrue).help(help)
    };
    Command::new("top")
        .bin_name("ringmq top")
        .about(
            "Shows a running broker: rates, latency, shards, what is dropped, and the busiest clients. Keys: q ends \
             it, s takes the next order of clients, p pauses.",
        )
        .after_help(
            "Exit codes: 0 done; 1 refused; 2 wrong command line; 3 the broker cannot be reached.",
        )
        .args(ctl::connection_args())
        .arg(
            Arg::new("interval")
                .long("interval")
                .value_name("SECONDS")
                .default_value("2")
                .value_parser(value_parser!(u64).range(1..=3_600))
                .help("How often it is renewed; rates are of so long"),
        )
        .arg(
            Arg::new("rows")
                .long("rows")
                .value_name("NUMBER")
                .default_value("50")
                .value_parser(value_parser!(u64).range(1..=1_000))
                .help("At most so many clients"),
        )
        .arg(
            Arg::new("sort")
                .long("sort")
                .value_name("WORD")
                .default_value(ORDERS[0])
                .value_parser(ORDERS)
                .help("Which clients come first: messages per second, or what they have since they connected"),
        )
        .arg(flag("once", "Writes it once as text and ends; needs no terminal"))
        .arg(flag(
            "json",
            "Writes JSON, a line each interval, or with --once one line; needs no terminal",
        ))
}

fn show(matches: &ArgMatches) -> Result<(), Failure> {
    let number = |name: &str| matches.get_one::<u64>(name).copied().unwrap_or(1);
    let sort = matches.get_one::<String>("sort");
    let interval = Duration::from_secs(number("interval"));
    let mut reader = Reader::new(
        ctl::client(matches)?,
        sort.map_or(ORDERS[0], |sort| &sort[..]),
        number("rows"),
    );
    let (once, json) = (matches.get_flag("once"), matches.get_flag("json"));
    if !once && !json {
        if !io::stdout().is_terminal() {
            let text = "standard output is no terminal: use --once or --json";
            return Err(Failure::Usage(text.into()));
        }
        return terminal::run(reader, interval);
    }
    let mut before = reader.read()?;
    loop {
        thread::sleep(interval);
        let now = reader.read()?;
        let figures = Figures::between(&before, &now);
        let text = match json {
            true => format!("{}\n", figures.to_json()),
            false => text::of(&figures),
        };
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|_| Failure::Output)?;
        if once {
            return Ok(());
        }
        before = now;
    }
}
