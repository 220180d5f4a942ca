//! `ringmq import`: a mosquitto.conf as a configuration of ringmq.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use ringmq::config::Checked;
use ringmq::io::found_data_dir;
use ringmq::mosquitto::state::State;
use ringmq::mosquitto::{self, File, Imported, Weight};
use ringmq::shard::KeptState;
use ringmq::subcommands;
use ringmq::time::WallTime;

/// Something that keeps others out was not carried.
const EXIT_WEAKER: u8 = 1;
/// Nothing was read or written.
const EXIT_FAILED: u8 = 2;
/// A configuration is some kilobytes; this is some other file.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// `args` without the program's name and `import`.
pub(super) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("ringmq import");
    let command = subcommands::import();
    let matches = match command.try_get_matches_from(std::iter::once(name).chain(args)) {
        Ok(matches) => matches,
        Err(error) => error.exit(),
    };
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    if let (Some(db), Some(folder)) = (text("db"), text("data-dir")) {
        return match carry_state(Path::new(db), Path::new(folder)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(text) => {
                eprintln!("ringmq import: {text}");
                ExitCode::from(EXIT_FAILED)
            }
        };
    }
    let Some(file) = text("file") else {
        return ExitCode::from(EXIT_FAILED);
    };
    match carry_over(file, text("output")) {
        Ok(imported) => {
            for note in &imported.notes {
                eprintln!("{note}");
            }
            let lost = |weight| {
                imported
                    .notes
                    .iter()
                    .filter(|note| note.weight == weight)
                    .count()
            };
            eprintln!(
                "ringmq import: {} lines were not carried, {} of them keep others out",
                lost(Weight::Lost) + lost(Weight::Security),
                lost(Weight::Security)
            );
            match imported.is_weaker() {
                true => ExitCode::from(EXIT_WEAKER),
                false => ExitCode::SUCCESS,
            }
        }
        Err(text) => {
            eprintln!("ringmq import: {text}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn carry_over(name: &str, output: Option<&str>) -> Result<Imported, String> {
    let main = (name.to_owned(), read(Path::new(name))?);
    let imported = mosquitto::import(&main, &folder)?;
    match output {
        None => std::io::stdout()
            .write_all(imported.toml.as_bytes())
            .map_err(|error| error.to_string())?,
        Some(path) => {
            let cannot = |error| format!("{path}: cannot be made: {error}");
            let mut file = fs::File::create_new(path).map_err(cannot)?;
            file.write_all(imported.toml.as_bytes()).map_err(cannot)?;
        }
    }
    Ok(imported)
}

/// What outlives Mosquitto, as a data directory of ours.
fn carry_state(db: &Path, folder: &Path) -> Result<(), String> {
    let bytes =
        fs::read(db).map_err(|error| format!("{}: cannot be read: {error}", db.display()))?;
    let database =
        mosquitto::db::read(&bytes).map_err(|text| format!("{}: {text}", db.display()))?;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now_ms = since.map_or(0, |since| since.as_millis());
    let now = WallTime(u64::try_from(now_ms).unwrap_or(u64::MAX));
    let State {
        sessions,
        retained,
        lost,
    } = State::of(&database, now);
    for text in &lost {
        eprintln!("{}: not carried: {text}", db.display());
    }
    let counts = format!(
        "{} sessions and {} retained messages",
        sessions.len(),
        retained.len()
    );
    let segment_bytes = Checked::default().run.journal_segment_bytes;
    found_data_dir(folder, segment_bytes, [KeptState::of(sessions, retained)])?;
    eprintln!(
        "ringmq import: {counts} are in {}; it must belong to the user of the broker",
        folder.display()
    );
    Ok(())
}

/// Files of an `include_dir`, by name.
fn folder(name: &str) -> Result<Vec<File>, String> {
    let entries = fs::read_dir(name).map_err(|error| format!("cannot be read: {error}"))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "conf"))
        .collect();
    paths.sort();
    let files = paths
        .iter()
        .map(|path| Ok((path.display().to_string(), read(path)?)));
    files.collect()
}

fn read(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("{}: cannot be read: {error}", path.display());
    if fs::metadata(path).map_err(cannot)?.len() > FILE_BYTES_MAX {
        return Err(format!(
            "{}: is no mosquitto.conf: larger than {FILE_BYTES_MAX} bytes",
            path.display()
        ));
    }
    // Comments in old encodings are common, and mean nothing.
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(cannot)
}
