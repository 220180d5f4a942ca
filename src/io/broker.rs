//! The running broker as services above `io` see it: its stage, queries to shards, logins, sockets.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustls::ServerConfig;

use super::clock::{wall, Clock};
use super::controls::Controls;
use super::errors::StartError;
use super::inbox::{Reply, ShardCommand};
use super::logins::Logins;
use super::shared::SharedState;
use super::stage::Stage;
use super::{listener, reload, unix};
use crate::auth::Rules;
use crate::ids::ShardId;
use crate::listener::{Address, TlsFiles};
use crate::shard::Query;
use crate::time::Time;

/// Read and write for the owner and the group: who may use a Unix socket of a service.
const SOCKET_MODE: u16 = 0o660;

/// A handle: clones are the same broker.
#[derive(Clone)]
pub struct Broker {
    shared: Arc<SharedState>,
    logins: Arc<Logins>,
    controls: Arc<Controls>,
    clock: Clock,
}

impl Broker {
    pub(super) fn new(
        shared: &Arc<SharedState>,
        logins: &Arc<Logins>,
        controls: &Arc<Controls>,
        clock: Clock,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            logins: Arc::clone(logins),
            controls: Arc::clone(controls),
            clock,
        }
    }

    pub(super) fn shared(&self) -> &SharedState {
        &self.shared
    }

    pub(super) fn controls(&self) -> &Controls {
        &self.controls
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    #[must_use]
    pub fn shards(&self) -> u16 {
        self.shared.shards()
    }

    #[must_use]
    pub fn stage(&self) -> Stage {
        self.shared.stage()
    }

    /// Gives a shard a query; it calls `reply` within its turn, so that must be short and wait for nothing.
    /// False: the shard's inbox is full. A shard that has ended drops `reply` uncalled.
    #[must_use]
    pub fn ask(&self, shard: ShardId, query: Query, reply: Reply) -> bool {
        self.shared
            .try_send(shard, ShardCommand::Query(query, reply))
    }

    /// Accounts and rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.logins.rules()
    }

    /// Too many logins from this address have failed.
    #[must_use]
    pub fn is_banned(&self, address: IpAddr) -> bool {
        self.logins.is_banned(address, self.clock.now())
    }

    /// Counts a failed login of a service, as one of a client.
    pub fn login_failed(&self, address: IpAddr) {
        self.logins.failed(address, self.clock.now());
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn unix_s(&self) -> u64 {
        wall().as_secs()
    }

    /// Calls this whenever files are read again.
    pub fn on_reload(&self, reload: impl Fn() + Send + 'static) {
        self.shared.on_reload(Box::new(reload));
    }

    /// Opens a listening socket of a service, and returns its address, too.
    ///
    /// # Errors
    /// As for listeners of clients.
    pub fn listen(&self, address: &Address) -> Result<(OwnedFd, String), StartError> {
        match address {
            Address::Ip(ip) => {
                let socket = listener::open_patiently(*ip, true)
                    .map_err(|error| StartError::of_listener(address, error))?;
                let name = listener::address(&socket)?.to_string();
                Ok((socket, name))
            }
            Address::Unix(path) => {
                let socket = unix::open_patiently(path, None, Some(SOCKET_MODE))
                    .map_err(|text| StartError::Unix(address.to_string(), text))?;
                self.shared.keep_socket_files(unix::SocketFile::of(path));
                Ok((socket, address.to_string()))
            }
        }
    }

    /// TLS for a service, from its files.
    ///
    /// # Errors
    /// A file cannot be read or does not hold what it should; a sentence.
    pub fn tls(&self, files: &TlsFiles) -> Result<Arc<ServerConfig>, String> {
        reload::server_config(files).map_err(|problem| problem.to_string())
    }

    /// Lets the calling thread have less of a core that a shard wants, too.
    pub fn yield_to_shards(&self) {
        super::logins::be_nice();
    }
}
