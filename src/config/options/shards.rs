//! Options of shards: number, pinning, shutdown.

use super::{opt, Access, Opt};
use crate::config::kind::{Kind, Value};
use crate::ids::SHARDS_MAX;
use crate::time::Span;

const GROUP: &str = "Shards";

pub(super) static OPTIONS: &[Opt] = &[
    opt(
        (GROUP, "shards"),
        Kind::Number {
            min: 1,
            max: SHARDS_MAX as u64,
            word: Some("auto"),
        },
        Access(
            |checked| match checked.shards {
                Some(shards) => Value::Number(shards.into()),
                None => Value::Word,
            },
            |checked, value| {
                checked.shards = match value {
                    Value::Word => None,
                    number => Some(number.number()),
                }
            },
        ),
        (
            "Shards, each with a thread, a ring and its own clients",
            "\"auto\" is one per core this process may use, which is right unless the machine has \
             other work: then leave it some cores.",
        ),
    ),
    opt(
        (GROUP, "pin-shards"),
        Kind::Choice(&["auto", "off"]),
        Access(
            |checked| Value::Choice(if checked.pin { "auto" } else { "off" }),
            |checked, value| checked.pin = value.choice() == "auto",
        ),
        (
            "Keep each shard on a core of its own",
            "\"auto\" pins when there is a core for every shard. \"off\" leaves the choice to the \
             kernel: better beside other busy programs on the same cores.",
        ),
    ),
    opt(
        (GROUP, "shutdown-timeout"),
        Kind::Seconds {
            min: 0,
            max: 5,
            word: None,
        },
        Access(
            |checked| Value::Number(checked.run.shutdown_timeout.as_secs()),
            |checked, value| checked.run.shutdown_timeout = Span::from_secs(value.number()),
        ),
        (
            "Time for wills and farewells when the broker stops",
            "It ends sooner when all is said. Clients that do not read their farewell by then are \
             cut off.",
        ),
    ),
    opt(
        (GROUP, "upgrade-drain"),
        Kind::Seconds {
            min: 1,
            max: 86_400,
            word: Some("off"),
        },
        Access(
            |checked| match checked.run.upgrade_drain {
                Some(span) => Value::Number(span.as_secs()),
                None => Value::Word,
            },
            |checked, value| {
                checked.run.upgrade_drain = match value {
                    Value::Word => None,
                    number => Some(Span::from_secs(number.number())),
                }
            },
        ),
        (
            "Time within which clients with TLS come back after an upgrade",
            "Their layers stay in the old process, which ends with the last of them. They are disconnected \
             evenly over this time. \"off\": not at all, and the old process stays as long as they do.",
        ),
    ),
];
