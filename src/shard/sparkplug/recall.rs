//! States of a time before the process, or before `sparkplug` was switched on, from what is retained.

use crate::routing::WalkBudget;
use crate::shard::Shard;
use crate::sparkplug::Sighting;
use crate::time::Time;

/// Births of nodes and devices, and STATE of hosts.
const FILTERS: [&str; 2] = ["$sparkplug/certificates/spBv1.0/#", "spBv1.0/STATE/+"];

/// What a turn reads of what is retained.
const PIECE: WalkBudget = WalkBudget {
    messages: 256,
    bytes: 1 << 20,
    steps: 4_096,
};

/// How far what is retained has been read. Lives on: the shard, until all has been.
#[derive(Debug)]
pub(in crate::shard) struct Recall {
    /// Of [`FILTERS`], those that are left.
    filters: &'static [&'static str],
    after: Option<Box<str>>,
    /// There may be no more states.
    messages_left: usize,
}

impl Recall {
    pub(super) fn new(states_max: u32) -> Self {
        Self {
            filters: &FILTERS,
            after: None,
            messages_left: states_max as usize,
        }
    }
}

impl Shard {
    /// Of what is retained here, brought to the homes of its nodes: at most as many as there may be states. The shard
    /// has read its log, and no client is let in.
    pub(in crate::shard) fn recall_sparkplug(&mut self, now: Time) {
        let Some(sparkplug) = self.routes.sparkplug.as_deref_mut() else {
            return;
        };
        let states_max = super::own_states_max(&self.config.limits, self.config.shards);
        sparkplug.recall = Some(Recall::new(states_max));
        while self.recalls_sparkplug() {
            self.advance_recall(now);
        }
    }

    /// Something is left to be read.
    pub(in crate::shard) fn recalls_sparkplug(&self) -> bool {
        let sparkplug = self.routes.sparkplug.as_deref();
        sparkplug.is_some_and(|sparkplug| sparkplug.recall.is_some())
    }

    /// At the end of a turn: the next piece. A node that was born meanwhile keeps its state.
    pub(in crate::shard) fn advance_recall(&mut self, now: Time) {
        let Some(sparkplug) = self.routes.sparkplug.as_deref_mut() else {
            return;
        };
        let Some(mut recall) = sparkplug.recall.take() else {
            return;
        };
        let Some((filter, others)) = recall.filters.split_first() else {
            return;
        };
        let retained = &self.routes.retained;
        let found = retained.read(filter, recall.after.as_deref(), PIECE, now);
        let count = found.messages.len().min(recall.messages_left);
        recall.messages_left -= count;
        if found.next.is_none() {
            recall.filters = others;
        }
        recall.after = found.next;
        if recall.messages_left > 0 {
            sparkplug.recall = Some(recall);
        }
        let at = self.turn.clocks.to_wall(now);
        for kept in &found.messages[..count] {
            // In a process with another number of shards it may be another's.
            if self.routes.placement.home(&kept.topic) != self.id {
                continue;
            }
            let sighting = Sighting::of_retained(&kept.topic, &kept.payload, at);
            if let Some(sighting) = sighting {
                self.report(sighting, now);
            }
        }
    }
}
