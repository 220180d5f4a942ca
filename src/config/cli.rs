//! Parser of the command line: what was given, with every mistake in it.

use std::ffi::{OsStr, OsString};

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};

use super::kind::Kind;
use super::options;
use super::problem::{Place, Problem};
use super::raw::{Given, Item, Typed};
use super::render;
use crate::version;

/// A command line that asks for no text.
#[derive(Debug, Default)]
pub(super) struct CommandLine {
    pub(super) config: Option<OsString>,
    pub(super) check_config: bool,
    pub(super) example: bool,
    pub(super) given: Vec<Given>,
}

/// Contents of the command line.
#[derive(Debug)]
pub(super) enum Parsed {
    Options(CommandLine),
    Help(String),
    Version(String),
}

/// What names all options.
pub(super) const HELP: &str = "ringmq --help";

const CONFIG: &str = "config";
const CHECK_CONFIG: &str = "check-config";
const EXAMPLE: &str = "print-config-example";
const PORT: &str = "port";
const LISTEN: &str = "listen";

/// Reads the arguments, the program's name first. A mistake is noted, its argument left out, and
/// the rest read again: the operator sees all mistakes at once.
pub(super) fn parse(
    args: impl IntoIterator<Item = OsString>,
    problems: &mut Vec<Problem>,
) -> Parsed {
    let mut args: Vec<OsString> = args.into_iter().collect();
    loop {
        let error = match command().try_get_matches_from(&args) {
            Ok(matches) => return Parsed::Options(collect(matches, problems)),
            Err(error) => error,
        };
        let text = error.render().to_string();
        match error.kind() {
            ErrorKind::DisplayHelp if problems.is_empty() => return Parsed::Help(text),
            ErrorKind::DisplayVersion if problems.is_empty() => return Parsed::Version(text),
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                return Parsed::Options(CommandLine::default());
            }
            _ => {}
        }
        let offender = match error.get(ContextKind::InvalidArg) {
            // "--shards <NUMBER>" names the argument with its value.
            Some(ContextValue::String(shown)) => shown.split(' ').next().unwrap_or_default(),
            _ => "",
        };
        problems.push(describe(error.kind(), offender, &text));
        if !take_out(&mut args, offender) {
            return Parsed::Options(CommandLine::default());
        }
    }
}

fn describe(kind: ErrorKind, offender: &str, text: &str) -> Problem {
    let Some(name) = offender.strip_prefix("--") else {
        let text = match kind {
            ErrorKind::UnknownArgument => {
                format!("\"{offender}\" is no option; options start with -- (see --help)")
            }
            _ => text.trim_end().to_owned(),
        };
        return Problem::new(&Place::CommandLine, "", text);
    };
    let text = match kind {
        ErrorKind::UnknownArgument => format!(
            "no such option{}",
            did_you_mean(("--", HELP), name, options::all().map(|option| option.name))
        ),
        ErrorKind::InvalidValue => match options::find(name) {
            Some(option) => format!("needs a value; allowed: {}", option.kind.allowed()),
            None => "needs a value".into(),
        },
        ErrorKind::TooManyValues => "takes no value".into(),
        _ => text.lines().next().unwrap_or_default().to_owned(),
    };
    Problem::new(&Place::CommandLine, name, text)
}

/// The end of a sentence about an unknown name.
pub(super) fn did_you_mean(
    (prefix, all): (&str, &str),
    name: &str,
    known: impl Iterator<Item = &'static str>,
) -> String {
    let near = known
        .map(|known| (known, strsim::jaro_winkler(known, name)))
        .filter(|(_, likeness)| *likeness > 0.8) // below, the guesses look like noise
        .max_by(|a, b| a.1.total_cmp(&b.1));
    match near {
        Some((near, _)) => format!(" (did you mean {prefix}{near}?)"),
        None => format!(" ({all} names them all)"),
    }
}

/// Removes an argument, and the value of an unknown option. False: it is not there.
fn take_out(args: &mut Vec<OsString>, offender: &str) -> bool {
    let is_it = |arg: &OsString| {
        arg == offender || (offender.starts_with('-') && starts_with(arg, &format!("{offender}=")))
    };
    let found = args.iter().skip(1).position(is_it);
    let found = found.or_else(|| {
        // One letter of several: "-x" of "-xy".
        let short = offender.starts_with('-') && !offender.starts_with("--");
        args.iter()
            .skip(1)
            .position(|arg| short && starts_with(arg, offender))
    });
    let Some(index) = found.map(|index| index + 1) else {
        return false;
    };
    let removed = args.remove(index);
    let is_value = |arg: &OsString| !starts_with(arg, "-");
    let unknown = offender
        .strip_prefix("--")
        .is_some_and(|name| removed == offender && options::find(name).is_none());
    if unknown && args.get(index).is_some_and(is_value) {
        args.remove(index);
    }
    true
}

fn starts_with(arg: &OsStr, start: &str) -> bool {
    arg.as_encoded_bytes().starts_with(start.as_bytes())
}

fn collect(mut matches: ArgMatches, problems: &mut Vec<Problem>) -> CommandLine {
    let mut line = CommandLine {
        check_config: matches.get_flag(CHECK_CONFIG),
        example: matches.get_flag(EXAMPLE),
        ..CommandLine::default()
    };
    let mut values_of = |name: &str| -> Vec<OsString> {
        let values = matches.remove_many(name);
        values.map(Iterator::collect).unwrap_or_default()
    };
    line.config = single(CONFIG, values_of(CONFIG), problems);
    let port =
        single(PORT, values_of(PORT), problems).and_then(|port| listen_port(&port, problems));
    for option in options::all() {
        let values = values_of(option.name);
        let value = if option.kind.is_list() {
            let port = port.clone().filter(|_| option.name == LISTEN);
            let items: Vec<Item> = values.iter().map(word).chain(port).map(item).collect();
            (!items.is_empty()).then_some(Typed::List(items))
        } else {
            single(option.name, values, problems).as_ref().map(word)
        };
        line.given.extend(value.map(|value| Given {
            option,
            place: Place::CommandLine,
            value,
        }));
    }
    line
}

/// The last of several values wins for whatever else is checked; giving several is a mistake.
fn single(name: &str, mut values: Vec<OsString>, problems: &mut Vec<Problem>) -> Option<OsString> {
    if values.len() > 1 {
        let text = format!("given {} times; give it once", values.len());
        problems.push(Problem::new(&Place::CommandLine, name, text));
    }
    values.pop()
}

/// `--port 1884` is short for `--listen 127.0.0.1:1884`.
fn listen_port(port: &OsString, problems: &mut Vec<Problem>) -> Option<Typed> {
    let kind = Kind::Number {
        min: 0,
        max: u64::from(u16::MAX),
        word: None,
    };
    let typed = word(port);
    match kind.read(&typed) {
        Ok(_) => Some(Typed::Word(format!("127.0.0.1:{}", port.to_string_lossy()))),
        Err(wrong) => {
            let text = format!("{wrong}; allowed: {}", kind.allowed());
            problems.push(Problem::new(&Place::CommandLine, PORT, text));
            None
        }
    }
}

/// What is not Unicode fits no option; shown with replacement characters.
fn word(value: &OsString) -> Typed {
    Typed::Word(value.to_string_lossy().into_owned())
}

fn item(value: Typed) -> Item {
    Item {
        place: Place::CommandLine,
        value,
    }
}

/// The command line of the broker itself.
pub(super) fn command() -> clap::Command {
    let command = clap::Command::new("ringmq")
        .version(version::VERSION)
        .long_version(version::described())
        .about("MQTT broker for bare-metal Linux: MQTT 5.0, 3.1.1 and 3.1, one shard per core")
        .after_help(
            "Every option but the first three may stand in the file, too: `name = value`, as in \
             the ringmq.toml that comes with ringmq.\nThe command line overrides the file.\n\n\
             Beside the broker: ringmq ctl (asks and changes a running broker), ringmq top (shows one), ringmq token \
             (logins for both), ringmq passwd (accounts), ringmq doctor (what of this machine stands in its way), \
             ringmq journal (logs of a stopped broker), \
             ringmq import (over from Mosquitto); each with --help.",
        )
        .arg(
            value_arg(CONFIG, "FILE")
                .short('c')
                .help("Read options from this file (TOML)"),
        )
        .arg(
            Arg::new(CHECK_CONFIG)
                .long(CHECK_CONFIG)
                .action(ArgAction::SetTrue)
                .overrides_with(CHECK_CONFIG)
                .help("Say what is wrong with the options, or show their values, and exit"),
        )
        .arg(
            Arg::new(EXAMPLE)
                .long(EXAMPLE)
                .action(ArgAction::SetTrue)
                .overrides_with(EXAMPLE)
                .hide(true)
                .help("Print the example file rendered from the table of options"),
        )
        .arg(
            value_arg(PORT, "PORT")
                .short('p')
                .help("Short for --listen 127.0.0.1:PORT"),
        );
    command.args(options::all().map(|option| {
        let help = format!("{} [default: {}]", option.help, option.default_text());
        let long = format!(
            "{help}\n{}\nAllowed: {}",
            render::wrap(option.reason, 76, ""),
            option.kind.allowed()
        );
        let arg = value_arg(option.name, option.kind.placeholder())
            .help_heading(option.group)
            .help(help)
            .long_help(long);
        match option.kind {
            Kind::Boolean => arg.num_args(0..=1).default_missing_value("true"),
            _ => arg,
        }
    }))
}

/// Values are read by the table of options, not by clap, so that all mistakes are found.
fn value_arg(name: &'static str, placeholder: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(placeholder)
        .action(ArgAction::Append)
        .allow_negative_numbers(true)
        .value_parser(ValueParser::os_string())
}
