//! Controls: what operators see and change of the process beside its shards. Listeners, the log, files that are
//! read again.

use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};

use super::broker::Broker;
use super::gate::Refusal;
use super::{logging, tls_files};
use crate::ids::ListenerId;
use crate::listener::Listener;

/// A listener as operators see it.
#[derive(Clone, Debug)]
pub struct ListenerState {
    pub name: String,
    /// tcp, tls, ws, wss.
    pub transport: &'static str,
    pub connections: u32,
    pub refused: Vec<(&'static str, u64)>,
    /// When the first of its certificates ends, by the files as they are now; seconds since 1970.
    pub certificate_until_s: Option<i64>,
}

/// What became of one thing that was read again: what, and the reason why it has stayed as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    pub what: String,
    pub problem: Option<String>,
}

/// Takes what a reload has done.
type Waiter = Box<dyn FnOnce(&[Reloaded]) + Send>;

/// Listeners as configured, and who waits for the next reload.
#[derive(Default)]
pub(super) struct Controls {
    /// By number; false: it was closed.
    listeners: Mutex<Vec<(Listener, bool)>>,
    ask: Option<Sender<()>>,
    waiters: Mutex<Vec<Waiter>>,
}

impl Controls {
    pub(super) fn new(ask: Sender<()>) -> Self {
        Self {
            listeners: Mutex::default(),
            ask: Some(ask),
            waiters: Mutex::default(),
        }
    }

    /// Listeners as they are now, by number, and whether they are open.
    pub(super) fn set_listeners(&self, listeners: Vec<(Listener, bool)>) {
        *self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = listeners;
    }

    fn listeners(&self) -> Vec<(Listener, bool)> {
        let listeners = self.listeners.lock();
        listeners.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn listener<T>(&self, id: ListenerId, show: impl FnOnce(&Listener) -> T) -> Option<T> {
        let listeners = self.listeners.lock();
        let listeners = listeners.unwrap_or_else(PoisonError::into_inner);
        listeners
            .get(id.index())
            .map(|(listener, _)| show(listener))
    }

    /// Those whose request came before a reload begins.
    pub(super) fn take_waiters(&self) -> Vec<Waiter> {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiters)
    }
}

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

    /// Reads files again, as at SIGHUP, and then calls `done` from another thread.
    pub fn reload(&self, done: impl FnOnce(&[Reloaded]) + Send + 'static) {
        let controls = self.controls();
        let waiters = controls.waiters.lock();
        waiters
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(done));
        if let Some(ask) = &controls.ask {
            let _ = ask.send(()); // fails only when there is no reload thread
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
