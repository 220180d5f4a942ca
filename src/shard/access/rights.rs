//! Rights of a session: its owner, and what was decided of the topics it named last.

use std::sync::Arc;

use crate::auth::{Acl, Decisions, Identity, KnownDecisions, Names, Rules};
use crate::mqtt::topic;

/// Owner of a session and the authorization decisions cached for it. Lives on: its session.
#[derive(Debug, Default)]
pub(in crate::shard) struct Rights {
    /// Authenticated user name of the session's owner; no other user may take it over.
    pub(in crate::shard) user: Option<Arc<str>>,
    /// Where it is bound by other rules than all.
    own: Option<Box<OwnRules>>,
    /// Since the first of them.
    decided: Option<Box<Decided>>,
}

/// Rules of a login, or of a listener.
#[derive(Debug)]
struct OwnRules {
    /// ACL that came with the login, in place of the ACL file.
    acl: Option<Arc<Acl>>,
    /// The ACL file of its listener, where that has its own.
    acl_file: Option<Arc<str>>,
}

/// Decisions that were made for a session.
#[derive(Debug, Default)]
struct Decided {
    published: Decisions,
    received: Decisions,
    /// Of the authorization service.
    asked: Option<Box<KnownDecisions>>,
    /// Version of the rules that they were made under.
    version: u32,
}

impl Decided {
    /// Drops those made under other rules.
    fn reset(&mut self, version: u32) {
        if self.version != version {
            *self = Self {
                version,
                ..Self::default()
            };
        }
    }
}

/// Direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Way {
    Publish,
    Receive,
}

impl Rights {
    /// A new connection brings its own identity.
    pub(in crate::shard) fn set(&mut self, identity: &Identity) {
        let has_own = identity.acl.is_some() || identity.acl_file.is_some();
        let own = has_own.then(|| {
            Box::new(OwnRules {
                acl: identity.acl.clone(),
                acl_file: identity.acl_file.clone(),
            })
        });
        *self = Self {
            user: identity.user.clone(),
            own,
            decided: None,
        };
    }

    /// The ACL that came with the login.
    pub(in crate::shard) fn brought(&self) -> Option<&Acl> {
        self.own.as_ref()?.acl.as_deref()
    }

    /// Name of the ACL file of the listener that its owner came by.
    pub(in crate::shard) fn acl_file(&self) -> Option<&Arc<str>> {
        self.own.as_ref()?.acl_file.as_ref()
    }

    /// What binds it.
    fn acl<'a>(&'a self, rules: &'a Rules) -> Option<&'a Acl> {
        let file = || self.acl_file().map(|name| &**name);
        let of_file = || rules.acl_of(file()).map(|acl| &**acl);
        self.brought().or_else(of_file)
    }

    /// An ACL came with the login.
    pub(in crate::shard) fn brought_rules(&self) -> bool {
        self.brought().is_some()
    }

    /// The packet that waited for decisions has been handled.
    pub(in crate::shard) fn forget_latest_decisions(&mut self) {
        let decided = self.decided.as_deref_mut();
        if let Some(known) = decided.and_then(|decided| decided.asked.as_deref_mut()) {
            known.forget_latest();
        }
    }

    /// Drops the decisions made under other rules.
    pub(in crate::shard) fn reset(&mut self, version: u32) {
        if let Some(decided) = &mut self.decided {
            decided.reset(version);
        }
    }

    /// The service's decisions under these rules.
    pub(in crate::shard) fn decisions(&self, version: u32) -> Option<&KnownDecisions> {
        let decided = self.decided.as_deref();
        decided
            .filter(|decided| decided.version == version)?
            .asked
            .as_deref()
    }

    pub(in crate::shard) fn decisions_mut(
        &mut self,
        version: u32,
        make: impl FnOnce() -> KnownDecisions,
    ) -> &mut KnownDecisions {
        let decided = self.decided.get_or_insert_default();
        decided.reset(version);
        decided.asked.get_or_insert_with(|| Box::new(make()))
    }

    /// What was decided of this topic under these rules, or is decided now.
    #[inline]
    pub(in crate::shard) fn may(
        &mut self,
        client: &str,
        topic: &str,
        way: Way,
        rules: &Rules,
    ) -> bool {
        let own = self.own.as_deref();
        let brought = own.and_then(|own| own.acl.as_deref());
        let file = own.and_then(|own| own.acl_file.as_deref());
        let Some(acl) = brought.or_else(|| rules.acl_of(file).map(|acl| &**acl)) else {
            return true;
        };
        let names = Names {
            client,
            user: self.user.as_deref(),
        };
        let decided = self.decided.get_or_insert_default();
        match way {
            Way::Publish => decided
                .published
                .get_or(topic, || acl.may_publish(names, topic)),
            Way::Receive => decided
                .received
                .get_or(topic, || acl.may_receive(names, topic)),
        }
    }

    /// With a check of each delivery a filter must only reach something that may be read, as long as it
    /// is not shared: a group's message goes to one member, and must not be lost with one that may not
    /// have it.
    pub(in crate::shard) fn may_subscribe(
        &self,
        client: &str,
        filter: &str,
        rules: &Rules,
    ) -> bool {
        let Some(acl) = self.acl(rules) else {
            return true;
        };
        let names = Names {
            client,
            user: self.user.as_deref(),
        };
        match topic::share(filter) {
            Ok(Some(share)) => acl.may_subscribe(names, share.filter),
            _ if rules.acl_check_delivery => acl.may_receive_some(names, filter),
            _ => acl.may_subscribe(names, filter),
        }
    }

    /// Whether what they allow may have changed with the rules: from those `before` (`None`: not known
    /// which) to those `now`.
    pub(in crate::shard) fn are_concerned(&self, before: Option<&Rules>, now: &Rules) -> bool {
        let same_check = before.is_some_and(|b| b.acl_check_delivery == now.acl_check_delivery);
        let file = self.acl_file().map(|name| &**name);
        let is_same = match (
            before.and_then(|before| before.acl_of(file)),
            now.acl_of(file),
        ) {
            (Some(before), Some(now)) => now.is_same_for(before, self.user.as_deref()),
            _ => false,
        };
        self.brought().is_none() && !(same_check && is_same)
    }
}
