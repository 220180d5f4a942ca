//! A broker that does next to nothing, to measure the generator alone: it accepts, acknowledges and
//! discards, or gives every message to every subscriber. It keeps no topics, sessions or promises.

mod peer;

use std::collections::VecDeque;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};

use clap::Args;
use rustix::event::{eventfd, EventfdFlags};
use rustix::io::Errno;
use rustix::net::{accept_with, recv, send, sockopt, RecvFlags, SendFlags, SocketFlags};

use crate::engine::poller::{Event, Poller, Token};
use crate::engine::{ring_sentence, thread};
use peer::Peer;

const READ_BUFFER: usize = 256 << 10;
/// Bytes waiting for one subscriber above which publishers are not read.
const WAITING_MAX: usize = 1 << 20;
/// Bytes read in one turn.
const TURN_BYTES: usize = 1 << 20;
const WAIT_NS: u64 = 1_000_000_000;

/// The options of `mqload sink`.
#[derive(Args, Clone, Debug)]
pub struct Sink {
    /// HOST:PORT to listen on; port 0 takes a free one, which is printed
    #[arg(long, default_value = "127.0.0.1:0", value_name = "HOST:PORT")]
    pub listen: String,
    /// Gives every PUBLISH to every subscriber, at QoS 0
    #[arg(long)]
    pub fan_back: bool,
    /// Core to pin to
    #[arg(long)]
    pub core: Option<usize>,
}

impl Sink {
    /// Serves until the process ends.
    ///
    /// # Errors
    /// A sentence when it cannot listen, or io_uring is missing.
    pub fn run(&self) -> Result<(), String> {
        let listener = TcpListener::bind(&self.listen).map_err(|error| {
            format!(
                "--listen {}: {error}; give an address of this machine and a free port",
                self.listen
            )
        })?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        println!("mqload sink listens on {address}");
        let fan_back = self.fan_back;
        let served = thread("sink", self.core, move || serve(&listener.into(), fan_back))?;
        served
            .join()
            .map_err(|_| "the sink has failed".to_string())?
    }
}

/// Everything the sink's thread owns.
struct State {
    poller: Poller,
    peers: Vec<Option<Peer>>,
    free: Vec<u32>,
    generation: u32,
    readable: VecDeque<u32>,
    /// Peers with bytes to send.
    dirty: Vec<u32>,
    subscribers: Vec<u32>,
    fan_back: bool,
    buffer: Box<[u8]>,
}

fn serve(listener: &OwnedFd, fan_back: bool) -> Result<(), String> {
    let wake = eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| error.to_string())?;
    rustix::io::ioctl_fionbio(listener, true).map_err(|error| error.to_string())?;
    let mut poller = Poller::new(wake.as_fd()).map_err(|error| ring_sentence(&error))?;
    poller.watch_acceptable(listener.as_fd());
    let mut state = State {
        poller,
        peers: Vec::new(),
        free: Vec::new(),
        generation: 0,
        readable: VecDeque::new(),
        dirty: Vec::new(),
        subscribers: Vec::new(),
        fan_back,
        buffer: vec![0; READ_BUFFER].into(),
    };
    loop {
        let mut events = Vec::new();
        state.poller.reap(|event| events.push(event));
        for event in events {
            state.handle(event, listener);
        }
        let busy = state.read();
        state.flush();
        state.poller.submit();
        if !busy {
            state.poller.wait(WAIT_NS);
        }
    }
}

impl State {
    fn handle(&mut self, event: Event, listener: &OwnedFd) {
        match event {
            Event::Acceptable => {
                while let Ok(socket) =
                    accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
                {
                    self.open(socket);
                }
                self.poller.watch_acceptable(listener.as_fd());
            }
            Event::Readable(token, watched) => {
                if let Some(peer) = self.peer(token) {
                    let listed = std::mem::replace(&mut peer.listed, true);
                    if !watched {
                        let Self { poller, peers, .. } = self;
                        if let Some(peer) = &peers[token.slot as usize] {
                            poller.watch_readable(peer.socket.as_fd(), token);
                        }
                    }
                    if !listed {
                        self.readable.push_back(token.slot);
                    }
                }
            }
            Event::Writable(token) => {
                if let Some(peer) = self.peer(token) {
                    peer.blocked = false;
                    self.write(token.slot);
                }
            }
            Event::Woken => {}
        }
    }

    fn peer(&mut self, token: Token) -> Option<&mut Peer> {
        self.peers[token.slot as usize]
            .as_mut()
            .filter(|peer| peer.generation == token.generation)
    }

    fn open(&mut self, socket: OwnedFd) {
        let _ = sockopt::set_tcp_nodelay(&socket, true); // slower without, but right
        self.generation = (self.generation + 1) & ((1 << 30) - 1);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.peers.push(None);
            self.peers.len() as u32 - 1
        });
        let token = Token {
            slot,
            generation: self.generation,
        };
        self.poller.watch_readable(socket.as_fd(), token);
        self.peers[slot as usize] = Some(Peer::new(socket, self.generation));
    }

    fn close(&mut self, slot: u32) {
        if let Some(peer) = self.peers[slot as usize].take() {
            self.poller.forget(Token {
                slot,
                generation: peer.generation,
            });
            let _ = rustix::net::shutdown(&peer.socket, rustix::net::Shutdown::Both);
            self.subscribers.retain(|other| *other != slot);
            // A turn's lists may still name the place: it is used again only when they have passed.
            self.readable.retain(|other| *other != slot);
            self.dirty.retain(|other| *other != slot);
            self.free.push(slot);
        }
    }

    /// Some subscriber has more waiting than it may.
    fn is_full(&self) -> bool {
        let waiting = |slot: &u32| {
            self.peers[*slot as usize]
                .as_ref()
                .map_or(0, |peer| peer.out.len() - peer.sent)
        };
        self.subscribers
            .iter()
            .any(|slot| waiting(slot) > WAITING_MAX)
    }

    fn read(&mut self) -> bool {
        let mut left = TURN_BYTES;
        for _ in 0..self.readable.len() {
            if left == 0 || (self.fan_back && self.is_full()) {
                break;
            }
            let Some(slot) = self.readable.pop_front() else {
                break;
            };
            left = left.saturating_sub(self.read_one(slot));
        }
        // What waits for subscribers goes on when they can be written to.
        !(self.readable.is_empty() || self.fan_back && self.is_full())
    }

    fn read_one(&mut self, slot: u32) -> usize {
        let Some(peer) = &mut self.peers[slot as usize] else {
            return 0;
        };
        let kept = peer.partial.len();
        self.buffer[..kept].copy_from_slice(&peer.partial);
        let count = match recv(&peer.socket, &mut self.buffer[kept..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                self.close(slot);
                return 0;
            }
            Ok((count, _)) => count,
            Err(Errno::AGAIN) => {
                peer.listed = false;
                return 0;
            }
            Err(Errno::INTR) => {
                self.readable.push_back(slot);
                return 0;
            }
            Err(_) => {
                self.close(slot);
                return 0;
            }
        };
        let end = kept + count;
        peer.listed = end == READ_BUFFER;
        if peer.listed {
            self.readable.push_back(slot);
        }
        let mut messages = Vec::new();
        let handled = peer.handle_bytes(&self.buffer[..end], self.fan_back, &mut messages);
        let Ok(used) = handled else {
            self.close(slot);
            return count;
        };
        peer.partial.clear();
        peer.partial.extend_from_slice(&self.buffer[used..end]);
        if !peer.out.is_empty() {
            self.dirty.push(slot);
        }
        if peer.subscribed && !self.subscribers.contains(&slot) {
            self.subscribers.push(slot);
        }
        if peer.partial.len() == READ_BUFFER {
            self.close(slot); // a packet that is neither PUBLISH nor small
        } else {
            self.fan_back(&messages);
        }
        count
    }

    fn fan_back(&mut self, messages: &[peer::Message]) {
        for slot in &self.subscribers {
            let Some(peer) = &mut self.peers[*slot as usize] else {
                continue;
            };
            for message in messages {
                match message {
                    peer::Message::Run(range) => {
                        peer.out.extend_from_slice(&self.buffer[range.clone()])
                    }
                    peer::Message::Owned(bytes) => peer.out.extend_from_slice(bytes),
                }
            }
            if !messages.is_empty() {
                self.dirty.push(*slot);
            }
        }
    }

    fn flush(&mut self) {
        for slot in std::mem::take(&mut self.dirty) {
            if self.peers[slot as usize]
                .as_ref()
                .is_some_and(|peer| !peer.blocked)
            {
                self.write(slot);
            }
        }
    }

    fn write(&mut self, slot: u32) {
        let Some(peer) = &mut self.peers[slot as usize] else {
            return;
        };
        while peer.sent < peer.out.len() {
            match send(
                &peer.socket,
                &peer.out[peer.sent..],
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            ) {
                Ok(count) => peer.sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    peer.out.drain(..peer.sent);
                    peer.sent = 0;
                    peer.blocked = true;
                    let token = Token {
                        slot,
                        generation: peer.generation,
                    };
                    self.poller.watch_writable(peer.socket.as_fd(), token);
                    return;
                }
                Err(_) => {
                    self.close(slot);
                    return;
                }
            }
        }
        peer.out.clear();
        peer.sent = 0;
    }
}
