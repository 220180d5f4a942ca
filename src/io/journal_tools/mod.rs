//! `ringmq journal`: what the logs of a data directory hold, whether they are whole, and their repair, while no broker
//! uses it.
//!
//! [`check`] and [`dump`] change nothing. [`repair`] says what would be lost, and changes nothing without being asked
//! to; what it takes out of a log stays in a folder of its own.

mod check;
mod dump;
mod loss;
mod plan;
mod repair;

use std::io::{self, Write};
use std::path::Path;

pub use dump::DumpOptions;

use super::data_dir::{AtRest, DataError};

/// Why a tool has not done its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("cannot write what was found: {0}")]
    Output(#[from] io::Error),
}

/// What a tool has found in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Every log is whole, or has been made so.
    Whole,
    /// A log is damaged, and still is.
    Damaged,
}

/// Says of each log what it holds and whether it is whole.
///
/// # Errors
/// It is no data directory that can be looked at, or a broker uses it.
pub fn check(path: &Path, out: &mut dyn Write) -> Result<Finding, ToolError> {
    check::check(&AtRest::open(path)?, out)
}

/// Writes what each record says, a line each.
///
/// # Errors
/// As of [`check`].
pub fn dump(path: &Path, options: DumpOptions, out: &mut dyn Write) -> Result<Finding, ToolError> {
    dump::dump(&AtRest::open(path)?, options, out)
}

/// Says what has to be given up so that the broker starts again, and does it if `yes`.
///
/// # Errors
/// As of [`check`]; or nothing that is kept would make the log whole; or files cannot be changed.
pub fn repair(path: &Path, yes: bool, out: &mut dyn Write) -> Result<Finding, ToolError> {
    repair::repair(&AtRest::open(path)?, yes, out)
}

/// Of tables that are filled from files.
fn draw_seed() -> u64 {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes); // without one only the order of a table can be guessed
    u64::from_le_bytes(bytes)
}
