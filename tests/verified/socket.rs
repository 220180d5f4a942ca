//! Sockets that never wait, and the ways a connection can end.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{connect, socket_with, sockopt, AddressFamily, SocketFlags, SocketType};

/// Begins to connect: a broker that is stopped does not accept, and must not stop the test.
/// `receive_buffer`: bytes the kernel may hold for a client that does not read.
pub(crate) fn open(port: u16, receive_buffer: Option<usize>) -> TcpStream {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket =
        socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
    if let Some(bytes) = receive_buffer {
        sockopt::set_socket_recv_buffer_size(&socket, bytes).expect("a socket");
    }
    sockopt::set_tcp_nodelay(&socket, true).expect("a socket");
    match connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) {
        Ok(()) | Err(Errno::INPROGRESS) => socket.into(),
        Err(error) => panic!("cannot connect: {error}"),
    }
}

/// Closes with a reset: what is under way in either direction is lost.
pub(crate) fn reset(stream: TcpStream) {
    let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
    drop(stream);
}
