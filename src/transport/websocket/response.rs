//! Opening handshake of the client's end: its request, the server's answer, RFC 6455 section 4.1.

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use httparse::{Response, Status};

use super::{accept_key, HEADERS_MAX};

/// Target of the upgrade request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Host and port, as in the Host field of the request.
    pub host: String,
    /// Path with query.
    pub path: String,
    /// `mqtt`, or `mqttv3.1` for servers of that time.
    pub subprotocol: &'static str,
}

/// Appends the request for an upgrade.
pub(super) fn request(target: &Target, key: [u8; 16], down: &mut Vec<u8>) {
    let Target {
        host,
        path,
        subprotocol,
    } = target;
    let key = STANDARD.encode(key);
    let request = format!(
        "GET {path} HTTP/1.1\r\n\
         Host: {host}\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    );
    down.extend_from_slice(request.as_bytes());
}

/// Reads the answer to [`request`] [4.1]: its length in bytes, or `None` when it has not arrived whole.
pub(super) fn read(
    bytes: &[u8],
    subprotocol: &str,
    key: [u8; 16],
) -> Result<Option<usize>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("the server does not answer in HTTP/1.1: {error}")),
    };
    if response.code != Some(101) {
        let reason = response.reason.unwrap_or_default();
        let code = response.code.unwrap_or_default();
        return Err(format!("the server refuses WebSocket: {code} {reason}"));
    }
    let value = |name: &str| {
        let mut fields = response.headers.iter();
        let field = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(field.value).ok().map(str::trim)
    };
    let is_upgrade = value("Upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket"));
    let mut connection = value("Connection").unwrap_or_default().split(',');
    let is_connection = connection.any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    let accept = accept_key(&STANDARD.encode(key));
    if !is_upgrade || !is_connection || value("Sec-WebSocket-Accept") != Some(&accept) {
        return Err("the server's answer is no proof that it speaks WebSocket".into());
    }
    if value("Sec-WebSocket-Protocol") != Some(subprotocol) {
        return Err(format!(
            "the server does not agree on the subprotocol {subprotocol}"
        ));
    }
    if value("Sec-WebSocket-Extensions").is_some() {
        return Err("the server uses an extension that was not offered".into());
    }
    Ok(Some(length))
}
