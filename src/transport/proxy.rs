//! PROXY protocol, versions 1 and 2: a proxy names the client of each connection it forwards.
//!
//! A connection of a trusted proxy begins with a header that holds the client's address, followed by the
//! client's own bytes. Of a header only addresses are kept, at most 107 bytes; what version 2 appends
//! to them (up to 64 KiB) is skipped.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{ConnectionInfo, Layer, LayerError, Trusted};

/// Longest header of version 1, line end included.
const V1_MAX: usize = 107;
const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What every header of version 2 begins with: its start, command, family, length.
const V2_FIXED: usize = 16;
/// Longest addresses of version 2 that are read: two of IPv6 with their ports.
const V2_ADDRESSES_MAX: usize = 36;

const _: () = assert!(V2_FIXED + V2_ADDRESSES_MAX <= V1_MAX, "one bound for both");

/// Reads the header and is spent.
pub struct Proxy {
    /// Connections that are not a trusted proxy's are rejected.
    is_trusted: bool,
    /// Bytes of the header so far.
    header: Vec<u8>,
    /// Bytes still to pass over, once the addresses are read.
    pass_over: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// The rest of a header of version 2 comes.
    PassingOver(Option<SocketAddr>),
    Done(Option<SocketAddr>),
}

/// A header that is whole as far as it matters.
struct Header {
    /// `None`: the proxy's own connection, or an address that is no IP address.
    client: Option<SocketAddr>,
    /// Bytes of it that were read.
    length: usize,
    /// Bytes that belong to it and follow.
    more: usize,
}

impl Proxy {
    /// For a connection from this address; `None`: a Unix socket.
    #[must_use]
    pub fn new(trusted: &Trusted, from: Option<IpAddr>) -> Self {
        Self {
            is_trusted: trusted.contains(from),
            header: Vec::new(),
            pass_over: 0,
            state: State::Reading,
        }
    }
}

impl Layer for Proxy {
    fn receive(
        &mut self,
        bytes: &mut [u8],
        up: &mut Vec<u8>,
        _down: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        if !self.is_trusted {
            let text =
                "its address is not in trusted-proxies, and this listener is for proxies only";
            return Err(LayerError(text.into()));
        }
        let mut rest = &*bytes;
        if self.state == State::Reading {
            let before = self.header.len();
            let count = rest.len().min(V1_MAX - before);
            self.header.extend_from_slice(&rest[..count]);
            let Some(header) = read(&self.header).map_err(|text| LayerError(text.into()))? else {
                return Ok(());
            };
            // What was kept before is all header: it had not arrived whole.
            rest = &rest[header.length.saturating_sub(before).min(count)..];
            self.header = Vec::new();
            self.pass_over = header.more;
            self.state = State::PassingOver(header.client);
        }
        if let State::PassingOver(client) = self.state {
            let count = rest.len().min(self.pass_over);
            rest = &rest[count..];
            self.pass_over -= count;
            if self.pass_over == 0 {
                self.state = State::Done(client);
            }
        }
        up.extend_from_slice(rest);
        Ok(())
    }

    fn send(&mut self, slices: &[IoSlice<'_>], down: &mut Vec<u8>) -> Result<(), LayerError> {
        for slice in slices {
            down.extend_from_slice(slice);
        }
        Ok(())
    }

    fn close(&mut self, _down: &mut Vec<u8>) {}

    fn is_open(&self) -> bool {
        matches!(self.state, State::Done(_))
    }

    fn is_ended(&self) -> bool {
        false
    }

    fn is_spent(&self) -> bool {
        self.is_open()
    }

    fn tell(&mut self, learned: &mut ConnectionInfo) {
        if let State::Done(Some(client)) = self.state {
            learned.address = Some(client);
        }
    }
}

/// Reads a header of either version; `None`: more bytes are needed.
fn read(bytes: &[u8]) -> Result<Option<Header>, &'static str> {
    let begins = |start: &[u8]| {
        let count = bytes.len().min(start.len());
        bytes[..count] == start[..count]
    };
    if begins(V2_START) {
        read_v2(bytes)
    } else if begins(V1_START) {
        read_v1(bytes)
    } else {
        Err("a connection of a trusted proxy does not begin with a PROXY header")
    }
}

/// `PROXY TCP4 192.0.2.1 192.0.2.9 50000 1883\r\n`
fn read_v1(bytes: &[u8]) -> Result<Option<Header>, &'static str> {
    const MALFORMED: &str = "malformed PROXY header of version 1";
    let Some(line_len) = bytes.iter().position(|byte| *byte == b'\n') else {
        let is_too_long = bytes.len() >= V1_MAX;
        return if is_too_long {
            Err("a PROXY header of version 1 does not end")
        } else {
            Ok(None)
        };
    };
    let line = bytes[..line_len].strip_suffix(b"\r").ok_or(MALFORMED)?;
    let line = std::str::from_utf8(line).map_err(|_| MALFORMED)?;
    let fields: Vec<&str> = line.split(' ').collect();
    let client = match fields[..] {
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", "TCP4", from, to, from_port, to_port] => {
            Some(v1_client::<Ipv4Addr>([from, to], [from_port, to_port]).ok_or(MALFORMED)?)
        }
        ["PROXY", "TCP6", from, to, from_port, to_port] => {
            Some(v1_client::<Ipv6Addr>([from, to], [from_port, to_port]).ok_or(MALFORMED)?)
        }
        _ => return Err(MALFORMED),
    };
    Ok(Some(Header {
        client,
        length: line_len + 1,
        more: 0,
    }))
}

/// All four must be good; the client's are wanted.
fn v1_client<A: FromStr + Into<IpAddr>>(
    [from, to]: [&str; 2],
    ports: [&str; 2],
) -> Option<SocketAddr> {
    let [from_port, _] = ports.map(|port| {
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let has_zero = port.len() > 1 && port.starts_with('0');
        port.parse::<u16>().ok().filter(|_| is_number && !has_zero)
    });
    to.parse::<A>().ok()?;
    let _: u16 = ports[1].parse().ok()?;
    Some(canonical(from.parse::<A>().ok()?.into(), from_port?))
}

/// Binary: signature, version and command, family and protocol, length, addresses, more of that length.
fn read_v2(bytes: &[u8]) -> Result<Option<Header>, &'static str> {
    const MALFORMED: &str = "malformed PROXY header of version 2";
    let Some(fixed) = bytes.get(..V2_FIXED) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let addresses_len = match (fixed[12], fixed[13]) {
        (0x20, _) => 0,                   // LOCAL: a health check of the proxy itself
        (0x21, 0x00 | 0x31) => 0,         // of unknown origin, of a Unix socket
        (0x21, 0x11) => 12,               // TCP over IPv4
        (0x21, 0x21) => V2_ADDRESSES_MAX, // TCP over IPv6
        _ => return Err(MALFORMED),
    };
    if length < addresses_len {
        return Err(MALFORMED);
    }
    let Some(addresses) = bytes.get(V2_FIXED..V2_FIXED + addresses_len) else {
        return Ok(None);
    };
    let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
    let client = match addresses_len {
        12 => {
            let [a, b, c, d, ..] = *addresses else {
                return Err(MALFORMED);
            };
            Some(canonical(Ipv4Addr::new(a, b, c, d).into(), port(8)))
        }
        V2_ADDRESSES_MAX => {
            let mut from = [0; 16];
            from.copy_from_slice(&addresses[..16]);
            Some(canonical(Ipv6Addr::from(from).into(), port(32)))
        }
        _ => None,
    };
    Ok(Some(Header {
        client,
        length: V2_FIXED + addresses_len,
        more: length - addresses_len,
    }))
}

/// An address of IPv4 is shown as such also when it comes as one of IPv6.
fn canonical(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn trusted() -> Trusted {
        Trusted::from_list(["127.0.0.0/8"]).unwrap()
    }

    #[test]
    fn only_trusted_addresses_may_speak_for_others() {
        let header = b"PROXY TCP4 192.0.2.1 192.0.2.9 50000 1883\r\n";
        for from in [None, Some("192.0.2.9".parse().unwrap())] {
            let mut layer = Proxy::new(&trusted(), from);
            let error = layer.receive(&mut header.to_vec(), &mut vec![], &mut vec![]);
            assert!(error.unwrap_err().0.contains("trusted-proxies"));
            assert!(!layer.is_open());
        }
    }

    /// What comes of bytes in chunks of a size: what goes up, and the client's address once known.
    fn give(bytes: &[u8], chunk: usize) -> (Vec<u8>, Option<SocketAddr>, Result<bool, LayerError>) {
        let mut layer = Proxy::new(&trusted(), Some(PROXY));
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let mut learned = ConnectionInfo::default();
        for chunk in bytes.chunks(chunk) {
            if let Err(error) = layer.receive(&mut chunk.to_vec(), &mut up, &mut down) {
                return (up, None, Err(error));
            }
            assert!(layer.header.len() <= V1_MAX, "bounded");
        }
        assert!(down.is_empty(), "a proxy gets no answer");
        layer.tell(&mut learned);
        (up, learned.address, Ok(layer.is_spent()))
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [&V2_START[..], &[command, family], &length[..], rest].concat()
    }

    const FOUR: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 9, 0xC3, 0x50, 0x07, 0x5B];

    fn six() -> Vec<u8> {
        let from = "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets();
        [&from[..], &[0; 16], &[0xC3, 0x50, 0x07, 0x5B]].concat()
    }

    #[test]
    fn good_headers_in_any_cut() {
        let with_more = [&FOUR[..], &[0x04, 0, 2, 1, 2]].concat();
        let huge = [&six()[..], &[9; 60_000]].concat();
        let line = |text: &str| format!("{text}\r\n").into_bytes();
        let rows: [(Vec<u8>, Option<&str>); 11] = [
            (
                line("PROXY TCP4 192.0.2.1 192.0.2.9 50000 1883"),
                Some("192.0.2.1:50000"),
            ),
            (
                line("PROXY TCP6 2001:db8::7 ::1 50000 1883"),
                Some("[2001:db8::7]:50000"),
            ),
            (
                line("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2"),
                Some("192.0.2.1:1"),
            ),
            (line("PROXY UNKNOWN"), None),
            (
                line("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535"),
                None,
            ),
            (v2(0x21, 0x11, &FOUR), Some("192.0.2.1:50000")),
            (v2(0x21, 0x11, &with_more), Some("192.0.2.1:50000")),
            (v2(0x21, 0x21, &huge), Some("[2001:db8::7]:50000")),
            (v2(0x21, 0x31, &[0; 216]), None),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &FOUR), None),
        ];
        for (header, address) in rows {
            let bytes = [&header[..], b"MQTT"].concat();
            for chunk in [1, 2, 3, 15, 16, 17, 52, 106, 107, 108, bytes.len()] {
                let (up, found, result) = give(&bytes, chunk);
                assert_eq!(result, Ok(true));
                assert_eq!(up, b"MQTT", "in chunks of {chunk}");
                assert_eq!(found, address.map(|address| address.parse().unwrap()));
            }
            let (up, found, result) = give(&header[..header.len() - 1], 7);
            assert_eq!(
                (up, found, result),
                (vec![], None, Ok(false)),
                "not yet whole"
            );
        }
    }

    #[test]
    fn bad_headers_in_any_cut() {
        let line = |text: &str| format!("{text}\r\nMQTT").into_bytes();
        let long = "x".repeat(120);
        let rows = [
            b"\x10\x0c\0\x04MQTT\x04".to_vec(),
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.9 1 2\nMQTT".to_vec(),
            line("PROXY TCP4 192.0.2.1 192.0.2.9 50000"),
            line("PROXY TCP4 192.0.2.1 192.0.2.9 50000 1883 1"),
            line("PROXY TCP4 192.0.2.1 192.0.2.9 65536 1883"),
            line("PROXY TCP4 192.0.2.1 192.0.2.9 +1 1883"),
            line("PROXY TCP4 192.0.2.1 192.0.2.9 01 1883"),
            line("PROXY TCP4 192.0.2.1  192.0.2.9 1 1883"),
            line("PROXY TCP4 ::1 ::1 1 2"),
            line("PROXY TCP6 192.0.2.1 192.0.2.9 1 2"),
            line("PROXY UDP4 192.0.2.1 192.0.2.9 1 2"),
            line("PROXY tcp4 192.0.2.1 192.0.2.9 1 2"),
            line(&format!("PROXY UNKNOWN {long}")),
            v2(0x31, 0x11, &FOUR),
            v2(0x22, 0x11, &FOUR),
            v2(0x21, 0x12, &FOUR),
            v2(0x21, 0x11, &FOUR[..11]),
            v2(0x21, 0x21, &FOUR),
        ];
        for bytes in rows {
            let whole = give(&bytes, bytes.len());
            let error = whole.2.clone().expect_err("must be refused");
            assert!(error.0.contains("PROXY"), "{error}");
            for chunk in [1, 2, 16] {
                let (up, _, result) = give(&bytes, chunk);
                assert_eq!((up, &result), (vec![], &whole.2), "in chunks of {chunk}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_cut_are_the_same(
            start in prop_oneof![Just(&b"PROXY TCP4 "[..]), Just(&V2_START[..]), Just(&[][..])],
            rest in prop::collection::vec(any::<u8>(), 0..200),
            chunk in 1usize..60,
        ) {
            let bytes = [start, &rest].concat();
            let whole = give(&bytes, bytes.len().max(1));
            prop_assert_eq!(give(&bytes, chunk), whole);
        }
    }
}
