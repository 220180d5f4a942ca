//! Access control: authentication of a client, and what its session may publish and subscribe to.

mod acl;
pub(in crate::shard) mod decisions;
#[cfg(test)]
mod decisions_tests;
pub(in crate::shard) mod login;
pub(in crate::shard) mod login_state;
pub(in crate::shard) mod pending_connect;
mod recheck;
pub(in crate::shard) mod rights;

use std::sync::Arc;

use crate::auth::{OperatorBans, Rules};
use recheck::Recheck;

/// The rules in force. Lives on: the shard, which gets new ones on reload.
#[derive(Default)]
pub(in crate::shard) struct Access {
    pub(in crate::shard) rules: Arc<Rules>,
    /// Counts changes of the rules.
    pub(in crate::shard) rules_version: u32,
    /// There may be an ACL, of the broker or of a session.
    pub(in crate::shard) has_acl: bool,
    pub(in crate::shard) recheck: Recheck,
    /// Who is not let in; `None`: there are no bans.
    pub(in crate::shard) bans: Option<Arc<OperatorBans>>,
}
