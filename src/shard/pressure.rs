//! What a shard is told about the machine it runs on: when to let nobody else in.

use super::Shard;
use crate::mqtt::Violation;

/// Why no more clients are let in. Those that are connected are served as ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// The process is near the memory it may use: being killed would end all sessions.
    pub memory: bool,
    /// The shard's turns take longer than they may: another client would slow down all others.
    pub turns: bool,
}

impl Shard {
    /// The driver has found that the pressure is another than it was.
    pub fn handle_pressure(&mut self, pressure: Pressure) {
        self.pressure = pressure;
    }

    /// Why a CONNECT is refused with 0x97 (3 for v3); counted.
    pub(super) fn refuse_under_pressure(&mut self) -> Result<(), Violation> {
        let Pressure { memory, turns } = self.pressure;
        if memory {
            self.stats.refused_memory += 1;
            Err(Violation::MemoryShort)
        } else if turns {
            self.stats.refused_turns += 1;
            Err(Violation::TurnsTooLong)
        } else {
            Ok(())
        }
    }
}
