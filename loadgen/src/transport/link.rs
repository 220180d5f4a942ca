//! One connection's transport layers, and its bytes on their way to the socket.

use std::io::IoSlice;

use ringmq::transport::{Layer, LayerError, Scratch, Stack};

use super::Handshake;

pub(crate) struct Link {
    stack: Stack,
    /// Bytes for the socket, of which so many are sent.
    wire: Vec<u8>,
    sent: usize,
    close_sent: bool,
    /// When the handshakes began.
    pub(crate) began_ns: u64,
}

impl Link {
    /// The layer next to the socket comes first.
    pub(super) fn new(layers: Vec<Box<dyn Layer>>) -> Self {
        Self {
            stack: Stack::connecting(layers),
            wire: Vec::new(),
            sent: 0,
            close_sent: false,
            began_ns: 0,
        }
    }

    /// Begins the handshakes.
    pub(crate) fn begin(&mut self, now_ns: u64, scratch: &mut Scratch) -> Result<(), LayerError> {
        self.began_ns = now_ns;
        let started = self.stack.start(scratch);
        self.queue(scratch);
        started
    }

    /// Takes bytes of the socket; those of MQTT are in `up` of `scratch`, also when this fails.
    pub(crate) fn receive(
        &mut self,
        bytes: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<(), LayerError> {
        let received = self.stack.receive(bytes, scratch);
        self.queue(scratch);
        received
    }

    /// Wraps bytes of MQTT for the socket.
    pub(crate) fn send(&mut self, bytes: &[u8], scratch: &mut Scratch) -> Result<(), LayerError> {
        self.stack.send(&[IoSlice::new(bytes)], scratch)?;
        self.queue(scratch);
        Ok(())
    }

    /// Closes all layers, once; true when that has bytes to send.
    pub(crate) fn send_close(&mut self, scratch: &mut Scratch) -> bool {
        if self.close_sent || !self.is_open() {
            return false;
        }
        self.close_sent = true;
        self.stack.close(scratch);
        self.queue(scratch);
        !self.wire.is_empty()
    }

    fn queue(&mut self, scratch: &mut Scratch) {
        if self.wire.is_empty() {
            std::mem::swap(&mut self.wire, &mut scratch.down);
        } else {
            self.wire.extend_from_slice(&scratch.down);
        }
    }

    /// All handshakes are done.
    pub(crate) fn is_open(&self) -> bool {
        self.stack.is_open()
    }

    /// Kind of the TLS handshake, when there was one: once, when all layers are open.
    pub(crate) fn take_handshake(&mut self) -> Option<Handshake> {
        let resumed = self.stack.take_learned()?.resumed?;
        Some(if resumed {
            Handshake::Resumed
        } else {
            Handshake::Full
        })
    }

    /// Bytes that wait to be sent.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.wire[self.sent..]
    }

    /// So many of them have been sent. An idle link has no buffer.
    pub(crate) fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.wire.len() {
            self.wire = Vec::new();
            self.sent = 0;
        }
    }
}
