//! Crashes of the broker, as the model of a client sees them.

use super::Client;
use crate::time::{Span, Time};

/// What no client was answered may not have been on a disk for so long.
const UNWRITTEN: Span = Span::from_millis(100);

impl Client {
    /// Its sessions are durable, each of them.
    pub(in super::super) fn outlives_crashes(&self) -> bool {
        self.profile.lifetime_s > 0 && !self.profile.gives_up_sessions
    }

    /// Every connection is cut. What has ended shortly before may be as it was before it ended. The process ends, and another
    /// one continues `now`.
    pub(in super::super) fn crashed(&mut self, ends_at: Time, now: Time) {
        // Its DISCONNECT may not have been read, or forgotten.
        self.may_be_dropped = true;
        if let Some(ended) = &mut self.ended {
            ended.was_alone = false;
            ended.is_doubted |= ended.was_told;
        }
        // Time begins anew for whom the log has not seen leaving.
        self.ghosts_gone_at = now;
        self.crashed_at = now;
        self.newest.clear();
        // Rules ended them, of which no client was notified: they are back if that was not written.
        for s in self.subscribed.iter_mut().filter(|s| s.is_ended_by_rules) {
            if s.lost.is_some_and(|at| at.now + UNWRITTEN >= ends_at) {
                (s.lost, s.is_ended_by_rules) = (None, false);
                s.is_doubted = true;
            }
        }
    }
}
