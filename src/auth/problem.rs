//! Errors in a file of accounts or rules, with their lines.

use std::fmt;

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    pub file: Box<str>,
    /// From 1; 0: the file as a whole.
    pub line: usize,
    pub text: String,
}

impl FileProblem {
    pub fn new(file: &str, line: usize, text: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line,
            text: text.into(),
        }
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(out, "{}: {}", self.file, self.text),
            line => write!(out, "{}:{line}: {}", self.file, self.text),
        }
    }
}

/// Lines of a file of rules that are not empty, with their numbers: no comments, no blank ones, no
/// white space at either end, and no byte order mark before the first.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(without_mark(text).lines())
        .map(|(number, line)| (number, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Name and what stands behind it, of a line `name:what`, each without white space at its ends.
pub(super) fn account(line: &str) -> Option<(&str, &str)> {
    let (name, what) = line.split_once(':')?;
    Some((name.trim(), what.trim()))
}

/// The text without the byte order mark (U+FEFF) that editors of Windows add when they save it.
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}
