//! A client with its socket.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use ringmq::ids::ConnectionId;
use rustix::io::Errno;
use rustix::net::{
    bind, connect, ipproto, socket_with, sockopt, AddressFamily, SocketFlags, SocketType,
};

use crate::client::Client;
use crate::transport::Link;

/// What becomes of a client that the churn has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Return {
    /// It has not.
    #[default]
    No,
    /// It comes back when its connection is closed.
    WhenClosed,
    OnItsWay,
}

pub(super) struct Slot {
    pub(super) client: Client,
    pub(super) socket: Option<OwnedFd>,
    /// TLS and WebSocket, when the transport is not plain TCP.
    pub(super) link: Option<Box<Link>>,
    pub(super) generation: u32,
    /// Addresses that it has turned away from, and those that it may try before it has failed.
    pub(super) turns: u16,
    pub(super) attempts_left: u8,
    /// Bytes of `client.out` already sent.
    pub(super) sent: usize,
    /// The beginning of a packet whose rest has not come.
    pub(super) partial: Vec<u8>,
    /// The last write found no room.
    pub(super) blocked: bool,
    /// In the list of sockets to read.
    pub(super) listed: bool,
    /// The other end has closed: what is left is to be read up to its end.
    pub(super) ended: bool,
    /// In the list of sockets to write.
    pub(super) dirty: bool,
    /// Closes once everything is sent; its end is no error.
    pub(super) ending: bool,
    /// Not there, as the plan has it: it has not come yet, or has left.
    pub(super) absent: bool,
    /// It has left, to come back.
    pub(super) returns: Return,
    /// In a pause between two messages.
    pub(super) thinks: bool,
    pub(super) last_sent_ns: u64,
}

impl Slot {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            socket: None,
            link: None,
            generation: 0,
            turns: 0,
            attempts_left: 0,
            sent: 0,
            partial: Vec::new(),
            blocked: false,
            listed: false,
            ended: false,
            dirty: false,
            ending: false,
            absent: false,
            returns: Return::No,
            thinks: false,
            last_sent_ns: 0,
        }
    }

    /// Names this use of the slot: it is used again after its socket is closed.
    pub(super) fn id(&self, slot: usize) -> ConnectionId {
        ConnectionId {
            index: slot as u32,
            generation: self.generation,
        }
    }
}

/// Begins to connect; the socket becomes writable when it is connected or has failed.
///
/// # Errors
/// A sentence.
pub(super) fn open(target: SocketAddr, source: Option<IpAddr>) -> Result<OwnedFd, String> {
    let socket = new_socket(target).map_err(|error| connect_sentence(error, target))?;
    if let Some(source) = source {
        set_bind_address_no_port(&socket)
            .and_then(|()| bind(&socket, &SocketAddr::new(source, 0)))
            .map_err(|error| source_sentence(error, source))?;
    }
    match connect(&socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(connect_sentence(error, target)),
    }
}

fn new_socket(target: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if target.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(socket)
}

fn source_sentence(error: Errno, source: IpAddr) -> String {
    match error {
        Errno::ADDRNOTAVAIL => {
            format!("--source {source}: this is no address of this machine")
        }
        other => format!("cannot connect from {source}: {other}"),
    }
}

/// The port is chosen at connect(2), so that one source port serves many targets.
fn set_bind_address_no_port(socket: &OwnedFd) -> Result<(), Errno> {
    const IP_BIND_ADDRESS_NO_PORT: libc::c_int = 24;
    let on: libc::c_int = 1;
    let length = size_of_val(&on) as libc::socklen_t;
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(socket);
    // SAFETY: the option's value is an int that lives through the call, and its length is its own.
    let result = unsafe {
        libc::setsockopt(
            descriptor,
            libc::IPPROTO_IP,
            IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
    }
}

/// What a failed connection means, as a sentence.
pub(super) fn connect_sentence(error: Errno, target: SocketAddr) -> String {
    match error {
        Errno::CONNREFUSED => format!("{target} refused the connection: is the broker running there?"),
        Errno::TIMEDOUT | Errno::HOSTUNREACH | Errno::NETUNREACH => {
            format!("{target} cannot be reached: {error}")
        }
        Errno::ADDRNOTAVAIL => format!(
            "no free local port towards {target}: give more source addresses with --source, or widen \
             net.ipv4.ip_local_port_range"
        ),
        Errno::MFILE | Errno::NFILE => {
            "too many open files: raise the limit with: ulimit -n 1048576".to_string()
        }
        other => format!("cannot connect to {target}: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one idle client costs: 2 KB is promised, and all but the kernel's part of it is here.
    /// Buffers come from the worker's pool, and a place in its list of pings is one entry.
    #[test]
    fn an_idle_client_is_small() {
        let place = size_of::<Slot>();
        let ping = size_of::<(u64, ConnectionId)>();
        assert!(place + ping <= 320, "{place} + {ping} bytes");
    }
}
