//! Pressure: short memory or long turns, under which no more clients are admitted or no more is kept.

use crate::mqtt::{Publish, Qos, Violation};
use crate::session::{Queue, QueueBounds};
use crate::shard::clients::view::Client;
use crate::shard::clients::Admission;
use crate::shard::{Shard, Stats};

/// Why no more clients are admitted. Those that are connected are served as ever, but while memory is
/// short nothing more is kept for them: no further subscription, no retained message that is larger
/// than the one before, and queues do not grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// The process is near the memory it may use: being killed would end all sessions.
    pub memory: bool,
    /// The shard's turns take longer than they may: another client would slow down all others.
    pub turns: bool,
}

impl Shard {
    /// The driver has measured a change of pressure.
    pub fn handle_pressure(&mut self, pressure: Pressure) {
        self.admission.pressure = pressure;
    }
}

impl Admission {
    /// Why a publication that is to be retained is refused: only a v5 publisher that waits for an
    /// acknowledgement gets a reason code (0x97). Of others it is delivered and not retained.
    pub(in crate::shard) fn refuse_to_retain(
        &self,
        client: &Client<'_>,
        publish: &Publish<'_>,
    ) -> Option<Violation> {
        let asks = publish.retain && !publish.payload.is_empty();
        if !(self.pressure.memory && asks) {
            return None;
        }
        let is_told = client.is_v5() && publish.qos > Qos::AtMostOnce;
        (is_told && !client.entry.is_repeated(publish)).then_some(Violation::RetainMemoryShort)
    }

    /// What a queue may hold: no more than now while memory is short.
    pub(in crate::shard) fn bounds_under_pressure(
        &self,
        queue: &Queue,
        bounds: QueueBounds,
    ) -> QueueBounds {
        if !self.pressure.memory {
            return bounds;
        }
        QueueBounds {
            bytes_max: bounds.bytes_max.min(queue.bytes()),
            ..bounds
        }
    }

    /// Why a CONNECT is refused with 0x97 (3 for v3); counted.
    pub(in crate::shard) fn refuse_under_pressure(
        &self,
        stats: &mut Stats,
    ) -> Result<(), Violation> {
        let Pressure { memory, turns } = self.pressure;
        if memory {
            stats.refused_memory += 1;
            Err(Violation::MemoryShort)
        } else if turns {
            stats.refused_turns += 1;
            Err(Violation::TurnsTooLong)
        } else {
            Ok(())
        }
    }
}
