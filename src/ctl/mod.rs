//! `ringmq ctl`: the verbs of the admin listener's API on the command line, for people and for scripts.

mod arguments;
mod bridges;
mod client;
mod cluster;
mod figures;
mod sparkplug;
pub(crate) mod table;
mod upgrade;
mod verbs;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use bridges::BRIDGES;
use client::Address;
pub(crate) use client::{Client, Failure};
use cluster::CLUSTER;
use figures::FIGURES;
use sparkplug::SPARKPLUG;
use upgrade::UPGRADE;
use verbs::{Verb, VERBS};

/// The broker says no, or does not know what was named.
const EXIT_REFUSED: u8 = 1;
/// The command line is wrong; what clap exits with, too.
const EXIT_USAGE: u8 = 2;
/// The broker cannot be reached, or cannot answer now.
const EXIT_UNREACHABLE: u8 = 3;

/// `args` without the program's name and `ctl`.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("ringmq ctl");
    let matches = match command().try_get_matches_from(std::iter::once(name).chain(args)) {
        Ok(matches) => matches,
        Err(error) => error.exit(),
    };
    ended("ringmq ctl", carry_out(&matches))
}

/// The exit code of a program that asks a broker; a failure is written to standard error.
pub(crate) fn ended(program: &str, outcome: Result<(), Failure>) -> ExitCode {
    let (code, text) = match outcome {
        Ok(()) | Err(Failure::Output) => return ExitCode::SUCCESS, // or its reader has seen enough
        Err(Failure::Usage(text)) => (EXIT_USAGE, text),
        Err(Failure::Refused(text)) => (EXIT_REFUSED, text),
        Err(Failure::Unreachable(text)) => (EXIT_UNREACHABLE, text),
    };
    eprintln!("{program}: {text}");
    ExitCode::from(code)
}

/// Options by which a broker is reached, of `ctl` and `top`.
pub(crate) fn connection_args() -> [Arg; 3] {
    [
        Arg::new("admin")
            .long("admin")
            .value_name("ADDRESS")
            .global(true)
            .help(
                "Where the broker's admin-listen is: unix:PATH, http://HOST:PORT or https://HOST:PORT \
                 [default: the environment's RINGMQ_ADMIN, or unix:/run/ringmq/admin.sock]",
            ),
        Arg::new("token-file")
            .long("token-file")
            .value_name("FILE")
            .global(true)
            .help("File with a bearer token; without it the environment's RINGMQ_TOKEN"),
        Arg::new("ca-file")
            .long("ca-file")
            .value_name("FILE")
            .global(true)
            .help("Authorities that the broker's certificate may come from (PEM), for https"),
    ]
}

/// The command line, for man pages and completions, too.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new("ctl")
        .bin_name("ringmq ctl")
        .about("Asks and changes a running broker by its admin listener")
        .after_help(
            "Exit codes: 0 done; 1 refused, or there is no such thing; 2 wrong command line; 3 the broker \
             cannot be reached or cannot answer now.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args(connection_args())
        .arg(
            Arg::new("json")
                .long("json")
                .global(true)
                .action(ArgAction::SetTrue)
                .help("Prints what the API answers, as JSON, instead of a table"),
        );
    for verb in verbs() {
        let own = Command::new(verb.name)
            .about(verb.about)
            .args((verb.args)());
        command = command.subcommand(own);
    }
    command
}

/// The broker that the options name.
pub(crate) fn client(matches: &ArgMatches) -> Result<Client, Failure> {
    let address = matches.get_one::<String>("admin").cloned();
    let address = address.or_else(|| std::env::var("RINGMQ_ADMIN").ok());
    let address = address.unwrap_or_else(|| "unix:/run/ringmq/admin.sock".into());
    let address: Address = address.parse().map_err(Failure::Usage)?;
    let token = match matches.get_one::<String>("token-file") {
        Some(file) => Some(
            std::fs::read_to_string(file)
                .map_err(|error| Failure::Usage(format!("{file}: cannot be read: {error}")))?,
        ),
        None => std::env::var("RINGMQ_TOKEN").ok(),
    };
    let token = token.map(|token| token.trim().to_owned());
    let authorities = matches.get_one::<String>("ca-file").cloned();
    Ok(Client::new(
        address,
        token.filter(|token| !token.is_empty()),
        authorities,
    ))
}

fn verbs() -> impl Iterator<Item = &'static Verb> {
    VERBS
        .iter()
        .chain(FIGURES)
        .chain(SPARKPLUG)
        .chain(BRIDGES)
        .chain(CLUSTER)
        .chain(UPGRADE)
}

fn carry_out(matches: &ArgMatches) -> Result<(), Failure> {
    let client = client(matches)?;
    let (name, own) = matches.subcommand().unwrap_or(("", matches));
    let verb = verbs().find(|verb| verb.name == name);
    let verb = verb.ok_or_else(|| Failure::Usage("no verb".into()))?;
    let mut out = io::stdout().lock();
    (verb.run)(&client, own, &mut |value| {
        let text = match matches.get_flag("json") {
            true => format!("{value}\n"),
            false => (verb.show)(value),
        };
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|_| Failure::Output)
    })
}
