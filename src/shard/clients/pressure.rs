//! Pressure: short memory or long turns, under which no more clients are admitted or no more is kept.

use crate::ids::{ConnectionId, SessionId};
use crate::mqtt::{Publish, Qos, Violation};
use crate::session::{Queue, QueueBounds};
use crate::shard::Shard;

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

    /// Why a publication that is to be retained is refused: only a v5 publisher that waits for an
    /// acknowledgement gets a reason code (0x97). Of others it is delivered and not retained.
    pub(in crate::shard) fn refuse_to_retain(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        publish: &Publish<'_>,
    ) -> Option<Violation> {
        let asks = publish.retain && !publish.payload.is_empty();
        if !(self.admission.pressure.memory && asks) {
            return None;
        }
        let is_v5 = self
            .clients
            .connections
            .get(id)
            .is_some_and(|c| c.version.is_v5());
        let is_told = is_v5 && publish.qos > Qos::AtMostOnce;
        if !is_told || self.is_repeated(session, publish) {
            return None;
        }
        self.outbox.stats.refused_memory += 1;
        Some(Violation::RetainMemoryShort)
    }

    /// What a queue may hold: no more than now while memory is short.
    pub(in crate::shard) fn bounds_under_pressure(
        &self,
        queue: &Queue,
        bounds: QueueBounds,
    ) -> QueueBounds {
        if !self.admission.pressure.memory {
            return bounds;
        }
        QueueBounds {
            bytes_max: bounds.bytes_max.min(queue.bytes()),
            ..bounds
        }
    }

    /// Why a CONNECT is refused with 0x97 (3 for v3); counted.
    pub(in crate::shard) fn refuse_under_pressure(&mut self) -> Result<(), Violation> {
        let Pressure { memory, turns } = self.admission.pressure;
        if memory {
            self.outbox.stats.refused_memory += 1;
            Err(Violation::MemoryShort)
        } else if turns {
            self.outbox.stats.refused_turns += 1;
            Err(Violation::TurnsTooLong)
        } else {
            Ok(())
        }
    }
}
