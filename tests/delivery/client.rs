//! A client that keeps its session and loses its connections.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::event::{poll, PollFd, PollFlags, Timespec};

use super::frames::{self, Frame};

/// How a connection ends.
#[derive(Clone, Copy)]
enum Cut {
    /// Closed, whatever is under way.
    Closed,
    /// Closed in the middle of a packet.
    HalfWritten,
    /// Open until another connection of the same client has taken over.
    TakenOver,
}

pub(super) struct Client {
    pub(super) is_v5: bool,
    client_id: String,
    port: u16,
    stream: TcpStream,
    /// The connection taken over, until the new one is up.
    previous: Option<TcpStream>,
    received: Vec<u8>,
    unsent: Vec<u8>,
    pub(super) is_up: bool,
    has_session: bool,
    cuts_left: u32,
    random: u64,
}

impl Client {
    pub(super) fn new(port: u16, client_id: String, is_v5: bool, cuts: u32, seed: u64) -> Self {
        let mut client = Self {
            is_v5,
            port,
            stream: open(port),
            previous: None,
            received: Vec::new(),
            unsent: frames::connect(is_v5, &client_id),
            is_up: false,
            has_session: false,
            cuts_left: cuts,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            client_id,
        };
        client.write();
        client
    }

    pub(super) fn send(&mut self, frame: &[u8]) {
        self.unsent.extend_from_slice(frame);
    }

    /// The next packet. CONNACK is looked at here and returned, too.
    pub(super) fn receive(&mut self) -> Option<Frame> {
        let frame = frames::take(&mut self.received)?;
        if self.is_up {
            return Some(frame);
        }
        assert_eq!(
            (frame.0, frame.1[1]),
            (0x20, 0),
            "{}: {frame:02x?}",
            self.client_id
        );
        let is_present = frame.1[0] == 1;
        assert_eq!(
            is_present, self.has_session,
            "{}: session present",
            self.client_id
        );
        (self.is_up, self.has_session) = (true, true);
        self.previous = None;
        Some(frame)
    }

    /// Moves bytes both ways as far as they go now.
    pub(super) fn move_bytes(&mut self) {
        self.write();
        let mut buffer = [0; 16_384];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("{} was closed by the broker", self.client_id),
                Ok(len) => self.received.extend_from_slice(&buffer[..len]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) => panic!("{}: {e}", self.client_id),
            }
        }
    }

    pub(super) fn write(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) => panic!("{}: {e}", self.client_id),
            }
        }
    }

    /// Cuts the connection now and then and opens the next one; true when it did.
    pub(super) fn may_cut(&mut self) -> bool {
        if !self.is_up || self.cuts_left == 0 || self.draw(24) != 0 {
            return false;
        }
        self.cuts_left -= 1;
        let cut = [Cut::Closed, Cut::HalfWritten, Cut::TakenOver][self.draw(3) as usize];
        match cut {
            Cut::Closed => {}
            Cut::HalfWritten => {
                self.unsent.truncate(1);
                self.write();
            }
            Cut::TakenOver => self.previous = self.stream.try_clone().ok(),
        }
        self.stream = open(self.port);
        self.received.clear();
        self.unsent = frames::connect(self.is_v5, &self.client_id);
        self.is_up = false;
        self.write();
        true
    }

    /// A number below `bound`, from the client's own sequence (xorshift).
    fn draw(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }
}

fn open(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the broker accepts");
    stream.set_nonblocking(true).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// Waits until a client has something to read or room to write.
pub(super) fn wait_for_any<'a>(clients: impl Iterator<Item = &'a mut Client>) {
    let clients: Vec<&Client> = clients.map(|client| &*client).collect();
    let mut fds: Vec<PollFd<'_>> = clients
        .iter()
        .map(|client| {
            let mut wanted = PollFlags::IN;
            wanted.set(PollFlags::OUT, !client.unsent.is_empty());
            PollFd::new(&client.stream, wanted)
        })
        .collect();
    let second = Timespec::try_from(Duration::from_secs(1)).expect("a second");
    poll(&mut fds, Some(&second)).expect("poll");
}
