//! Groups of lanes that this node would give away: the answers of its shards.

use std::collections::BTreeMap;

use crate::cluster::lanes::Group;
use crate::ids::ShardId;
use crate::routing::Destinations;

/// Bounded by the groups.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// Epoch, and the shards that have no session of it.
    asked: BTreeMap<Group, (u64, Destinations)>,
    /// Group, epoch, and whether it is free.
    answers: Vec<(Group, u64, bool)>,
}

impl Offers {
    /// Every shard is asked for these, of which the epochs are given.
    pub(super) fn ask(&mut self, offers: impl Iterator<Item = (Group, u64)>) {
        for (group, epoch) in offers {
            self.asked.insert(group, (epoch, Destinations::EMPTY));
        }
    }

    /// All must have none.
    pub(super) fn answered(
        &mut self,
        by: ShardId,
        (group, epoch): (Group, u64),
        is_free: bool,
        shards: u16,
    ) {
        let Some((asked, free)) = self.asked.get_mut(&group).filter(|it| it.0 == epoch) else {
            return; // of an earlier one
        };
        free.insert(by.into());
        let all = (0..shards).all(|shard| free.contains(ShardId(shard).into()));
        if !is_free || all {
            let epoch = *asked;
            self.asked.remove(&group);
            self.answers.push((group, epoch, is_free));
        }
    }

    pub(super) fn take(&mut self) -> Vec<(Group, u64, bool)> {
        std::mem::take(&mut self.answers)
    }
}
