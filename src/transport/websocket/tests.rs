//! The examples of RFC 6455, every rule it gives, and any stream cut anywhere.

use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::transport::{ConnectionInfo, Farewell, Layer, LayerError, Scratch, Stack};

const PROXY: &str = "10.0.0.1";

fn policy() -> Arc<Policy> {
    Arc::new(Policy {
        path: "/mqtt".into(),
        origins: vec!["https://good.example".into()],
        trusted: Trusted::from_list(["10.0.0.0/8"]).unwrap(),
    })
}

fn server_from(address: &str) -> Server {
    let from: IpAddr = address.parse().unwrap();
    Server::new(policy(), Some(from))
}

/// A request with these fields in place of the usual ones of the same name, or beside them.
fn request_with(line: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        ("Host", "broker.example:9001"),
        ("Upgrade", "websocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", "mqtt"),
    ];
    let mut text = format!("{line}\r\n");
    let is_given = |name| fields.iter().any(|(given, _)| *given == name);
    let kept = usual.iter().filter(|(name, _)| !is_given(*name));
    for (name, value) in kept.chain(fields.iter().filter(|(_, value)| *value != "-")) {
        text += &format!("{name}: {value}\r\n");
    }
    (text + "\r\n").into_bytes()
}

const LINE: &str = "GET /mqtt HTTP/1.1";

fn request(fields: &[(&str, &str)]) -> Vec<u8> {
    request_with(LINE, fields)
}

/// What comes of a stream that arrives in chunks.
#[derive(Debug, PartialEq)]
struct Seen {
    up: Vec<u8>,
    down: Vec<u8>,
    error: Option<LayerError>,
}

fn give(layer: &mut dyn Layer, bytes: &[u8], chunk: usize) -> Seen {
    let mut seen = Seen {
        up: Vec::new(),
        down: Vec::new(),
        error: None,
    };
    for chunk in bytes.chunks(chunk) {
        let mut chunk = chunk.to_vec();
        if let Err(error) = layer.receive(&mut chunk, &mut seen.up, &mut seen.down) {
            seen.error = Some(error);
            break;
        }
    }
    seen
}

/// The same for a server whose handshake is done, without its answer to that.
fn frames(bytes: &[u8], chunk: usize) -> (Server, Seen) {
    let mut server = server_from("192.0.2.1");
    let opened = give(&mut server, &request(&[]), 4_096);
    assert_eq!(opened.error, None);
    let seen = give(&mut server, bytes, chunk);
    (server, seen)
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xFA, 0x21, 0x3D];
    let mut down = Vec::new();
    encode(
        Opcode::Binary,
        &[IoSlice::new(payload)],
        Some(key),
        &mut down,
    );
    down[0] = first;
    down
}

/// The code of the close frame that is all there is.
fn close_code(down: &[u8]) -> u16 {
    assert_eq!(down[..2], [0x88, 2], "{down:?}");
    assert_eq!(down.len(), 4);
    u16::from_be_bytes([down[2], down[3]])
}

#[test]
fn the_handshake_of_the_specification() {
    for chunk in [1, 7, 4_096] {
        let mut server = server_from("192.0.2.1");
        let bytes = [request(&[]), frame(0x82, b"first")].concat();
        let seen = give(&mut server, &bytes, chunk);
        let answer = String::from_utf8(seen.down).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(answer.contains("Sec-WebSocket-Protocol: mqtt\r\n\r\n"));
        assert!(!answer.contains("Extensions"));
        assert_eq!((seen.up, seen.error), (b"first".to_vec(), None));
        assert!(server.is_open());
    }
}

#[test]
fn subprotocols_in_the_order_of_the_client() {
    let rows = [
        ("mqtt", "mqtt"),
        ("mqttv3.1", "mqttv3.1"),
        ("chat, mqttv3.1 ,mqtt", "mqttv3.1"),
        ("mqtt, mqttv3.1", "mqtt"),
    ];
    for (offered, chosen) in rows {
        let seen = give(
            &mut server_from("::1"),
            &request(&[("Sec-WebSocket-Protocol", offered)]),
            4_096,
        );
        let answer = String::from_utf8(seen.down).unwrap();
        let line = format!("Sec-WebSocket-Protocol: {chosen}\r\n");
        assert!(answer.contains(&line), "{offered}: {answer}");
    }
}

#[test]
fn what_is_accepted_although_unusual() {
    let rows: [&[(&str, &str)]; 6] = [
        &[("Origin", "https://good.example")],
        &[("Origin", "HTTPS://GOOD.example")],
        &[("Upgrade", "h2c, WebSocket"), ("Connection", "UPGRADE")],
        &[(
            "Sec-WebSocket-Extensions",
            "permessage-deflate; client_max_window_bits",
        )],
        &[
            ("Sec-WebSocket-Protocol", "chat"),
            ("Sec-WebSocket-Protocol", "mqtt"),
        ],
        &[("Content-Length", "0")],
    ];
    for fields in rows {
        let seen = give(&mut server_from("::1"), &request(fields), 4_096);
        assert_eq!(seen.error, None, "{fields:?}");
        assert!(seen.down.starts_with(b"HTTP/1.1 101 "), "{fields:?}");
    }
    let query = request_with("GET /mqtt?token=1 HTTP/1.1", &[]);
    assert_eq!(give(&mut server_from("::1"), &query, 4_096).error, None);
}

#[test]
fn every_refusal_has_a_status_and_a_sentence() {
    let many = "x".repeat(HEADER_BYTES_MAX);
    let plain = [("Upgrade", "-"), ("Connection", "-")];
    let rows: [(Vec<u8>, &str); 20] = [
        (request_with("GET / HTTP/1.1", &[]), "404"),
        (request_with("GET /mqtt/ HTTP/1.1", &[]), "404"),
        (request_with("POST /mqtt HTTP/1.1", &[]), "405"),
        (request_with("GET /mqtt HTTP/1.0", &[]), "400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), "400"),
        (b"hello\r\n\r\n".to_vec(), "400"),
        (b"GET /mqtt HTTP/1.1\r\n no field\r\n\r\n".to_vec(), "400"),
        (request(&plain), "426"),
        (request(&[("Connection", "close")]), "426"),
        (request(&[("Upgrade", "h2c")]), "426"),
        (request(&[("Sec-WebSocket-Version", "8")]), "426"),
        (request(&[("Host", "-")]), "400"),
        (request(&[("Host", "a"), ("Host", "b")]), "400"),
        (request(&[("Sec-WebSocket-Key", "-")]), "400"),
        (request(&[("Sec-WebSocket-Key", "c2hvcnQ=")]), "400"),
        (request(&[("Sec-WebSocket-Protocol", "MQTT, chat")]), "400"),
        (request(&[("Origin", "https://bad.example")]), "403"),
        (request(&[("Origin", "null")]), "403"),
        (request(&[("Content-Length", "5")]), "400"),
        (request(&[("X-Long", &many)]), "431"),
    ];
    for (bytes, status) in rows {
        for chunk in [1, 1_000, bytes.len()] {
            let mut server = server_from("192.0.2.1");
            let seen = give(&mut server, &bytes, chunk);
            let error = seen.error.expect("refused").0;
            assert!(error.contains(status), "{error}");
            let answer = String::from_utf8(seen.down).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status} ")),
                "{status}: {head}"
            );
            assert!(head.contains("close"));
            assert_eq!(head.contains("Sec-WebSocket-Version: 13"), status == "426");
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
            assert!(body.len() > 20 && body.ends_with(".\n"), "{body}");
            assert!(!server.is_open());
            let mut down = Vec::new();
            server.close(&mut down);
            assert_eq!(down, [0_u8; 0], "no frame behind an answer of HTTP");
        }
    }
    let fields: Vec<_> = (0..HEADERS_MAX).map(|_| ("X-Many", "1")).collect();
    let seen = give(&mut server_from("::1"), &request(&fields), 4_096);
    assert!(seen.error.unwrap().0.contains("431"));
}

#[test]
fn other_protocols_are_named_and_get_no_answer() {
    let rows: [(&[u8], &str); 3] = [
        (&[0x16, 0x03, 0x01, 0x02], "TLS"),
        (b"\x10\x0C\0\x04MQTT\x04\x02", "MQTT without WebSocket"),
        (&[0x16, 0x04], "no HTTP"),
    ];
    for (bytes, named) in rows {
        for chunk in [1, 4] {
            let seen = give(&mut server_from("::1"), bytes, chunk);
            assert!(seen.error.unwrap().0.contains(named));
            assert_eq!(seen.down, [0_u8; 0]);
        }
    }
}

#[test]
fn addresses_of_clients_behind_trusted_proxies() {
    let rows = [
        (PROXY, "203.0.113.7", Some("203.0.113.7:0")),
        (PROXY, "6.6.6.6, 203.0.113.7", Some("203.0.113.7:0")),
        (PROXY, "203.0.113.7, 10.9.9.9", Some("203.0.113.7:0")),
        (PROXY, "203.0.113.7:4711", Some("203.0.113.7:4711")),
        (
            PROXY,
            "[2001:db8::1]:4711, ::ffff:10.0.0.2",
            Some("[2001:db8::1]:4711"),
        ),
        (PROXY, "2001:db8::1", Some("[2001:db8::1]:0")),
        (PROXY, "unknown, 10.0.0.2", Some("10.0.0.2:0")),
        (PROXY, "unknown", None),
        ("192.0.2.1", "203.0.113.7", None),
    ];
    for (from, header, expected) in rows {
        let mut server = server_from(from);
        give(&mut server, &request(&[("X-Forwarded-For", header)]), 50);
        let mut learned = ConnectionInfo::default();
        server.tell(&mut learned);
        let expected = expected.map(|address| address.parse().unwrap());
        assert_eq!(learned.address, expected, "{header} from {from}");
    }
    // Behind the PROXY protocol it is the address named there that is trusted or not.
    for (named, believed) in [("10.0.0.2:1", true), ("198.51.100.1:1", false)] {
        let mut server = server_from(PROXY);
        give(
            &mut server,
            &request(&[("X-Forwarded-For", "203.0.113.7")]),
            50,
        );
        let mut learned = ConnectionInfo {
            address: Some(named.parse().unwrap()),
            ..ConnectionInfo::default()
        };
        server.tell(&mut learned);
        let client = learned.address.unwrap().to_string();
        assert_eq!(client == "203.0.113.7:0", believed, "{client}");
    }
}

#[test]
fn frames_fragmented_and_interleaved() {
    let bytes = [
        frame(0x02, b"one "),
        frame(0x89, b"ping"),
        frame(0x00, b"two "),
        frame(0x00, b""),
        frame(0x8A, b"a pong nobody asked for"),
        frame(0x80, b"three "),
        frame(0x82, &[b'x'; 300]),
        frame(0x89, b""),
        frame(0x82, &[b'y'; 70_000]),
    ]
    .concat();
    for chunk in [1, 2, 3, 5, 13, 64, 70_000, bytes.len()] {
        let (server, seen) = frames(&bytes, chunk);
        assert_eq!(seen.error, None);
        assert_eq!(seen.up[..14], *b"one two three ");
        assert_eq!(seen.up.len(), 14 + 300 + 70_000);
        assert!(seen.up[314..].iter().all(|byte| *byte == b'y'));
        assert_eq!(seen.down, b"\x8A\x04ping\x8A\0");
        assert!(server.is_open() && !server.is_ended());
    }
}

#[test]
fn what_fails_a_connection_and_with_which_code() {
    let unmasked: &[u8] = &[0x82, 1, 0];
    let long_control = [&[0x89, 0xFE, 0, 126][..], &[0; 130]].concat();
    let not_utf8 = frame(0x88, b"\x03\xE8\xFF");
    let top_bit: &[u8] = &[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
    let rows: [(&[u8], u16); 19] = [
        (unmasked, 1002),
        (&frame(0xC2, b"a"), 1002), // RSV1: a compressed message
        (&frame(0xA2, b"a"), 1002),
        (&frame(0x92, b"a"), 1002),
        (&frame(0x83, b"a"), 1002),
        (&frame(0x8B, b"a"), 1002),
        (&frame(0x81, b"text"), 1003),
        (&frame(0x01, b"text"), 1003),
        (&frame(0x80, b"a"), 1002),
        (&[frame(0x02, b"a"), frame(0x82, b"b")].concat(), 1002),
        (&frame(0x09, b"a"), 1002),
        (&long_control, 1002),
        (&[0x82, 0xFE, 0, 125, 1, 2, 3, 4], 1002),
        (
            &[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 1, 2, 3, 4],
            1002,
        ),
        (top_bit, 1002),
        (&frame(0x88, b"\x03"), 1002),
        (&frame(0x88, &1005u16.to_be_bytes()), 1002),
        (&frame(0x88, &2999u16.to_be_bytes()), 1002),
        (&not_utf8, 1007),
    ];
    for (bytes, code) in rows {
        for chunk in [1, 2, 200] {
            let bytes = [&frame(0x82, b"good")[..], bytes].concat();
            let (mut server, seen) = frames(&bytes, chunk);
            assert!(seen.error.is_some(), "{bytes:?}");
            assert!(seen.up.starts_with(b"good"));
            assert_eq!(close_code(&seen.down), code, "{bytes:?}");
            let mut down = Vec::new();
            server.close(&mut down);
            assert_eq!(down, [0_u8; 0], "one close frame");
        }
    }
}

#[test]
fn a_length_of_64_bits_is_no_memory() {
    let header = [
        0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0,
    ];
    let (mut server, seen) = frames(&header, 3);
    assert_eq!((seen.error, seen.up.capacity()), (None, 0));
    let seen = give(&mut server, &[7; 1_000], 100);
    assert_eq!((seen.error, seen.up.len()), (None, 1_000));
}

#[test]
fn the_close_handshake_from_either_side() {
    for (payload, answer) in [
        (&b""[..], &[0x88, 0][..]),
        (b"\x03\xE8bye", &[0x88, 2, 0x03, 0xE8]),
        (b"\x0B\xB8", &[0x88, 2, 0x0B, 0xB8]),
    ] {
        let bytes = [frame(0x88, payload), frame(0x82, b"too late")].concat();
        let (mut server, seen) = frames(&bytes, 3);
        assert_eq!(
            (seen.up, seen.down, seen.error),
            (vec![], answer.to_vec(), None)
        );
        assert!(server.is_ended());
        let mut down = Vec::new();
        server.close(&mut down);
        server.send(&[IoSlice::new(b"late")], &mut down).unwrap();
        assert_eq!(down, [0_u8; 0], "nothing after the close frame");
    }
    let (mut server, _) = frames(&[], 1);
    let mut down = Vec::new();
    server.close(&mut down);
    assert_eq!(close_code(&down), 1000);
    let seen = give(
        &mut server,
        &[frame(0x82, b"late"), frame(0x88, b"")].concat(),
        4,
    );
    assert_eq!((seen.up, seen.down, seen.error), (vec![], vec![], None));
}

#[test]
fn an_open_connection_keeps_little() {
    assert!(size_of::<Server>() <= 80, "{}", size_of::<Server>());
    let (mut server, _) = frames(&frame(0x82, b"some"), 1);
    server.tell(&mut ConnectionInfo::default());
    assert!(!server.holds_memory(), "nothing on the heap");
}

#[test]
fn one_frame_for_all_that_is_sent_at_once() {
    let (mut server, _) = frames(&[], 1);
    let mut down = Vec::new();
    let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cd")];
    server.send(&parts, &mut down).unwrap();
    assert_eq!(down, b"\x82\x04abcd");
    for (length, header) in [
        (125, &[0x82, 125][..]),
        (126, &[0x82, 126, 0, 126]),
        (65_535, &[0x82, 126, 0xFF, 0xFF]),
        (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        down.clear();
        server
            .send(&[IoSlice::new(&vec![1; length])], &mut down)
            .unwrap();
        assert_eq!(down[..header.len()], *header);
        assert_eq!(down.len(), header.len() + length);
    }
}

fn client() -> Client {
    let target = Target {
        host: "broker.example".into(),
        path: "/mqtt".into(),
        subprotocol: "mqtt",
    };
    Client::new(Arc::new(target), 7)
}

/// A client and a server that have shaken hands.
fn pair() -> (Client, Server) {
    let (mut client, mut server) = (client(), server_from("::1"));
    let mut hello = Vec::new();
    client.start(&mut hello);
    let answer = give(&mut server, &hello, 9);
    assert_eq!(answer.error, None);
    let seen = give(&mut client, &answer.down, 9);
    assert_eq!(seen.error, None);
    assert!(client.is_open() && server.is_open());
    (client, server)
}

#[test]
fn client_and_server_understand_each_other() {
    let (mut client, mut server) = pair();
    let mut wire = Vec::new();
    client.send(&[IoSlice::new(b"ping me")], &mut wire).unwrap();
    assert_eq!(give(&mut server, &wire, 3).up, b"ping me");
    wire.clear();
    server.send(&[IoSlice::new(b"back")], &mut wire).unwrap();
    wire.extend_from_slice(b"\x89\x01p");
    let seen = give(&mut client, &wire, 2);
    assert_eq!(seen.up, b"back");
    assert_eq!(
        give(&mut server, &seen.down, 1).error,
        None,
        "a masked pong"
    );
    wire.clear();
    client.close(&mut wire);
    let seen = give(&mut server, &wire, 1);
    assert!(server.is_ended());
    give(&mut client, &seen.down, 1);
    let (mut client, _) = pair();
    assert!(
        give(&mut client, &frame(0x82, b"a"), 9).error.is_some(),
        "a masked answer"
    );
}

#[test]
fn a_client_refuses_what_is_no_websocket_server() {
    let mut hello = Vec::new();
    client().start(&mut hello);
    let hello = String::from_utf8(hello).unwrap();
    let key = hello.split("Sec-WebSocket-Key: ").nth(1).unwrap();
    let accept = &accept_key(key.lines().next().unwrap());
    let good = |field: &str, value: &str| {
        let fields = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept),
            ("Sec-WebSocket-Protocol", "mqtt"),
        ];
        let mut text = String::from("HTTP/1.1 101 Switching Protocols\r\n");
        for (name, usual) in fields {
            let value = if name == field { value } else { usual };
            text += &format!("{name}: {value}\r\n");
        }
        if field == "More" {
            text += value;
        }
        (text + "\r\n").into_bytes()
    };
    let rows = [
        (b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec(), "404 Not Found"),
        (b"SSH-2.0-OpenSSH\r\n".to_vec(), "HTTP/1.1"),
        (good("Upgrade", "h2c"), "proof"),
        (good("Connection", "close"), "proof"),
        (good("Sec-WebSocket-Accept", "AAAA"), "proof"),
        (good("Sec-WebSocket-Protocol", "chat"), "subprotocol"),
        (good("More", "Sec-WebSocket-Extensions: x\r\n"), "extension"),
        (vec![b'x'; HEADER_BYTES_MAX], "too large"),
    ];
    for (bytes, named) in rows {
        for chunk in [1, 500] {
            let mut client = client();
            client.start(&mut Vec::new());
            let error = give(&mut client, &bytes, chunk).error.expect("refused").0;
            assert!(error.contains(named), "{error}");
        }
    }
}

/// Bytes that are mostly frames.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => Just(0x82u8), 2 => Just(0x02), 2 => Just(0x00), 2 => Just(0x80),
        2 => Just(0x89), 1 => Just(0x88), 1 => any::<u8>(),
    ];
    let piece = (first, prop::collection::vec(any::<u8>(), 0..140));
    let piece = piece.prop_map(|(first, payload)| frame(first, &payload));
    let noise = prop::collection::vec(any::<u8>(), 0..20);
    (prop::collection::vec(piece, 0..8), noise)
        .prop_map(|(pieces, noise)| [pieces.concat(), noise].concat())
}

proptest! {
    #[test]
    fn any_stream_in_any_cut_is_the_same(bytes in streams(), chunk in 1usize..150) {
        let (_, whole) = frames(&bytes, bytes.len().max(1));
        let (_, cut) = frames(&bytes, chunk);
        prop_assert_eq!(cut, whole);
    }

    #[test]
    fn any_header_in_any_cut_is_the_same(
        at in 0usize..200,
        byte in any::<u8>(),
        chunk in 1usize..60,
    ) {
        let mut bytes = request(&[("Origin", "https://good.example")]);
        let at = at.min(bytes.len() - 1);
        bytes[at] = byte;
        let whole = give(&mut server_from("::1"), &bytes, bytes.len());
        prop_assert_eq!(give(&mut server_from("::1"), &bytes, chunk), whole);
    }
}

/// RFC 6455 7.4.1, and its registry for 1013.
#[test]
fn a_goodbye_says_why() {
    let rows = [
        (Farewell::Done, 1000),
        (Farewell::GoingAway, 1001),
        (Farewell::ProtocolError, 1002),
        (Farewell::NotAllowed, 1008),
        (Farewell::TooLarge, 1009),
        (Farewell::TryLater, 1013),
    ];
    for (why, code) in rows {
        let (mut server, _) = frames(&[], 1);
        let mut down = Vec::new();
        server.explain(why);
        server.close(&mut down);
        assert_eq!(close_code(&down), code, "{why:?}");
    }
}

#[test]
fn paths_that_are_asked_for_and_spoken() {
    let give_to = |own: &str, asked: &str| {
        let policy = Policy {
            path: own.into(),
            ..(*policy()).clone()
        };
        let mut server = Server::new(Arc::new(policy), None);
        let line = format!("GET {asked} HTTP/1.1");
        let seen = give(&mut server, &request_with(&line, &[]), 4_096);
        (seen.error.map(|error| error.0), seen.down)
    };
    for any in ["", "*"] {
        for asked in ["/", "/mqtt", "/x/y?z", "*"] {
            assert_eq!(give_to(any, asked).0, None, "{asked} at {any}");
        }
    }
    let (error, answer) = give_to("/mqtt", "/other?token=secret");
    let (error, answer) = (error.unwrap(), String::from_utf8(answer).unwrap());
    for text in [&error, &answer] {
        assert!(
            text.contains("there is nothing at \"/other\"") && text.contains("spoken at \"/mqtt\""),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
    }
    // What a client sends is shown short, and without control characters for a terminal.
    let (error, _) = give_to("/mqtt", &format!("/{}", "\u{85}x".repeat(2_000)));
    let error = error.unwrap();
    assert!(error.len() < 1_000 && !error.contains('\u{85}'), "{error}");
}

/// [5.2]: the most significant bit of a length of 64 bits MUST be 0.
#[test]
fn a_length_above_all_is_named() {
    let (_, seen) = frames(&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], 3);
    assert!(seen.error.unwrap().0.contains("above 2^63"));
    assert_eq!(close_code(&seen.down), 1002);
}

/// A stream that is cut anywhere is continued by another process.
#[test]
fn an_image_continues_where_the_other_end_was() {
    let long = vec![7; 300];
    let stream = [
        frame(0x02, b"begins"),
        frame(0x89, b"ping"),
        frame(0x80, &long),
        frame(0x82, b""),
        frame(0x82, b"last"),
    ]
    .concat();
    let (_, whole) = frames(&stream, 4_096);
    assert_eq!(whole.error, None);
    for cut in 0..=stream.len() {
        let (mut before, mut seen) = frames(&stream[..cut], 4_096);
        before.tell(&mut ConnectionInfo::default());
        let mut stack = Stack::new(vec![Box::new(before)]);
        let mut image = Vec::new();
        assert!(stack.image(&mut image), "cut at {cut}");
        stack = Stack::restore(&image).unwrap();
        assert!(stack.is_open() && !stack.is_spent());
        for end in 0..image.len() {
            assert!(Stack::restore(&image[..end]).is_err(), "{end} of {cut}");
        }
        let mut scratch = Scratch::default();
        stack
            .receive(&mut stream[cut..].to_vec(), &mut scratch)
            .unwrap();
        seen.up.extend_from_slice(&scratch.up);
        seen.down.extend_from_slice(&scratch.down);
        assert_eq!(seen, whole, "cut at {cut}");
    }
}

#[test]
fn only_an_end_that_is_open_has_an_image() {
    let image = |server: Server| Stack::new(vec![Box::new(server)]).image(&mut Vec::new());
    assert!(!image(server_from("192.0.2.1")));
    let (mut ended, _) = frames(&frame(0x88, b""), 4_096);
    ended.tell(&mut ConnectionInfo::default());
    assert!(!image(ended));
}
