//! The stream of a connection: its bytes, and its end.

use quinn_proto::{ReadError, WriteError};

use super::connection::{Connection, Key, Read};
use super::endpoint::{Quic, NO_ERROR, PATIENCE};
use crate::time::Time;

impl Quic {
    fn connection(&mut self, key: Key) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(key.index as usize)?.as_mut()?;
        (connection.generation == key.generation && !connection.is_ended).then_some(connection)
    }

    /// Takes up to `max` bytes of the stream.
    pub fn read(&mut self, key: Key, max: usize, now: Time) -> Read {
        let connection = self.connections.get_mut(key.index as usize);
        let connection = connection.and_then(Option::as_mut);
        let Some(connection) = connection.filter(|it| it.generation == key.generation) else {
            return Read::End;
        };
        // What has come of one that has ended is there to be read.
        let nothing = match connection.is_ended {
            true => Read::End,
            false => Read::Nothing,
        };
        let Some(stream) = connection.stream else {
            return nothing;
        };
        let handle = connection.handle;
        let mut stream = connection.inner.recv_stream(stream);
        let Ok(mut chunks) = stream.read(true) else {
            return Read::End;
        };
        let read = match chunks.next(max) {
            Ok(Some(chunk)) => Read::Bytes(chunk.bytes),
            Ok(None) | Err(ReadError::Reset(_)) => Read::End,
            Err(ReadError::Blocked) => nothing,
        };
        if chunks.finalize().should_transmit() {
            self.settle(handle, now);
        }
        read
    }

    /// Gives the stream bytes; returns how many it has room for.
    pub fn write(&mut self, key: Key, bytes: &[u8], now: Time) -> usize {
        let Some(connection) = self.connection(key) else {
            return bytes.len(); // no stream takes them
        };
        let (handle, Some(stream)) = (connection.handle, connection.stream) else {
            return 0;
        };
        let mut stream = connection.inner.send_stream(stream);
        let mut taken = 0;
        // Until it says that it has no more room: only then an event follows.
        while taken < bytes.len() {
            match stream.write(&bytes[taken..]) {
                Ok(count) => taken += count,
                Err(WriteError::Blocked) => break,
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => taken = bytes.len(),
            }
        }
        self.settle(handle, now);
        taken
    }

    /// The broker has no more for this client: what was written arrives, then the connection is closed.
    pub fn finish(&mut self, key: Key, now: Time) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        let handle = connection.handle;
        connection.is_told = false;
        connection.deadline = now + PATIENCE;
        let stream = connection.stream;
        let is_finished = stream.map(|id| connection.inner.send_stream(id).finish());
        if !matches!(is_finished, Some(Ok(()))) {
            self.shut(handle, NO_ERROR, b"", now);
        }
        self.settle(handle, now);
    }
}
