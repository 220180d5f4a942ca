//! Access control: what clients may publish, receive and subscribe to, from a file in Mosquitto's format.
//!
//! Rules allow or deny; a denial wins over whatever allows, and what no rule allows is refused.
//! Mosquitto stops at the first rule that fits, so there a rule of a user's own overrides a `pattern
//! deny`; here nothing overrides a denial.
//!
//! A *publication* is allowed by its topic name. A *subscription* is allowed when its filter asks for
//! nothing that is not allowed: it is contained in one filter that may be read and overlaps none that
//! is denied. (Mosquitto accepts every subscription and looks at each delivery instead; see
//! `acl-check-delivery`.)
//!
//! `%c` and `%u` in a `pattern` stand for a client id and a user name within one level. A name that is
//! empty or has `+`, `#`, `/` or U+0000 fits no pattern with its placeholder, nor does one that would
//! make a topic begin with `$`: a name can be chosen, and must not reach what is not its own.

mod file;
mod template;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::HashMap;
use std::sync::Arc;

pub use template::Names;

use tree::{Access, Node};

/// Compiled rules.
#[derive(Debug, Default, PartialEq)]
pub struct Acl {
    /// For clients without a user name.
    anonymous: Node,
    users: HashMap<Box<str>, Arc<Node>, ahash::RandomState>,
    /// For all clients.
    patterns: Node,
}

impl Acl {
    /// Rules for one client that did not come from a file (a token's claim, a hook's answer): what it
    /// may publish and receive, in the syntax of `pattern`.
    ///
    /// # Errors
    /// A filter that is not valid, in words.
    pub fn of_filters<'a>(
        publish: impl IntoIterator<Item = &'a str>,
        receive: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, String> {
        let mut acl = Self::default();
        let writes = publish.into_iter().map(|filter| (filter, Access::WRITE));
        let reads = receive.into_iter().map(|filter| (filter, Access::READ));
        for (filter, access) in writes.chain(reads) {
            file::check_filter(filter)?;
            acl.patterns.insert(filter, access, true);
        }
        Ok(acl)
    }

    /// The filters of [`Acl::of_filters`], sorted: what it may publish, and receive.
    #[must_use]
    pub fn filters(&self) -> (Vec<Box<str>>, Vec<Box<str>>) {
        let of = |access| {
            let mut found = Vec::new();
            self.patterns
                .filters(&mut String::new(), access, &mut found);
            found.sort_unstable();
            found
        };
        (of(Access::WRITE), of(Access::READ))
    }

    /// May it publish to this topic name?
    #[must_use]
    pub fn may_publish(&self, names: Names<'_>, topic: &str) -> bool {
        self.allows(names, topic, Access::WRITE)
    }

    /// May it be sent a message of this topic name?
    #[must_use]
    pub fn may_receive(&self, names: Names<'_>, topic: &str) -> bool {
        self.allows(names, topic, Access::READ)
    }

    fn allows(&self, names: Names<'_>, topic: &str, wanted: Access) -> bool {
        let mut found = Access::NONE;
        for tree in self.trees(names) {
            tree.collect(topic, names, &mut found);
            if found.denies() {
                return false;
            }
        }
        found.has(wanted)
    }

    /// May it receive everything that this filter matches? A plain filter, no `$share/`.
    #[must_use]
    pub fn may_subscribe(&self, names: Names<'_>, filter: &str) -> bool {
        self.trees(names)
            .any(|tree| tree.grants_all_of(filter, names))
            && !self
                .trees(names)
                .any(|tree| tree.denies_part_of(filter, names))
    }

    /// May it receive anything at all that this filter matches? Not if one denial covers all of it.
    #[must_use]
    pub fn may_receive_some(&self, names: Names<'_>, filter: &str) -> bool {
        self.trees(names)
            .any(|tree| tree.reads_part_of(filter, names))
            && !self
                .trees(names)
                .any(|tree| tree.denies_all_of(filter, names))
    }

    fn trees<'a>(&'a self, names: Names<'_>) -> impl Iterator<Item = &'a Node> {
        let own = match names.user {
            None => Some(&self.anonymous),
            Some(user) => self.users.get(user).map(|tree| &**tree),
        };
        own.into_iter().chain([&self.patterns])
    }

    /// True when both decide the same for a client of this user name.
    #[must_use]
    pub fn is_same_for(&self, other: &Self, user: Option<&str>) -> bool {
        let own = match user {
            None => self.anonymous == other.anonymous,
            Some(user) => self.users.get(user) == other.users.get(user),
        };
        own && self.patterns == other.patterns
    }
}
