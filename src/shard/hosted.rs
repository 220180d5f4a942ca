//! A session as its shard holds it: the pure state plus timers and walks.

use super::rights::Rights;
use super::timer_wheel::TimerId;
use super::walk::Walks;
use crate::session::Session;

/// Lives on: the home shard of the client id.
#[derive(Debug)]
pub(super) struct Hosted {
    pub(super) session: Session,
    pub(super) rights: Rights,
    pub(super) expiry_timer: Option<TimerId>,
    pub(super) will_timer: Option<TimerId>,
    /// Retained messages still to be sent for new subscriptions.
    pub(super) walks: Option<Box<Walks>>,
    /// Member of at least one shared group.
    pub(super) in_groups: bool,
    /// Its queue was full: to be disconnected when the turn ends.
    pub(super) is_overflowed: bool,
}

impl Hosted {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            rights: Rights::default(),
            expiry_timer: None,
            will_timer: None,
            walks: None,
            in_groups: false,
            is_overflowed: false,
        }
    }

    /// Something waits for room in the window or the socket.
    #[inline]
    pub(super) fn has_waiting(&self) -> bool {
        let session = &self.session;
        session.window.has_unsent() || !session.queue.is_empty() || self.walks.is_some()
    }
}
