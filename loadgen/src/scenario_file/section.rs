//! A table of a file: its keys by type. What is wrong with them is noted and the rest is read; keys
//! that are not read are mistakes.

use std::fmt::Display;
use std::time::Duration;

use toml::de::{DeTable, DeValue};
use toml::Spanned;

use super::source::Source;
use crate::options::parse_duration;

/// A value with the line it is in.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

pub(super) struct Section<'a> {
    pub(super) source: &'a Source<'a>,
    /// Names of the sections around it, with a dot at the end; empty at the top.
    path: String,
    /// Where it begins; 0 for the file itself.
    pub(super) line: usize,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn top(source: &'a Source<'a>, table: &'a DeTable<'a>) -> Self {
        Self {
            source,
            path: String::new(),
            line: 0,
            table,
            known: Vec::new(),
        }
    }

    /// Notes a mistake in one of its keys.
    pub(super) fn mistake(&self, line: usize, key: &str, sentence: impl Into<String>) {
        let path = format!("{}{key}", self.path);
        self.source
            .mistake(line, path.trim_end_matches('.'), sentence);
    }

    /// Notes that the section lacks a key.
    pub(super) fn lacks(&self, key: &str, sentence: impl Into<String>) {
        self.mistake(self.line, key, sentence);
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn find(&mut self, key: &'static str) -> Option<At<&'a Spanned<DeValue<'a>>>> {
        self.known.push(key);
        let (name, value) = self.table.get_key_value(key)?;
        Some(At {
            value,
            line: self.source.line(&name.span()),
        })
    }

    /// A value that `read` understands, or a mistake that names what is allowed.
    fn of<T>(
        &mut self,
        key: &'static str,
        allowed: &str,
        read: impl FnOnce(&DeValue<'a>) -> Option<T>,
    ) -> Option<At<T>> {
        let At { value: found, line } = self.find(key)?;
        let value = read(found.get_ref());
        if value.is_none() {
            let written = self.source.written(found.span());
            self.mistake(
                line,
                key,
                format!("{written} is not allowed: give {allowed}"),
            );
        }
        value.map(|value| At { value, line })
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<At<String>> {
        self.of(key, "text in quotes", |value| match value {
            DeValue::String(text) => Some(text.to_string()),
            _ => None,
        })
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Option<At<bool>> {
        self.of(key, "true or false", |value| match value {
            DeValue::Boolean(on) => Some(*on),
            _ => None,
        })
    }

    /// A number of at least `least`.
    pub(super) fn number(&mut self, key: &'static str, least: f64) -> Option<At<f64>> {
        let allowed = format!("a number of at least {least}");
        self.of(key, &allowed, |value| {
            number(value).filter(|number| *number >= least)
        })
    }

    /// A number above 0.
    pub(super) fn rate(&mut self, key: &'static str) -> Option<At<f64>> {
        self.of(key, "a number above 0", |value| {
            number(value).filter(|number| *number > 0.0)
        })
    }

    /// A whole number from `least` to `most`.
    pub(super) fn count(&mut self, key: &'static str, least: u64, most: u64) -> Option<At<u64>> {
        let allowed = format!("a whole number from {least} to {most}");
        self.of(key, &allowed, |value| {
            whole(value).filter(|number| (least..=most).contains(number))
        })
    }

    /// Text, or a whole number, that `parse` understands or refuses with a sentence.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<At<T>> {
        let found = self.of(key, "text in quotes", |value| match value {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) => Some(number.as_str().to_string()),
            _ => None,
        })?;
        match parse(&found.value) {
            Ok(value) => Some(At {
                value,
                line: found.line,
            }),
            Err(why) => {
                self.mistake(found.line, key, why.to_string());
                None
            }
        }
    }

    /// A time such as "10s".
    pub(super) fn duration(&mut self, key: &'static str) -> Option<At<Duration>> {
        self.parsed(key, parse_duration)
    }

    /// One text or a list of them.
    pub(super) fn texts(&mut self, key: &'static str) -> Option<At<Vec<String>>> {
        self.of(
            key,
            "text in quotes, or a list of it",
            |value| match value {
                DeValue::String(text) => Some(vec![text.to_string()]),
                DeValue::Array(items) => items.iter().map(|item| text_of(item.get_ref())).collect(),
                _ => None,
            },
        )
    }

    /// Names with text, such as user properties.
    pub(super) fn pairs(&mut self, key: &'static str) -> Option<At<Vec<(String, String)>>> {
        self.of(key, "a table of texts", |value| match value {
            DeValue::Table(table) => table
                .iter()
                .map(|(name, value)| Some((name.get_ref().to_string(), text_of(value.get_ref())?)))
                .collect(),
            _ => None,
        })
    }

    /// A table within this one.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let At { value, line } = self.find(key)?;
        let DeValue::Table(table) = value.get_ref() else {
            self.mistake(line, key, "must be a section (a table)");
            return None;
        };
        Some(self.inner(key, line, table))
    }

    /// The tables of a list, or the one table that stands for a list of one.
    pub(super) fn list(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let Some(At { value, line }) = self.find(key) else {
            return Vec::new();
        };
        let items: Vec<&Spanned<DeValue<'a>>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut sections = Vec::new();
        for (number, item) in items.into_iter().enumerate() {
            let line = self.source.line(&item.span()).max(line);
            match item.get_ref() {
                DeValue::Table(table) => {
                    sections.push(self.inner(&format!("{key}[{number}]"), line, table));
                }
                _ => self.mistake(line, key, "must be a list of tables"),
            }
        }
        sections
    }

    /// All tables of this one, by name; every name is known.
    pub(super) fn named(mut self) -> Vec<(String, Section<'a>)> {
        let mut sections = Vec::new();
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start); // as written
        for (name, value) in entries {
            let line = self.source.line(&name.span());
            let key = name.get_ref();
            match value.get_ref() {
                DeValue::Table(table) => {
                    sections.push((key.to_string(), self.inner(key, line, table)));
                }
                _ => self.mistake(line, key, "must be a section (a table)"),
            }
        }
        self.known.clear();
        sections
    }

    /// Names alone (a list), or each with a number above 0 (a table).
    pub(super) fn rates(&mut self, key: &'static str) -> Vec<(At<String>, Option<f64>)> {
        let allowed = "a list of groups, or a table of groups with clients per second";
        let found = self.of(key, allowed, |value| match value {
            DeValue::Array(items) => items
                .iter()
                .map(|item| Some((text_of(item.get_ref())?, None)))
                .collect::<Option<Vec<_>>>(),
            DeValue::Table(table) => table
                .iter()
                .map(|(name, value)| {
                    let rate = number(value.get_ref()).filter(|rate| *rate > 0.0)?;
                    Some((name.get_ref().to_string(), Some(rate)))
                })
                .collect(),
            _ => None,
        });
        let Some(At { value, line }) = found else {
            return Vec::new();
        };
        let at = |(value, rate)| (At { value, line }, rate);
        value.into_iter().map(at).collect()
    }

    fn inner(&self, name: &str, line: usize, table: &'a DeTable<'a>) -> Section<'a> {
        Section {
            source: self.source,
            path: format!("{}{name}.", self.path),
            line,
            table,
            known: Vec::new(),
        }
    }

    /// Whatever has not been asked for is a mistake.
    pub(super) fn end(self) {
        for name in self.table.keys() {
            let key: &str = name.get_ref();
            if !self.known.contains(&key) {
                let line = self.source.line(&name.span());
                let hint = did_you_mean(key, self.known.iter().copied());
                self.mistake(line, key, format!("no such key{hint}"));
            }
        }
    }
}

fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    }
}

fn whole(value: &DeValue<'_>) -> Option<u64> {
    match value {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    }
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    let number: f64 = match value {
        DeValue::Integer(_) => whole(value)? as f64,
        DeValue::Float(number) => number.as_str().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// The end of a sentence about an unknown name.
pub(super) fn did_you_mean<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> String {
    let likeness = names.map(|known| (known, strsim::jaro_winkler(known, name)));
    let near = likeness
        .filter(|(_, likeness)| *likeness > 0.8) // below, the guesses look like noise
        .max_by(|a, b| a.1.total_cmp(&b.1));
    near.map_or(String::new(), |(near, _)| {
        format!(" (did you mean {near}?)")
    })
}
