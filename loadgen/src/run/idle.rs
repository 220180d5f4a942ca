//! Cost of idle connections, in this process and in the broker's.

use crate::results::IdleCost;
use crate::system::{self, Process};

/// Memory before the first connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Baseline {
    own: Option<Process>,
    broker: Option<(u32, Process)>,
}

impl Baseline {
    /// Call before clients are made.
    pub(crate) fn take(broker_pid: Option<u32>) -> Self {
        let broker = broker_pid.and_then(|pid| Some((pid, system::process(pid)?)));
        Self {
            own: system::process(std::process::id()),
            broker,
        }
    }

    /// The cost of each of `connections` that are idle now.
    pub(crate) fn cost(&self, connections: u64) -> Option<IdleCost> {
        if connections == 0 {
            return None;
        }
        let each = |before: u64, now: u64| now.saturating_sub(before) as f64 / connections as f64;
        let own = (self.own?, system::process(std::process::id())?);
        let broker = self
            .broker
            .and_then(|(pid, before)| Some((before, system::process(pid)?)));
        Some(IdleCost {
            connections,
            generator_kb_each: each(own.0.rss_kb, own.1.rss_kb),
            generator_sockets: own.1.sockets,
            broker_kb_each: broker.map(|(before, now)| each(before.rss_kb, now.rss_kb)),
            broker_sockets: broker.map(|(_, now)| now.sockets),
        })
    }
}
