//! Dialling: from an address as written to a connected socket.
//!
//! All addresses of a name are tried, IPv6 and IPv4 by turns, each a little after the one before (RFC 8305): one
//! that does not answer costs a quarter of a second, not the whole time.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{bind, connect, socket_with, sockopt, AddressFamily, SocketFlags, SocketType};

use crate::io::listener;
use crate::shard::RemoteEnd;

/// Between the beginnings of two attempts (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Connects to `host:port` or `unix:/path`, from an address of this machine if it is given; blocks for as long as name
/// resolution takes, and then for `patience`.
///
/// # Errors
/// A sentence.
pub(super) fn dial(
    address: &str,
    from: Option<IpAddr>,
    patience: Duration,
) -> Result<(OwnedFd, RemoteEnd), String> {
    if let Some(path) = address.strip_prefix("unix:") {
        let connected = UnixStream::connect(path).and_then(|socket| {
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        return connected
            .map(|socket| (socket.into(), RemoteEnd::Unix))
            .map_err(|error| error.to_string());
    }
    let found = address
        .to_socket_addrs()
        .map_err(|error| format!("its name cannot be resolved: {error}"))?;
    let is_of_family =
        |address: &SocketAddr| from.is_none_or(|ip| ip.is_ipv4() == address.is_ipv4());
    let addresses = by_turns(found.filter(is_of_family).collect());
    if addresses.is_empty() {
        return Err("its name has no address, or none of the family of bind-address".into());
    }
    race(&addresses, from, patience)
}

/// The families by turns, the first of the resolver first.
fn by_turns(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut addresses = Vec::new();
    for address in first {
        addresses.push(address);
        addresses.extend(second.next());
    }
    addresses.extend(second);
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

/// The first that connects.
fn race(
    addresses: &[SocketAddr],
    from: Option<IpAddr>,
    patience: Duration,
) -> Result<(OwnedFd, RemoteEnd), String> {
    let end = Instant::now() + patience;
    let mut waiting = addresses.iter();
    let mut open: Vec<(OwnedFd, SocketAddr)> = Vec::new();
    let mut wrong = String::new();
    let mut next_at = Instant::now();
    loop {
        let now = Instant::now();
        if now >= end {
            return Err(format!("no answer within {} s", patience.as_secs()));
        }
        if now >= next_at || open.is_empty() {
            match waiting
                .next()
                .map(|address| (address, begin(*address, from)))
            {
                Some((address, Ok((socket, true)))) => {
                    return Ok((socket, RemoteEnd::Ip(*address)))
                }
                Some((address, Ok((socket, false)))) => open.push((socket, *address)),
                Some((address, Err(error))) => {
                    wrong = format!("{address}: {error}");
                    continue;
                }
                None if open.is_empty() => return Err(wrong),
                None => {}
            }
            next_at = now + STAGGER;
        }
        let until = if waiting.len() > 0 {
            next_at.min(end)
        } else {
            end
        };
        if let Some((socket, address)) = first_ready(&mut open, until, &mut wrong) {
            return Ok((socket, RemoteEnd::Ip(address)));
        }
    }
}

/// Begins to connect; true when it has succeeded at once.
fn begin(address: SocketAddr, from: Option<IpAddr>) -> io::Result<(OwnedFd, bool)> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    listener::set_options(&socket)?;
    if let Some(ip) = from {
        bind(&socket, &SocketAddr::new(ip, 0))?;
    }
    match connect(&socket, &address) {
        Ok(()) => Ok((socket, true)),
        Err(Errno::INPROGRESS) => Ok((socket, false)),
        Err(error) => Err(error.into()),
    }
}

/// Waits for one of them to be connected; those that have failed are removed.
fn first_ready(
    open: &mut Vec<(OwnedFd, SocketAddr)>,
    until: Instant,
    wrong: &mut String,
) -> Option<(OwnedFd, SocketAddr)> {
    let left = until.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).ok()?;
    let mut polled: Vec<_> = open
        .iter()
        .map(|(socket, _)| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::OUT))
        .collect();
    // Interrupted, it is called again.
    if poll(&mut polled, Some(&timeout)).is_err() {
        return None;
    }
    let is_ready: Vec<bool> = polled.iter().map(|one| !one.revents().is_empty()).collect();
    for at in (0..open.len()).rev().filter(|at| is_ready[*at]) {
        let (socket, address) = open.remove(at);
        match sockopt::socket_error(&socket) {
            Ok(Ok(())) => return Some((socket, address)),
            Ok(Err(error)) | Err(error) => *wrong = format!("{address}: {error}"),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn families_take_turns() {
        let all = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"];
        let found = all.map(|text| text.parse().unwrap()).to_vec();
        let texts: Vec<_> = by_turns(found).iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]
        );
    }

    #[test]
    fn one_that_does_not_answer_does_not_keep_the_next_one_waiting() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        // It accepts nothing, and has room for one connection: the kernel drops what comes behind that.
        let full = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&full, 0).unwrap();
        let silent = full.local_addr().unwrap();
        let (first, _) = begin(silent, None).unwrap();
        let mut open = vec![(first, silent)];
        let soon = Instant::now() + Duration::from_secs(60);
        first_ready(&mut open, soon, &mut String::new()).expect("there is room for one");
        let (_, remote) = race(&[silent, there], None, Duration::from_secs(60)).unwrap();
        assert_eq!(remote, RemoteEnd::Ip(there));
    }

    #[test]
    fn what_cannot_be_reached_is_a_sentence() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = listener.local_addr().unwrap();
        drop(listener);
        let error = dial(&closed.to_string(), None, Duration::from_secs(5)).unwrap_err();
        assert!(error.contains("refused"), "{error}");
        let error = dial("unix:/nowhere/at/all", None, Duration::from_secs(5)).unwrap_err();
        assert!(error.contains("No such file"), "{error}");
    }
}
