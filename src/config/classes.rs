//! When a changed option takes effect: the class of each, and what one reading of the file changes against another.

use super::listener_options;
use super::options::{self, Opt};
use super::Checked;
use crate::admin_options::InForce;

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// At SIGHUP, for all.
    Live,
    /// At SIGHUP, for connections that begin then.
    NewConnections,
    /// At SIGHUP: listeners come and go, and the connections of the others stay.
    Listeners,
    /// At the next start.
    Restart,
}

/// Options that change for all at once.
const LIVE: &[&str] = &[
    "allow-anonymous",
    "password-file",
    "acl-file",
    "acl-check-delivery",
    "acl-disconnect",
    "scram-file",
    "jwt-key-file",
    "jwt-secret-file",
    "jwt-issuer",
    "jwt-audience",
    "jwt-user-claim",
    "jwt-acl-claim",
    "log-level",
    "connections-max",
    "sessions-max",
    "client-id-bytes-max",
    "topic-levels-max",
    "retained-messages-max",
    "retained-bytes-max",
    "outgoing-bytes-max",
    "queue-messages-max",
    "queue-bytes-max",
    "queue-policy",
    "queue-memory",
    "queue-qos0",
    "subscriptions-max",
    "subscription-bytes-max",
    "connect-timeout",
    "half-open-max",
    "listener-in-messages-per-s",
    "listener-in-bytes-per-s",
    "listener-out-messages-per-s",
    "listener-out-bytes-per-s",
    "rate-burst",
    "memory-max",
    "disk-full-timeout",
    "turn-max-ms",
    "sparkplug",
    "sparkplug-ndeath-timestamp",
    "sparkplug-states-max",
    "http-hook-url",
    "http-hook-acl-url",
    "http-hook-ca",
    "http-hook-timeout",
    "http-hook-cache",
    "http-hook-when-down",
    "ban-failures",
    "ban-within",
    "ban-time",
    "admin-users",
    "admin-viewers",
    "admin-token-file",
    "metrics-compat",
    "sys-interval",
    "sys-log",
    "watch-files",
    "shutdown-timeout",
    "upgrade-drain",
];

/// Options that a connection takes when it begins, and keeps.
const NEW_CONNECTIONS: &[&str] = &[
    "packet-size-max",
    "keep-alive-max",
    "outgoing-window-max",
    "session-expiry-max",
    "receive-maximum",
    "topic-alias-maximum",
    "topic-alias-outgoing-max",
    "topic-alias-bytes-max",
    "client-in-messages-per-s",
    "client-in-bytes-per-s",
    "client-out-messages-per-s",
    "client-out-bytes-per-s",
    "admin-tls-certificate",
    "admin-tls-key",
    "admin-tls-client-ca",
];

/// Options that open or close sockets.
const LISTENERS: &[&str] = &["listen", "admin-listen"];

/// Options that nothing but a start takes, and why.
const RESTART: &[(&str, &str)] = &[
    ("shards", "since sessions belong to shards by their number"),
    ("pin-shards", "since threads are placed when they begin"),
    (
        "login-queue-max",
        "since queues have their size from the start",
    ),
    ("data-dir", "since the journal is opened once"),
    ("durability", "since acknowledgements wait for it or do not"),
    (
        "journal-segment-bytes",
        "since segments are made ahead of need",
    ),
    ("journal-bytes-max", "since segments are made ahead of need"),
    ("cluster", "since the shards have the exchange as a peer"),
    ("node", "since other nodes know it by that name"),
    ("cluster-name", "since other nodes are found by it"),
    (
        "cluster-durability",
        "since acknowledgements wait for it or do not",
    ),
    ("cluster-credentials", "since NATS is connected to once"),
    ("cluster-ca", "since NATS is connected to once"),
    ("cluster-certificate", "since NATS is connected to once"),
    ("cluster-key", "since NATS is connected to once"),
    ("cluster-listen", "since other nodes know it by then"),
    ("cluster-address", "since other nodes know it by then"),
    ("cluster-redirect", "since the shards are told at the start"),
    (
        "cluster-client-address",
        "since other nodes know it by then",
    ),
    ("cluster-unsafe", "since NATS is checked at the start"),
    ("log-format", "since one log has lines of one kind"),
];

impl Class {
    /// Of an option of the broker. Each is in one of the lists.
    pub(super) fn of(name: &str) -> Self {
        if LISTENERS.contains(&name) {
            Self::Listeners
        } else if LIVE.contains(&name) {
            Self::Live
        } else if NEW_CONNECTIONS.contains(&name) {
            Self::NewConnections
        } else {
            Self::Restart
        }
    }

    /// In a comment of the file.
    pub(super) fn described(self) -> &'static str {
        match self {
            Self::Live => "A change takes effect at SIGHUP.",
            Self::NewConnections => {
                "A change takes effect at SIGHUP, for connections that begin then."
            }
            Self::Listeners => {
                "Changed listeners open and close at SIGHUP; connections of the others stay."
            }
            Self::Restart => "A change takes effect at the next start.",
        }
    }

    /// In the table of docs/configuration.md.
    #[cfg(test)]
    pub(super) fn column(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::NewConnections => "new connections",
            Self::Listeners => "listeners open and close",
            Self::Restart => "restart",
        }
    }

    /// In a line of `--check-config`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Live => "reload",
            Self::NewConnections => "reload, new connections",
            Self::Listeners => "reload, listeners",
            Self::Restart => "restart",
        }
    }
}

/// What a configuration that was read again changes.
#[derive(Clone, Debug)]
pub struct Change {
    /// What is in force when it has been applied: what needs a restart is as it was.
    pub in_force: Checked,
    /// For each option that differs.
    pub lines: Vec<ChangeLine>,
}

/// What becomes of one option that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeLine {
    /// A sentence.
    pub text: String,
    /// It stays as it was until then.
    pub needs_restart: bool,
}

impl Change {
    /// From what is in force to what was read.
    #[must_use]
    pub fn between(in_force: &Checked, read: &Checked) -> Self {
        let mut next = read.clone();
        let mut lines = Vec::new();
        for option in options::all() {
            let (before, after) = ((option.get)(in_force), (option.get)(read));
            if before == after {
                continue;
            }
            let class = Class::of(option.name);
            let needs_restart = class == Class::Restart;
            if needs_restart {
                (option.set)(&mut next, before.clone());
                stays(option, in_force, &mut next);
            }
            let (before, after) = (option.kind.write(&before), option.kind.write(&after));
            lines.push(ChangeLine {
                text: sentence(option, class, &before, &after),
                needs_restart,
            });
        }
        if next.listeners != in_force.listeners {
            lines.push(ChangeLine {
                text: "[[listener]]: tables have changed".into(),
                needs_restart: false,
            });
        }
        if next.bridges != in_force.bridges {
            lines.push(ChangeLine {
                text: "[[bridge]]: tables have changed".into(),
                needs_restart: false,
            });
        }
        Self {
            in_force: next,
            lines,
        }
    }
}

/// An option that needs a restart is shown with the value that is in force, and where that was given.
fn stays(option: &Opt, in_force: &Checked, next: &mut Checked) {
    let is_it = |one: &InForce| one.name == option.name;
    let mut before = in_force.admin.in_force.iter();
    let mut shown = next.admin.in_force.iter_mut();
    if let (Some(before), Some(shown)) =
        (before.find(|one| is_it(one)), shown.find(|one| is_it(one)))
    {
        shown.clone_from(before);
    }
}

fn sentence(option: &Opt, class: Class, before: &str, after: &str) -> String {
    let name = option.name;
    match class {
        Class::Restart => {
            let reason = reason(name);
            format!("{name} stays {before}: {after} needs a restart, {reason}")
        }
        Class::NewConnections => format!("{name}: {after} for new connections, {before} before"),
        Class::Live | Class::Listeners => format!("{name}: {after}, {before} before"),
    }
}

/// Names in all lists.
#[cfg(test)]
pub(super) fn named() -> Vec<&'static str> {
    let live = LIVE.iter().chain(NEW_CONNECTIONS).chain(LISTENERS).copied();
    live.chain(RESTART.iter().map(|(name, _)| *name)).collect()
}

/// Why an option needs a restart; empty: it does not.
pub(super) fn reason(name: &str) -> &'static str {
    let found = RESTART.iter().find(|(own, _)| *own == name);
    found.map_or("", |(_, reason)| reason)
}

/// A listener's own options take effect at SIGHUP, but for what opens its socket.
pub(super) fn of_listener(name: &str) -> Class {
    debug_assert!(listener_options::find(name).is_some(), "{name}");
    match name {
        "address" | "owner" | "mode" => Class::Listeners,
        "qos-max" | "allow-anonymous" | "half-open-max" | "rate-burst" => Class::Live,
        "connections-max" | "connect-rate" | "connect-rate-source" => Class::Live,
        name if name.starts_with("listener-") || name.starts_with("sn-") => Class::Live,
        _ => Class::NewConnections,
    }
}
