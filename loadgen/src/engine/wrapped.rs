//! Sockets with TLS or WebSocket between them and the client.

use rustix::io::Errno;
use rustix::net::{send, SendFlags};

use super::clock::now_ns;
use super::worker::Worker;
use crate::meter::{Count, Timing};
use crate::transport::Handshake;

impl Worker {
    /// The connection is open: handshakes of the layers begin, when there are any; false when there are none.
    pub(super) fn begin_link(&mut self, slot: usize, now: u64) -> bool {
        let (target, _) = self.target_of(slot);
        let place = &mut self.slots[slot];
        let own = (usize::from(place.client.group), place.client.index);
        let Some(link) = self.connector.link(target, own) else {
            return false;
        };
        let mut link = Box::new(link);
        let begun = link.begin(now, &mut self.scratch);
        place.link = Some(link);
        match begun {
            Ok(()) => self.write_wrapped(slot, now),
            Err(error) => self.lost(slot, error.to_string()),
        }
        true
    }

    /// Unwraps `buffer[..count]`.
    pub(super) fn handle_wrapped(&mut self, slot: usize, count: usize) {
        let place = &mut self.slots[slot];
        let Some(link) = &mut place.link else {
            return;
        };
        let was_open = link.is_open();
        let result = link.receive(&mut self.buffer[..count], &mut self.scratch);
        let answers = !link.unsent().is_empty();
        let opens = !was_open && link.is_open();
        if answers && !place.dirty && !place.blocked {
            place.dirty = true;
            self.dirty.push(slot as u32);
        }
        if opens {
            self.link_opened(slot, now_ns());
        }
        self.handle_unwrapped(slot);
        if let Err(error) = result {
            // The alert or close frame is sent as far as the socket takes it at once.
            let place = &self.slots[slot];
            if let (Some(link), Some(socket)) = (&place.link, &place.socket) {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                let _ = send(socket, link.unsent(), flags);
            }
            self.lost(slot, error.to_string());
        }
    }

    /// Gives unwrapped bytes to a client, behind the beginning of a packet that it has seen before.
    fn handle_unwrapped(&mut self, slot: usize) {
        let partial = &self.slots[slot].partial;
        if self.scratch.up.is_empty() {
            return;
        }
        let mut bytes = std::mem::take(&mut self.scratch.up);
        if !partial.is_empty() {
            bytes.splice(0..0, partial.iter().copied());
        }
        self.handle_bytes(slot, &bytes);
        self.scratch.up = bytes;
    }

    /// All handshakes are done: MQTT begins.
    fn link_opened(&mut self, slot: usize, now: u64) {
        let Some(link) = &mut self.slots[slot].link else {
            return;
        };
        let handshake = link.take_handshake();
        let took = now.saturating_sub(link.began_ns);
        let timing = match handshake {
            Some(Handshake::Resumed) => {
                self.count(Count::HandshakesResumed);
                Timing::HandshakeResumed
            }
            Some(Handshake::Full) => {
                self.count(Count::HandshakesFull);
                Timing::Handshake
            }
            None => Timing::Handshake,
        };
        self.meter.time(timing, took);
        self.with(slot, now, |client, cx| client.connect(cx.plan));
    }

    /// Wraps what the client has put together, and sends it.
    pub(super) fn write_wrapped(&mut self, slot: usize, now: u64) {
        loop {
            let place = &mut self.slots[slot];
            let (Some(socket), Some(link)) = (&place.socket, &mut place.link) else {
                return;
            };
            if link.unsent().is_empty() {
                if !link.is_open() {
                    return;
                }
                if !place.client.out.is_empty() {
                    let wrapped = link.send(&place.client.out, &mut self.scratch);
                    place.client.out.clear();
                    if let Err(error) = wrapped {
                        return self.lost(slot, error.to_string());
                    }
                } else if !(place.ending && link.send_close(&mut self.scratch)) {
                    return self.sent_all(slot);
                }
            }
            let waiting = link.unsent();
            self.meter
                .counts
                .raise(Count::SendQueueMax, waiting.len() as u64);
            match send(socket, waiting, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => {
                    self.meter.counts.add(Count::BytesSent, count as u64);
                    place.last_sent_ns = now;
                    link.advance(count);
                    if !link.unsent().is_empty() {
                        return self.await_room(slot);
                    }
                }
                Err(Errno::AGAIN) => return self.await_room(slot),
                Err(Errno::INTR) => {}
                Err(error) => return self.failed(slot, error),
            }
        }
    }
}
