//! A connection that never waits, and the ways it can end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{connect, socket_with, sockopt, AddressFamily, SocketFlags, SocketType};

use super::frames::{self, Frame};

/// A connection with what it has received and what it has yet to send.
pub(crate) struct Link {
    stream: TcpStream,
    received: Vec<u8>,
    pub(crate) unsent: Vec<u8>,
}

/// Bytes read and not yet taken: more than the largest packet of a test.
const RECEIVED_MAX: usize = 256 << 10;

impl Link {
    /// Begins to connect, without waiting: a broker that is stopped does not accept, and must not
    /// stop the test. `receive_buffer`: bytes the kernel may hold for a client that does not read.
    pub(crate) fn open(port: u16, receive_buffer: Option<usize>, first: Vec<u8>) -> Self {
        let mut link = Self {
            stream: begin(port, receive_buffer),
            received: Vec::new(),
            unsent: first,
        };
        link.write();
        link
    }

    /// Reads what there is, up to a bound: taking a packet moves all bytes behind it. False when the
    /// broker has closed the connection.
    pub(crate) fn read(&mut self) -> bool {
        let mut buffer = [0; 16_384];
        while self.received.len() < RECEIVED_MAX {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(len) => self.received.extend_from_slice(&buffer[..len]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        true
    }

    /// Takes the first whole packet received.
    pub(crate) fn take(&mut self) -> Option<Frame> {
        frames::take(&mut self.received)
    }

    /// Writes as far as it goes now. An error is seen again, and judged, when the connection is read.
    pub(crate) fn write(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(_) => return,
            }
        }
    }

    /// Closes with a reset: what is under way in either direction is lost.
    pub(crate) fn reset(self) {
        let _ = sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }

    /// What to wait for.
    pub(crate) fn wait_for(&self, reads: bool) -> PollFd<'_> {
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, reads);
        wanted.set(PollFlags::OUT, !self.unsent.is_empty());
        PollFd::from_borrowed_fd(self.stream.as_fd(), wanted)
    }
}

fn begin(port: u16, receive_buffer: Option<usize>) -> TcpStream {
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
