//! Layers below MQTT: any stream, cut anywhere, gives the same bytes up, the same answers and the same
//! end; and what a server answers to frames, a client understands.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ringmq::transport::proxy::Proxy;
use ringmq::transport::websocket::{Client, Policy, Server, Target, HEADER_BYTES_MAX};
use ringmq::transport::{ConnectionInfo, Layer, Scratch, Stack, Trusted};

use crate::choices::Choices;
use crate::features::note;

/// Pieces of one stream.
const PIECES_MAX: usize = 12;
const REQUEST: &[u8] =
    b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: mqtt\r\nOrigin: https://a\r\nX-Forwarded-For: 1.2.3.4, ::1\r\n\r\n";
const V1: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.9 50000 1883\r\n";
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0E\xC0\0\x02\x01\xC0\0\x02\x09\xC3\x50\x07\x5B\x04\0";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// A request, then frames.
    Server,
    /// Frames of a client whose handshake is done.
    Frames,
    /// An answer, then frames.
    Client,
    /// The PROXY protocol below WebSocket.
    Proxied,
}

/// What a stream gives.
#[derive(Debug, PartialEq)]
struct Seen {
    up: Vec<u8>,
    down: Vec<u8>,
    error: Option<String>,
    is_open: bool,
    is_ended: bool,
    learned: Option<ConnectionInfo>,
}

/// See the module.
pub fn body(input: &[u8]) {
    let mut choices = Choices::new(input);
    let kind = choices.one_of(&[Kind::Server, Kind::Frames, Kind::Client, Kind::Proxied]);
    let chunk = choices.below(60) + 1;
    let stream = stream(&mut choices, kind);
    let whole = give(kind, &stream, usize::MAX);
    assert_eq!(give(kind, &stream, chunk), whole, "in chunks");
    assert_eq!(give(kind, &stream, 1), whole, "byte by byte");
    assert!(
        whole.down.len() <= stream.len() + HEADER_BYTES_MAX,
        "no amplification"
    );
    if kind == Kind::Frames {
        let answers = give(Kind::Client, &[&answer()[..], &whole.down].concat(), 7);
        assert_eq!(answers.error, None, "a client refuses what a server says");
    }
    note((
        kind,
        whole.error,
        whole.is_ended,
        whole.up.len().min(3),
        whole.down.len().min(200),
    ));
}

fn server() -> Server {
    let policy = Policy {
        path: "/mqtt".into(),
        origins: vec!["https://a".into()],
        trusted: trusted(),
    };
    Server::new(Arc::new(policy), Some(LOCAL))
}

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn trusted() -> Trusted {
    Trusted::from_list(["127.0.0.0/8", "192.0.2.0/24"]).expect("networks")
}

fn client() -> Client {
    let target = Target {
        host: "h".into(),
        path: "/mqtt".into(),
        subprotocol: "mqtt",
    };
    Client::new(Arc::new(target), 1)
}

/// What a server answers to the client of this body.
fn answer() -> Vec<u8> {
    let (mut hello, mut up, mut down) = (Vec::new(), Vec::new(), Vec::new());
    client().start(&mut hello);
    let answered = server().receive(&mut hello, &mut up, &mut down);
    assert_eq!(answered, Ok(()), "a server refuses what a client says");
    down
}

fn give(kind: Kind, stream: &[u8], chunk: usize) -> Seen {
    let layers: Vec<Box<dyn Layer>> = match kind {
        Kind::Server => vec![Box::new(server())],
        Kind::Client => vec![Box::new(client())],
        Kind::Proxied => vec![
            Box::new(Proxy::new(&trusted(), Some(LOCAL))),
            Box::new(server()),
        ],
        Kind::Frames => {
            let mut server = server();
            let opened = server.receive(&mut REQUEST.to_vec(), &mut Vec::new(), &mut Vec::new());
            assert_eq!(opened, Ok(()));
            vec![Box::new(server)]
        }
    };
    let mut stack = Stack::new(layers);
    let mut scratch = Scratch::default();
    let (mut up, mut down, mut error) = (Vec::new(), Vec::new(), None);
    for chunk in stream.chunks(chunk) {
        let result = stack.receive(&mut chunk.to_vec(), &mut scratch);
        up.extend_from_slice(&scratch.up);
        down.extend_from_slice(&scratch.down);
        if let Err(found) = result {
            error = Some(found.0);
            break;
        }
    }
    Seen {
        up,
        down,
        error,
        is_open: stack.is_open(),
        is_ended: stack.is_ended(),
        learned: stack.take_learned(),
    }
}

/// Mostly what belongs there, with some bytes changed.
fn stream(choices: &mut Choices<'_>, kind: Kind) -> Vec<u8> {
    let mut stream = match kind {
        Kind::Frames => Vec::new(),
        Kind::Server => REQUEST.to_vec(),
        Kind::Client => answer(),
        Kind::Proxied => [choices.one_of(&[V1, V2]), REQUEST].concat(),
    };
    for _ in 0..choices.below(3) {
        let at = usize::from(choices.short()) % stream.len().max(1);
        let byte = choices.byte();
        match choices.below(3) {
            0 => stream.insert(at.min(stream.len()), byte),
            _ if stream.is_empty() => {}
            1 => drop(stream.remove(at)),
            _ => stream[at] = byte,
        }
    }
    for _ in 0..PIECES_MAX {
        if choices.is_empty() {
            break;
        }
        frame(choices, kind != Kind::Client, &mut stream);
    }
    stream
}

/// A frame that is mostly good.
fn frame(choices: &mut Choices<'_>, masked: bool, stream: &mut Vec<u8>) {
    let usual = [0x82, 0x82, 0x02, 0x00, 0x80, 0x89, 0x8A, 0x88];
    let first = match choices.below(20) {
        0 => choices.byte(),
        at => usual[at % usual.len()],
    };
    let masked = masked != (choices.below(40) == 1);
    let length = usize::from(match choices.below(8) {
        0 => choices.short() % 1_000,
        1 => 125 + choices.short() % 3,
        _ => choices.short() % 12,
    });
    let mask_bit = if masked { 0x80 } else { 0 };
    stream.push(first);
    match choices.below(30) {
        0 => {
            stream.push(mask_bit | 127);
            stream.extend_from_slice(&(length as u64).to_be_bytes());
        }
        _ if length > 125 => {
            stream.push(mask_bit | 126);
            stream.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => stream.push(mask_bit | length as u8),
    }
    if masked {
        stream.extend_from_slice(&[1, 2, 3, 4]);
    }
    let byte = choices.byte();
    // A close frame begins with a code; 3 (masked: 2) makes one of 1000 and above.
    let start = [if masked { 2 } else { 3 }, byte];
    stream.extend((0..length).map(|at| start.get(at).copied().unwrap_or(byte)));
}
