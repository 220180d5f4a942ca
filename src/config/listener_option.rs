//! An option of a listener, as rows of its tables have it.

use super::kind::{Kind, Value};
use super::options::Opt;
use crate::listener::Listener;

/// An option of a listener and a value to show what it looks like.
pub(super) struct ListenerOpt {
    pub(super) option: Opt<Listener>,
    pub(super) example: &'static str,
}

pub(super) struct Access(
    pub(super) fn(&Listener) -> Value,
    pub(super) fn(&mut Listener, Value),
);

pub(super) const fn opt(
    name: &'static str,
    example: &'static str,
    kind: Kind,
    Access(get, set): Access,
    (help, reason): (&'static str, &'static str),
) -> ListenerOpt {
    ListenerOpt {
        option: Opt {
            name,
            group: "Listener",
            kind,
            help,
            reason,
            get,
            set,
        },
        example,
    }
}

pub(super) const fn count() -> Kind {
    Kind::Number {
        min: 1,
        max: u32::MAX as u64,
        word: Some("none"),
    }
}
