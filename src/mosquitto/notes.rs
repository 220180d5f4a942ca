//! Notes on lines that could not be carried over, each with what to do instead.

use std::fmt;

use super::Statement;

/// How much it matters that a line was not carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It is so here in any case, or means nothing here.
    Fine,
    /// Something works otherwise, or not at all.
    Lost,
    /// It keeps others out, or it is not known what it does.
    Security,
}

/// A line that was not carried as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// File and line.
    pub place: String,
    pub line: String,
    pub weight: Weight,
    /// What to do instead.
    pub text: String,
}

impl Note {
    pub(super) fn new(weight: Weight, of: &Statement, text: impl Into<String>) -> Self {
        Self {
            place: of.place.clone(),
            line: of.shown(),
            weight,
            text: text.into(),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Fine => "not needed",
            Weight::Lost => "not carried",
            Weight::Security => "NOT CARRIED, AND IT KEEPS OTHERS OUT",
        };
        write!(
            out,
            "{}: {}: {weight}: {}",
            self.place, self.line, self.text
        )
    }
}
