//! Controls: listeners as configured, and who waits for files that are read again.

use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};

use super::upgrade::Successor;
use crate::admin_options::AdminOptions;
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
    /// It is an option that stays as it was until the next start.
    pub needs_restart: bool,
}

/// Something for the reload thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Files are to be read again.
    Reload,
    /// Another process is to be started and to take everything over.
    Upgrade,
}

/// Takes what came of an upgrade: the number of the process that serves now, or why there is none.
pub(super) type UpgradeWaiter = Box<dyn FnOnce(&Result<Successor, String>) + Send>;

/// Takes what a reload has done.
pub(super) type Waiter = Box<dyn FnOnce(&[Reloaded]) + Send>;

/// Applies what a service has read.
pub type Apply = Box<dyn FnOnce()>;

/// Has a service beside the shards read and check its own part of the configuration. What it returns applies it.
pub(super) type Prepare =
    Box<dyn FnMut(&AdminOptions) -> Result<Apply, Vec<String>> + Send + 'static>;

/// Has a service cease to accept connections while another process may, or accept them again.
pub(super) type Pause = Box<dyn FnMut(bool) + Send + 'static>;

/// Listeners as configured, services beside the shards, and who waits for the next reload.
#[derive(Default)]
pub(super) struct Controls {
    /// By number; false: it was closed.
    listeners: Mutex<Vec<(Listener, bool)>>,
    pub(super) ask: Option<Sender<Ask>>,
    pub(super) waiters: Mutex<Vec<Waiter>>,
    pub(super) upgrade_waiters: Mutex<Vec<UpgradeWaiter>>,
    services: Mutex<Vec<Prepare>>,
    pauses: Mutex<Vec<Pause>>,
}

impl Controls {
    pub(super) fn new(ask: Sender<Ask>) -> Self {
        Self {
            ask: Some(ask),
            ..Self::default()
        }
    }

    /// Listeners as they are now, by number, and whether they are open.
    pub(super) fn set_listeners(&self, listeners: Vec<(Listener, bool)>) {
        *self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = listeners;
    }

    pub(super) fn listeners(&self) -> Vec<(Listener, bool)> {
        let listeners = self.listeners.lock();
        listeners.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn listener<T>(
        &self,
        id: ListenerId,
        show: impl FnOnce(&Listener) -> T,
    ) -> Option<T> {
        let listeners = self.listeners.lock();
        let listeners = listeners.unwrap_or_else(PoisonError::into_inner);
        listeners
            .get(id.index())
            .map(|(listener, _)| show(listener))
    }

    pub(super) fn add_service(&self, prepare: Prepare) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.push(prepare);
    }

    pub(super) fn add_pause(&self, pause: Pause) {
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        pauses.push(pause);
    }

    /// Has all services cease to accept connections, or accept them again.
    pub(super) fn pause_services(&self, is_paused: bool) {
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        pauses.iter_mut().for_each(|pause| pause(is_paused));
    }

    /// Has all services read their part. Nothing of it is in force before what is returned is called.
    ///
    /// # Errors
    /// Everything that is wrong, a sentence each.
    pub(super) fn prepare_services(
        &self,
        options: &AdminOptions,
    ) -> Result<Vec<Apply>, Vec<String>> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let prepared = services.iter_mut().map(|prepare| prepare(options));
        let (prepared, failed): (Vec<_>, Vec<_>) = prepared.partition(Result::is_ok);
        match failed.is_empty() {
            true => Ok(prepared.into_iter().flatten().collect()),
            false => Err(failed
                .into_iter()
                .filter_map(Result::err)
                .flatten()
                .collect()),
        }
    }

    /// Those whose request came before an upgrade begins.
    pub(super) fn take_upgrade_waiters(&self) -> Vec<UpgradeWaiter> {
        let waiters = self.upgrade_waiters.lock();
        std::mem::take(&mut *waiters.unwrap_or_else(PoisonError::into_inner))
    }

    /// Those whose request came before a reload begins.
    pub(super) fn take_waiters(&self) -> Vec<Waiter> {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiters)
    }
}
