//! TLS layer: the server's side of one connection, on rustls' unbuffered API.

use std::borrow::Cow;
use std::io::IoSlice;
use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};

use super::context::Context;
use super::error_text::{self, describe};
use super::hello::{self, Asked};
use crate::transport::{ConnectionInfo, Layer, LayerError};

/// Content type of the record that begins a TLS connection.
const HANDSHAKE_RECORD: u8 = 22;
/// Type, version, length.
const HEADER_BYTES: usize = 5;
/// Plain bytes of the largest record.
const RECORD_BYTES: usize = 16 << 10;
/// More than header, nonce, tag and type add to a record, in any version.
const RECORD_OVERHEAD: usize = 64;
/// Steps of one call that bring nothing to do: rustls enters another state with each.
const IDLE_STEPS_MAX: usize = 16;

type Writer<'c> = WriteTraffic<'c, ServerConnectionData>;

/// The server's side of one TLS connection. Idle it holds keys and no buffer.
pub struct Tls {
    context: Arc<Context>,
    connection: Box<UnbufferedServerConnection>,
    /// Start of a record, or of a handshake message, whose end has not arrived.
    pub(super) partial: Vec<u8>,
    has_received: bool,
    is_open: bool,
    is_ended: bool,
    has_failed: bool,
    /// Of a client that was refused.
    asked: Option<Box<Asked>>,
    identity: Option<Box<str>>,
}

/// What a call wants to do as soon as the connection allows it.
enum Want<'a> {
    Nothing,
    Encrypt(&'a [u8]),
    Goodbye,
}

impl Tls {
    /// A connection that has sent nothing yet.
    #[must_use]
    pub fn new(context: &Arc<Context>) -> Self {
        let connection = UnbufferedServerConnection::new(Arc::clone(&context.config))
            .expect("depends on the configuration alone, with which one was made at its check");
        Self {
            context: Arc::clone(context),
            connection: Box::new(connection),
            partial: Vec::new(),
            has_received: false,
            is_open: false,
            is_ended: false,
            has_failed: false,
            asked: None,
            identity: None,
        }
    }

    /// Runs the connection over `buffer` until it has nothing more to do; returns how many bytes
    /// are used up.
    fn drive(
        &mut self,
        buffer: &mut [u8],
        mut want: Want<'_>,
        up: &mut Vec<u8>,
        down: &mut Vec<u8>,
    ) -> (usize, Result<(), rustls::Error>) {
        let mut at = 0;
        let mut idle_steps = 0;
        let mut result = Ok(());
        while idle_steps < IDLE_STEPS_MAX {
            let before = (at, up.len(), down.len());
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut buffer[at..]);
            let mut is_done = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                discard += record.discard;
                                up.extend_from_slice(record.payload);
                            }
                            Err(error) => result = Err(error),
                        }
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, down),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.is_ended = true,
                Ok(ConnectionState::WriteTraffic(mut writer)) => {
                    is_done = true;
                    match std::mem::replace(&mut want, Want::Nothing) {
                        Want::Nothing => {}
                        Want::Encrypt(bytes) => result = encrypt(&mut writer, bytes, down),
                        Want::Goodbye => goodbye(&mut writer, down),
                    }
                }
                Ok(_) => is_done = true,
                Err(error) => {
                    result = Err(error);
                    is_done = true;
                }
            }
            at += discard;
            if is_done {
                break;
            }
            let moved = before != (at, up.len(), down.len());
            idle_steps = if moved { 0 } else { idle_steps + 1 };
        }
        if !matches!(want, Want::Nothing) && result.is_ok() {
            result = Err(rustls::Error::EncryptError);
        }
        if result.is_err() && !self.has_failed {
            self.has_failed = true;
            if !self.is_open {
                self.asked = Some(Box::new(self.read_hello(buffer)));
            }
            self.say_last_words(down);
        }
        (at, result)
    }

    /// Reads records where they lie. Only one that has begun in an earlier call is joined, and no more of
    /// `bytes` with it than it lacks.
    fn receive_records(
        &mut self,
        bytes: &mut [u8],
        up: &mut Vec<u8>,
        down: &mut Vec<u8>,
    ) -> Result<(), rustls::Error> {
        let mut rest = bytes;
        while !self.partial.is_empty() && !rest.is_empty() {
            let mut joined = std::mem::take(&mut self.partial);
            let count = missing(&joined).map_or(rest.len(), |missing| missing.min(rest.len()));
            let (front, more) = std::mem::take(&mut rest).split_at_mut(count);
            joined.extend_from_slice(front);
            rest = more;
            let (used, result) = self.drive(&mut joined, Want::Nothing, up, down);
            joined.drain(..used);
            self.partial = joined;
            result?;
        }
        if !self.partial.is_empty() {
            return Ok(()); // nothing is left, and rustls wants to see what it has seen, or nothing at all
        }
        let (used, result) = self.drive(rest, Want::Nothing, up, down);
        self.partial.extend_from_slice(&rest[used..]);
        result
    }

    fn read_hello(&self, bytes: &[u8]) -> Asked {
        let own = &self.context.config.crypto_provider().cipher_suites;
        hello::read(bytes, |suite| {
            own.iter().any(|own| u16::from(own.suite()) == suite)
        })
    }

    fn describe(&mut self, error: &rustls::Error) -> LayerError {
        let asked = self.asked.take().unwrap_or_default();
        describe(error, self.is_open, &asked)
    }

    /// After an error: records still to be sent, and the alert about it. Nothing is read any more.
    fn say_last_words(&mut self, down: &mut Vec<u8>) {
        while self.connection.wants_write() {
            match self.connection.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, down),
                // What was read before the error and not yet passed up: too late for it.
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while traffic.next_record().is_some() {}
                }
                _ => break,
            }
        }
    }

    /// The handshake has just been finished.
    fn opened(&mut self) -> Result<(), LayerError> {
        self.is_open = true;
        let chain = self.connection.peer_certificates();
        if let (Some(source), Some([certificate, ..])) = (self.context.identity, chain) {
            self.identity = Some(source.read(certificate)?);
        }
        Ok(())
    }
}

impl Layer for Tls {
    fn receive(
        &mut self,
        bytes: &mut [u8],
        up: &mut Vec<u8>,
        down: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        if let (false, Some(first)) = (self.has_received, bytes.first()) {
            self.has_received = true;
            if *first != HANDSHAKE_RECORD {
                self.has_failed = true;
                return Err(error_text::not_tls(bytes));
            }
        }
        let result = self.receive_records(bytes, up, down);
        if self.partial.is_empty() {
            self.partial = Vec::new();
        }
        if let Err(error) = result {
            self.partial = Vec::new();
            return Err(self.describe(&error));
        }
        if !self.is_open && !self.connection.is_handshaking() {
            self.opened()?;
        }
        Ok(())
    }

    fn send(&mut self, slices: &[IoSlice<'_>], down: &mut Vec<u8>) -> Result<(), LayerError> {
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        let bytes = match (filled.next(), filled.next()) {
            (None, _) => return Ok(()),
            (Some(only), None) => Cow::Borrowed(&only[..]),
            // Copied together, which costs less than a record for each.
            _ => Cow::Owned(joined(slices)),
        };
        let mut partial = std::mem::take(&mut self.partial);
        let (mut up, want) = (Vec::new(), Want::Encrypt(&bytes));
        let (used, result) = self.drive(&mut partial, want, &mut up, down);
        debug_assert!(up.is_empty(), "whole records were read when they came");
        partial.drain(..used);
        self.partial = partial;
        result.map_err(|error| self.describe(&error))
    }

    fn close(&mut self, down: &mut Vec<u8>) {
        if !self.has_failed && self.is_open {
            let mut partial = std::mem::take(&mut self.partial);
            // What the client still sends, and whether it can be notified, no longer matters.
            let _ = self.drive(&mut partial, Want::Goodbye, &mut Vec::new(), down);
        }
    }

    fn is_open(&self) -> bool {
        self.is_open
    }

    fn is_ended(&self) -> bool {
        self.is_ended
    }

    fn end_of_stream(&self) -> Result<(), LayerError> {
        if self.has_failed || self.is_ended || !self.has_received {
            return Ok(()); // reported already, or a probe that sent nothing
        }
        error_text::cut(self.is_open, !self.partial.is_empty())
    }

    fn tell(&mut self, learned: &mut ConnectionInfo) {
        learned.identity = self.identity.take();
    }
}

fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(slices.iter().map(|slice| slice.len()).sum());
    for slice in slices {
        joined.extend_from_slice(slice);
    }
    joined
}

/// Bytes that the first record lacks, of its header or of the rest; `None`: it is whole, and more records
/// are needed for what it begins.
fn missing(bytes: &[u8]) -> Option<usize> {
    let needed = match bytes {
        [_, _, _, high, low, ..] => HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low])),
        _ => HEADER_BYTES,
    };
    needed
        .checked_sub(bytes.len())
        .filter(|missing| *missing > 0)
}

/// Appends a handshake record or an alert.
fn encode(data: &mut EncodeTlsData<'_, ServerConnectionData>, down: &mut Vec<u8>) {
    let start = down.len();
    if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
        down.resize(start + size.required_size, 0);
        let written = data.encode(&mut down[start..]).unwrap_or(0);
        down.truncate(start + written);
    }
}

/// Appends records with `bytes`, each as large as it may be.
fn encrypt(writer: &mut Writer<'_>, bytes: &[u8], down: &mut Vec<u8>) -> Result<(), rustls::Error> {
    let records = 1 + bytes.len() / RECORD_BYTES;
    let mut room = bytes.len() + (1 + records) * RECORD_OVERHEAD;
    let start = down.len();
    for _ in 0..2 {
        down.resize(start + room, 0);
        match writer.encrypt(bytes, &mut down[start..]) {
            Ok(written) => {
                down.truncate(start + written);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(size)) => room = size.required_size,
            Err(EncryptError::EncryptExhausted) => break,
        }
    }
    down.truncate(start);
    Err(rustls::Error::EncryptError)
}

fn goodbye(writer: &mut Writer<'_>, down: &mut Vec<u8>) {
    let start = down.len();
    down.resize(start + 2 * RECORD_OVERHEAD, 0);
    let written = writer.queue_close_notify(&mut down[start..]).unwrap_or(0);
    down.truncate(start + written);
}
