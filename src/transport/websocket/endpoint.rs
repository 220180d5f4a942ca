//! The two ends of a WebSocket connection, as layers.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::frame::{encode, violation, Decoder, Opcode, Piece, Violation, PROTOCOL_ERROR};
use super::request::{self, Refusal};
use super::response::{self, Target};
use super::{Policy, HEADER_BYTES_MAX};
use crate::image::{ImageError, Reader, Writer};
use crate::transport::stack::WEBSOCKET_SERVER;
use crate::transport::{ConnectionInfo, Farewell, Layer, LayerError};

/// Close codes of RFC 6455 section 7.4.1 and of its registry.
const NORMAL_CLOSURE: u16 = 1000;
const GOING_AWAY: u16 = 1001;
const POLICY_VIOLATION: u16 = 1008;
const MESSAGE_TOO_BIG: u16 = 1009;
const TRY_AGAIN_LATER: u16 = 1013;
const INVALID_DATA: u16 = 1007;

/// State of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    /// The handshake failed.
    Refused,
    Open,
    /// The peer's close frame has come, and was answered.
    Ended,
    /// Our close frame is sent; what arrives is discarded.
    Closed,
}

/// Frames of one end once the handshake is done.
#[derive(Debug)]
struct Frames {
    phase: Phase,
    decoder: Decoder,
}

impl Frames {
    fn new(peer_masks: bool) -> Self {
        Self {
            phase: Phase::Opening,
            decoder: Decoder::new(peer_masks),
        }
    }

    /// See [`Layer::receive`]; `key` gives the masking key of each frame that answers.
    fn receive(
        &mut self,
        mut bytes: &mut [u8],
        up: &mut Vec<u8>,
        down: &mut Vec<u8>,
        mut key: impl FnMut() -> Option<[u8; 4]>,
    ) -> Result<(), LayerError> {
        while self.phase == Phase::Open {
            let found = match self.decoder.next(&mut bytes) {
                Ok(None) => break,
                Ok(Some(Piece::Data(data))) => {
                    up.extend_from_slice(data);
                    Ok(())
                }
                Ok(Some(Piece::Control(Opcode::Ping, payload))) => {
                    encode(Opcode::Pong, &[IoSlice::new(&payload)], key(), down);
                    Ok(())
                }
                Ok(Some(Piece::Control(Opcode::Close, payload))) => {
                    check_close(&payload).map(|()| {
                        // The code comes back without its reason [5.5.1].
                        let code = &payload[..payload.len().min(2)];
                        encode(Opcode::Close, &[IoSlice::new(code)], key(), down);
                        self.phase = Phase::Ended;
                    })
                }
                Ok(Some(Piece::Control(..))) => Ok(()), // an unsolicited pong [5.5.3]
                Err(violation) => Err(violation),
            };
            if let Err(Violation { code, text }) = found {
                self.say_goodbye(code, key(), down);
                return Err(LayerError(format!("WebSocket: {text}")));
            }
        }
        Ok(())
    }

    fn was_opened(&self) -> bool {
        !matches!(self.phase, Phase::Opening | Phase::Refused)
    }

    /// Sends a close frame, after which no frame may follow [5.5.1].
    fn say_goodbye(&mut self, code: u16, key: Option<[u8; 4]>, down: &mut Vec<u8>) {
        encode(
            Opcode::Close,
            &[IoSlice::new(&code.to_be_bytes())],
            key,
            down,
        );
        self.phase = Phase::Closed;
    }
}

/// Close code for a reason. Errors of MQTT inside valid frames are 1002: 1007 would be about one message,
/// 1003 about its kind; MQTT is a protocol of its own, whose messages are none of WebSocket's [MQTT-6.0.0-2].
fn close_code(why: Farewell) -> u16 {
    match why {
        Farewell::Done => NORMAL_CLOSURE,
        Farewell::GoingAway => GOING_AWAY,
        Farewell::ProtocolError => PROTOCOL_ERROR,
        Farewell::NotAllowed => POLICY_VIOLATION,
        Farewell::TooLarge => MESSAGE_TOO_BIG,
        Farewell::TryLater => TRY_AGAIN_LATER,
    }
}

/// What a close frame may hold: nothing, or a code that may be sent and a reason [5.5.1, 7.4].
fn check_close(payload: &[u8]) -> Result<(), Violation> {
    let code = match payload {
        [] => return Ok(()),
        [_] => return Err(violation("a close frame of one byte")),
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
    };
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(violation("a close frame with a code that may not be sent"));
    }
    if std::str::from_utf8(&payload[2..]).is_err() {
        return Err(Violation {
            code: INVALID_DATA,
            text: "the reason of a close frame is not UTF-8",
        });
    }
    Ok(())
}

/// Header of HTTP that has not arrived whole.
#[derive(Debug, Default)]
struct Head(Vec<u8>);

impl Head {
    /// Adds what may belong to a header of at most [`HEADER_BYTES_MAX`]; returns how much.
    fn add(&mut self, bytes: &[u8]) -> usize {
        let room = HEADER_BYTES_MAX - self.0.len();
        let count = bytes.len().min(room);
        self.0.extend_from_slice(&bytes[..count]);
        count
    }

    fn is_full(&self) -> bool {
        self.0.len() == HEADER_BYTES_MAX
    }

    /// What can be read of it, if the last `added` bytes ended a line: for a client that sends byte by
    /// byte the whole is not read again for each.
    fn whole_lines(&self, added: usize) -> &[u8] {
        let old = self.0.len() - added;
        let last = self.0[old..].iter().rposition(|byte| *byte == b'\n');
        last.map_or(&[], |last| &self.0[..=old + last])
    }

    /// Where in bytes of which the last `added` were added the first byte behind the header is.
    fn end_in_added(&self, length: usize, added: usize) -> usize {
        (length + added).saturating_sub(self.0.len())
    }
}

/// The broker's end.
pub struct Server {
    frames: Frames,
    farewell: Farewell,
    /// `None` once it is read.
    opening: Option<Box<Opening>>,
}

/// What is needed until a server's end is open.
struct Opening {
    policy: Arc<Policy>,
    /// Address of the socket's other end; `None`: a Unix socket.
    from: Option<IpAddr>,
    head: Head,
    forwarded_for: Option<Box<str>>,
}

impl Server {
    /// `from` is the address of the socket's other end, `None` for a Unix socket.
    #[must_use]
    pub fn new(policy: Arc<Policy>, from: Option<IpAddr>) -> Self {
        Self {
            frames: Frames::new(true),
            farewell: Farewell::Done,
            opening: Some(Box::new(Opening {
                policy,
                from,
                head: Head::default(),
                forwarded_for: None,
            })),
        }
    }

    /// From the image of an open one.
    ///
    /// # Errors
    /// The bytes are cut or garbled.
    pub fn restore(it: &mut Reader<'_>) -> Result<Self, ImageError> {
        Ok(Self {
            frames: Frames {
                phase: Phase::Open,
                decoder: Decoder::restore(it)?,
            },
            farewell: Farewell::Done,
            opening: None,
        })
    }

    #[cfg(test)]
    pub(super) fn holds_memory(&self) -> bool {
        self.opening.is_some() || self.frames.decoder.holds_memory()
    }

    /// Takes the bytes of the request; returns how many.
    fn open(&mut self, bytes: &[u8], down: &mut Vec<u8>) -> Result<usize, LayerError> {
        let Some(opening) = &mut self.opening else {
            return Ok(0);
        };
        let Opening { head, policy, .. } = &mut **opening;
        let added = head.add(bytes);
        if let Some(other) = other_protocol(&head.0) {
            self.frames.phase = Phase::Refused;
            return Err(LayerError(format!("WebSocket: {other}")));
        }
        let found = match request::read(head.whole_lines(added), policy) {
            Ok(None) if head.is_full() => Err(request::TOO_LARGE),
            found => found,
        };
        match found {
            Ok(None) => Ok(added),
            Ok(Some(mut upgrade)) => {
                request::answer(&upgrade, down);
                let end = head.end_in_added(upgrade.length, added);
                opening.forwarded_for = upgrade.forwarded_for.take();
                opening.head = Head::default();
                self.frames.phase = Phase::Open;
                Ok(end)
            }
            Err(refusal) => {
                request::refuse(&refusal, down);
                self.frames.phase = Phase::Refused;
                let Refusal { status, text } = refusal;
                Err(LayerError(format!("WebSocket: answered {status}: {text}")))
            }
        }
    }
}

/// A sentence when the first bytes are no HTTP but another protocol that we recognise.
fn other_protocol(head: &[u8]) -> Option<&'static str> {
    match head {
        [0x16] => None, // decided by the next byte
        [0x16, 0x03, ..] => Some("TLS came to a listener of WebSocket without TLS"),
        [0x10, ..] => Some("MQTT without WebSocket came to a listener of WebSocket"),
        [first, ..] if !first.is_ascii_graphic() && !matches!(first, b'\r' | b'\n') => {
            Some("the first bytes are no HTTP")
        }
        _ => None,
    }
}

impl Layer for Server {
    fn receive(
        &mut self,
        bytes: &mut [u8],
        up: &mut Vec<u8>,
        down: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        let taken = match self.frames.phase {
            Phase::Opening => self.open(bytes, down)?,
            _ => 0,
        };
        self.frames.receive(&mut bytes[taken..], up, down, || None)
    }

    fn send(&mut self, slices: &[IoSlice<'_>], down: &mut Vec<u8>) -> Result<(), LayerError> {
        if self.frames.phase == Phase::Open {
            encode(Opcode::Binary, slices, None, down);
        }
        Ok(())
    }

    fn explain(&mut self, why: Farewell) {
        self.farewell = why;
    }

    fn close(&mut self, down: &mut Vec<u8>) {
        if self.frames.phase == Phase::Open {
            let code = close_code(self.farewell);
            self.frames.say_goodbye(code, None, down);
        }
    }

    fn is_open(&self) -> bool {
        self.frames.was_opened()
    }

    fn is_ended(&self) -> bool {
        self.frames.phase == Phase::Ended
    }

    fn image(&self, out: &mut Writer<'_>) -> bool {
        let is_open = self.frames.phase == Phase::Open && self.opening.is_none();
        if is_open {
            out.byte(WEBSOCKET_SERVER);
            self.frames.decoder.image(out);
        }
        is_open
    }

    fn tell(&mut self, learned: &mut ConnectionInfo) {
        let Some(opening) = self.opening.take() else {
            return;
        };
        let Opening {
            policy,
            from,
            forwarded_for,
            ..
        } = *opening;
        let from = learned.address.map(|address| address.ip()).or(from);
        if let Some(list) = forwarded_for.filter(|_| policy.trusted.contains(from)) {
            let client = client_of(&list, &policy);
            learned.address = client.or(learned.address);
        }
    }
}

/// The last address of X-Forwarded-For that is not itself a trusted proxy's: entries in front of it may
/// be forged. Its port is often unknown, then 0.
fn client_of(list: &str, policy: &Policy) -> Option<SocketAddr> {
    let mut client = None;
    for element in list.rsplit(',') {
        let element = element.trim();
        let bare = element.trim_start_matches('[').trim_end_matches(']');
        let address = match (element.parse::<SocketAddr>(), bare.parse::<IpAddr>()) {
            (Ok(address), _) => address,
            (_, Ok(ip)) => SocketAddr::new(ip, 0),
            _ => break,
        };
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        client = Some(address);
        if !policy.trusted.contains(Some(address.ip())) {
            break;
        }
    }
    client
}

/// The end that connects, for load generators and bridges.
pub struct Client {
    frames: Frames,
    target: Arc<Target>,
    key: [u8; 16],
    /// State of the generator of masking keys, never 0.
    random: u64,
    head: Head,
}

impl Client {
    /// Masking keys, and the key of the handshake, come from `seed`. They keep proxies from taking
    /// frames for HTTP that a page made up; a program that sends its own bytes needs no secret.
    #[must_use]
    pub fn new(target: Arc<Target>, seed: u64) -> Self {
        let mut random = seed | 1;
        let mut key = [0; 16];
        key[..8].copy_from_slice(&next_random(&mut random).to_be_bytes());
        key[8..].copy_from_slice(&next_random(&mut random).to_be_bytes());
        Self {
            frames: Frames::new(false),
            target,
            key,
            random,
            head: Head::default(),
        }
    }

    fn open(&mut self, bytes: &[u8]) -> Result<usize, LayerError> {
        let added = self.head.add(bytes);
        match response::read(
            self.head.whole_lines(added),
            self.target.subprotocol,
            self.key,
        ) {
            Ok(None) if !self.head.is_full() => Ok(added),
            Ok(None) => {
                self.frames.phase = Phase::Refused;
                Err(LayerError(
                    "WebSocket: the header of the answer is too large".into(),
                ))
            }
            Ok(Some(length)) => {
                let end = self.head.end_in_added(length, added);
                self.head = Head::default();
                self.frames.phase = Phase::Open;
                Ok(end)
            }
            Err(text) => {
                self.frames.phase = Phase::Refused;
                Err(LayerError(format!("WebSocket: {text}")))
            }
        }
    }
}

/// xorshift64*: `state` is not 0 and stays so.
fn next_random(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D)
}

fn next_key(state: &mut u64) -> [u8; 4] {
    ((next_random(state) >> 32) as u32).to_ne_bytes()
}

impl Layer for Client {
    /// Asks for the upgrade.
    fn start(&mut self, down: &mut Vec<u8>) {
        response::request(&self.target, self.key, down);
    }

    fn receive(
        &mut self,
        bytes: &mut [u8],
        up: &mut Vec<u8>,
        down: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        let taken = match self.frames.phase {
            Phase::Opening => self.open(bytes)?,
            _ => 0,
        };
        let random = &mut self.random;
        let key = || Some(next_key(random));
        self.frames.receive(&mut bytes[taken..], up, down, key)
    }

    fn send(&mut self, slices: &[IoSlice<'_>], down: &mut Vec<u8>) -> Result<(), LayerError> {
        if self.frames.phase == Phase::Open {
            let key = next_key(&mut self.random);
            encode(Opcode::Binary, slices, Some(key), down);
        }
        Ok(())
    }

    fn end_of_stream(&self) -> Result<(), LayerError> {
        if self.frames.phase == Phase::Opening {
            let text = "WebSocket: the server has closed the connection without an answer: it does not speak HTTP there";
            return Err(LayerError(text.into()));
        }
        Ok(())
    }

    fn close(&mut self, down: &mut Vec<u8>) {
        if self.frames.phase == Phase::Open {
            let key = next_key(&mut self.random);
            self.frames.say_goodbye(NORMAL_CLOSURE, Some(key), down);
        }
    }

    fn is_open(&self) -> bool {
        self.frames.was_opened()
    }

    fn is_ended(&self) -> bool {
        self.frames.phase == Phase::Ended
    }
}
