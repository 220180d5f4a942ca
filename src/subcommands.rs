//! The commands beside the broker, as command lines: what they take and what it is for.
//!
//! Completions and manual pages are made from them, too.

use clap::{value_parser, Arg, ArgAction, Command};

/// All of them, by the word that comes first.
#[must_use]
pub fn all() -> Vec<Command> {
    vec![
        passwd(),
        doctor(),
        import(),
        token(),
        journal(),
        crate::ctl::command(),
        crate::top::command(),
    ]
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

/// `ringmq passwd`.
#[must_use]
pub fn passwd() -> Command {
    Command::new("passwd")
        .bin_name("ringmq passwd")
        .about(
            "Makes, changes, removes and verifies accounts. The files are those of \
             mosquitto_passwd; a running broker reads them again at SIGHUP.",
        )
        .arg(Arg::new("file").required(true).value_name("FILE"))
        .arg(
            Arg::new("user")
                .value_name("USER")
                .required_unless_present("upgrade"),
        )
        .arg(
            Arg::new("password")
                .value_name("PASSWORD")
                .requires("batch")
                .help("Only with --batch"),
        )
        .arg(flag("create", "Begin a new file; one that exists is replaced").short('c'))
        .arg(flag("delete", "Remove the user").short('D'))
        .arg(
            flag("verify", "Only check the password; exit code 1 if it is wrong")
                .conflicts_with("delete"),
        )
        .arg(flag("upgrade", "Hash every password of the file that is not hashed yet").short('U'))
        .arg(
            flag("batch", "Take the password from the command line, where others can see it")
                .short('b'),
        )
        .arg(
            flag(
                "password-stdin",
                "Read the password from standard input, up to its end or first line break",
            )
            .conflicts_with("batch"),
        )
        .arg(flag("scram", "The file holds SCRAM-SHA-256 credentials (scram-file)"))
        .arg(
            flag("argon2id", "Hash with Argon2id, which Mosquitto reads since 2.1")
                .conflicts_with("scram"),
        )
        .arg(
            Arg::new("rounds")
                .long("rounds")
                .value_name("NUMBER")
                .conflicts_with("argon2id")
                .value_parser(value_parser!(u32).range(1..=4_000_000))
                .help("Rounds of the hash: more make guessing slower, and logging in [default: 10000, with --scram 15000]"),
        )
}

/// `ringmq doctor`.
#[must_use]
pub fn doctor() -> Command {
    Command::new("doctor")
        .bin_name("ringmq doctor")
        .about(
            "Looks at this machine and the configuration, and says what stands in the broker's way: why, what it \
             costs, and the command that mends it. Exit code 0: nothing; 1: advice; 2: the broker will not work.",
        )
        .arg(
            Arg::new("config")
                .long("config")
                .short('c')
                .value_name("FILE")
                .help("The configuration to look at; without, the defaults"),
        )
        .arg(flag("json", "Write findings as JSON"))
        .arg(
            Arg::new("root")
                .long("root")
                .value_name("FOLDER")
                .default_value("/")
                .help("Where /proc and /sys are: another machine's, as files"),
        )
}

/// `ringmq import`.
#[must_use]
pub fn import() -> Command {
    Command::new("import")
        .bin_name("ringmq import")
        .about(
            "Reads a mosquitto.conf, and writes a configuration of ringmq that does the same. Every line that could \
             not be carried over is named, with what to do instead. Exit code 0: all was; 1: something that keeps \
             others out has no equal here; 2: the file cannot be read.",
        )
        .arg(
            Arg::new("file")
                .value_name("MOSQUITTO.CONF")
                .required_unless_present("db"),
        )
        .arg(
            Arg::new("db")
                .long("db")
                .value_name("MOSQUITTO.DB")
                .requires("data-dir")
                .conflicts_with_all(["file", "output"])
                .help("Carry retained messages and sessions over from this file, of a Mosquitto that is stopped"),
        )
        .arg(
            Arg::new("data-dir")
                .long("data-dir")
                .value_name("FOLDER")
                .requires("db")
                .help("The data directory that is made of it: not there yet, or empty"),
        )
        .arg(
            Arg::new("output")
                .long("output")
                .short('o')
                .value_name("FILE")
                .help("Write here, which must not exist, instead of to standard output"),
        )
}

/// `ringmq token`.
#[must_use]
pub fn token() -> Command {
    Command::new("token")
        .bin_name("ringmq token")
        .about(
            "Makes a bearer token for the admin listener, adds its hash to the file and prints the token, \
             which is not kept anywhere. A line that is removed ends its token. A running broker reads the \
             file again at SIGHUP.",
        )
        .arg(Arg::new("file").required(true).value_name("FILE").help("As in admin-token-file"))
        .arg(Arg::new("name").required(true).value_name("NAME").help("Shown in the log for whatever is done with it"))
        .arg(
            Arg::new("role")
                .long("role")
                .value_name("ROLE")
                .value_parser(["metrics", "viewer", "admin"])
                .default_value("viewer")
                .help("metrics reads /metrics, viewer reads all, admin changes, too"),
        )
        .arg(
            Arg::new("days")
                .long("days")
                .value_name("NUMBER")
                .value_parser(value_parser!(u32).range(1..=36_500))
                .help("Days until it ends [default: it does not]"),
        )
}

/// `ringmq journal`.
#[must_use]
pub fn journal() -> Command {
    let folder = || {
        Arg::new("folder")
            .required(true)
            .value_name("FOLDER")
            .help("The data directory (data-dir) of a broker that is stopped")
    };
    Command::new("journal")
        .bin_name("ringmq journal")
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
                .arg(flag("json", "Each line is a JSON object"))
                .arg(flag("payloads", "With the payloads of publications and wills")),
        )
        .subcommand(
            Command::new("repair")
                .about("Says what would be lost by making damaged logs whole; with --yes does it")
                .arg(folder())
                .arg(flag("yes", "Do it; the files as they were are kept in a folder aside-N")),
        )
}
