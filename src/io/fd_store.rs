//! Listening sockets of TCP in the service manager's store of descriptors (`FDSTORE=1`): they outlive their process there, so
//! clients that connect while it is started anew, also after a crash, wait in their backlog.
//!
//! A socket of a Unix path is not kept, since its file goes with the process, nor one that the manager has opened itself.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::net::{
    connect, sendmsg, socket_with, AddressFamily, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

/// Names of our own begin with it: sockets of a socket unit have others.
pub(super) const PREFIX: &str = "ringmq-kept-";

/// Under which the socket of an address is kept. A colon would end it.
pub(super) fn name_of(address: SocketAddr, is_ipv6_only: bool) -> String {
    let only = match is_ipv6_only {
        true => "-v6only",
        false => "",
    };
    format!("{PREFIX}{address}{only}").replace(':', "_")
}

/// Has sockets kept; those that are kept already stay.
pub(super) fn keep<'a>(sockets: impl Iterator<Item = (String, BorrowedFd<'a>)>) {
    for (name, socket) in sockets {
        let text = format!("FDSTORE=1\nFDNAME={name}\n");
        if let Err(error) = send(&text, Some(socket)) {
            tracing::debug!("the service manager does not keep {name}: {error}");
        }
    }
}

/// A socket is not wanted any more.
pub(super) fn forget(name: &str) {
    let _ = send(&format!("FDSTOREREMOVE=1\nFDNAME={name}\n"), None); // it closes it as the process does
}

/// Nothing, where there is no manager.
fn send(text: &str, beside: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
        path => SocketAddrUnix::new(path)?,
    };
    let flags = SocketFlags::CLOEXEC;
    let socket: OwnedFd = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    connect(&socket, &address)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = beside.into_iter().collect();
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let slices = [IoSlice::new(text.as_bytes())];
    sendmsg(&socket, &slices, &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_no_colon_and_tells_addresses_apart() {
        let name = |text: &str, only| name_of(text.parse().unwrap(), only);
        assert_eq!(name("127.0.0.1:1883", false), "ringmq-kept-127.0.0.1_1883");
        assert_eq!(name("[::]:1883", false), "ringmq-kept-[__]_1883");
        assert_eq!(name("[::]:1883", true), "ringmq-kept-[__]_1883-v6only");
    }
}
