//! Configuration: from the operator's command line and file to the values that the shards receive.
//!
//! One table of options (`options`) defines for each its name, kind, default, help and reason. It
//! drives the command line, the file, `--help`, the shipped `ringmq.toml` and `--check-config`, so
//! that none of them can differ. On the way from raw to checked every problem is collected: the
//! operator sees all of them at once, each with its place.
//!
//! ```text
//! command line --> cli --+--> raw --> check --> Checked
//! file ----------> file -+                      (load reads the file: the only I/O here)
//! ```

mod bridge_options;
mod check;
mod check_bridge;
mod check_listener;
mod checked;
mod classes;
mod cli;
mod file;
mod foreign;
mod kind;
mod listener_mqtt_sn;
mod listener_option;
mod listener_options;
mod listener_quotas;
mod load;
mod memory;
mod options;
mod problem;
mod raw;
mod reading;
mod render;
mod table_check;
#[cfg(test)]
mod tests;

pub use checked::Checked;
pub use classes::{Change, ChangeLine, Class};
pub use load::load;
pub use memory::{Machine, MemoryBound, MemoryLine};
pub use problem::{Place, Problem, Problems};
pub use render::file_page;

/// What the command line asks for. All but `Run` are texts for stdout and a success.
#[derive(Debug)]
pub enum Command {
    Run(Box<Checked>),
    /// `--check-config` found nothing wrong: reports that, with the effective values. What follows from
    /// them depends on the machine.
    CheckOk(Box<Checked>, String),
    Help(String),
    Version(String),
    /// The shipped `ringmq.toml`, rendered from the table of options.
    Example(String),
}

/// Whether there is an option of this name, for the broker as a whole.
#[must_use]
pub fn is_option(name: &str) -> bool {
    options::find(name).is_some()
}

/// The command line of the broker, for manual pages and completions.
#[must_use]
pub fn command_line() -> clap::Command {
    cli::command()
}
