//! `ringmq token`: makes a bearer token for the admin listener and adds its hash to a file.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use base64::prelude::{Engine, BASE64_URL_SAFE_NO_PAD};
use clap::ArgMatches;
use ringmq::admin::{tokens, Role};
use ringmq::subcommands;

/// The broker reads it as a member of the file's group.
const FILE_MODE: u32 = 0o640;
const DAY_S: u64 = 86_400;

/// `args` without the program's name and `token`.
pub(super) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("ringmq token");
    let matches = match subcommands::token().try_get_matches_from(std::iter::once(name).chain(args))
    {
        Ok(matches) => matches,
        Err(error) => error.exit(),
    };
    match make(&matches) {
        Ok(token) => {
            println!("{token}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("ringmq token: {text}");
            ExitCode::FAILURE
        }
    }
}

fn make(matches: &ArgMatches) -> Result<String, String> {
    let text = |name| matches.get_one::<String>(name).map_or("", |text| &text[..]);
    let (name, role) = (text("name"), Role::of_word(text("role")));
    let role = role.ok_or("the role is metrics, viewer or admin")?;
    if !tokens::is_name(name) {
        return Err("the name may have letters, digits and -_.@, 64 of them at most".into());
    }
    let until_s = matches.get_one::<u32>("days").map(|days| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(0, |now| now.as_secs()) + u64::from(*days) * DAY_S
    });
    let mut secret = [0; tokens::SECRET_BYTES];
    getrandom::fill(&mut secret)
        .map_err(|error| format!("the kernel gives no random bytes: {error}"))?;
    let token = format!(
        "{}{}",
        tokens::PREFIX,
        BASE64_URL_SAFE_NO_PAD.encode(secret)
    );
    let line = tokens::line(name, role, until_s, token.as_bytes());
    add(&PathBuf::from(text("file")), &line)?;
    Ok(token)
}

/// The file must be sound with the new line, or it stays as it was.
fn add(file: &Path, line: &str) -> Result<(), String> {
    let shown = file.display().to_string();
    let wrong = |error: std::io::Error| format!("{shown}: {error}");
    let old = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(wrong(error)),
    };
    let is_open = !old.is_empty() && !old.ends_with('\n');
    let added = format!("{}{line}", if is_open { "\n" } else { "" });
    tokens::Tokens::parse(&shown, &format!("{old}{added}"))?;
    let mut options = OpenOptions::new();
    let opened = options.append(true).create(true).mode(FILE_MODE).open(file);
    let mut opened = opened.map_err(wrong)?;
    opened.write_all(added.as_bytes()).map_err(wrong)
}
