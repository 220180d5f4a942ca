//! Retained messages whose home is this shard: those that match a filter, level by level, and one of them.

use std::rc::Rc;

use crate::mqtt::Publication;
use crate::routing::WalkBudget;
use crate::shard::queries::rows::{Answer, RetainedRow, ROWS_MAX};
use crate::shard::Shard;
use crate::time::Time;

/// As a walk for a subscription takes.
const BYTES: usize = 64 << 10;
const STEPS: usize = 2_048;

impl Shard {
    pub(super) fn list_retained(
        &self,
        filter: &str,
        after: Option<&str>,
        max: usize,
        now: Time,
    ) -> Answer {
        let budget = WalkBudget {
            messages: max.clamp(1, ROWS_MAX),
            bytes: BYTES,
            steps: STEPS,
        };
        let piece = self.routes.retained.read(filter, after, budget, now);
        let rows = piece.messages.iter().map(|message| row(message, now));
        Answer::Retained {
            rows: rows.collect(),
            next: piece.next,
        }
    }

    pub(super) fn list_levels(
        &self,
        below: Option<&str>,
        after: Option<&str>,
        max: usize,
        now: Time,
    ) -> Answer {
        let max = max.clamp(1, ROWS_MAX);
        let (levels, next) = self.routes.retained.levels(below, after, max, now);
        Answer::RetainedLevels { levels, next }
    }

    pub(super) fn read_retained(&self, topic: &str, now: Time) -> Answer {
        let found = self.routes.retained.get(topic);
        let found = found.filter(|message| message.expires_at.is_none_or(|at| at > now));
        Answer::RetainedMessage(found.map(|message| row(message, now)))
    }
}

fn row(message: &Rc<Publication>, now: Time) -> RetainedRow {
    RetainedRow {
        topic: (*message.topic).into(),
        payload: message.payload.clone(),
        qos: message.qos,
        expires_in: message.expires_at.map(|at| at.since(now)),
    }
}
