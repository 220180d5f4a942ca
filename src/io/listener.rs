//! Listening sockets and what is set on accepted ones.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    accept_with, bind, getpeername, getsockname, listen, socket_with, sockopt, AddressFamily,
    SocketFlags, SocketType,
};

/// Connections waiting to be accepted; the kernel lowers it to net.core.somaxconn.
const BACKLOG: i32 = 4_096;
/// An unanswered connection is probed after this many seconds of silence, so that half-open ones end
/// even without keep alive.
const TCP_KEEP_ALIVE_S: u64 = 120;

/// Opens a listening socket. Without SO_REUSEPORT on purpose: a port in use is then always an error,
/// also when the other listener would share it.
pub(super) fn open(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// The address a listener got, with the port the kernel chose for port 0.
pub(super) fn local_address(listener: &OwnedFd) -> Option<SocketAddr> {
    getsockname(listener).ok()?.try_into().ok()
}

/// Accepts one connection; `None` when none waits.
pub(super) fn accept(listener: &OwnedFd) -> Result<Option<(OwnedFd, SocketAddr)>, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = match accept_with(listener, flags) {
        Ok(socket) => socket,
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(None),
        Err(error) => return Err(error),
    };
    let address = getpeername(&socket).ok().flatten();
    let Some(address) = address.and_then(|any| SocketAddr::try_from(any).ok()) else {
        return Ok(None); // gone again already
    };
    // We gather small packets ourselves, once per turn. These fail only on sockets that are gone.
    let _ = sockopt::set_tcp_nodelay(&socket, true);
    let _ = sockopt::set_socket_keepalive(&socket, true);
    let _ = sockopt::set_tcp_keepidle(&socket, std::time::Duration::from_secs(TCP_KEEP_ALIVE_S));
    Ok(Some((socket, address)))
}
