//! The running broker as services above `io` see it: its stage, queries to shards, logins, sockets.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use super::clock::{wall, Clock};
use super::cluster_board::ClusterState;
use super::controls::{Apply, Controls};
use super::data_dir::small_file;
use super::errors::StartError;
use super::inbox::{Reply, ShardCommand, TakeKept, TakeReport};
use super::logins::Logins;
use super::shared::SharedState;
use super::stage::Stage;
use super::{listener, process_report, tls_files, unix};
use crate::admin_options::AdminOptions;
use crate::auth::Rules;
use crate::ids::ShardId;
use crate::listener::{Address, TlsFiles};
use crate::metrics::{BrokerReport, ClusterReport, ListenerReport, ProcessReport, ShardReport};
use crate::shard::{Kept, Query};
use crate::time::Time;

/// A shard that takes longer for an answer is stuck.
const PATIENCE: Duration = Duration::from_secs(5);
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

    /// Asks a shard for all that it has counted, in the same way.
    fn ask_report(&self, shard: ShardId, take: TakeReport) -> bool {
        self.shared.try_send(shard, ShardCommand::Report(take))
    }

    /// Asks a shard for what its sessions keep, from where an answer has ended.
    fn ask_kept(&self, shard: ShardId, from: u32, take: TakeKept) -> bool {
        self.shared.try_send(shard, ShardCommand::Kept(from, take))
    }

    /// The cluster as this node sees it. `None`: it is of none.
    #[must_use]
    pub fn cluster_state(&self) -> Option<ClusterState> {
        self.shared.cluster().state(self.clock.now())
    }

    /// A node of a cluster that may not acknowledge now.
    #[must_use]
    pub fn lacks_lease(&self) -> bool {
        self.shared.cluster().lacks_lease(self.clock.now())
    }

    /// A node is to own no client ids, or its part again. False: there is no such node.
    pub fn order_drain(&self, node: &str, drains: bool) -> bool {
        self.shared.cluster().order(node, drains)
    }

    /// What is known of the process beside the shards.
    #[must_use]
    pub fn process_report(&self) -> ProcessReport {
        process_report::process(&self.shared, self.clock.now())
    }

    fn listener_reports(&self) -> Vec<ListenerReport> {
        process_report::listeners(&self.shared)
    }

    /// Everything that the broker counts. Waits for the shards: not for one of them, nor for a thread that
    /// serves others. `None`: one of them does not answer.
    #[must_use]
    pub fn gather(&self) -> Option<BrokerReport> {
        let mut shards = self.shard_reports()?;
        for (id, report) in (0..).map(ShardId).zip(&mut shards) {
            while let Some(from) = report.kept.next {
                report.kept.add(&self.kept(id, from)?);
            }
        }
        Some(BrokerReport {
            process: self.process_report(),
            listeners: self.listener_reports(),
            hooks: self.logins.hook_reports(),
            bridges: self.bridge_reports(),
            cluster: self
                .cluster_state()
                .as_ref()
                .map_or_else(ClusterReport::default, ClusterState::report),
            shards,
        })
    }

    /// The same of the shards alone, with only the first part of what sessions keep: one answer of each.
    #[must_use]
    pub fn shard_reports(&self) -> Option<Vec<ShardReport>> {
        let ids = || (0..self.shards()).map(ShardId);
        let (sender, reports) = sync_channel(usize::from(self.shards()));
        for id in ids() {
            let sender = sender.clone();
            // Fails when the report comes too late.
            let take = move |report| {
                let _ = sender.try_send((id, report));
            };
            self.ask_report(id, Box::new(take)).then_some(())?;
        }
        let mut shards = vec![ShardReport::default(); usize::from(self.shards())];
        for _ in ids() {
            let (id, report) = reports.recv_timeout(PATIENCE).ok()?;
            shards[id.index()] = report;
        }
        Some(shards)
    }

    fn kept(&self, id: ShardId, from: u32) -> Option<Kept> {
        let (sender, kept) = sync_channel(1);
        // Fails when it comes too late.
        let take = move |part| {
            let _ = sender.try_send(part);
        };
        self.ask_kept(id, from, Box::new(take)).then_some(())?;
        kept.recv_timeout(PATIENCE).ok()
    }

    pub(super) fn send(&self, shard: ShardId, command: ShardCommand) {
        self.shared.send(shard, command);
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

    /// Lets an address in again that failed logins have banned; false: it is not banned by them.
    #[must_use]
    pub fn lift_ban(&self, address: IpAddr) -> bool {
        self.logins.lift_ban(address, self.clock.now())
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

    /// Has a service take part in each reload: `prepare` reads and checks, and what it returns applies it when nothing
    /// else is wrong.
    pub fn on_reload(
        &self,
        prepare: impl FnMut(&AdminOptions) -> Result<Apply, Vec<String>> + Send + 'static,
    ) {
        self.controls.add_service(Box::new(prepare));
    }

    /// Has a service cease to accept connections (true) while another process may serve, or accept them again, for which
    /// [`listen`](Self::listen) gives it the same sockets.
    pub fn on_upgrade(&self, pause: impl FnMut(bool) + Send + 'static) {
        self.controls.add_pause(Box::new(pause));
    }

    /// Reads a small file of the data directory; `None`: there is no such file, or no data directory.
    ///
    /// # Errors
    /// A sentence.
    pub fn read_kept(&self, name: &str) -> Result<Option<String>, String> {
        let options = self.shared.options();
        let Some(folder) = options.data_dir.as_deref() else {
            return Ok(None);
        };
        small_file::read(Path::new(folder), name).map_err(|error| error.to_string())
    }

    /// Replaces a small file of the data directory, if there is one, and waits for the disk.
    ///
    /// # Errors
    /// A sentence; the file is as it was.
    pub fn keep(&self, name: &str, text: &str) -> Result<(), String> {
        let options = self.shared.options();
        let Some(folder) = options.data_dir.as_deref() else {
            return Ok(());
        };
        let replaced = small_file::replace(Path::new(folder), name, text.as_bytes());
        replaced.map_err(|error| error.to_string())
    }

    /// Removes the file of a Unix socket of a service that has been closed.
    pub fn remove_socket_file(&self, address: &Address) {
        self.shared.forget_service_socket(&address.to_string());
        if let Address::Unix(path) = address {
            self.shared.remove_socket_file(path);
        }
    }

    /// Opens a listening socket of a service, and returns its address, too.
    ///
    /// # Errors
    /// As for listeners of clients.
    pub fn listen(&self, address: &Address) -> Result<(OwnedFd, String), StartError> {
        let (socket, name) = match self.shared.take_handed_service(&address.to_string()) {
            Some(socket) => {
                let name = listener::address(&socket).map(|at| at.to_string());
                if let Address::Unix(path) = address {
                    self.shared.keep_socket_files(unix::SocketFile::of(path));
                }
                (socket, name.unwrap_or_else(|_| address.to_string()))
            }
            None => self.open_service(address)?,
        };
        self.shared
            .keep_service_socket(address.to_string(), socket.try_clone()?);
        Ok((socket, name))
    }

    fn open_service(&self, address: &Address) -> Result<(OwnedFd, String), StartError> {
        match address {
            Address::Ip(ip) => {
                let socket = listener::open_patiently(*ip, true)
                    .map_err(|error| StartError::of_listener(address, "--admin-listen", error))?;
                let name = listener::address(&socket)?.to_string();
                Ok((socket, name))
            }
            Address::Unix(path) => {
                let socket = unix::open_patiently(path, None, Some(SOCKET_MODE))
                    .map_err(|text| StartError::Unavailable(address.to_string(), text))?;
                self.shared.keep_socket_files(unix::SocketFile::of(path));
                Ok((socket, address.to_string()))
            }
            Address::Inherited(_) => {
                let text = "sockets of the service manager are for a [[listener]]";
                Err(StartError::Unavailable(address.to_string(), text.into()))
            }
        }
    }

    /// TLS for a service, from its files.
    ///
    /// # Errors
    /// A file cannot be read or does not hold what it should; a sentence.
    pub fn tls(&self, files: &TlsFiles) -> Result<Arc<ServerConfig>, String> {
        tls_files::server_config(files).map_err(|problem| problem.to_string())
    }

    /// Lets the calling thread have less of a core that a shard wants, too.
    pub fn yield_to_shards(&self) {
        super::logins::be_nice();
    }
}
