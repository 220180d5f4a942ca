//! Bans by operators: clients, users and addresses that are not let in.

use std::collections::HashSet;
use std::net::IpAddr;

/// Who is not let in. Small: each entry was made by a person or a program of theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorBans {
    pub clients: HashSet<Box<str>>,
    pub users: HashSet<Box<str>>,
    pub addresses: HashSet<IpAddr>,
}

impl OperatorBans {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.users.is_empty() && self.addresses.is_empty()
    }

    /// Whether a client is among them. A user name counts as it was sent or proven, whichever is known.
    #[must_use]
    pub fn has(&self, client_id: &str, user: Option<&str>, address: Option<IpAddr>) -> bool {
        self.clients.contains(client_id)
            || user.is_some_and(|user| self.users.contains(user))
            || address.is_some_and(|address| self.addresses.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_ban_counts_by_itself() {
        let address = IpAddr::from([192, 0, 2, 7]);
        let bans = OperatorBans {
            clients: [Box::from("c")].into(),
            users: [Box::from("u")].into(),
            addresses: [address].into(),
        };
        assert!(!bans.is_empty() && OperatorBans::default().is_empty());
        for (client, user, from, banned) in [
            ("c", None, None, true),
            ("d", Some("u"), None, true),
            ("d", Some("c"), Some(address), true),
            ("d", Some("v"), Some(IpAddr::from([192, 0, 2, 8])), false),
            ("u", None, None, false),
        ] {
            assert_eq!(bans.has(client, user, from), banned, "{client} {user:?}");
        }
    }
}
