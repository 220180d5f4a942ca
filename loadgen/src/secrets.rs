//! Secrets on the command line: results do not have them, and other users of the machine stop seeing them.

use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Options whose values are not shown.
const SECRET: [&str; 2] = ["--token", "--password"];
/// Place of `arg_start` in /proc/PID/stat behind the name, see proc_pid_stat(5): field 48, and the state is field 3.
const ARG_START: usize = 48 - 3;

/// A command line without token and passwords, for results.
pub(crate) fn redacted(arguments: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = arguments.collect();
    let shown = words
        .iter()
        .zip(places(&words))
        .map(|(word, place)| match place {
            Some(place) => format!("{}***{}", &word[..place.start], &word[place.end..]),
            None => word.clone(),
        });
    shown.collect::<Vec<_>>().join(" ")
}

/// A target with its password hidden.
pub(crate) fn without_password(target: &str) -> String {
    match in_url(target) {
        Some(place) => format!("{}***{}", &target[..place.start], &target[place.end..]),
        None => target.to_string(),
    }
}

/// Where in each word a secret is.
fn places(words: &[String]) -> Vec<Option<Range<usize>>> {
    let mut is_secret = false;
    let place = |word: &String| {
        if std::mem::take(&mut is_secret) {
            return Some(0..word.len());
        }
        is_secret = SECRET.contains(&&word[..]);
        match word.split_once('=') {
            Some((name, _)) if SECRET.contains(&name) => Some(name.len() + 1..word.len()),
            _ => in_url(word),
        }
    };
    words.iter().map(place).collect()
}

/// Where the password is in SCHEME://USER:PASSWORD@HOST.
fn in_url(word: &str) -> Option<Range<usize>> {
    let begin = word.find("://")? + 3;
    let authority = word[begin..].split('/').next()?;
    let (who, _) = authority.rsplit_once('@')?;
    let (user, _) = who.split_once(':')?;
    Some(begin + user.len() + 1..begin + who.len())
}

/// Overwrites the secrets in this process's own command line, which every user of the machine can read while it
/// runs (`ps`). Call it when the command line has been read; from then on its secrets are asterisks here, too.
///
/// Where the system does not let it, they stay what `--help` says they are: seen.
pub(crate) fn hide() {
    let _ = overwrite(); // see above
}

fn overwrite() -> Option<()> {
    let command_line = std::fs::read("/proc/self/cmdline").ok()?;
    let words: Vec<String> = command_line
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let places = places(&words);
    if places.iter().all(Option::is_none) || std::str::from_utf8(&command_line).is_err() {
        return None;
    }
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let begin: u64 = fields.split(' ').nth(ARG_START)?.parse().ok()?;
    // The arguments are this process's to change: this is what other programs do through argv.
    let memory = std::fs::OpenOptions::new()
        .write(true)
        .open("/proc/self/mem");
    let memory = memory.ok()?;
    let mut at = begin;
    for (word, place) in words.iter().zip(places) {
        if let Some(place) = place {
            let stars = vec![b'*'; place.len()];
            memory.write_all_at(&stars, at + place.start as u64).ok()?;
        }
        at += word.len() as u64 + 1;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_shown_without_secrets() {
        for (given, shown) in [
            ("pairs --token abc --qos 1", "pairs --token *** --qos 1"),
            ("pairs --token=abc --qos 1", "pairs --token=*** --qos 1"),
            ("pairs --token --token", "pairs --token ***"),
            ("pairs --qos 1", "pairs --qos 1"),
            ("pairs --password p --x", "pairs --password *** --x"),
            ("pairs --password=p", "pairs --password=***"),
            ("pairs --user-property a=b", "pairs --user-property a=b"),
            ("--target ws://u:p@h/a", "--target ws://u:***@h/a"),
            ("--target=ws://u:p:q@h", "--target=ws://u:***@h"),
            ("--target ws://h:1/a@b", "--target ws://h:1/a@b"),
        ] {
            let words = given.split(' ').map(str::to_string);
            assert_eq!(redacted(words), shown);
        }
    }

    #[test]
    fn passwords_of_targets_are_hidden() {
        for (given, shown) in [
            ("mqtt://u:p@h:1", "mqtt://u:***@h:1"),
            ("mqtt://u@h", "mqtt://u@h"),
            ("h:1", "h:1"),
        ] {
            assert_eq!(without_password(given), shown);
        }
    }
}
