//! Results on disk: JSON, CSV of the seconds, HdrHistogram log, HTML page.

mod columns;
mod escape;
mod hdr;
mod html;
mod plot;
mod rounds;
mod text;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

pub use crate::histogram::decode as decode_histogram;
use crate::results::{RunResult, SCHEMA_VERSION};
pub(crate) use columns::main_latency;
pub use hdr::hdr_log;
pub use html::page;
pub use rounds::medians;
pub use text::{comparison, csv, reservations, stages, steps};

/// Where results go, besides the terminal.
#[derive(Args, Clone, Debug, Default)]
pub struct Output {
    /// Writes the whole result as JSON; - is standard output, here as below
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes one line of figures per second; of a sweep, one per rate
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Writes the latencies of each second as an HdrHistogram interval log (values in nanoseconds)
    #[arg(long, value_name = "FILE")]
    pub hdr: Option<PathBuf>,
    /// Writes a page with plots that needs no network
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl Output {
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let all = [&self.json, &self.csv, &self.hdr, &self.html];
        all.into_iter().flatten()
    }

    /// Something is written that names the broker.
    #[must_use]
    pub fn tells_all(&self) -> bool {
        self.json.is_some() || self.html.is_some()
    }

    /// Something goes to standard output, which it has to itself then.
    #[must_use]
    pub fn has_stdout(&self) -> bool {
        self.paths().any(|path| is_stdout(path))
    }

    /// Looks whether all files can be written, before there is something to lose.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn check(&self) -> Result<(), String> {
        if self.paths().filter(|path| is_stdout(path)).count() > 1 {
            return Err("only one result can go to standard output (-)".into());
        }
        for (at, path) in self.paths().enumerate() {
            if is_stdout(path) {
                continue;
            }
            if self.paths().take(at).any(|other| other == path) {
                let path = path.display();
                return Err(format!(
                    "{path} is given for two results: give each a file of its own"
                ));
            }
            let opened = fs::OpenOptions::new().create(true).append(true).open(path);
            opened.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
        Ok(())
    }

    /// Writes the files that were asked for.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn write(&self, result: &RunResult) -> Result<(), String> {
        if let Some(path) = &self.json {
            let json = serde_json::to_string_pretty(result)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            write(path, &json)?;
        }
        if let Some(path) = &self.csv {
            write(path, &csv(result))?;
        }
        if let Some(path) = &self.hdr {
            write(path, &hdr_log(result)?)?;
        }
        if let Some(path) = &self.html {
            write(path, &page(std::slice::from_ref(result))?)?;
        }
        Ok(())
    }
}

pub(crate) fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Writes `text` to `path`, `-` being standard output.
///
/// # Errors
/// A sentence that names the file.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    if is_stdout(path) {
        let _ = std::io::stdout().write_all(text.as_bytes()); // a reader that has ended does no harm
        return Ok(());
    }
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Reads a result that `--json` wrote.
///
/// # Errors
/// A sentence that names the file.
pub fn read(path: &Path) -> Result<RunResult, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let none = |error| format!("{} is no result of mqload: {error}", path.display());
    let value: serde_json::Value = serde_json::from_str(&text).map_err(none)?;
    // Before the fields, which another version has otherwise.
    match value.get("schema_version").and_then(serde_json::Value::as_u64) {
        Some(version) if version != u64::from(SCHEMA_VERSION) => Err(format!(
            "{} has schema version {version}, this mqload reads {SCHEMA_VERSION}: write it anew with this one",
            path.display()
        )),
        _ => serde_json::from_value(value).map_err(none),
    }
}
