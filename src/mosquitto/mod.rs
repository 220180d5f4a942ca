//! A mosquitto.conf (2.0, 2.1) as a configuration of ringmq that does the same.
//!
//! Nothing is made weaker in silence: a listener that something protects which has no equal here is written as a comment,
//! and the line that could not be carried is named with what to do instead. Files are read by the caller.

mod bridges;
mod broker;
pub mod db;
mod listener;
mod notes;
pub mod state;
mod statements;
#[cfg(test)]
mod tests;
mod write;

pub use notes::{Note, Weight};

use broker::Broker;
use statements::Statement;

/// What became of a configuration.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The file of ringmq.
    pub toml: String,
    /// What it could not carry, in the order of writing.
    pub notes: Vec<Note>,
}

impl Imported {
    /// Something that keeps others out, or whose meaning is unknown, was not carried.
    #[must_use]
    pub fn is_weaker(&self) -> bool {
        self.notes
            .iter()
            .any(|note| note.weight == Weight::Security)
    }
}

/// A file by its name: name and text.
pub type File = (String, String);

/// Reads `main` and what it includes: `folder` gives the files of a folder whose names end in `.conf`.
///
/// # Errors
/// A folder that cannot be read, or a file in which a value is missing.
pub fn import(
    main: &File,
    folder: &dyn Fn(&str) -> Result<Vec<File>, String>,
) -> Result<Imported, String> {
    let files = statements::read(main, folder)?;
    let mut broker = Broker::default();
    for file in files {
        broker.begin_file();
        for statement in file {
            broker.take(&statement);
        }
    }
    Ok(write::write(&main.0, broker))
}
