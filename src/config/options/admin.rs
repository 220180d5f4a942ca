//! Options of the admin listener.

use super::{opt, Access, Opt};
use crate::config::kind::{Kind, Value};
use crate::time::Span;

const GROUP: &str = "Admin";

const FILE: Kind = Kind::Text("the name of a file");

/// `get` and `set` of a list of names.
macro_rules! names {
    ($field:ident) => {
        Access(
            |checked| Value::Texts(checked.admin.$field.clone()),
            |checked, value| {
                if let Value::Texts(names) = value {
                    checked.admin.$field = names;
                }
            },
        )
    };
}

pub(super) static OPTIONS: &[Opt] = &[
    opt(
        (GROUP, "admin-listen"),
        Kind::Places,
        Access(
            |checked| Value::Places(checked.admin.listen.clone()),
            |checked, value| {
                if let Value::Places(places) = value {
                    checked.admin.listen = places;
                }
            },
        ),
        (
            "Where operators and their tools reach the broker by HTTP",
            "Metrics, health and the API; none by default. Loopback addresses and Unix sockets (mode 0660) need no \
             login: whoever reaches them may do everything, so do not put a proxy for others before them. Other \
             addresses need a login, and should have TLS.",
        ),
    ),
    opt(
        (GROUP, "admin-users"),
        Kind::Names("the name of an account"),
        names!(admins),
        (
            "Accounts of password-file that may see and change everything",
            "They log in to the admin listener with their name and password.",
        ),
    ),
    opt(
        (GROUP, "admin-viewers"),
        Kind::Names("the name of an account"),
        names!(viewers),
        (
            "Accounts of password-file that may see everything",
            "They see clients, topics and retained messages, and change nothing.",
        ),
    ),
    opt(
        (GROUP, "admin-token-file"),
        FILE,
        text!(admin.token_file),
        (
            "Hashed bearer tokens for programs that reach the admin listener",
            "Made with `ringmq token`, each with a role and an end. SIGHUP reads it again.",
        ),
    ),
    opt(
        (GROUP, "admin-tls-certificate"),
        FILE,
        text!(admin.certificate),
        (
            "Certificate chain of the admin listener (PEM)",
            "With it and admin-tls-key the listener speaks TLS on its IP addresses. SIGHUP reads both again.",
        ),
    ),
    opt(
        (GROUP, "admin-tls-key"),
        FILE,
        text!(admin.key),
        ("Private key of the certificate (PEM)", "Without a passphrase."),
    ),
    opt(
        (GROUP, "admin-tls-client-ca"),
        FILE,
        text!(admin.client_ca),
        (
            "Authorities that sign certificates of operators (PEM)",
            "With it no connection is taken without such a certificate; who it is for is still asked.",
        ),
    ),
    opt(
        (GROUP, "metrics-compat"),
        Kind::Choice(&["none", "mosquitto"]),
        Access(
            |checked| {
                let with = checked.admin.metrics_of_mosquitto;
                Value::Choice(if with { "mosquitto" } else { "none" })
            },
            |checked, value| checked.admin.metrics_of_mosquitto = value.choice() == "mosquitto",
        ),
        (
            "Names in /metrics besides ringmq's own",
            "\"mosquitto\" adds those of mosquitto-exporter (broker_clients_connected and so on), so that \
             dashboards made for it need no exporter.",
        ),
    ),
    opt(
        (GROUP, "sys-interval"),
        Kind::Seconds {
            min: 0,
            max: 86_400,
            word: None,
        },
        Access(
            |checked| Value::Number(checked.run.sys_interval.as_secs()),
            |checked, value| checked.run.sys_interval = Span::from_secs(value.number()),
        ),
        (
            "How often the broker publishes its counters below $SYS",
            "Retained, with Mosquitto's topics; only what has changed. 0 publishes none.",
        ),
    ),
    opt(
        (GROUP, "sys-log"),
        Kind::Boolean,
        boolean!(run.sys_log),
        (
            "Publish the lines of the log below $SYS/broker/log",
            "As Mosquitto does with `log_dest topic`: E, W, I and D are errors, warnings and so on. Lines name \
             clients and addresses: an ACL file should say who may read them.",
        ),
    ),
];
