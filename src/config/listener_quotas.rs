//! Options of a listener that stand in place of options of the whole broker, of the same names.

use super::kind::{Kind, Value};
use super::listener_option::{count, opt, Access, ListenerOpt};

/// What is set back to the broker's by leaving it out. Nothing else is an empty text.
const BROKERS: Value = Value::Text(String::new());

/// A number, or "none" for as many as come.
macro_rules! own {
    ($($field:ident).+) => {
        Access(
            |listener| match listener.policy.$($field).+ {
                Some(Some(number)) => Value::Number(number.into()),
                Some(None) => Value::Word,
                None => BROKERS,
            },
            |listener, value| {
                listener.policy.$($field).+ = Some(match value {
                    Value::Word => None,
                    number => Some(number.number()),
                })
            },
        )
    };
}

/// The name of a file.
macro_rules! file {
    ($field:ident) => {
        Access(
            |listener| match &listener.policy.files.$field {
                Some(name) => Value::Text(name.to_string()),
                None => BROKERS,
            },
            |listener, value| listener.policy.files.$field = value.text().map(Into::into),
        )
    };
}

const SAME: &str = "In place of the broker's. \"none\" is no limit.";

/// In the order of the example file.
pub(super) static OPTIONS: [ListenerOpt; 13] = [
    opt(
        "password-file",
        "\"/etc/ringmq/guests.passwords\"",
        Kind::Text("the name of a file"),
        file!(password_file),
        (
            "User names and password hashes of this listener",
            "In place of the broker's password-file; tokens, SCRAM and the hook count here as everywhere.",
        ),
    ),
    opt(
        "acl-file",
        "\"/etc/ringmq/guests.acl\"",
        Kind::Text("the name of a file"),
        file!(acl_file),
        (
            "What clients of this listener may do",
            "In place of the broker's acl-file, for the session until its client comes by another listener.",
        ),
    ),
    opt(
        "allow-anonymous",
        "false",
        Kind::Boolean,
        Access(
            |listener| match listener.policy.allow_anonymous {
                Some(allowed) => Value::Boolean(allowed),
                None => BROKERS,
            },
            |listener, value| listener.policy.allow_anonymous = Some(value.boolean()),
        ),
        (
            "Let clients without credentials connect here",
            "In place of the broker's allow-anonymous: for machines of your own beside a listener for \
             everybody, or the other way round.",
        ),
    ),
    opt(
        "half-open-max",
        "1000",
        count(),
        Access(
            |listener| match listener.policy.half_open_max {
                Some(number) => Value::Number(number.into()),
                None => Value::Word,
            },
            |listener, value| {
                listener.policy.half_open_max = match value {
                    Value::Word => None,
                    number => Some(number.number()),
                }
            },
        ),
        (
            "Connections that have not sent their CONNECT",
            "More are closed at once. half-open-max of the whole broker counts, too. Each shard has its part of it.",
        ),
    ),
    opt(
        "client-in-messages-per-s",
        "100",
        count(),
        own!(quotas.client.incoming.messages_per_s),
        ("PUBLISH packets per second of one client", SAME),
    ),
    opt(
        "client-in-bytes-per-s",
        "100000",
        count(),
        own!(quotas.client.incoming.bytes_per_s),
        ("Bytes per second of one client", SAME),
    ),
    opt(
        "client-out-messages-per-s",
        "100",
        count(),
        own!(quotas.client.outgoing.messages_per_s),
        ("PUBLISH packets per second to one client", SAME),
    ),
    opt(
        "client-out-bytes-per-s",
        "100000",
        count(),
        own!(quotas.client.outgoing.bytes_per_s),
        ("Bytes of PUBLISH packets per second to one client", SAME),
    ),
    opt(
        "listener-in-messages-per-s",
        "10000",
        count(),
        own!(quotas.listener.incoming.messages_per_s),
        ("PUBLISH packets per second of all its clients", SAME),
    ),
    opt(
        "listener-in-bytes-per-s",
        "\"none\"",
        count(),
        own!(quotas.listener.incoming.bytes_per_s),
        ("Bytes per second of all its clients", SAME),
    ),
    opt(
        "listener-out-messages-per-s",
        "\"none\"",
        count(),
        own!(quotas.listener.outgoing.messages_per_s),
        ("PUBLISH packets per second to all its clients", SAME),
    ),
    opt(
        "listener-out-bytes-per-s",
        "10000000",
        count(),
        own!(quotas.listener.outgoing.bytes_per_s),
        ("Bytes of PUBLISH packets per second to all its clients", SAME),
    ),
    opt(
        "rate-burst",
        "5",
        Kind::Seconds {
            min: 0,
            max: 3_600,
            word: None,
        },
        Access(
            |listener| match listener.policy.quotas.burst_s {
                Some(seconds) => Value::Number(seconds.into()),
                None => BROKERS,
            },
            |listener, value| listener.policy.quotas.burst_s = Some(value.number()),
        ),
        (
            "How much of these rates may come at once, as the time it would take",
            "In place of the broker's.",
        ),
    ),
];
