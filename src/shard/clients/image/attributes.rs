//! Attributes of a session that a shard keeps beside its state, as an image.

use std::sync::Arc;

use crate::session::{AttributesImage, RulesImage};
use crate::shard::clients::session_entry::SessionEntry;
use crate::shard::turn::timer_key::TimerKey;
use crate::shard::turn::timer_wheel::{TimerId, TimerWheel};
use crate::time::{Clocks, Span, Time};

impl SessionEntry {
    pub(in crate::shard) fn attributes(
        &self,
        timers: &TimerWheel<TimerKey>,
        clocks: Clocks,
    ) -> AttributesImage {
        let written = |timer: Option<TimerId>| Some(clocks.to_wall(deadline_of(timers, timer?)?));
        AttributesImage {
            owner: self.rights.user.clone(),
            rules: match (self.rights.brought(), self.rights.acl_file()) {
                (Some(acl), _) => {
                    let (publish, receive) = acl.filters();
                    Some(RulesImage::Brought { publish, receive })
                }
                (None, Some(file)) => Some(RulesImage::OfFile(Arc::clone(file))),
                (None, None) => None,
            },
            expiry_interval_s: self.session.expiry_interval_s,
            expires_at: written(self.expiry_timer),
            will: self.session.will.as_deref().cloned(),
            will_due: written(self.will_timer),
        }
    }
}

/// When a pending timer is due.
pub(super) fn deadline_of(timers: &TimerWheel<TimerKey>, timer: TimerId) -> Option<Time> {
    let rounded = match timers.key(timer)? {
        TimerKey::OverdueExpiry(_, deadline) | TimerKey::OverdueWill(_, deadline) => {
            deadline.time()
        }
        _ => timers.deadline(timer)?,
    };
    // Wall time rounds up again, and must not reach the next tick each time it is written down.
    Some(Time(rounded.0.saturating_sub(Span::from_millis(1).0)))
}
