//! TLS as a layer: a first flight in any form and cut anywhere ends the same way; and whatever happens to
//! the records of a client on their way, nothing comes up that it did not say.

use std::io::{IoSlice, Read, Write};
use std::sync::{Arc, OnceLock};

use ringmq::transport::tls::{Context, Material, Named, Settings, Tls, ALPN_MQTT};
use ringmq::transport::Layer;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::choices::Choices;
use crate::features::note;

/// What the server may answer to a first flight: its certificate and little more.
const ANSWER_MAX: usize = 4_096;
/// Flights of a client in a conversation: two or three of a handshake, then bytes.
const FLIGHTS: usize = 6;
const SAID_MAX: usize = 20_000;

/// See the module.
pub fn body(input: &[u8]) {
    let mut choices = Choices::new(input);
    if choices.below(8) == 0 {
        conversation(&mut choices);
    } else {
        first_flight(&mut choices);
    }
}

/// What a stream comes to. Answers have keys in them, drawn at random.
#[derive(Debug, Hash, PartialEq, Eq)]
struct Seen {
    error: Option<String>,
    is_answered: bool,
    is_open: bool,
}

fn first_flight(choices: &mut Choices<'_>) {
    let chunk = choices.below(60) + 1;
    let mut stream = hello(choices);
    for _ in 0..choices.below(3) {
        let at = usize::from(choices.short()) % stream.len();
        stream[at] = choices.byte();
    }
    for _ in 0..choices.below(4) {
        let kind = choices.one_of(&[22, 20, 21, 23, 24, 0]);
        let body = choices.data();
        record(kind, body, &mut stream);
    }
    let whole = give(&stream, stream.len());
    assert_eq!(give(&stream, chunk), whole, "in chunks");
    note(whole);
}

fn give(stream: &[u8], chunk: usize) -> Seen {
    let mut server = Tls::new(&made().server);
    let (mut up, mut down, mut error) = (Vec::new(), Vec::new(), None);
    for chunk in stream.chunks(chunk) {
        if let Err(found) = server.receive(&mut chunk.to_vec(), &mut up, &mut down) {
            error = Some(found.0);
            break;
        }
    }
    assert_eq!(up, [0_u8; 0], "nobody has shaken hands");
    assert!(down.len() <= ANSWER_MAX, "no amplification");
    Seen {
        error,
        is_answered: !down.is_empty(),
        is_open: server.is_open(),
    }
}

/// A real client, one byte of which may be changed on the way.
fn conversation(choices: &mut Choices<'_>) {
    let made = made();
    let config = &made.clients[choices.below(made.clients.len())];
    let piece = usize::from(choices.short()) % 2_000 + 1;
    let bent = choices.maybe(|choices| {
        let flight = choices.below(FLIGHTS);
        (flight, usize::from(choices.short()), choices.byte() | 1)
    });
    let name = ServerName::try_from("fuzz.example").expect("a name");
    let mut client = ClientConnection::new(Arc::clone(config), name).expect("a configuration");
    client.set_buffer_limit(None);
    let mut server = Tls::new(&made.server);
    let (mut sent, mut up) = (Vec::new(), Vec::new());
    let (mut said, mut heard) = (Vec::new(), Vec::new());
    let mut failed = None;
    for flight in 0..FLIGHTS {
        if !client.is_handshaking() {
            let length = usize::from(choices.short()) % SAID_MAX;
            let text: Vec<u8> = (0..length).map(|at| (at * 7 + flight) as u8).collect();
            client
                .writer()
                .write_all(&text)
                .expect("a buffer without limit");
            sent.extend_from_slice(&text);
        }
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("memory");
        }
        match bent {
            Some((at, place, bits)) if at == flight && !bytes.is_empty() => {
                let place = place % bytes.len();
                bytes[place] ^= bits;
            }
            _ => {}
        }
        let mut down = Vec::new();
        for piece in bytes.chunks_mut(piece) {
            if let Err(error) = server.receive(piece, &mut up, &mut down) {
                failed = Some(error.0);
                break;
            }
        }
        assert!(sent.starts_with(&up), "what comes up was said");
        if failed.is_none() && server.is_open() {
            let text = &sent[..sent.len().min(3_000)];
            let sending = server.send(&[IoSlice::new(text), IoSlice::new(b"!")], &mut down);
            sending.expect("an open connection");
            said.extend_from_slice(text);
            said.push(b'!');
        }
        let mut down = &down[..];
        while !down.is_empty() {
            client.read_tls(&mut down).expect("memory");
            if client.process_new_packets().is_err() {
                assert!(bent.is_some(), "a client refuses what the server says");
                break;
            }
            let _ = client.reader().read_to_end(&mut heard); // would block at the end
        }
        if failed.is_some() {
            break;
        }
    }
    if bent.is_none() {
        assert_eq!(failed, None);
        assert!(
            server.is_open() && up == sent && heard == said,
            "all comes through"
        );
    }
    note((failed, server.is_open(), bent.map(|(flight, ..)| flight)));
}

/// One authority, its server and two clients of different versions, for all inputs.
struct Made {
    server: Arc<Context>,
    clients: [Arc<ClientConfig>; 2],
}

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let own = rcgen::generate_simple_self_signed(["fuzz.example".to_string()]);
        let own = own.expect("a certificate");
        let named = |name: &str, text: String| Named {
            name: name.into(),
            bytes: text.into_bytes(),
        };
        let material = Material {
            certificates: vec![(
                named("certificate", own.cert.pem()),
                named("key", own.key_pair.serialize_pem()),
            )],
            ..Material::default()
        };
        let context = Context::new(&Settings::default(), &material, &[ALPN_MQTT]);
        let clients = [&TLS13, &TLS12].map(|version| {
            let mut roots = RootCertStore::empty();
            roots.add(own.cert.der().clone()).expect("a certificate");
            let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_protocol_versions(&[version])
                .expect("a version")
                .with_root_certificates(roots)
                .with_no_client_auth();
            Arc::new(config)
        });
        Made {
            server: Arc::new(context.expect("a context")),
            clients,
        }
    })
}

/// A ClientHello, mostly sound: its parts are there or not, once or twice, in one record or several.
fn hello(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut extensions = Vec::new();
    for _ in 0..4 + choices.below(8) {
        extension(choices, &mut extensions);
    }
    let mut body = vec![3, 3];
    body.extend([0x5A; 32]);
    prefixed(1, &[7; 32][..choices.one_of(&[32, 0, 1])], &mut body);
    let ciphers: &[u8] = choices.one_of(&[
        &[0x13, 0x01, 0x13, 0x03, 0xC0, 0x2B][..],
        &[0xC0, 0x2B, 0xCC, 0xA9],
        &[0x00, 0x2F],
        &[],
    ]);
    prefixed(2, ciphers, &mut body);
    prefixed(1, &[0], &mut body);
    prefixed(2, &extensions, &mut body);
    let mut message = vec![1];
    prefixed(3, &body, &mut message);
    let mut stream = Vec::new();
    let pieces = message.len().div_ceil(choices.one_of(&[1, 1, 1, 2, 9]));
    for piece in message.chunks(pieces) {
        record(22, piece, &mut stream);
    }
    stream
}

fn extension(choices: &mut Choices<'_>, into: &mut Vec<u8>) {
    let usual: [(u16, &[u8]); 10] = [
        (43, &[4, 3, 4, 3, 3]),
        (10, &[0, 4, 0, 29, 0, 23]),
        (13, &[0, 4, 4, 3, 8, 4]),
        (51, &KEY_SHARE),
        (0, b"\0\x0F\0\0\x0Cfuzz.example"),
        (16, b"\0\x05\x04mqtt"),
        (45, &[1, 1]),
        (35, &[9; 40]),
        (43, &[2, 3, 3]),
        (23, &[]),
    ];
    let (kind, body) = match choices.below(16) {
        at @ 0..=9 => usual[at],
        // Those without which nothing goes on, more often.
        at @ 10..=13 => usual[at - 10],
        _ => (choices.short() % 60, choices.data()),
    };
    into.extend(kind.to_be_bytes());
    prefixed(2, body, into);
}

/// A share of x25519: any 32 bytes are one.
const KEY_SHARE: [u8; 38] = {
    let mut share = [9; 38];
    let start = [0, 36, 0, 29, 0, 32];
    let mut at = 0;
    while at < start.len() {
        share[at] = start[at];
        at += 1;
    }
    share
};

/// Appends bytes after their length of so many bytes, cut off to what it can say.
fn prefixed(size: usize, bytes: &[u8], into: &mut Vec<u8>) {
    let most = (1_usize << (8 * size)) - 1;
    let bytes = &bytes[..bytes.len().min(most)];
    into.extend(&(bytes.len() as u32).to_be_bytes()[4 - size..]);
    into.extend(bytes);
}

fn record(kind: u8, body: &[u8], stream: &mut Vec<u8>) {
    stream.extend([kind, 3, 3]);
    prefixed(2, body, stream);
}
