//! When a changed option takes effect: the class of each, and what one reading of the file changes against another.

use super::listener_options;
use super::options::{self, Opt};
use super::Checked;

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
];

/// Options that a connection takes when it begins, and keeps.
const NEW_CONNECTIONS: &[&str] = &[
    "packet-size-max",
    "keep-alive-max",
    "outgoing-window-max",
    "session-expiry-max",
    "topic-alias-outgoing-max",
    "topic-alias-bytes-max",
    "client-in-messages-per-s",
    "client-in-bytes-per-s",
    "client-out-messages-per-s",
    "client-out-bytes-per-s",
];

impl Class {
    /// Of an option of the broker. One that no list names needs a restart, which is true of any.
    pub(super) fn of(name: &str) -> Self {
        if name == "listen" {
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
    /// A sentence for each option that differs.
    pub lines: Vec<String>,
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
            if class == Class::Restart {
                (option.set)(&mut next, before.clone());
            }
            let (before, after) = (option.kind.write(&before), option.kind.write(&after));
            lines.push(sentence(option, class, &before, &after));
        }
        if next.listeners != in_force.listeners {
            lines.push("[[listener]]: tables have changed".into());
        }
        if next.bridges != in_force.bridges {
            next.bridges.clone_from(&in_force.bridges);
            lines.push("[[bridge]]: tables have changed, which needs a restart".into());
        }
        Self {
            in_force: next,
            lines,
        }
    }
}

fn sentence(option: &Opt, class: Class, before: &str, after: &str) -> String {
    let name = option.name;
    match class {
        Class::Restart => format!("{name} stays {before}: {after} needs a restart"),
        Class::NewConnections => format!("{name}: {after} for new connections, {before} before"),
        Class::Live | Class::Listeners => format!("{name}: {after}, {before} before"),
    }
}

/// Names that are in a list and in no table.
#[cfg(test)]
pub(super) fn unknown() -> Vec<&'static str> {
    let named = LIVE.iter().chain(NEW_CONNECTIONS).copied();
    let is_known = |name: &&str| options::find(name).is_some();
    named.filter(|name| !is_known(name)).collect()
}

/// A listener's own options take effect at SIGHUP, but for what opens its socket.
pub(super) fn of_listener(name: &str) -> Class {
    debug_assert!(listener_options::find(name).is_some(), "{name}");
    match name {
        "address" | "owner" | "mode" => Class::Listeners,
        "qos-max" => Class::Live,
        "allow-anonymous"
        | "half-open-max"
        | "connections-max"
        | "connect-rate"
        | "connect-rate-source" => Class::Live,
        name if name.starts_with("listener-") || name == "rate-burst" => Class::Live,
        name if name.starts_with("sn-") => Class::Live,
        _ => Class::NewConnections,
    }
}
