//! The listeners of the broker: opened at the start, and changed while it runs without touching the connections of
//! others.
//!
//! A listener has its number for as long as the process lives: connections and counters name it. One that was removed
//! leaves its place, with a gate that still counts its connections.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::datagrams;
use super::errors::StartError;
use super::fd_store;
use super::gate::Gate;
use super::inherited::Inherited;
use super::listener::{self, Listening};
use super::listener_names::{is_ipv6_only, kept_as, key_of, kind_of};
use super::shared::SharedState;
use super::unix::{self, SocketFile};
use super::upgrade::HandedSockets;
use crate::ids::{ListenerId, ShardId};
use crate::listener::{Address, Listener, ListenerPolicy, Protocol, Transport};
use crate::transport::LayerFactory;
use crate::upgrade::{SocketName, SocketUse};

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
    /// Its number in the process before.
    former: Option<u16>,
}

impl ListenerSet {
    /// Opens the listeners; `factories` make what their connections need. What the process before has open is taken
    /// from `handed`.
    pub(super) fn open(
        configured: &[Listener],
        factories: Vec<Arc<LayerFactory>>,
        (mut inherited, mut handed): (Inherited, HandedSockets),
        shards: u16,
    ) -> Result<Self, StartError> {
        let mut rows = Vec::new();
        for (one, factory) in configured.iter().zip(factories) {
            let all = (configured, shards);
            rows.push(Row::open(one, all, factory, (&mut inherited, &mut handed))?);
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
            let none = (&mut Inherited::default(), &mut HandedSockets::default());
            let row = Row::open(one, all, factory, none)?;
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
                if let Some(name) = kept_as(&old.configured, &before.configured()) {
                    fd_store::forget(&name);
                }
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
            let is_sn = row.configured.protocol == Protocol::MqttSn;
            Ok(Listening {
                socket: socket.map(|socket| socket.try_clone()).transpose()?,
                factory: Arc::clone(&row.factory),
                gate: Arc::clone(&row.gate),
                mqtt_sn: is_sn.then(|| Arc::new(row.configured.mqtt_sn.clone())),
            })
        });
        listening.collect()
    }

    /// Those that are open, for another process.
    pub(super) fn sockets(&self) -> Vec<(SocketName, BorrowedFd<'_>)> {
        let mut all = Vec::new();
        for (number, row) in (0..).zip(&self.rows) {
            let name = SocketName {
                used_for: SocketUse::Listener(number),
                address: key_of(&row.configured),
            };
            let own = row.socket.iter().chain(&row.further);
            all.extend(own.map(|socket| (name.clone(), socket.as_fd())));
        }
        all
    }

    /// What the service manager is to keep, by name.
    pub(super) fn kept_ones(&self) -> impl Iterator<Item = (String, BorrowedFd<'_>)> {
        let all = self.configured();
        self.rows.iter().filter_map(move |row| {
            let socket = row.socket.as_ref()?;
            Some((kept_as(&row.configured, &all)?, socket.as_fd()))
        })
    }

    /// Those that are open.
    fn configured(&self) -> Vec<Listener> {
        let open = self.rows.iter().filter(|row| row.socket.is_some());
        open.map(|row| row.configured.clone()).collect()
    }

    /// What is open, by what it is known by to another process.
    pub(super) fn open_ones(&self) -> impl Iterator<Item = (String, &LayerFactory, &Gate)> {
        let open = self.rows.iter().filter(|row| row.socket.is_some());
        open.map(|row| (key_of(&row.configured), &*row.factory, &*row.gate))
    }

    /// Numbers here of the listeners that the process before had, by its numbers; `None`: not configured any more.
    pub(super) fn of_formers(&self) -> Arc<[Option<ListenerId>]> {
        let formers = self.rows.iter().filter_map(|row| row.former);
        let count = formers.max().map_or(0, |last| usize::from(last) + 1);
        let mut all = vec![None; count];
        for (number, row) in (0..).zip(&self.rows) {
            if let Some(former) = row.former {
                all[usize::from(former)] = Some(ListenerId(number));
            }
        }
        all.into()
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
        (inherited, handed): (&mut Inherited, &mut HandedSockets),
    ) -> Result<Self, StartError> {
        let Listener { address, .. } = configured;
        let failed = |text: String| StartError::Unavailable(address.to_string(), text);
        if let Some(former) = take_handed(configured, handed, shards).map_err(failed)? {
            return Ok(Self::former(configured, former, factory));
        }
        let mut further = Vec::new();
        let (socket, name) = match address {
            Address::Ip(ip) if configured.transport.has_datagrams() => {
                let opened = datagrams::open(*ip, is_ipv6_only(configured, all), shards)
                    .map_err(|error| StartError::of_listener(address, "--listen", error))?;
                let (first, rest) = opened;
                if configured.transport == Transport::Quic {
                    std::iter::once(&first)
                        .chain(&rest)
                        .for_each(datagrams::send_whole);
                    datagrams::steer(&first, &rest)?;
                }
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
                let kept = kept_as(configured, all).and_then(|name| inherited.kept(&name));
                let socket = match kept {
                    Some(socket) => socket,
                    None => listener::open_patiently(*ip, is_ipv6_only(configured, all))
                        .map_err(|error| StartError::of_listener(address, "--listen", error))?,
                };
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
            former: None,
        })
    }

    /// A listener that another process has opened.
    fn former(configured: &Listener, former: Former, factory: Arc<LayerFactory>) -> Self {
        let Former {
            number,
            socket,
            further,
        } = former;
        let name = listener::address(&socket).map(|at| at.to_string());
        let name = name.unwrap_or_else(|_| configured.address.to_string());
        tracing::info!("listening on {name}{}", configured.transport.describe());
        Self {
            gate: Arc::new(Gate::new(configured, name)),
            configured: configured.clone(),
            file: match &configured.address {
                Address::Unix(path) => SocketFile::of(path),
                Address::Ip(_) | Address::Inherited(_) => None,
            },
            socket: Some(Arc::new(socket)),
            further: further.into_iter().map(Arc::new).collect(),
            factory,
            former: Some(number),
        }
    }
}

impl Row {
    /// Whether this is where a listener is to be.
    fn is_at(&self, configured: &Listener) -> bool {
        let own = &self.configured;
        self.socket.is_some()
            && kind_of(own) == kind_of(configured)
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

/// A listener that another process has opened, with its number there.
struct Former {
    number: u16,
    socket: OwnedFd,
    further: Vec<OwnedFd>,
}

fn take_handed(
    configured: &Listener,
    handed: &mut HandedSockets,
    shards: u16,
) -> Result<Option<Former>, String> {
    let key = key_of(configured);
    let number = handed.iter().find_map(|(name, _)| match name.used_for {
        SocketUse::Listener(number) if name.address == key => Some(number),
        _ => None,
    });
    let Some(number) = number else {
        return Ok(None);
    };
    let used_for = SocketUse::Listener(number);
    let is_its = |(name, _): &mut (SocketName, OwnedFd)| name.used_for == used_for;
    let mut sockets: Vec<OwnedFd> = handed.extract_if(.., is_its).map(|(_, it)| it).collect();
    let socket = sockets.remove(0); // at least the one whose name was found
    let needed = match configured.transport.has_datagrams() {
        true => usize::from(shards) - 1,
        false => 0,
    };
    match sockets.len() == needed {
        true => Ok(Some(Former {
            number,
            socket,
            further: sockets,
        })),
        false => Err("a listener of datagrams keeps the number of shards until a restart".into()),
    }
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
