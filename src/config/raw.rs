//! Raw values: what the operator typed, before it is checked.

use super::options::Opt;
use super::problem::Place;
use super::Checked;
use crate::bridge::Bridge;
use crate::listener::Listener;

/// A value as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// A word of the command line: may stand for any kind.
    Word(String),
    /// A string of the file.
    Text(String),
    /// Decimal, maybe with a sign.
    Integer(String),
    Boolean(bool),
    List(Vec<Item>),
    /// No option takes this (a float, a date, a section); holds its source text.
    Other(String),
}

/// One value of a list with its own place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) place: Place,
    pub(super) value: Typed,
}

/// An option that was given.
#[derive(Debug)]
pub(super) struct Given<T: 'static = Checked> {
    pub(super) option: &'static Opt<T>,
    pub(super) place: Place,
    pub(super) value: Typed,
}

impl Typed {
    /// How a sentence shows this value.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Word(text) | Self::Text(text) => format!("\"{}\"", text.escape_debug()),
            Self::Integer(text) | Self::Other(text) => text.clone(),
            Self::Boolean(on) => on.to_string(),
            Self::List(_) => "a list".into(),
        }
    }
}

/// A table of the file, such as `[[listener]]`.
#[derive(Debug)]
pub(super) struct GivenTable<T: 'static> {
    pub(super) place: Place,
    pub(super) given: Vec<Given<T>>,
}

pub(super) type GivenListener = GivenTable<Listener>;
pub(super) type GivenBridge = GivenTable<Bridge>;
