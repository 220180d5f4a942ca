//! Listening sockets and what accepted ones inherit from them.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{
    acceptfrom_with, bind, getsockname, listen, socket_with, sockopt, AddressFamily, SocketFlags,
    SocketType,
};

use super::gate::Gate;
use crate::mqtt_sn;
use crate::shard::RemoteEnd;
use crate::transport::LayerFactory;

/// Connections waiting to be accepted; the kernel lowers it to net.core.somaxconn.
pub(super) const BACKLOG: i32 = 4_096;
/// A silent client is probed after this time, so that half-open connections end even without MQTT's
/// keep alive: after two minutes and six probes ten seconds apart.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(120);
const TCP_PROBE_INTERVAL: Duration = Duration::from_secs(10);
const TCP_PROBES: u32 = 6;
/// A client that takes none of our bytes for so long is dead or will never read: its socket fails.
const TCP_USER_TIMEOUT_MS: u32 = 180_000;

/// How long a start waits for a port in use, and how often it looks.
pub(super) const PORT_PATIENCE: Duration = Duration::from_secs(2);
const PORT_LOOK_EVERY: Duration = Duration::from_millis(20);

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// A listener as one shard has it.
pub(super) struct Listening {
    /// `None`: it was removed; its connections are still counted.
    pub(super) socket: Option<OwnedFd>,
    /// Makes the transport layers of its connections.
    pub(super) factory: Arc<LayerFactory>,
    pub(super) gate: Arc<Gate>,
    /// Its socket takes datagrams of MQTT-SN.
    pub(super) mqtt_sn: Option<Arc<mqtt_sn::Settings>>,
}

/// Opens a listening socket, and waits for its port when it is in use: the kernel takes down the ring of
/// a process that was killed, and the listener that the ring watched, a little after its end.
pub(super) fn open_patiently(address: SocketAddr, ipv6_only: bool) -> Result<OwnedFd, Errno> {
    let give_up_at = Instant::now() + PORT_PATIENCE;
    loop {
        match open(address, ipv6_only) {
            Err(Errno::ADDRINUSE) if Instant::now() < give_up_at => thread::sleep(PORT_LOOK_EVERY),
            result => return result,
        }
    }
}

/// Opens a listening socket. Without SO_REUSEPORT on purpose: a port in use is then always an error,
/// also when the other listener would share it. `ipv6_only` leaves the same port of IPv4 to another
/// listener.
pub(super) fn open(address: SocketAddr, ipv6_only: bool) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket_with(family, SocketType::STREAM, FLAGS, None)?;
    // A port whose old connections are in TIME_WAIT is free.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, ipv6_only)?;
    }
    set_options(&socket)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Options that accepted sockets inherit, which saves four system calls for each. The driver gathers small
/// packets itself, once per turn.
pub(super) fn set_options(socket: &OwnedFd) -> Result<(), Errno> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, TCP_KEEP_ALIVE)?;
    sockopt::set_tcp_keepintvl(socket, TCP_PROBE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, TCP_PROBES)?;
    sockopt::set_tcp_user_timeout(socket, TCP_USER_TIMEOUT_MS)
}

/// Where a listener is; its port is the kernel's choice if 0 was asked for.
pub(super) fn address(listener: &OwnedFd) -> Result<SocketAddr, Errno> {
    SocketAddr::try_from(getsockname(listener)?)
}

/// Accepts one connection; `None` when none waits. An address of IPv4 is shown as such also on a
/// listener of IPv6.
pub(super) fn accept(listener: &OwnedFd) -> Result<Option<(OwnedFd, RemoteEnd)>, Errno> {
    let (socket, address) = match acceptfrom_with(listener, FLAGS) {
        Ok(accepted) => accepted,
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(address) = address.and_then(|any| SocketAddr::try_from(any).ok()) else {
        return Ok(Some((socket, RemoteEnd::Unix)));
    };
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    Ok(Some((socket, RemoteEnd::Ip(address))))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    const ANY_PORT: &str = "127.0.0.1:0";

    fn accepted(listener: &OwnedFd) -> (OwnedFd, RemoteEnd) {
        loop {
            if let Some(accepted) = accept(listener).unwrap() {
                return accepted;
            }
            thread::yield_now();
        }
    }

    #[test]
    fn accepted_sockets_inherit_their_options() {
        let listener = open(ANY_PORT.parse().unwrap(), false).unwrap();
        let client = TcpStream::connect(address(&listener).unwrap()).unwrap();
        let (socket, from) = accepted(&listener);
        assert_eq!(from, RemoteEnd::Ip(client.local_addr().unwrap()));
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
        assert!(sockopt::socket_keepalive(&socket).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), TCP_KEEP_ALIVE);
        assert_eq!(
            sockopt::tcp_user_timeout(&socket).unwrap(),
            TCP_USER_TIMEOUT_MS
        );
        let flags = rustix::io::fcntl_getfd(&socket).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        let flags = rustix::fs::fcntl_getfl(&socket).unwrap();
        assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
    }

    #[test]
    fn a_port_in_use_is_an_error_even_if_its_listener_would_share_it() {
        let other = socket_with(AddressFamily::INET, SocketType::STREAM, FLAGS, None).unwrap();
        sockopt::set_socket_reuseaddr(&other, true).unwrap();
        sockopt::set_socket_reuseport(&other, true).unwrap();
        bind(&other, &ANY_PORT.parse::<SocketAddr>().unwrap()).unwrap();
        listen(&other, 1).unwrap();
        let taken = address(&other).unwrap();
        assert_eq!(open(taken, false).err(), Some(Errno::ADDRINUSE));
    }

    #[test]
    fn a_port_that_becomes_free_is_waited_for() {
        let first = open(ANY_PORT.parse().unwrap(), false).unwrap();
        let taken = address(&first).unwrap();
        let next = thread::spawn(move || open_patiently(taken, false));
        drop(first);
        assert_eq!(address(&next.join().unwrap().unwrap()), Ok(taken));
    }

    #[test]
    fn one_port_of_both_families() {
        let any: SocketAddr = "[::]:0".parse().unwrap();
        if open(any, true).is_err() {
            return; // a machine without IPv6
        }
        // Another process may hold the IPv4 port of the number we get.
        let both_free = (0..20).any(|_| {
            let six = open(any, true).unwrap();
            let port = address(&six).unwrap().port();
            open(SocketAddr::from(([0, 0, 0, 0], port)), false).is_ok()
        });
        assert!(both_free);
        let both = open(any, false).unwrap();
        let port = address(&both).unwrap().port();
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(matches!(accepted(&both).1, RemoteEnd::Ip(address) if address.is_ipv4()));
    }
}
