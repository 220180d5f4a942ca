//! Clients that are connected, by protocol version.

use crate::mqtt::Version;

/// Lives on: the shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::shard) struct Live {
    /// 3.1, 3.1.1, 5.0.
    counts: [u32; 3],
}

fn place(version: Version) -> usize {
    match version {
        Version::V31 => 0,
        Version::V311 => 1,
        Version::V5 => 2,
    }
}

impl Live {
    /// A connection begins to carry a session.
    pub(in crate::shard) fn enter(&mut self, version: Version) {
        self.counts[place(version)] += 1;
    }

    /// It does so no more.
    pub(in crate::shard) fn leave(&mut self, version: Version) {
        self.counts[place(version)] -= 1;
    }

    pub(in crate::shard) fn counts(self) -> [u64; 3] {
        self.counts.map(u64::from)
    }
}
