//! `ringmq passwd`: makes, changes, removes and verifies entries of password and SCRAM files.

mod file;

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ArgMatches;
use ringmq::auth::{Credential, Hash, HashKind};
use ringmq::subcommands;

use file::Entries;

/// About four milliseconds of a core: what a login costs the broker, and a guess a thief of the file.
const ROUNDS: u32 = 10_000;
/// Rounds of a SCRAM credential: the client pays for them.
const SCRAM_ROUNDS: u32 = 15_000;
const SALT_BYTES: usize = 16;
/// Longest password a CONNECT can carry.
const PASSWORD_BYTES_MAX: usize = 65_535;

/// `args` without the program's name and `passwd`.
pub(super) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("ringmq passwd");
    let matches =
        match subcommands::passwd().try_get_matches_from(std::iter::once(name).chain(args)) {
            Ok(matches) => matches,
            Err(error) => error.exit(),
        };
    match carry_out(&matches) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("ringmq passwd: user name or password is wrong");
            ExitCode::FAILURE
        }
        Err(text) => {
            eprintln!("ringmq passwd: {text}");
            ExitCode::FAILURE
        }
    }
}

/// False: verified, and wrong.
fn carry_out(matches: &ArgMatches) -> Result<bool, String> {
    let path = PathBuf::from(
        matches
            .get_one::<String>("file")
            .ok_or("a file is needed")?,
    );
    let mut entries = if matches.get_flag("create") {
        Entries::new(&path)
    } else {
        Entries::read(&path)?
    };
    if matches.get_flag("upgrade") {
        return upgrade(&mut entries, matches).map(|()| true);
    }
    let user = matches
        .get_one::<String>("user")
        .ok_or("a user is needed")?;
    check_user(user)?;
    if matches.get_flag("delete") {
        if !entries.remove(user) {
            return Err(format!("there is no user \"{user}\""));
        }
        return entries.write().map(|()| true);
    }
    let verify = matches.get_flag("verify");
    let password = password(matches, !verify)?;
    if verify {
        return verifies(&entries, user, &password, matches.get_flag("scram"));
    }
    entries.set(user, &entry(matches, &password)?);
    entries.write().map(|()| true)
}

/// Whether this is the user's password. An unknown user is answered as a wrong password is.
fn verifies(entries: &Entries, user: &str, password: &[u8], scram: bool) -> Result<bool, String> {
    let Some(text) = entries.get(user) else {
        return Ok(false);
    };
    if scram {
        let password = std::str::from_utf8(password).map_err(|_| "the password is not UTF-8")?;
        return Credential::parse(text)?.verify(password);
    }
    Ok(Hash::parse(text)?.verify(password))
}

/// What stands behind the user name.
fn entry(matches: &ArgMatches, password: &[u8]) -> Result<String, String> {
    let rounds = matches.get_one::<u32>("rounds").copied();
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| error.to_string())?;
    if matches.get_flag("scram") {
        let password = std::str::from_utf8(password).map_err(|_| "the password is not UTF-8")?;
        let credential = Credential::create(password, &salt, rounds.unwrap_or(SCRAM_ROUNDS))?;
        // Too few rounds, for one, would not be read back.
        return Credential::parse(&credential.to_string()).map(|_| credential.to_string());
    }
    let kind = if matches.get_flag("argon2id") {
        HashKind::Argon2id
    } else {
        HashKind::Pbkdf2 {
            rounds: rounds.unwrap_or(ROUNDS),
        }
    };
    Hash::create(kind, password, salt).map(|hash| hash.to_string())
}

/// Hashes all passwords that are plain text in the file.
fn upgrade(entries: &mut Entries, matches: &ArgMatches) -> Result<(), String> {
    let plain: Vec<(String, String)> = entries
        .iter()
        .filter(|(_, text)| !text.starts_with('$') && !text.starts_with("SCRAM-"))
        .map(|(user, text)| (user.to_owned(), text.to_owned()))
        .collect();
    for (user, password) in plain {
        entries.set(&user, &entry(matches, password.as_bytes())?);
    }
    entries.write()
}

/// Refuses user names that the format of the file cannot hold: a line is `user:hash`, `#` a comment.
fn check_user(user: &str) -> Result<(), String> {
    let is_wrong = |c: char| c == ':' || c.is_control();
    if user.is_empty()
        || user.len() > PASSWORD_BYTES_MAX
        || user.starts_with('#')
        || user.contains(is_wrong)
        || user.trim() != user
    {
        return Err(
            "a user name may not be empty, begin with #, have colons or control characters, or \
             white space at its ends"
                .into(),
        );
    }
    Ok(())
}

fn password(matches: &ArgMatches, is_new: bool) -> Result<Vec<u8>, String> {
    let password = if matches.get_flag("batch") {
        let password = matches.get_one::<String>("password");
        password
            .ok_or("--batch needs the password")?
            .clone()
            .into_bytes()
    } else if matches.get_flag("password-stdin") {
        let mut bytes = Vec::new();
        let limit = PASSWORD_BYTES_MAX as u64 + 2;
        let read = std::io::stdin().lock().take(limit).read_to_end(&mut bytes);
        read.map_err(|error| format!("cannot read the password: {error}"))?;
        let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        bytes.truncate(end.unwrap_or(bytes.len()));
        bytes
    } else {
        ask(is_new)?.into_bytes()
    };
    if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
        return Err("a password has 1 to 65,535 bytes".into());
    }
    Ok(password)
}

/// At the terminal, without echo; a new one twice.
fn ask(is_new: bool) -> Result<String, String> {
    if !std::io::stdin().is_terminal() {
        return Err("no terminal to ask for the password at; use --password-stdin".into());
    }
    let prompt = |text: &str| {
        rpassword::prompt_password(text)
            .map_err(|error| format!("cannot read the password: {error}"))
    };
    let password = prompt("Password: ")?;
    if is_new && prompt("Password again: ")? != password {
        return Err("the two passwords differ".into());
    }
    Ok(password)
}
