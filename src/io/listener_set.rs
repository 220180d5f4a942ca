//! The listeners of the broker: opened at the start, and changed while it runs without touching the connections of
//! others.
//!
//! A listener has its number for as long as the process lives: connections and counters name it. One that was removed
//! leaves its place, with a gate that still counts its connections.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::datagrams;
use super::errors::StartError;
use super::gate::Gate;
use super::inherited::Inherited;
use super::listener::{self, Listening};
use super::shared::SharedState;
use super::unix::{self, SocketFile};
use crate::ids::ShardId;
use crate::listener::{Address, Listener, ListenerPolicy};
use crate::transport::LayerFactory;

/// Lives on: the start, then the reload thread.
pub(super) struct ListenerSet {
    /// By listener number.
    rows: Vec<Row>,
    shards: u16,
}

/// One listener, or the place of one that was removed.
#[derive(Clone)]
struct Row {
    configured: Listener,
    /// `None`: removed.
    socket: Option<Arc<OwnedFd>>,
    /// Of datagrams: one for each further shard. The kernel chooses by the addresses, so a peer has the same
    /// shard to read it as long as the listener is there.
    further: Vec<Arc<OwnedFd>>,
    /// Of a Unix socket: it goes with the listener.
    file: Option<SocketFile>,
    factory: Arc<LayerFactory>,
    gate: Arc<Gate>,
}

impl ListenerSet {
    /// Opens the listeners; `factories` make what their connections need.
    pub(super) fn open(
        configured: &[Listener],
        factories: Vec<Arc<LayerFactory>>,
        mut inherited: Inherited,
        shards: u16,
    ) -> Result<Self, StartError> {
        let mut rows = Vec::new();
        for (one, factory) in configured.iter().zip(factories) {
            let all = (configured, shards);
            rows.push(Row::open(one, all, factory, &mut inherited)?);
        }
        warn_of_short_backlog();
        Ok(Self { rows, shards })
    }

    /// The set with other listeners: those that stay keep their sockets and numbers, new ones are opened behind them.
    /// Nothing of this set changes.
    pub(super) fn renewed(
        &self,
        configured: &[Listener],
        factories: Vec<Arc<LayerFactory>>,
    ) -> Result<Self, StartError> {
        let mut rows = self.rows.clone();
        let mut stays = vec![false; rows.len()];
        let mut added = Vec::new();
        for (one, factory) in configured.iter().zip(factories) {
            let place = (0..stays.len()).find(|index| !stays[*index] && rows[*index].is_at(one));
            match place {
                Some(index) => {
                    stays[index] = true;
                    rows[index].change(one, factory);
                }
                None => added.push((one, factory)),
            }
        }
        for (row, stays) in rows.iter_mut().zip(stays) {
            if !stays {
                row.socket = None;
                row.further.clear();
                row.file = None;
            }
        }
        for (one, factory) in added {
            if rows.len() > usize::from(u16::MAX) {
                let text = "65,536 listeners have been opened since the start; restart the broker";
                return Err(StartError::Unavailable(
                    one.address.to_string(),
                    text.into(),
                ));
            }
            let all = (configured, self.shards);
            let row = Row::open(one, all, factory, &mut Inherited::default())?;
            rows.push(row);
        }
        Ok(Self {
            rows,
            shards: self.shards,
        })
    }

    /// What connections of each may do, by number.
    pub(super) fn policies(&self) -> Arc<[ListenerPolicy]> {
        self.rows
            .iter()
            .map(|row| row.configured.policy.clone())
            .collect()
    }

    /// This set is in force instead of `before`: files of sockets that were closed go.
    pub(super) fn takes_over_from(&self, before: &Self) {
        for (old, new) in before.rows.iter().zip(&self.rows) {
            if old.socket.is_some() && new.socket.is_none() {
                tracing::info!("no longer listening on {}", old.gate.name());
                if let Some(file) = &old.file {
                    file.remove();
                }
            }
        }
    }

    /// As a shard has them.
    pub(super) fn for_a_shard(&self, shard: ShardId) -> std::io::Result<Vec<Listening>> {
        let listening = self.rows.iter().map(|row| {
            let own = shard.index().checked_sub(1);
            let own = own.and_then(|index| row.further.get(index));
            let socket = own.or(row.socket.as_ref());
            let has_datagrams = row.configured.transport.has_datagrams();
            Ok(Listening {
                socket: socket.map(|socket| socket.try_clone()).transpose()?,
                factory: Arc::clone(&row.factory),
                gate: Arc::clone(&row.gate),
                mqtt_sn: has_datagrams.then(|| Arc::new(row.configured.mqtt_sn.clone())),
            })
        });
        listening.collect()
    }

    /// Listeners by number, and whether they are open.
    pub(super) fn states(&self) -> Vec<(Listener, bool)> {
        let rows = self.rows.iter();
        rows.map(|row| (row.configured.clone(), row.socket.is_some()))
            .collect()
    }

    /// Counts in those there are, and has the files of Unix sockets go with the process.
    pub(super) fn count_in(&self, shared: &SharedState) {
        let open = self.rows.iter().filter(|row| row.socket.is_some());
        let gates = open.clone().map(|row| {
            row.gate.certified_until(row.factory.certificate_until_s());
            Arc::clone(&row.gate)
        });
        shared.counters().set_gates(gates.collect());
        shared.keep_socket_files(open.filter_map(|row| row.file.clone()));
    }
}

impl Row {
    fn open(
        configured: &Listener,
        (all, shards): (&[Listener], u16),
        factory: Arc<LayerFactory>,
        inherited: &mut Inherited,
    ) -> Result<Self, StartError> {
        let Listener { address, .. } = configured;
        let failed = |text: String| StartError::Unavailable(address.to_string(), text);
        let mut further = Vec::new();
        let (socket, name) = match address {
            Address::Ip(ip) if configured.transport.has_datagrams() => {
                let opened = datagrams::open(*ip, is_ipv6_only(configured, all), shards)
                    .map_err(|error| StartError::of_listener(address, "--listen", error))?;
                let (first, rest) = opened;
                if let Some(group) = configured.mqtt_sn.multicast {
                    // Joined by a shard; here it is found out that it can be.
                    datagrams::join(group, ip.ip())
                        .map_err(|error| failed(format!("no multicast group {group}: {error}")))?;
                }
                further.extend(rest.into_iter().map(Arc::new));
                let name = listener::address(&first)?.to_string();
                (first, name)
            }
            Address::Ip(ip) => {
                let socket = listener::open_patiently(*ip, is_ipv6_only(configured, all))
                    .map_err(|error| StartError::of_listener(address, "--listen", error))?;
                let name = listener::address(&socket)?.to_string();
                (socket, name)
            }
            Address::Unix(path) => {
                let owner = configured.owner.as_deref();
                let socket = unix::open_patiently(path, owner, configured.mode).map_err(failed)?;
                (socket, address.to_string())
            }
            Address::Inherited(name) => {
                let socket = inherited.socket(name).map_err(failed)?;
                // Of a Unix socket there is none.
                let at = listener::address(&socket).map(|at| at.to_string());
                if at.is_ok() {
                    listener::set_options(&socket)?;
                }
                (socket, at.unwrap_or_else(|_| address.to_string()))
            }
        };
        tracing::info!("listening on {name}{}", configured.transport.describe());
        let file = match address {
            Address::Unix(path) => SocketFile::of(path),
            Address::Ip(_) | Address::Inherited(_) => None,
        };
        Ok(Self {
            gate: Arc::new(Gate::new(configured, name)),
            configured: configured.clone(),
            socket: Some(Arc::new(socket)),
            further,
            file,
            factory,
        })
    }
}

impl Row {
    /// Whether this is where a listener is to be.
    fn is_at(&self, configured: &Listener) -> bool {
        let own = &self.configured;
        self.socket.is_some()
            && own.transport.has_datagrams() == configured.transport.has_datagrams()
            && (&own.address, &own.owner, &own.mode)
                == (&configured.address, &configured.owner, &configured.mode)
    }

    /// Other settings on the same socket.
    fn change(&mut self, configured: &Listener, factory: Arc<LayerFactory>) {
        let limits = |of: &Listener| {
            (
                (of.connections_max, of.connect_rate, of.connect_rate_source),
                (of.proxy_protocol, of.transport, of.trusted_proxies.clone()),
                of.mqtt_sn.datagram_rate_source,
            )
        };
        if limits(&self.configured) != limits(configured) {
            self.gate = Arc::new(self.gate.renewed(configured));
        }
        self.configured = configured.clone();
        self.factory = factory;
    }
}

/// `[::]` serves IPv4, too, unless a listener of its own does.
fn is_ipv6_only(configured: &Listener, all: &[Listener]) -> bool {
    let Address::Ip(ip) = configured.address else {
        return false;
    };
    let is_same_kind =
        |other: &&Listener| other.transport.has_datagrams() == configured.transport.has_datagrams();
    let has_ipv4 = |other: &Listener| match other.address {
        Address::Ip(other) => other.is_ipv4() && other.port() == ip.port(),
        Address::Unix(_) | Address::Inherited(_) => false,
    };
    ip.port() != 0 && all.iter().filter(is_same_kind).any(has_ipv4)
}

fn warn_of_short_backlog() {
    let somaxconn = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    let somaxconn = somaxconn.ok().and_then(|text| text.trim().parse().ok());
    if let Some(most) = somaxconn.filter(|most: &i32| *most < listener::BACKLOG) {
        tracing::warn!(
            "at most {most} connections may wait to be accepted, in a storm of them clients will \
             wait and retry; to allow {wanted}: sysctl net.core.somaxconn={wanted}",
            wanted = listener::BACKLOG
        );
    }
}
