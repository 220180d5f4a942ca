//! Problems of a configuration, each with its place.

use std::fmt;
use std::sync::Arc;

/// Where the operator wrote something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    CommandLine,
    /// The file as a whole: it cannot be read.
    File(Arc<str>),
    /// Line numbers start at 1.
    Line(Arc<str>, usize),
}

/// One thing to mend: which option, what is wrong with it and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    /// Name of the option; empty when the problem is not about one.
    pub key: String,
    pub text: String,
}

/// Everything that is wrong, in the order of writing, one line each when displayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Place {
    /// How a sentence names this place.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::CommandLine => "on the command line".into(),
            Self::File(file) => format!("in {file}"),
            Self::Line(file, line) => format!("in {file}:{line}"),
        }
    }
}

impl Problem {
    pub(super) fn new(place: &Place, key: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            place: place.clone(),
            key: key.into(),
            text: text.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::CommandLine if self.key.is_empty() => {}
            Place::CommandLine => write!(out, "--{}: ", self.key)?,
            Place::File(file) => write!(out, "{file}: ")?,
            Place::Line(file, line) => write!(out, "{file}:{line}: ")?,
        }
        if !matches!(self.place, Place::CommandLine) && !self.key.is_empty() {
            write!(out, "{}: ", self.key)?;
        }
        out.write_str(&self.text)
    }
}

impl Problems {
    /// Sorts by place; problems of one place keep their order.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        Self(problems)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str("\n")?;
            }
            write!(out, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
