//! The layers of one connection as one: TLS next to the socket, WebSocket above it.

use std::io::IoSlice;

use ringmq::transport::{websocket, Layer, LayerError};

use super::{Handshake, TlsClient};

/// Buffers that all links of a worker use in turn.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Between TLS and WebSocket.
    middle: Vec<u8>,
    answer: Vec<u8>,
}

pub(crate) struct Link {
    tls: Option<TlsClient>,
    websocket: Option<Box<websocket::Client>>,
    /// The upgrade has been asked for.
    asked: bool,
    /// Bytes for the socket, of which so many are sent.
    wire: Vec<u8>,
    sent: usize,
    said_goodbye: bool,
    /// When the first words were said.
    pub(crate) began_ns: u64,
}

impl Link {
    pub(super) fn new(tls: Option<TlsClient>, websocket: Option<websocket::Client>) -> Self {
        Self {
            tls,
            websocket: websocket.map(Box::new),
            asked: false,
            wire: Vec::new(),
            sent: 0,
            said_goodbye: false,
            began_ns: 0,
        }
    }

    /// Says the first words.
    pub(crate) fn begin(&mut self, now_ns: u64) {
        self.began_ns = now_ns;
        match &mut self.tls {
            Some(tls) => tls.start(&mut self.wire),
            None => self.ask(),
        }
    }

    /// Asks for the upgrade to WebSocket, once.
    fn ask(&mut self) {
        if let (false, Some(websocket)) = (self.asked, &mut self.websocket) {
            self.asked = true;
            let mut request = Vec::new();
            websocket.start(&mut request);
            // A TLS that is open takes it.
            let _ = wrap(&mut self.tls, &request, &mut self.wire);
        }
    }

    /// Takes bytes of the socket; appends those of MQTT to `up`.
    pub(crate) fn receive(
        &mut self,
        bytes: &mut [u8],
        up: &mut Vec<u8>,
        scratch: &mut Scratch,
    ) -> Result<(), LayerError> {
        let Some(tls) = &mut self.tls else {
            return self.receive_frames(bytes, up, &mut scratch.answer);
        };
        if self.websocket.is_none() {
            return tls.receive(bytes, up, &mut self.wire);
        }
        scratch.middle.clear();
        let received = tls.receive(bytes, &mut scratch.middle, &mut self.wire);
        if tls.is_open() {
            self.ask();
        }
        let framed = self.receive_frames(&mut scratch.middle, up, &mut scratch.answer);
        received.and(framed)
    }

    fn receive_frames(
        &mut self,
        bytes: &mut [u8],
        up: &mut Vec<u8>,
        answer: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        let Some(websocket) = &mut self.websocket else {
            up.extend_from_slice(bytes);
            return Ok(());
        };
        answer.clear();
        let received = websocket.receive(bytes, up, answer);
        let wrapped = wrap(&mut self.tls, answer, &mut self.wire);
        received.and(wrapped)
    }

    /// Wraps bytes of MQTT for the socket.
    pub(crate) fn send(&mut self, bytes: &[u8], scratch: &mut Scratch) -> Result<(), LayerError> {
        let Some(websocket) = &mut self.websocket else {
            return wrap(&mut self.tls, bytes, &mut self.wire);
        };
        scratch.answer.clear();
        websocket.send(&[IoSlice::new(bytes)], &mut scratch.answer)?;
        wrap(&mut self.tls, &scratch.answer, &mut self.wire)
    }

    /// Says that nothing more comes; false when that has been said.
    pub(crate) fn say_goodbye(&mut self) -> bool {
        if self.said_goodbye || !self.is_open() {
            return false;
        }
        self.said_goodbye = true;
        if let Some(websocket) = &mut self.websocket {
            let mut close = Vec::new();
            websocket.close(&mut close);
            let _ = wrap(&mut self.tls, &close, &mut self.wire); // what cannot be said is not
        }
        if let Some(tls) = &mut self.tls {
            tls.close(&mut self.wire);
        }
        !self.wire.is_empty()
    }

    /// All handshakes are done.
    pub(crate) fn is_open(&self) -> bool {
        let is_open = |layer: &dyn Layer| layer.is_open();
        self.tls.as_ref().is_none_or(|tls| is_open(tls))
            && self.websocket.as_ref().is_none_or(|own| is_open(&**own))
    }

    /// What kind of TLS handshake it was, when there was one.
    pub(crate) fn handshake(&self) -> Option<Handshake> {
        self.tls.as_ref()?.handshake()
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

fn wrap(tls: &mut Option<TlsClient>, bytes: &[u8], wire: &mut Vec<u8>) -> Result<(), LayerError> {
    match tls {
        _ if bytes.is_empty() => Ok(()),
        Some(tls) => tls.send(&[IoSlice::new(bytes)], wire),
        None => {
            wire.extend_from_slice(bytes);
            Ok(())
        }
    }
}
