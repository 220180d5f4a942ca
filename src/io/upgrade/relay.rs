//! Connections with TLS after an upgrade: the old process keeps their layers and sockets, and the
//! new one has the other end of a socket pair in place of each, on which MQTT is plain.
//!
//! The keys of a TLS connection cannot leave its library, so the alternative is to cut it. The old process stays until
//! the last of them has ended; the new one sees to that (`upgrade-drain`).

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{recv, shutdown, RecvFlags, Shutdown};

use crate::io::layers::{push, Layers, Pushed};
use crate::transport::Scratch;

/// Read at once.
const READ: usize = 64 << 10;
/// Reads of one connection before others have their turn.
const TURN_READS: usize = 8;
const EVENTS: usize = 256;

/// One connection.
pub(in crate::io) struct Relay {
    client: OwnedFd,
    layers: Box<Layers>,
    /// The end of the pair whose other end the new process has.
    plain: OwnedFd,
    /// For the new process, which has had no room.
    up: Vec<u8>,
    is_client_gone: bool,
    is_plain_gone: bool,
}

impl Relay {
    pub(in crate::io) fn new(client: OwnedFd, layers: Box<Layers>, plain: OwnedFd) -> Self {
        Self {
            client,
            layers,
            plain,
            up: Vec::new(),
            is_client_gone: false,
            is_plain_gone: false,
        }
    }

    /// What comes first, read before.
    pub(in crate::io) fn with_up(self, up: Vec<u8>) -> Self {
        Self { up, ..self }
    }

    /// The client's end and the other one.
    pub(in crate::io) fn ends(&self) -> (BorrowedFd<'_>, BorrowedFd<'_>) {
        (self.client.as_fd(), self.plain.as_fd())
    }

    /// Of both in that order: whether something may still come of it, and whether something waits for it.
    pub(in crate::io) fn awaits(&self) -> [(bool, bool); 2] {
        let client = (!self.is_client_gone, !self.layers.unsent.is_empty());
        [client, (!self.is_plain_gone, !self.up.is_empty())]
    }

    /// The other end has closed.
    pub(in crate::io) fn is_owner_gone(&self) -> bool {
        self.is_plain_gone
    }

    /// Carries what there is; `Some(true)`: there may be more. `None`: it has ended.
    pub(in crate::io) fn carry(
        &mut self,
        buffer: &mut [u8],
        scratch: &mut Scratch,
    ) -> Option<bool> {
        for _ in 0..TURN_READS {
            let down = self.carry_down(buffer, scratch)?;
            let up = self.carry_up(buffer, scratch)?;
            if !down && !up {
                return Some(false);
            }
        }
        Some(true)
    }

    /// To the client. True: some was read.
    fn carry_down(&mut self, buffer: &mut [u8], scratch: &mut Scratch) -> Option<bool> {
        if !self.layers.unsent.is_empty() {
            self.push_down(&[])?;
        }
        if self.is_plain_gone || !self.layers.unsent.is_empty() {
            return Some(false);
        }
        match recv(&self.plain, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                self.is_plain_gone = true;
                self.layers.stack.close(scratch);
                let close = std::mem::take(&mut scratch.down);
                self.push_down(&close)?;
                if self.is_client_gone {
                    return None;
                }
                // What it has sent before it learns of that is read by the new process.
                let _ = shutdown(&self.client, Shutdown::Write);
                Some(false)
            }
            Ok((count, _)) => {
                let slices = [IoSlice::new(&buffer[..count])];
                self.layers.stack.send(&slices, scratch).ok()?;
                let down = std::mem::take(&mut scratch.down);
                self.push_down(&down)?;
                scratch.down = down;
                Some(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Some(false),
            Err(_) => None,
        }
    }

    fn push_down(&mut self, bytes: &[u8]) -> Option<()> {
        match self.layers.push(&self.client, bytes) {
            Pushed::All | Pushed::Part(_) => Some(()),
            Pushed::Failed => None,
        }
    }

    /// To the new process. True: some was read.
    fn carry_up(&mut self, buffer: &mut [u8], scratch: &mut Scratch) -> Option<bool> {
        if !self.up.is_empty() {
            match push(&self.plain, &self.up) {
                Pushed::All => self.up = Vec::new(),
                Pushed::Part(count) => drop(self.up.drain(..count)),
                Pushed::Failed => return None,
            }
        }
        if self.is_client_gone || !self.up.is_empty() || !self.layers.wants_input() {
            return Some(false);
        }
        match recv(&self.client, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => self.client_gone(),
            Ok((count, _)) => {
                let received = self.layers.stack.receive(&mut buffer[..count], scratch);
                self.layers.unsent.extend_from_slice(&scratch.down);
                self.up.extend_from_slice(&scratch.up);
                if received.is_err() || self.layers.stack.is_ended() {
                    let _ = self.push_down(&[]); // maybe an alert with the reason
                    let _ = push(&self.plain, &self.up);
                    return self.client_gone();
                }
                Some(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Some(false),
            Err(_) => None,
        }
    }

    /// The new process reads to the end, and closes.
    fn client_gone(&mut self) -> Option<bool> {
        self.is_client_gone = true;
        if self.is_plain_gone {
            return None;
        }
        let _ = shutdown(&self.plain, Shutdown::Write);
        Some(false)
    }
}

/// Relays all of them until each has ended.
pub(in crate::io) fn run(relays: Vec<Relay>) -> rustix::io::Result<()> {
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    let mut rows: Vec<Option<Relay>> = relays.into_iter().map(Some).collect();
    let mut left = rows.len();
    let mut ready: VecDeque<usize> = (0..left).collect();
    let mut is_listed = vec![true; left];
    for (place, relay) in rows.iter().enumerate() {
        let Some(relay) = relay else { continue };
        let data = EventData::new_u64(place as u64);
        epoll::add(&poll, relay.client.as_fd(), data, flags)?;
        epoll::add(&poll, relay.plain.as_fd(), data, flags)?;
    }
    let (mut buffer, mut scratch) = (vec![0; READ], Scratch::default());
    let mut events = Vec::with_capacity(EVENTS);
    while left > 0 {
        let patience = ready.front().map(|_| &rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        });
        match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), patience) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        for event in events.drain(..) {
            let place = event.data.u64() as usize;
            if !std::mem::replace(&mut is_listed[place], true) {
                ready.push_back(place);
            }
        }
        for _ in 0..ready.len() {
            let Some(place) = ready.pop_front() else {
                break;
            };
            is_listed[place] = false;
            let carried = rows[place]
                .as_mut()
                .map(|relay| relay.carry(&mut buffer, &mut scratch));
            match carried {
                Some(Some(true)) => {
                    is_listed[place] = true;
                    ready.push_back(place);
                }
                Some(None) => {
                    rows[place] = None;
                    left -= 1;
                }
                Some(Some(false)) | None => {}
            }
        }
    }
    Ok(())
}
