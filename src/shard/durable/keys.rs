//! Keys of the sessions that the journal keeps, by the places of the sessions.

use crate::ids::SessionId;
use crate::session::SessionKey;

/// Of places without a session that is kept: keys count from 1.
const NONE: SessionKey = SessionKey(0);

/// Lives on: the shard's ledger. Bounded by sessions; a table by session would be more than twice as large.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<SessionKey>);

impl Keys {
    pub(super) fn reserve(&mut self, sessions: usize) {
        self.0.reserve_exact(sessions);
    }

    pub(super) fn set(&mut self, id: SessionId, key: SessionKey) {
        let index = id.index as usize;
        if index >= self.0.len() {
            self.0.resize(index + 1, NONE);
        }
        self.0[index] = key;
    }

    /// Of the session that had the place last; it may be another one.
    pub(super) fn get(&self, id: SessionId) -> Option<SessionKey> {
        let key = self.0.get(id.index as usize).copied();
        key.filter(|key| *key != NONE)
    }

    pub(super) fn forget(&mut self, id: SessionId) {
        if let Some(key) = self.0.get_mut(id.index as usize) {
            *key = NONE;
        }
    }
}
