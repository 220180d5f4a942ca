//! Members: the sessions of this shard that are in shared groups, as all shards know them.

use std::collections::HashMap;
use std::num::NonZeroU64;

use crate::ids::{MemberId, SessionId};

/// Lives on: the home shard of the sessions. Bounded by their number.
#[derive(Debug)]
pub(in crate::shard) struct Members {
    sessions: HashMap<MemberId, SessionId, ahash::RandomState>,
    next: MemberId,
}

impl Members {
    pub(in crate::shard) fn new(hash_seed: u64) -> Self {
        Self {
            sessions: HashMap::with_hasher(ahash::RandomState::with_seeds(hash_seed, 31, 32, 33)),
            next: MemberId(NonZeroU64::MIN),
        }
    }

    /// A session is in a shared group for the first time.
    pub(in crate::shard) fn admit(&mut self, session: SessionId) -> MemberId {
        let id = self.next;
        // One a nanosecond would last for centuries.
        self.next = MemberId(id.0.saturating_add(1));
        self.sessions.insert(id, session);
        id
    }

    /// `None`: its session has ended. Peers may not have heard of that.
    pub(in crate::shard) fn session(&self, id: MemberId) -> Option<SessionId> {
        self.sessions.get(&id).copied()
    }

    pub(in crate::shard) fn remove(&mut self, id: MemberId) {
        self.sessions.remove(&id);
    }

    #[cfg(any(test, feature = "testing"))]
    pub(in crate::shard) fn len(&self) -> usize {
        self.sessions.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_never_given_twice() {
        let mut members = Members::new(1);
        let session = SessionId {
            index: 3,
            generation: 9,
        };
        let first = members.admit(session);
        assert_eq!(members.session(first), Some(session));
        members.remove(first);
        // The same session, as in a slot that is used again.
        let second = members.admit(session);
        assert!(second > first);
        assert_eq!(members.session(first), None);
        assert_eq!((members.session(second), members.len()), (Some(session), 1));
    }
}
