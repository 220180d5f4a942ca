//! Back-pressure of logs: while too much waits for a disk, those whose requests fill the log are not read.

use crate::ids::ShardId;
use crate::limits::{HELD_HIGH_WATER, LOG_HIGH_WATER};
use crate::routing::Destinations;
use crate::shard::clients::connection::Connection;
use crate::shard::durable::Durable;
use crate::shard::mesh::block::Control;
use crate::shard::Shard;
use crate::time::Time;

/// Logs with too much that is not on the disk. Lives on: the shard.
#[derive(Debug, Default)]
pub(in crate::shard) struct LogPressure {
    /// This shard's own, as its peers know.
    own: bool,
    peers: Destinations,
    /// Too much is held for other shards.
    held: bool,
}

impl LogPressure {
    #[inline]
    pub(in crate::shard) fn is_high(&self) -> bool {
        self.own || self.held || !self.peers.is_empty()
    }
}

/// High above the mark, and until half of it is left.
fn is_high(was_high: bool, bytes: usize, mark: usize) -> bool {
    bytes > mark || (was_high && bytes > mark / 2)
}

impl Durable {
    /// A file was not made in time: what is left is not used up before it is known whether the disk is full.
    fn awaits_segment(&self) -> bool {
        !self.full.own && self.log.room() < u64::from(self.log.segment_bytes()) / 2
    }
}

impl Shard {
    /// True while this connection must wait for disks.
    #[inline]
    pub(in crate::shard) fn log_holds_back(&self, connection: &Connection) -> bool {
        let durable = self.durable.as_deref();
        durable.is_some_and(|durable| {
            connection.fills_log && (durable.pressure.is_high() || durable.awaits_segment())
        })
    }

    /// Peers learn when the pressure of this shard's log rises or falls: their publishers fill it, too.
    pub(in crate::shard) fn announce_log_pressure(&mut self, now: Time) {
        let Some(durable) = self.durable.as_deref_mut() else {
            return;
        };
        let pressure = &mut durable.pressure;
        pressure.held = is_high(pressure.held, durable.held.bytes(), HELD_HIGH_WATER);
        let unwritten_bytes = durable.log.unwritten_bytes();
        let is_high = is_high(pressure.own, unwritten_bytes, LOG_HIGH_WATER);
        if is_high != durable.pressure.own {
            durable.pressure.own = is_high;
            (self.mesh.peers).broadcast(|| Control::LogPressure { is_high });
        }
        if durable.pressure.is_high() {
            self.mesh.peers_full_at = Some(now);
        }
    }

    /// The log of a peer has too much that is not on its disk, or no longer.
    pub(in crate::shard) fn on_log_pressure(&mut self, of: ShardId, is_high: bool) {
        let Some(durable) = self.durable.as_deref_mut() else {
            return;
        };
        match is_high {
            true => durable.pressure.peers.insert(of.into()),
            false => durable.pressure.peers.remove(of.into()),
        }
    }
}
