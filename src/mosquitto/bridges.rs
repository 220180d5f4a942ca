//! Bridges: there are none here yet, so their lines are kept for the day there are.

use super::Statement;

/// One bridge, as written.
#[derive(Debug)]
pub(super) struct Bridge {
    pub(super) begin: Statement,
    pub(super) lines: Vec<Statement>,
}

/// Words that belong to a bridge and nothing else.
const WORDS: [&str; 26] = [
    "addresses",
    "cleansession",
    "clientid",
    "idle_timeout",
    "keepalive_interval",
    "local_cleansession",
    "local_clientid",
    "local_password",
    "local_username",
    "notification_topic",
    "notifications",
    "notifications_local_only",
    "password",
    "remote_clientid",
    "remote_password",
    "remote_username",
    "restart_timeout",
    "round_robin",
    "session_expiry",
    "start_type",
    "threshold",
    "topic",
    "try_private",
    "username",
    "address",
    "max_topic_alias_incoming",
];

pub(super) fn is_word(word: &str) -> bool {
    WORDS.contains(&word) || word.starts_with("bridge_")
}
