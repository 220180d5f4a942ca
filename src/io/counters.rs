//! Counters for operators: gathered from all shards and written to the log on request (SIGUSR1), and
//! when the broker stops.
//!
//! A shard's counters are plain numbers of its own. When they are asked for it hands over a copy at
//! the start of its next turn, and the last one writes the sum.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use super::gate::{Gate, Refusal};
use crate::gateway;
use crate::shard::Stats;

/// Counters of a driver besides its shard's: connections closed before they reach the shard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DriverStats {
    /// Their address is banned.
    pub(super) banned: u64,
    /// At connections-max of the broker.
    pub(super) connections_max: u64,
    /// Accepting failed, for lack of descriptors or memory.
    pub(super) accept_failed: u64,
    /// Of the gateway for MQTT-SN.
    pub(super) gateway: gateway::Stats,
}

/// Counters of all shards while they come in. Shared by all shards and the signal thread.
#[derive(Default)]
pub(super) struct Counters {
    gathered: Mutex<[Gathered; 2]>,
    /// Those of the listeners, which all shards count in one place.
    gates: Mutex<Vec<Arc<Gate>>>,
}

/// The implicit request at the stop: a shard reports its counters when it has stopped.
pub(super) const AT_STOP: u64 = u64::MAX;

/// Answers to one request so far. The one at the stop is kept apart: another may be on its way.
#[derive(Debug, Default)]
struct Gathered {
    request: u64,
    shards: u16,
    stats: Stats,
    driver_stats: DriverStats,
}

impl Counters {
    /// The listeners, once they are open.
    pub(super) fn set_gates(&self, gates: Vec<Arc<Gate>>) {
        *self.gates.lock().unwrap_or_else(PoisonError::into_inner) = gates;
    }

    /// The listeners' gates, in their order; none before they are open.
    pub(super) fn gates(&self) -> Vec<Arc<Gate>> {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.clone()
    }

    /// How many listeners there are.
    pub(super) fn listeners(&self) -> usize {
        self.gates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Takes a shard's answer to a request; the last of `shards` writes all.
    pub(super) fn take(&self, request: u64, shards: u16, stats: &Stats, driver_stats: DriverStats) {
        let mut both = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let gathered = &mut both[usize::from(request == AT_STOP)];
        if gathered.request != request {
            *gathered = Gathered {
                request,
                ..Gathered::default()
            };
        }
        gathered.shards += 1;
        gathered.stats.add(stats);
        gathered.driver_stats.banned += driver_stats.banned;
        gathered.driver_stats.connections_max += driver_stats.connections_max;
        gathered.driver_stats.accept_failed += driver_stats.accept_failed;
        gathered.driver_stats.gateway.add(&driver_stats.gateway);
        if gathered.shards == shards {
            let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
            for line in lines(gathered, &gates) {
                tracing::info!("{line}");
            }
        }
    }
}

/// One line for the shards, one for each listener.
fn lines(gathered: &Gathered, gates: &[Arc<Gate>]) -> Vec<String> {
    let DriverStats {
        banned,
        connections_max,
        accept_failed,
        gateway,
    } = gathered.driver_stats;
    let mut all = format!(
        "counters since the start: refused_banned={banned} refused_connections_max={connections_max} \
         accept_failed={accept_failed}"
    );
    for (name, count) in gathered.stats.rows() {
        let _ = write!(all, " {name}={count}"); // a String takes everything
    }
    if gateway.received > 0 {
        for (name, count) in gateway.rows() {
            let _ = write!(all, " mqtt_sn_{name}={count}");
        }
    }
    for (name, count) in gathered.stats.violations.rows() {
        let _ = write!(all, " broken_{name}={count}");
    }
    let of_gates = gates.iter().map(|gate| {
        let mut line = format!("refused by the listener on {}:", gate.name());
        for reason in Refusal::ALL {
            let _ = write!(line, " {}={}", reason.option(), gate.refused(reason));
        }
        line
    });
    std::iter::once(all).chain(of_gates).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::Listener;
    use crate::mqtt::Violation;

    #[test]
    fn the_sum_of_all_shards_and_each_listener() {
        let stats = Stats {
            dropped_slow_reader: 3,
            ..Stats::default()
        };
        let mut gathered = Gathered::default();
        gathered.stats.add(&stats);
        gathered.stats.violations.count(&Violation::SecondConnect);
        gathered.driver_stats.banned = 2;
        let gate = Arc::new(Gate::new(&Listener::default(), "127.0.0.1:1883".into()));
        let lines = lines(&gathered, &[gate]);
        assert!(lines[0].starts_with("counters since the start: refused_banned=2 "));
        assert!(lines[0].contains(" dropped_slow_reader=3 dropped_over_rate=0 "));
        assert!(
            lines[0].ends_with(" broken_SecondConnect=1"),
            "{}",
            lines[0]
        );
        assert_eq!(
            lines[1],
            "refused by the listener on 127.0.0.1:1883: connections-max=0 connect-rate=0 \
             connect-rate-source=0"
        );
    }

    #[test]
    fn a_new_request_begins_anew() {
        let counters = Counters::default();
        let stats = Stats {
            takeovers: 1,
            ..Stats::default()
        };
        counters.take(1, 2, &stats, DriverStats::default());
        for shards in 1..=2 {
            counters.take(2, 2, &stats, DriverStats::default());
            let gathered = &counters.gathered.lock().unwrap()[0];
            assert_eq!(
                (gathered.shards, gathered.stats.takeovers),
                (shards, shards.into())
            );
        }
    }
}
