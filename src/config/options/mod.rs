//! The table of options: the only definition of their names, kinds, allowed values and reasons.
//! Defaults live in [`Checked::default`] and `Limits::default`.

use super::kind::{Kind, Value};
use super::Checked;

/// One option, on the command line (`--name`) and in the file (`name = ...`).
#[derive(Debug)]
pub(super) struct Opt<T: 'static = Checked> {
    pub(super) name: &'static str,
    pub(super) group: &'static str,
    pub(super) kind: Kind,
    /// One line, without a full stop.
    pub(super) help: &'static str,
    /// Consequences of the value, for operators who consider a change.
    pub(super) reason: &'static str,
    pub(super) get: fn(&T) -> Value,
    /// Takes only values that `kind` has allowed.
    pub(super) set: fn(&mut T, Value),
}

/// All of them, in the order of the help and of the example file.
pub(super) fn all() -> impl Iterator<Item = &'static Opt> {
    let groups = [
        listeners::OPTIONS,
        admin::OPTIONS,
        accounts::OPTIONS,
        shards::OPTIONS,
        sessions::OPTIONS,
        journal::OPTIONS,
        cluster::OPTIONS,
        limits::OPTIONS,
        quotas::OPTIONS,
        sparkplug::OPTIONS,
        logging::OPTIONS,
    ];
    groups.into_iter().flatten()
}

/// The option of this name.
pub(super) fn find(name: &str) -> Option<&'static Opt> {
    all().find(|option| option.name == name)
}

impl Opt {
    /// The default value, in the syntax of the file.
    pub(super) fn default_text(&self) -> String {
        self.kind.write(&(self.get)(&Checked::default()))
    }
}

impl Value {
    /// As the number type of a field. Ranges of the table fit their fields (checked by a test).
    pub(super) fn number<T: TryFrom<u64>>(self) -> T {
        match self {
            Self::Number(number) => T::try_from(number).ok(),
            _ => None,
        }
        .expect("the kind of the option allows numbers of its field only")
    }

    pub(super) fn boolean(&self) -> bool {
        *self == Self::Boolean(true)
    }

    /// `None` for the empty text.
    pub(super) fn text(self) -> Option<String> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    pub(super) fn texts(self) -> Vec<String> {
        match self {
            Self::Texts(texts) => texts,
            _ => Vec::new(),
        }
    }

    pub(super) fn choice(&self) -> &'static str {
        match self {
            Self::Choice(word) => word,
            _ => "",
        }
    }
}

/// `get` and `set` of a number field: `limits.packet_size_max`.
macro_rules! number {
    ($($field:ident).+) => {
        Access(
            |checked| Value::Number(checked.$($field).+.into()),
            |checked, value| checked.$($field).+ = value.number(),
        )
    };
}

/// `get` and `set` of a number field that may be unlimited, which is `NONE`.
macro_rules! optional {
    ($($field:ident).+) => {
        Access(
            |checked| match checked.$($field).+ {
                Some(number) => Value::Number(number.into()),
                None => Value::Word,
            },
            |checked, value| {
                checked.$($field).+ = match value {
                    Value::Word => None,
                    number => Some(number.number()),
                }
            },
        )
    };
}

/// `get` and `set` of a switch.
macro_rules! boolean {
    ($($field:ident).+) => {
        Access(
            |checked| Value::Boolean(checked.$($field).+),
            |checked, value| checked.$($field).+ = value.boolean(),
        )
    };
}

/// `get` and `set` of an optional text.
macro_rules! text {
    ($($field:ident).+) => {
        Access(
            |checked| Value::Text(checked.$($field).+.clone().unwrap_or_default()),
            |checked, value| checked.$($field).+ = value.text(),
        )
    };
}

struct Access(fn(&Checked) -> Value, fn(&mut Checked, Value));

const fn opt(
    (group, name): (&'static str, &'static str),
    kind: Kind,
    Access(get, set): Access,
    (help, reason): (&'static str, &'static str),
) -> Opt {
    Opt {
        name,
        group,
        kind,
        help,
        reason,
        get,
        set,
    }
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Number {
        min,
        max,
        word: None,
    }
}

/// A number, or no limit.
const fn count_or_none(max: u64) -> Kind {
    Kind::Number {
        min: 1,
        max,
        word: Some("none"),
    }
}

const U16: u64 = u16::MAX as u64;
const U32: u64 = u32::MAX as u64;
/// More than any machine has; keeps sums far from the ends of their types.
const MEMORY_LARGEST: u64 = 1 << 50;

// Behind the macros, which they use.
mod accounts;
mod admin;
mod cluster;
mod journal;
mod limits;
mod listeners;
mod logging;
mod quotas;
mod sessions;
mod shards;
mod sparkplug;
