//! Names of listeners outside of their process: in another one, and in the service manager's store.

use super::fd_store;
use crate::listener::{Address, Listener, Transport};

/// What a listener is known by to another process.
pub(super) fn key_of(configured: &Listener) -> String {
    format!("{} {}", kind_of(configured), configured.address)
}

/// Listeners of different kinds need different sockets.
pub(super) fn kind_of(configured: &Listener) -> &'static str {
    match configured.transport {
        Transport::Udp => "datagrams",
        Transport::Quic => "quic",
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => "streams",
    }
}

/// The name under which the service manager keeps the socket of a listener, if it does.
pub(super) fn kept_as(configured: &Listener, all: &[Listener]) -> Option<String> {
    match configured.address {
        Address::Ip(ip) if !configured.transport.has_datagrams() && ip.port() != 0 => Some(
            fd_store::name_of(ip, ip.is_ipv6() && is_ipv6_only(configured, all)),
        ),
        _ => None,
    }
}

/// Whether a socket that was kept is that of a listener.
pub(super) fn is_stored(name: &str, all: &[Listener]) -> bool {
    all.iter()
        .any(|one| kept_as(one, all).is_some_and(|own| own == name))
}

/// `[::]` serves IPv4, too, unless a listener of its own does.
pub(super) fn is_ipv6_only(configured: &Listener, all: &[Listener]) -> bool {
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
