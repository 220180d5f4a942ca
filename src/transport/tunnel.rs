//! A way through an HTTP proxy: CONNECT (RFC 9110, section 9.3.6), and then the bytes as they are.

use std::io::IoSlice;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use httparse::{Response, Status, EMPTY_HEADER};

use super::{Layer, LayerError};

/// Header fields of the proxy's answer, at most.
const FIELDS_MAX: usize = 64;
/// Bytes of its header, at most.
const HEAD_MAX: usize = 8 << 10;

/// The layer next to the socket of a connection through a proxy; spent as soon as the way is open.
pub struct Tunnel {
    request: Vec<u8>,
    /// The start of the answer.
    head: Vec<u8>,
    is_open: bool,
}

impl Tunnel {
    /// To `host:port`; `login` is `user:password` for the proxy.
    #[must_use]
    pub fn new(target: &str, login: Option<&[u8]>) -> Self {
        let login = login.map(|login| {
            let login = STANDARD.encode(login);
            format!("Proxy-Authorization: Basic {login}\r\n")
        });
        let login = login.unwrap_or_default();
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n");
        Self {
            request: request.into(),
            head: Vec::new(),
            is_open: false,
        }
    }

    /// Bytes of the answer, once it has come whole.
    fn answer(&self) -> Result<Option<usize>, String> {
        let mut fields = [EMPTY_HEADER; FIELDS_MAX];
        let mut response = Response::new(&mut fields);
        match response.parse(&self.head) {
            Ok(Status::Partial) if self.head.len() >= HEAD_MAX => Err(format!(
                "its answer has a header of more than {HEAD_MAX} bytes"
            )),
            Ok(Status::Partial) => Ok(None),
            Ok(Status::Complete(length)) => match response.code.unwrap_or_default() {
                200..=299 => Ok(Some(length)),
                407 => {
                    Err("it wants a login (407): give proxy-user and proxy-password-file".into())
                }
                code => {
                    let reason = response.reason.unwrap_or_default().escape_debug();
                    Err(format!("it opens no way there: {code} {reason}"))
                }
            },
            Err(error) => Err(format!("it does not answer in HTTP/1.1: {error}")),
        }
    }
}

impl Layer for Tunnel {
    fn start(&mut self, down: &mut Vec<u8>) {
        down.append(&mut self.request);
    }

    fn receive(
        &mut self,
        bytes: &mut [u8],
        up: &mut Vec<u8>,
        _: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        if self.is_open {
            up.extend_from_slice(bytes);
            return Ok(());
        }
        self.head.extend_from_slice(bytes);
        match self.answer() {
            Ok(None) => Ok(()),
            Ok(Some(length)) => {
                self.is_open = true;
                up.extend_from_slice(&self.head[length..]);
                self.head = Vec::new();
                Ok(())
            }
            Err(text) => Err(LayerError(format!("the proxy: {text}"))),
        }
    }

    fn send(&mut self, slices: &[IoSlice<'_>], down: &mut Vec<u8>) -> Result<(), LayerError> {
        slices
            .iter()
            .for_each(|slice| down.extend_from_slice(slice));
        Ok(())
    }

    fn close(&mut self, _: &mut Vec<u8>) {}

    fn is_open(&self) -> bool {
        self.is_open
    }

    fn is_ended(&self) -> bool {
        false
    }

    fn end_of_stream(&self) -> Result<(), LayerError> {
        match self.is_open {
            true => Ok(()),
            false => Err(LayerError(
                "the proxy: it has closed the connection without an answer".into(),
            )),
        }
    }

    fn is_spent(&self) -> bool {
        self.is_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{Scratch, Stack};

    fn answered(answer: &[u8]) -> Result<Vec<u8>, String> {
        let mut tunnel = Tunnel::new("far:443", None);
        let mut up = Vec::new();
        // Cut anywhere.
        for byte in answer {
            let result = tunnel.receive(&mut [*byte], &mut up, &mut Vec::new());
            result.map_err(|error| error.0)?;
        }
        match tunnel.end_of_stream() {
            Ok(()) => Ok(up),
            Err(error) => Err(error.0),
        }
    }

    #[test]
    fn a_way_is_asked_for_and_then_bytes_pass_as_they_are() {
        let layers: Vec<Box<dyn Layer>> = vec![Box::new(Tunnel::new("far:443", Some(b"u:p")))];
        let (mut stack, mut scratch) = (Stack::connecting(layers), Scratch::default());
        stack.start(&mut scratch).unwrap();
        let asked =
            b"CONNECT far:443 HTTP/1.1\r\nHost: far:443\r\nProxy-Authorization: Basic dTpw\r\n\r\n";
        assert_eq!(scratch.down, asked);
        assert!(!stack.is_open());
        let mut answer = b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\nab".to_vec();
        stack.receive(&mut answer, &mut scratch).unwrap();
        assert_eq!(scratch.up, b"ab");
        assert!(stack.is_open() && stack.is_spent(), "it costs nothing more");
    }

    #[test]
    fn what_a_proxy_refuses_is_a_sentence() {
        assert_eq!(
            answered(b"HTTP/1.0 200 Connection established\r\n\r\nx"),
            Ok(b"x".into())
        );
        for (answer, part) in [
            (
                &b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..],
                "proxy-user",
            ),
            (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden"),
            (b"\x20\x02\x00\x00", "does not answer in HTTP"),
            (b"HTTP/1.1 200", "without an answer"),
        ] {
            let error = answered(answer).unwrap_err();
            assert!(
                error.starts_with("the proxy: ") && error.contains(part),
                "{error}"
            );
        }
        let mut endless = b"HTTP/1.1 200 OK\r\nA: ".to_vec();
        endless.resize(HEAD_MAX + 1, b'a');
        assert!(answered(&endless)
            .unwrap_err()
            .contains("more than 8192 bytes"));
    }
}
