//! Operators' side of the process beside its shards: listeners, the log, files that are read again.

use std::sync::PoisonError;

use super::bridges::{self, BridgeState, QueueState};
use super::broker::Broker;
use super::controls::{Ask, ListenerState, Reloaded};
use super::gate::Refusal;
use super::upgrade::Successor;
use super::{logging, tls_files};
use crate::ids::ListenerId;
use crate::listener::Listener;
use crate::metrics::BridgeReport;

impl Broker {
    /// The address of a listener, as configured.
    #[must_use]
    pub fn listener_name(&self, id: ListenerId) -> String {
        let name = |listener: &Listener| listener.address.to_string();
        self.controls().listener(id, name).unwrap_or_default()
    }

    #[must_use]
    pub fn transport_name(&self, id: ListenerId) -> &'static str {
        let name = |listener: &Listener| listener.transport.name();
        self.controls().listener(id, name).unwrap_or_default()
    }

    /// All listeners. Reads their certificates: it may wait for a disk.
    #[must_use]
    pub fn listener_states(&self) -> Vec<ListenerState> {
        let gates = self.shared().counters().gates();
        let listeners = self.controls().listeners();
        let open = listeners.iter().filter(|(_, is_open)| *is_open).zip(gates);
        let states = open.map(|((listener, _), gate)| ListenerState {
            name: gate.name().into(),
            transport: listener.transport.name(),
            connections: gate.connections(),
            refused: Refusal::ALL
                .map(|reason| (reason.option(), gate.refused(reason)))
                .into(),
            certificate_until_s: tls_files::certificate_until_s(listener),
        });
        states.collect()
    }

    /// All bridges. Waits for the shards.
    #[must_use]
    pub fn bridge_states(&self) -> Vec<BridgeState> {
        let all = self.shared().bridges().statuses();
        let states = all.iter().map(|(bridge, status)| {
            let session = bridges::session(self, bridge);
            let queue = session.map(|it| QueueState::of(&it));
            status.state(&bridge.name, queue)
        });
        states.collect()
    }

    /// The same for metrics.
    pub(super) fn bridge_reports(&self) -> Vec<BridgeReport> {
        let all = self.shared().bridges().statuses();
        let reports = all.iter().map(|(bridge, status)| {
            let (is_up, connects, failures) = status.connection();
            let session = bridges::session(self, bridge);
            let queue = session.map_or_else(QueueState::default, |it| QueueState::of(&it));
            BridgeReport {
                name: bridge.name.clone(),
                is_up,
                connects,
                failures,
                counts: status.counts(),
                queue: (queue.messages, queue.bytes),
                lag: queue.oldest,
            }
        });
        reports.collect()
    }

    /// Has a bridge connect, or not, until its table changes. False: there is none of this name.
    #[must_use]
    pub fn order_bridge(&self, name: &str, starts: bool) -> bool {
        self.shared().bridges().order(name, starts)
    }

    /// Reads files again, as at SIGHUP, and then calls `done` from another thread.
    pub fn reload(&self, done: impl FnOnce(&[Reloaded]) + Send + 'static) {
        let controls = self.controls();
        let waiters = controls.waiters.lock();
        waiters
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(done));
        if let Some(ask) = &controls.ask {
            let _ = ask.send(Ask::Reload); // fails only when there is no reload thread
        }
    }

    /// Has another process take everything over, as at SIGUSR2, and then calls `done` from another thread: with the
    /// number of that process, after which this one ends, or with the reason why this one continues.
    pub fn upgrade(&self, done: impl FnOnce(&Result<Successor, String>) + Send + 'static) {
        let controls = self.controls();
        let waiters = controls.upgrade_waiters.lock();
        waiters
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(done));
        if let Some(ask) = &controls.ask {
            let _ = ask.send(Ask::Upgrade); // fails only when there is no reload thread
        }
    }

    /// The level from which lines are logged, as a word.
    #[must_use]
    pub fn log_level(&self) -> String {
        logging::level().to_string().to_lowercase()
    }

    /// Changes it until the process ends; false: logging cannot be changed.
    #[must_use]
    pub fn set_log_level(&self, level: tracing::Level) -> bool {
        logging::set_level(level)
    }

    /// The last lines of the log with a number above `after`, and their numbers.
    #[must_use]
    pub fn log_lines(&self, after: u64) -> Vec<(u64, String)> {
        logging::lines_after(after)
    }

    /// Seconds since the start.
    #[must_use]
    pub fn uptime_s(&self) -> u64 {
        self.now().0 / 1_000_000_000
    }
}
