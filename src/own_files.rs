//! Accounts and rules that a listener names in place of the broker's: a type for those above and below it.

use std::sync::Arc;

/// Files of accounts and rules of one listener, in place of the broker's: where they are, which is also the name that
/// they have in [`Rules`](crate::auth::Rules).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnFiles {
    pub password_file: Option<Arc<str>>,
    pub acl_file: Option<Arc<str>>,
}
