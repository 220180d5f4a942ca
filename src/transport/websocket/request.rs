//! Opening handshake of the server's end: a request ↔ 101, or a refusal, RFC 6455 section 4.2.

use std::borrow::Cow;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use httparse::{Header, Request, Status};

use super::{accept_key, Policy, HEADERS_MAX, SUBPROTOCOLS};

/// What a good request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Upgrade {
    /// Bytes of the request; frames may follow.
    pub(super) length: usize,
    accept: String,
    subprotocol: &'static str,
    /// Addresses of X-Forwarded-For, the client's first, as its proxies have added them.
    pub(super) forwarded_for: Option<Box<str>>,
}

/// An answer to an invalid request: a status and a sentence for its reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: &'static str,
    pub(super) text: Cow<'static, str>,
}

const fn refusal(status: &'static str, text: &'static str) -> Refusal {
    Refusal {
        status,
        text: Cow::Borrowed(text),
    }
}

/// What a client has sent, as it is displayed: short, and without control characters for a terminal.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(SHOWN_CHARS).collect();
    let more = if start.len() < text.len() { "..." } else { "" };
    format!("\"{}{more}\"", start.escape_debug())
}

pub(super) const BAD_REQUEST: &str = "400 Bad Request";
const UPGRADE_REQUIRED: &str = "426 Upgrade Required";
/// Characters of what a client has sent in an answer or a line of the log.
const SHOWN_CHARS: usize = 100;
pub(super) const TOO_LARGE: Refusal = refusal(
    "431 Request Header Fields Too Large",
    "the header of the request is too large",
);

/// Reads a request; `None`: its header has not arrived whole.
pub(super) fn read(bytes: &[u8], policy: &Policy) -> Result<Option<Upgrade>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(TOO_LARGE),
        Err(_) => return Err(refusal(BAD_REQUEST, "this is no request of HTTP/1.1")),
    };
    check_target(&request, policy)?;
    let headers = Headers(request.headers);
    check_upgrade(&headers)?;
    check_origin(&headers, policy)?;
    let key = key(&headers)?;
    let subprotocol = headers
        .tokens("Sec-WebSocket-Protocol")
        .find_map(|offered| SUBPROTOCOLS.into_iter().find(|known| *known == offered));
    let Some(subprotocol) = subprotocol else {
        return Err(no_subprotocol(&headers)); // [MQTT-6.0.0-3]
    };
    let forwarded: Vec<&str> = headers.tokens("X-Forwarded-For").collect();
    Ok(Some(Upgrade {
        length,
        accept: accept_key(key),
        subprotocol, // [MQTT-6.0.0-4]
        forwarded_for: (!forwarded.is_empty()).then(|| forwarded.join(",").into()),
    }))
}

/// The refusal of a request without a subprotocol of MQTT [MQTT-6.0.0-3].
fn no_subprotocol(headers: &Headers<'_, '_>) -> Refusal {
    let offered: Vec<&str> = headers.tokens("Sec-WebSocket-Protocol").collect();
    let offered = if offered.is_empty() {
        "none".to_owned()
    } else {
        shown(&offered.join(", "))
    };
    Refusal {
        status: BAD_REQUEST,
        text: format!(
            "the request offers no subprotocol that is spoken here (mqtt, mqttv3.1), but {offered}"
        )
        .into(),
    }
}

/// Version, path and method of the request [4.2.1].
fn check_target(request: &Request<'_, '_>, policy: &Policy) -> Result<(), Refusal> {
    if request.version != Some(1) {
        return Err(refusal(BAD_REQUEST, "WebSocket needs HTTP/1.1"));
    }
    let target = request.path.unwrap_or_default();
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    if !policy.is_spoken_at(path) {
        return Err(Refusal {
            status: "404 Not Found",
            text: format!(
                "there is nothing at {}: MQTT over WebSocket is spoken at \"{}\" (websocket-path)",
                shown(path),
                policy.path
            )
            .into(),
        });
    }
    if request.method != Some("GET") {
        return Err(refusal(
            "405 Method Not Allowed",
            "MQTT over WebSocket is spoken here, which begins with GET",
        ));
    }
    Ok(())
}

/// Fields that an upgrade must have [4.2.1], and no body, whose bytes would be taken for frames.
fn check_upgrade(headers: &Headers<'_, '_>) -> Result<(), Refusal> {
    let is_named = |name, token: &str| {
        let mut tokens = headers.tokens(name);
        tokens.any(|found| found.eq_ignore_ascii_case(token))
    };
    if !is_named("Upgrade", "websocket") || !is_named("Connection", "upgrade") {
        return Err(refusal(
            UPGRADE_REQUIRED,
            "MQTT over WebSocket is spoken here: the request must ask for an upgrade to websocket",
        ));
    }
    match headers.only("Sec-WebSocket-Version")? {
        Some("13") => {}
        _ => {
            return Err(refusal(
                UPGRADE_REQUIRED,
                "WebSocket version 13 is spoken here",
            ))
        }
    }
    if headers.only("Host")?.is_none() {
        return Err(refusal(BAD_REQUEST, "the request has no Host header"));
    }
    let has_body = headers.all("Transfer-Encoding").next().is_some()
        || headers.all("Content-Length").any(|length| length != "0");
    if has_body {
        return Err(refusal(BAD_REQUEST, "a request for an upgrade has no body"));
    }
    Ok(())
}

/// The list protects users of browsers, which always send Origin: a page elsewhere cannot use their
/// address or their cookies. Another program can claim any origin, so a request without one is accepted.
fn check_origin(headers: &Headers<'_, '_>, policy: &Policy) -> Result<(), Refusal> {
    match headers.only("Origin")? {
        Some(origin) if !policy.allows(origin) => Err(Refusal {
            status: "403 Forbidden",
            text: format!(
                "pages of {} may not connect here (websocket-origins)",
                shown(origin)
            )
            .into(),
        }),
        _ => Ok(()),
    }
}

/// Sixteen bytes in base64, which the answer proves to have read.
fn key<'a>(headers: &Headers<'_, 'a>) -> Result<&'a str, Refusal> {
    let key = headers.only("Sec-WebSocket-Key")?;
    let is_good = |key: &&str| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16);
    key.filter(is_good).ok_or(refusal(
        BAD_REQUEST,
        "Sec-WebSocket-Key is missing or is not 16 bytes in base64",
    ))
}

/// Header fields of a request.
struct Headers<'h, 'a>(&'h [Header<'a>]);

impl<'a> Headers<'_, 'a> {
    /// Values of all fields with this name; one that is not text is as good as empty.
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a str> + '_ {
        let named = self
            .0
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| std::str::from_utf8(field.value).unwrap_or_default().trim())
    }

    /// Elements of a list, however many fields it is spread over.
    fn tokens(&self, name: &'static str) -> impl Iterator<Item = &'a str> + '_ {
        let elements = self.all(name).flat_map(|value| value.split(','));
        elements
            .map(str::trim)
            .filter(|element| !element.is_empty())
    }

    /// A field that may be there once: programs on the way could each believe another one.
    fn only(&self, name: &'static str) -> Result<Option<&'a str>, Refusal> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(refusal(BAD_REQUEST, "a header field is there twice")),
            (first, None) => Ok(first),
        }
    }
}

/// Appends the answer that opens the connection. No extension is agreed.
pub(super) fn answer(upgrade: &Upgrade, down: &mut Vec<u8>) {
    let Upgrade {
        accept,
        subprotocol,
        ..
    } = upgrade;
    let text = format!(
        "HTTP/1.1 101 Switching Protocols\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\
         Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    );
    down.extend_from_slice(text.as_bytes());
}

/// Appends the answer that refuses.
pub(super) fn refuse(refusal: &Refusal, down: &mut Vec<u8>) {
    let Refusal { status, text } = refusal;
    let status = *status;
    let more = match status {
        UPGRADE_REQUIRED => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        _ if status.starts_with("405") => "Allow: GET\r\n",
        _ => "",
    };
    let connection = if status == UPGRADE_REQUIRED {
        "Upgrade, close"
    } else {
        "close"
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\n{more}\
         Connection: {connection}\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n\r\n{text}.\n",
        text.len() + 2
    );
    down.extend_from_slice(answer.as_bytes());
}
