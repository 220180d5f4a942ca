//! A file's text and its mistakes.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use toml::de::DeTable;
use toml::Spanned;

/// Something wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    file: String,
    /// From 1; 0 is the file as a whole.
    line: usize,
    /// The key with the names of its sections before it; empty when there is none.
    key: String,
    sentence: String,
}

impl Mistake {
    pub(super) fn of_file(file: &str, sentence: String) -> Self {
        Self {
            file: file.to_string(),
            line: 0,
            key: String::new(),
            sentence,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.sentence)
    }
}

/// A file's text. Mistakes gather here, so that the file is read to its end.
pub(super) struct Source<'a> {
    file: &'a str,
    text: &'a str,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            mistakes: RefCell::default(),
        }
    }

    /// The file's table, as far as it is TOML.
    pub(super) fn table(&self) -> Spanned<DeTable<'a>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        let mut broken_lines = Vec::new();
        for error in errors {
            let line = self.line(&error.span().unwrap_or(self.text.len()..self.text.len()));
            // One mistake often makes a line senseless in several ways: the first says enough.
            if !broken_lines.contains(&line) {
                broken_lines.push(line);
                self.mistake(line, "", format!("syntax: {}", error.message()));
            }
        }
        table
    }

    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// What stands at a place in the file.
    pub(super) fn written(&self, span: Range<usize>) -> &'a str {
        let written = self.text.get(span).unwrap_or_default();
        written.lines().next().unwrap_or_default()
    }

    pub(super) fn mistake(&self, line: usize, key: &str, sentence: impl Into<String>) {
        self.mistakes.borrow_mut().push(Mistake {
            file: self.file.to_string(),
            line,
            key: key.to_string(),
            sentence: sentence.into(),
        });
    }

    /// In the order of their lines. A line that is not TOML has no other mistakes: what it lacks may
    /// well stand in it.
    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.into_inner();
        let syntax = |mistake: &Mistake| mistake.sentence.starts_with("syntax: ");
        let broken: Vec<usize> = mistakes
            .iter()
            .filter(|mistake| syntax(mistake))
            .map(|mistake| mistake.line)
            .collect();
        mistakes.retain(|mistake| syntax(mistake) || !broken.contains(&mistake.line));
        mistakes.sort();
        mistakes.dedup();
        mistakes
    }
}
