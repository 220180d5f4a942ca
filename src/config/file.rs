//! Parser of the configuration file: what was given, with every mistake in it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};
use toml::Spanned;

use super::bridge_options;
use super::cli::{did_you_mean, HELP};
use super::foreign;
use super::kind::Kind;
use super::listener_options;
use super::options::{self, Opt};
use super::problem::{Place, Problem};
use super::raw::{Given, GivenBridge, GivenListener, GivenTable, Item, Typed};
use crate::bridge::Bridge;
use crate::listener::Listener;

/// A file's text with its name.
struct Source<'a> {
    name: &'a Arc<str>,
    text: &'a str,
}

/// Contents of a file.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) given: Vec<Given>,
    pub(super) listeners: Vec<GivenListener>,
    pub(super) bridges: Vec<GivenBridge>,
}

/// Names that are tables, and may be one several times.
const TABLES: [&str; 2] = [LISTENER, BRIDGE];
const LISTENER: &str = "listener";
const BRIDGE: &str = "bridge";

/// What is in a table of a kind.
struct TableKind<T: 'static> {
    name: &'static str,
    find: fn(&str) -> Option<&'static Opt<T>>,
    names: fn() -> Vec<&'static str>,
}

const LISTENERS: TableKind<Listener> = TableKind {
    name: LISTENER,
    find: listener_options::find,
    names: || listener_options::all().map(|row| row.option.name).collect(),
};
const BRIDGES: TableKind<Bridge> = TableKind {
    name: BRIDGE,
    find: bridge_options::find,
    names: || bridge_options::all().map(|row| row.option.name).collect(),
};

/// Reads the text of a file. Lines with a syntax error are reported and otherwise ignored.
pub(super) fn parse(name: &Arc<str>, text: &str, problems: &mut Vec<Problem>) -> Content {
    if let Some(said) = foreign::of_another_broker(text) {
        problems.push(Problem::new(&Place::File(name.clone()), "", said));
        return Content::default();
    }
    let source = Source { name, text };
    let (table, errors) = DeTable::parse_recoverable(text);
    let table = table.into_inner();
    let first_line: HashMap<&str, usize> = table
        .keys()
        .map(|key| (key.get_ref().as_ref(), source.line(&key.span())))
        .collect();

    let mut broken_lines = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let line = source.line(&span);
        // One mistake often makes a line senseless in several ways: only the first is reported.
        if broken_lines.contains(&line) {
            continue;
        }
        broken_lines.push(line);
        let key = text.get(span.clone()).unwrap_or_default().trim();
        problems.push(match (error.message(), first_line.get(key)) {
            ("duplicate key", Some(first)) => {
                let text = format!("given twice, first in line {first}; give it once");
                Problem::new(&source.place(&span), key, text)
            }
            ("duplicate key", None) => Problem::new(&source.place(&span), key, "given twice"),
            (message, _) => {
                let place = source.place(&span);
                match source.option_of_line(line) {
                    Some((name, kind)) => {
                        let text = format!("syntax: {message}; allowed: {}", kind.allowed());
                        Problem::new(&place, name, text)
                    }
                    None => Problem::new(&place, "", format!("syntax: {message}")),
                }
            }
        });
    }

    let mut content = Content::default();
    let broken = |span: &Range<usize>| broken_lines.contains(&source.line(span));
    for (key, value) in &table {
        let name = key.get_ref().as_ref();
        let place = source.place(&key.span());
        if broken(&key.span()) {
            continue;
        }
        match (options::find(name), value.get_ref()) {
            (None, DeValue::Array(tables)) if name == LISTENER => {
                for table in tables {
                    let listener = source.table(&LISTENERS, table, &broken, problems);
                    content.listeners.extend(listener);
                }
            }
            (None, DeValue::Array(tables)) if name == BRIDGE => {
                for table in tables {
                    let bridge = source.table(&BRIDGES, table, &broken, problems);
                    content.bridges.extend(bridge);
                }
            }
            (None, DeValue::Table(_)) if TABLES.contains(&name) => {
                let text = format!("a {name} is a table of its own: write [[{name}]]");
                problems.push(Problem::new(&place, name, text));
            }
            (Some(option), _) => content.given.push(Given {
                option,
                place,
                value: source.typed(value),
            }),
            (None, DeValue::Table(_)) => {
                let text = "no such section: there are only [[listener]] and [[bridge]], every other option is `name = value`";
                problems.push(Problem::new(&place, name, text));
            }
            (None, _) => {
                let text = format!(
                    "no such option{}",
                    did_you_mean(("", HELP), name, options::all().map(|o| o.name))
                );
                problems.push(Problem::new(&place, name, text));
            }
        }
    }
    content
}

impl Source<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Name and kind of the option named before `=`.
    fn option_of_line(&self, line: usize) -> Option<(&'static str, Kind)> {
        let text = self.text.lines().nth(line - 1).unwrap_or_default();
        let name = text.split('=').next().unwrap_or_default().trim();
        let of_listener = || listener_options::find(name).map(|option| (option.name, option.kind));
        let of_bridge = || bridge_options::find(name).map(|option| (option.name, option.kind));
        options::find(name)
            .map(|option| (option.name, option.kind))
            .or_else(of_listener)
            .or_else(of_bridge)
    }

    /// One table, without its mistakes.
    fn table<T>(
        &self,
        kind: &TableKind<T>,
        table: &Spanned<DeValue<'_>>,
        broken: &impl Fn(&Range<usize>) -> bool,
        problems: &mut Vec<Problem>,
    ) -> Option<GivenTable<T>> {
        let place = self.place(&table.span());
        let DeValue::Table(entries) = table.get_ref() else {
            let name = kind.name;
            let text = format!("a {name} is a table of its own: write [[{name}]]");
            problems.push(Problem::new(&place, name, text));
            return None;
        };
        let mut given = Vec::new();
        for (key, value) in entries {
            let name = key.get_ref().as_ref();
            if broken(&key.span()) {
                continue;
            }
            let place = self.place(&key.span());
            match (kind.find)(name) {
                Some(option) => given.push(Given {
                    option,
                    place,
                    value: self.typed(value),
                }),
                None => {
                    let names = (kind.names)().into_iter();
                    let hint = did_you_mean(("", "ringmq.toml"), name, names);
                    let text = format!("no such option of a {}{hint}", kind.name);
                    problems.push(Problem::new(&place, name, text));
                }
            }
        }
        Some(GivenTable { place, given })
    }

    fn place(&self, span: &Range<usize>) -> Place {
        Place::Line(self.name.clone(), self.line(span))
    }

    fn typed(&self, value: &Spanned<DeValue<'_>>) -> Typed {
        let as_written = || {
            let written = self.text.get(value.span()).unwrap_or_default();
            written.lines().next().unwrap_or_default().to_owned()
        };
        match value.get_ref() {
            DeValue::String(text) => Typed::Text(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => {
                Typed::Integer(number.as_str().to_owned())
            }
            DeValue::Boolean(on) => Typed::Boolean(*on),
            DeValue::Array(items) => {
                let items = items.iter().map(|item| Item {
                    place: self.place(&item.span()),
                    value: self.typed(item),
                });
                Typed::List(items.collect())
            }
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) => {
                Typed::Other(as_written())
            }
            DeValue::Table(_) => Typed::Other("a section".into()),
        }
    }
}
