//! The admin listener as a service that takes part in reloads. Its thread is started when there is something to serve.

use std::sync::Arc;

use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};

use super::listening::{Listening, Opened};
use super::server::{self, Change};
use super::settings::Settings;
use super::Admin;
use crate::admin_options::AdminOptions;

/// Lives on: the start, then the reload thread.
pub(super) struct Service {
    admin: Arc<Admin>,
    listening: Listening,
    /// Few: one for each reload.
    changes: UnboundedSender<Change>,
    /// Until the thread takes it.
    changed: Option<UnboundedReceiver<Change>>,
}

impl Service {
    pub(super) fn new(admin: Arc<Admin>) -> Self {
        let (changes, changed) = unbounded_channel();
        Self {
            admin,
            listening: Listening::default(),
            changes,
            changed: Some(changed),
        }
    }

    /// Reads files and opens sockets.
    pub(super) fn prepare(
        &self,
        options: &AdminOptions,
    ) -> Result<(Settings, Opened), Vec<String>> {
        let broker = &self.admin.broker;
        let settings = Settings::read(options, broker)?;
        let opened = self.listening.opened(&settings, broker);
        let opened = opened.map_err(|error| vec![error.to_string()])?;
        Ok((settings, opened))
    }

    /// Settings are in force from now on.
    pub(super) fn apply(&mut self, settings: Settings, opened: Opened) {
        self.admin.set_settings(settings);
        if let Err(error) = self.take(opened, false) {
            tracing::error!("admin listener: {error}");
        }
    }

    /// Accepts no connections while another process may, or accepts them again. Connections stay.
    pub(super) fn pause(&mut self, is_paused: bool) {
        if is_paused {
            let closed = self.listening.forget();
            let opened = Vec::new();
            let _ = self.changes.send(Change { closed, opened }); // fails when there is no thread
            return;
        }
        let settings = self.admin.settings();
        let opened = self.listening.opened(&settings, &self.admin.broker);
        let taken = opened
            .map_err(|error| error.to_string())
            .and_then(|opened| self.take(opened, false).map_err(|error| error.to_string()));
        if let Err(error) = taken {
            tracing::error!("admin listener: {error}");
        }
    }

    /// Serves the addresses of the settings in force. The thread runs from then on, if there are some or it `is_needed`
    /// without them.
    pub(super) fn take(&mut self, opened: Opened, is_needed: bool) -> std::io::Result<()> {
        let settings = self.admin.settings();
        let wanted = &settings.options.listen;
        let change = self.listening.change(wanted, opened);
        for address in &change.closed {
            tracing::info!("no longer an admin listener on {address}");
            self.admin.broker.remove_socket_file(address);
        }
        let _ = self.changes.send(change); // fails when the thread has ended, which it has logged
        if wanted.is_empty() && !is_needed {
            return Ok(());
        }
        let Some(changed) = self.changed.take() else {
            return Ok(());
        };
        let admin = Arc::clone(&self.admin);
        let serve = move || {
            admin.broker.yield_to_shards();
            if let Err(error) = server::run(&admin, changed) {
                tracing::error!("admin listener: {error}");
            }
        };
        let thread = std::thread::Builder::new().name("admin".into());
        thread.spawn(serve).map(drop)
    }
}
