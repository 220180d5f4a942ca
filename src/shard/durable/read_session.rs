//! One session while a log is read back: its last image, and what has changed since.

use std::sync::Arc;

use super::holds::SegmentHolds;
use super::record::READ_BACK;
use crate::journal::SegmentNumber;
use crate::limits::QueuePolicy;
use crate::mutant::{is_on, Mutant};
use crate::session::{
    ApplyError, AttributesImage, Change, QueueBounds, RulesImage, Session, SessionImage,
    SessionKey, StoredDelivery,
};
use crate::time::WallTime;

/// Everything fits that was once there.
const NO_BOUNDS: QueueBounds = QueueBounds {
    messages_max: usize::MAX,
    bytes_max: usize::MAX,
    policy: QueuePolicy::DropNewest,
};

/// A session while it is read back.
#[derive(Debug)]
pub(super) struct State {
    pub(super) session: Session,
    beside: Beside,
    /// Where its last image is, or the first piece of it.
    pub(super) segment: SegmentNumber,
    /// Messages at the front of its queue that the log does not have.
    pub(super) missing: u32,
    /// Its queue began with pieces that lie before the log: a later image follows, or a repair has given them up.
    pub(super) is_cut: bool,
}

/// Attributes that a session does not hold itself. There are as many as sessions, and few have rules of their own.
#[derive(Debug)]
struct Beside {
    owner: Option<Arc<str>>,
    rules: Option<Box<RulesImage>>,
    expires_at: Option<WallTime>,
    will_due: Option<WallTime>,
}

impl State {
    pub(super) fn of(image: SessionImage, segment: SegmentNumber, hash_seed: u64) -> Self {
        let beside = Beside {
            owner: image.owner.clone(),
            rules: image.rules.clone().map(Box::new),
            expires_at: image.expires_at,
            will_due: image.will_due,
        };
        let (mut session, _) = Session::restore(image, hash_seed, NO_BOUNDS, READ_BACK);
        session.forget_connection();
        Self {
            session,
            beside,
            segment,
            missing: 0,
            is_cut: false,
        }
    }

    pub(super) fn set(&mut self, attributes: AttributesImage) {
        self.session.expiry_interval_s = attributes.expiry_interval_s;
        self.session.will = attributes.will.map(Box::new);
        self.beside = Beside {
            owner: attributes.owner,
            rules: attributes.rules.map(Box::new),
            expires_at: attributes.expires_at,
            will_due: attributes.will_due,
        };
    }

    /// Does a change again, and keeps no publication in memory that the log has.
    pub(super) fn change(
        &mut self,
        key: SessionKey,
        change: Change,
        holds: &mut SegmentHolds,
    ) -> Result<(), ApplyError> {
        let Some(change) = self.behind_missing(change) else {
            return Ok(());
        };
        let session = &mut self.session;
        match change {
            Change::QueuedStored(mut stored) => {
                keep(&mut stored, key, holds);
                session.apply(Change::QueuedStored(stored))
            }
            Change::Moved(index, publication) => {
                session.apply(Change::Moved(index, publication))?;
                (session.queue).store_one(index, key, &mut |segment| holds.of(segment));
                Ok(())
            }
            Change::MovedSent(id, publication) => {
                session.apply(Change::MovedSent(id, publication))?;
                (session.window).store_one(id, key, &mut |segment| holds.of(segment));
                Ok(())
            }
            Change::Sent(delivery) => {
                session.apply(Change::Sent(delivery))?;
                (session.window).store_last(key, &mut |segment| holds.of(segment));
                Ok(())
            }
            change => session.apply(change),
        }
    }

    /// The change as it is without the messages that are missing; `None`: it is of one of those.
    fn behind_missing(&mut self, change: Change) -> Option<Change> {
        if self.missing == 0 {
            return Some(change);
        }
        match change {
            Change::Unqueued | Change::SentOldest => {
                self.missing -= 1;
                None
            }
            Change::Moved(index, publication) => {
                let index = index.checked_sub(self.missing)?;
                Some(Change::Moved(index, publication))
            }
            change => Some(change),
        }
    }

    pub(super) fn image(&self) -> SessionImage {
        let mut image = self.session.image(READ_BACK);
        if is_on(Mutant::FoldForgetsReceived) {
            image.received = crate::session::ReceivedImage::default();
        }
        if is_on(Mutant::FoldReversesQueue) {
            image.queue.reverse();
        }
        SessionImage {
            owner: (self.beside.owner.clone()).filter(|_| !is_on(Mutant::FoldForgetsOwner)),
            rules: self.beside.rules.as_deref().cloned(),
            expires_at: self.beside.expires_at,
            will_due: self.beside.will_due,
            ..image
        }
    }
}

/// What a session names is kept for it.
pub(super) fn keep(stored: &mut StoredDelivery, key: SessionKey, holds: &mut SegmentHolds) {
    if let Some(hold) = holds.of(stored.place().segment) {
        stored.keep(key, &hold);
    }
}
