//! Sockets of datagrams: many are received, and many are sent, with one system call.
//!
//! Each shard has a socket of its own for each listener. The kernel chooses among them by the addresses of a
//! datagram (SO_REUSEPORT), so one shard reads all that a peer sends.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{bind, socket_with, sockopt, AddressFamily, SocketFlags, SocketType};

use super::listener;
use super::poller::Poller;
use crate::transport::quic::SHARD_AT;

/// Datagrams received or sent with one call.
pub(super) const BATCH: usize = 64;
/// What the kernel may keep of datagrams until a shard reads them; it gives less without a privilege.
const RECEIVE_BUFFER: usize = 4 << 20;
/// What may wait to be sent on a socket of QUIC.
const SEND_BUFFER: usize = 2 << 20;
/// Room for a datagram beyond the largest that is taken: a longer one is seen to be.
const BEYOND: usize = 16;

/// Whether a socket is sent what others on this machine have joined a group for; of the kernel's `in.h`.
const IP_MULTICAST_ALL: libc::c_int = 49;
/// Beside the numbers of listeners: the group of one.
const GROUP: u32 = 1 << 31;

/// The bit of a long header of QUIC.
const LONG_HEADER: u32 = 0x80;

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// Opens one socket for each shard, the first apart. The first is bound without sharing its port: a port in use
/// is an error.
pub(super) fn open(
    address: SocketAddr,
    ipv6_only: bool,
    shards: u16,
) -> Result<(OwnedFd, Vec<OwnedFd>), Errno> {
    let first = socket(address, ipv6_only)?;
    bind(&first, &address)?;
    sockopt::set_socket_reuseport(&first, true)?;
    let bound = listener::address(&first)?;
    let further = (1..shards).map(|_| {
        let socket = socket(address, ipv6_only)?;
        sockopt::set_socket_reuseport(&socket, true)?;
        bind(&socket, &bound)?;
        Ok(socket)
    });
    let further = further.collect::<Result<_, Errno>>()?;
    Ok((first, further))
}

/// Has the kernel choose the shard's socket by the connection id of QUIC in a datagram (see `transport/quic/cid.rs`), so that
/// a client whose address changes is still read by the shard that has its connection.
pub(super) fn steer(first: &OwnedFd, further: &[OwnedFd]) -> Result<(), Errno> {
    if further.is_empty() {
        return Ok(());
    }
    let shards = further.len() as u32 + 1;
    let row = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let [short, long] = SHARD_AT.map(|at| at as u32);
    use libc::{
        BPF_A, BPF_ABS, BPF_ALU, BPF_B, BPF_H, BPF_JA, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_MOD,
        BPF_RET,
    };
    let mut program = [
        row(BPF_LD | BPF_B | BPF_ABS, 0, 0, 0),
        row(BPF_JMP | BPF_JSET | BPF_K, 0, 2, LONG_HEADER),
        row(BPF_LD | BPF_H | BPF_ABS, 0, 0, long),
        row(BPF_JMP | BPF_JA, 0, 0, 1),
        row(BPF_LD | BPF_H | BPF_ABS, 0, 0, short),
        row(BPF_ALU | BPF_MOD | BPF_K, 0, 0, shards),
        row(BPF_RET | BPF_A, 0, 0, 0),
    ];
    let given = libc::sock_fprog {
        len: program.len() as libc::c_ushort,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel reads a program of this length, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            first.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            std::ptr::from_ref(&given).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

/// Datagrams leave in one piece or not at all, so that QUIC can look for the largest (RFC 9000 section 14), and many at
/// once. A failure costs datagrams, which are sent again.
pub(super) fn send_whole(socket: &OwnedFd) {
    let _ = sockopt::set_socket_send_buffer_size(socket, SEND_BUFFER);
    let levels = [
        (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_PROBE,
        ),
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE,
        ),
    ];
    for (level, option, value) in levels {
        // SAFETY: the kernel reads a number of this size. One of IPv4 has no option of IPv6.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                option,
                std::ptr::from_ref(&value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            );
        }
    }
}

fn socket(address: SocketAddr, ipv6_only: bool) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket_with(family, SocketType::DGRAM, FLAGS, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, ipv6_only)?;
    }
    stay_out_of_groups(&socket, address);
    // A failure costs datagrams in bursts, and nothing else.
    let _ = sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
    Ok(socket)
}

/// A socket that takes what is sent to a multicast group, in the network of the listener's own address. Other
/// programs of this machine may be in the group, too.
pub(super) fn join(group: SocketAddr, own: IpAddr) -> Result<OwnedFd, Errno> {
    let family = match group {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::DGRAM, FLAGS, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &group)?;
    match (group.ip(), own) {
        (IpAddr::V4(group), IpAddr::V4(own)) => {
            sockopt::set_ip_add_membership(&socket, &group, &own)?;
        }
        (IpAddr::V6(group), _) => sockopt::set_ipv6_add_membership(&socket, &group, 0)?,
        (IpAddr::V4(_), IpAddr::V6(_)) => return Err(Errno::AFNOSUPPORT),
    }
    Ok(socket)
}

/// What this socket sends to a group goes to the network of its own address, and it takes nothing of a group.
fn stay_out_of_groups(socket: &OwnedFd, address: SocketAddr) {
    let SocketAddr::V4(own) = address else {
        return; // only who has joined a group of IPv6 on this socket is sent what comes there
    };
    if !own.ip().is_unspecified() {
        // Without it the kernel chooses the network.
        let _ = sockopt::set_ip_multicast_if(socket, own.ip());
    }
    let off: libc::c_int = 0;
    // SAFETY: the kernel reads a number of this size.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            IP_MULTICAST_ALL,
            std::ptr::from_ref(&off).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

/// The sockets of one shard, and the buffers of its datagrams. Lives on: that shard.
#[derive(Default)]
pub(super) struct Datagrams {
    /// By listener number. They stay open while the broker stops: clients are sent away.
    pub(super) sockets: Vec<Option<OwnedFd>>,
    pub(super) readable: Vec<bool>,
    /// The groups of listeners, and whether something waits there; one shard has them.
    groups: Vec<Group>,
    pub(super) batch: Batch,
}

impl Datagrams {
    /// The kernel has something for the listener of this number; false when it is none of these.
    pub(super) fn are_readable(&mut self, index: u32) -> bool {
        if index & GROUP != 0 {
            let group = self.groups.get_mut((index & !GROUP) as usize);
            if let Some(group) = group {
                group.is_readable = true;
            }
            return true;
        }
        let index = index as usize;
        let is_one = self.sockets.get(index).is_some_and(Option::is_some);
        if is_one {
            self.readable[index] = true;
        }
        is_one
    }

    /// Joins the groups that listeners have from now on, with their own addresses, and leaves all others.
    pub(super) fn join(&mut self, wanted: &[Option<(SocketAddr, IpAddr)>], poller: &mut Poller) {
        self.groups.resize_with(wanted.len(), Group::default);
        for ((index, group), wanted) in (0..).zip(&mut self.groups).zip(wanted) {
            if group.joined == *wanted {
                continue;
            }
            if group.socket.take().is_some() {
                poller.forget_listener(GROUP | index);
            }
            (group.joined, group.is_readable) = (*wanted, false);
            let Some((address, own)) = *wanted else {
                continue;
            };
            match join(address, own) {
                Ok(socket) => {
                    poller.watch_acceptable(socket.as_fd(), GROUP | index);
                    group.socket = Some(socket);
                }
                Err(error) => {
                    tracing::error!("the multicast group {address} is not joined: {error}")
                }
            }
        }
    }

    /// Receives what has come to the group of a listener; false: nothing has.
    pub(super) fn receive_of_group(&mut self, index: usize, poller: &mut Poller) -> bool {
        let Some(group) = self.groups.get_mut(index).filter(|group| group.is_readable) else {
            return false;
        };
        let Some(socket) = &group.socket else {
            return false;
        };
        let count = self.batch.receive(socket.as_fd()).unwrap_or(0);
        if count < BATCH {
            group.is_readable = false;
            poller.watch_acceptable(socket.as_fd(), GROUP | index as u32);
        }
        true
    }

    pub(super) fn socket(&self, index: usize) -> Option<BorrowedFd<'_>> {
        self.sockets.get(index)?.as_ref().map(AsFd::as_fd)
    }
}

/// The multicast group of a listener.
#[derive(Default)]
struct Group {
    /// With the listener's own address; `None`: it has none.
    joined: Option<(SocketAddr, IpAddr)>,
    socket: Option<OwnedFd>,
    is_readable: bool,
}

/// Datagrams received with one call.
#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Of each in `bytes`.
    room: usize,
    received: Vec<(SocketAddr, usize)>,
}

impl Batch {
    /// Makes room for datagrams of this size.
    pub(super) fn reserve(&mut self, largest: usize) {
        self.room = self.room.max(largest + BEYOND);
        self.bytes.resize(BATCH * self.room, 0);
    }

    /// Receives what waits, up to [`BATCH`] datagrams; returns how many.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.received.clear();
        // SAFETY: all of these are plain numbers and pointers, for which zeros are a value.
        let mut names: [libc::sockaddr_storage; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut parts: [libc::iovec; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        let rooms = self.bytes.chunks_exact_mut(self.room.max(1));
        let rows = headers.iter_mut().zip(&mut parts).zip(&mut names);
        for (((header, part), name), room) in rows.zip(rooms) {
            part.iov_base = room.as_mut_ptr().cast();
            part.iov_len = room.len();
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        }
        // SAFETY: the headers point to names, parts and rooms that outlive the call, each of its own.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (header, name) in headers.iter().zip(&names).take(count) {
            // One without an address cannot be answered: there is none on a socket of IP.
            let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
            let from = address_of(name).unwrap_or(unspecified);
            self.received.push((from, header.msg_len as usize));
        }
        Ok(count)
    }

    /// The datagrams of the last call.
    pub(super) fn received(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let rooms = self.bytes.chunks_exact(self.room.max(1));
        let rows = self.received.iter().zip(rooms);
        rows.map(|((from, length), room)| (*from, &room[..(*length).min(room.len())]))
    }
}

/// Sends up to [`BATCH`] datagrams; returns how many the kernel took. What it has no room for, or no way to, is
/// lost, as on the network.
pub(super) fn send<'a>(
    socket: BorrowedFd<'_>,
    datagrams: impl Iterator<Item = (SocketAddr, &'a [u8])>,
) -> usize {
    // SAFETY: all of these are plain numbers and pointers, for which zeros are a value.
    let mut names: [libc::sockaddr_storage; BATCH] = unsafe { zeroed() };
    // SAFETY: as above.
    let mut parts: [libc::iovec; BATCH] = unsafe { zeroed() };
    // SAFETY: as above.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
    let rows = headers.iter_mut().zip(&mut parts).zip(&mut names);
    let mut count = 0;
    for (((header, part), name), (to, bytes)) in rows.zip(datagrams) {
        part.iov_base = bytes.as_ptr().cast_mut().cast();
        part.iov_len = bytes.len();
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_namelen = write_address(to, name);
        header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
        count += 1;
    }
    let mut sent = 0;
    let mut at = 0;
    while at < count {
        let left = &mut headers[at..count];
        // SAFETY: the headers point to names, parts and bytes that outlive the call; the kernel only reads them.
        let taken = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                left.as_mut_ptr(),
                left.len() as libc::c_uint,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        let taken = usize::try_from(taken).unwrap_or(0);
        sent += taken;
        at += taken.max(1); // the first of those left was refused: the next may have another way
    }
    sent
}

fn address_of(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is what the kernel has written.
            let v4 = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = u32::from_be(v4.sin_addr.s_addr);
            Some(SocketAddrV4::new(ip.into(), u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is what the kernel has written.
            let v6 = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = v6.sin6_addr.s6_addr.into();
            let (port, scope) = (u16::from_be(v6.sin6_port), v6.sin6_scope_id);
            Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, scope).into())
        }
        _ => None,
    }
}

/// Writes an address and returns its length.
fn write_address(address: SocketAddr, name: &mut libc::sockaddr_storage) -> libc::socklen_t {
    let length = match address {
        SocketAddr::V4(v4) => {
            // SAFETY: there is room for every kind of address, and zeros are a value of each.
            let name = unsafe { &mut *std::ptr::from_mut(name).cast::<libc::sockaddr_in>() };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_port = v4.port().to_be();
            name.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            // SAFETY: there is room for every kind of address, and zeros are a value of each.
            let name = unsafe { &mut *std::ptr::from_mut(name).cast::<libc::sockaddr_in6>() };
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = v6.port().to_be();
            name.sin6_addr.s6_addr = v6.ip().octets();
            name.sin6_flowinfo = v6.flowinfo();
            name.sin6_scope_id = v6.scope_id();
            size_of::<libc::sockaddr_in6>()
        }
    };
    length as libc::socklen_t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_read_by_one_of_several_sockets_and_answered_by_all() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (first, further) = open(any, false, 3).unwrap();
        let at = listener::address(&first).unwrap();
        let client = std::net::UdpSocket::bind(any).unwrap();
        let from = client.local_addr().unwrap();
        for number in 0..10_u8 {
            client.send_to(&[number; 3], at).unwrap();
        }
        let sockets: Vec<_> = std::iter::once(&first).chain(&further).collect();
        let mut found = Vec::new();
        for socket in &sockets {
            let mut batch = Batch::default();
            batch.reserve(8);
            if let Ok(count) = batch.receive(socket.as_fd()) {
                found.push(count);
                let expected = (0..10).map(|number| (from, vec![number; 3]));
                let received = batch.received().map(|(from, bytes)| (from, bytes.to_vec()));
                assert!(received.eq(expected));
            }
            let answers = [(from, &b"a"[..]), (from, b"b")].into_iter();
            assert_eq!(send(socket.as_fd(), answers), 2);
        }
        assert_eq!(found, [10], "one socket has them all");
        let mut answers = 0;
        let mut room = [0; 8];
        while answers < 2 * sockets.len() {
            let (length, sender) = client.recv_from(&mut room).unwrap();
            assert_eq!((length, sender), (1, at));
            answers += 1;
        }
    }

    #[test]
    fn a_port_in_use_is_an_error_even_between_brokers() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (first, _further) = open(any, false, 2).unwrap();
        let taken = listener::address(&first).unwrap();
        assert_eq!(open(taken, false, 2).err(), Some(Errno::ADDRINUSE));
    }
}
