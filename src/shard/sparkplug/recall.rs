//! States of a time before the process, from what is retained.

use crate::routing::WalkBudget;
use crate::shard::Shard;
use crate::sparkplug::Sighting;
use crate::time::Time;

/// Births of nodes and devices, and STATE of hosts.
const FILTERS: [&str; 2] = ["$sparkplug/certificates/spBv1.0/#", "spBv1.0/STATE/+"];

impl Shard {
    /// Of what is retained here, brought to the homes of its nodes: at most as many as there may be states. The shard
    /// has read its log, and no client is let in.
    pub(in crate::shard) fn recall_sparkplug(&mut self, now: Time) {
        if self.routes.sparkplug.is_none() {
            return;
        }
        let at = self.turn.clocks.to_wall(now);
        let budget = WalkBudget {
            messages: super::own_states_max(&self.config.limits, self.config.shards) as usize,
            bytes: usize::MAX,
            steps: usize::MAX,
        };
        for filter in FILTERS {
            let found = self.routes.retained.read(filter, None, budget, now);
            for kept in found.messages {
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
}
