//! Addresses of the admin listener: opened at the start and at a reload, closed when they are configured no more.

use super::server::{Change, Open};
use super::settings::Settings;
use crate::io::{Broker, StartError};
use crate::listener::Address;

/// Where it listens. Lives on: the start, then the reload thread.
#[derive(Default)]
pub(super) struct Listening(Vec<Address>);

/// Sockets that were opened for other settings, and are not served yet. Dropped, they are closed and their files go.
pub(super) struct Opened {
    broker: Broker,
    open: Vec<(Address, Open)>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        for (address, _) in &self.open {
            self.broker.remove_socket_file(address);
        }
    }
}

impl Listening {
    /// Opens the addresses of `settings` that are not open.
    pub(super) fn opened(
        &self,
        settings: &Settings,
        broker: &Broker,
    ) -> Result<Opened, StartError> {
        let mut opened = Opened {
            broker: broker.clone(),
            open: Vec::new(),
        };
        let wanted = settings.options.listen.iter();
        for address in wanted.filter(|address| !self.0.contains(address)) {
            let (socket, name) = broker.listen(address)?;
            let is_unix = matches!(address, Address::Unix(_));
            let is_plain = is_unix || settings.tls.is_none();
            let scheme = if is_plain { "http" } else { "https" };
            tracing::info!("admin listener on {scheme}://{name}");
            if is_plain && !address.is_local() {
                tracing::warn!(
                    "passwords and tokens for {name} can be read on the way: set admin-tls-certificate"
                );
            }
            let open = Open {
                socket,
                is_unix,
                needs_login: !address.is_local(),
            };
            opened.open.push((address.clone(), open));
        }
        Ok(opened)
    }

    /// None is open any more; those that were.
    pub(super) fn forget(&mut self) -> Vec<Address> {
        std::mem::take(&mut self.0)
    }

    /// What the server is to do so that it serves `wanted`.
    pub(super) fn change(&mut self, wanted: &[Address], mut opened: Opened) -> Change {
        let is_wanted = |address: &Address| wanted.contains(address);
        let closed: Vec<Address> = self
            .0
            .iter()
            .filter(|one| !is_wanted(one))
            .cloned()
            .collect();
        self.0 = wanted.to_vec();
        Change {
            closed,
            opened: std::mem::take(&mut opened.open),
        }
    }
}
