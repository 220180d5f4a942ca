//! An MQTT client of a few lines: packets by hand over a socket, through the key of the toy layers if
//! there are any.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

pub(super) struct Client {
    pub(super) socket: TcpStream,
    /// What toy layers change bytes by.
    pub(super) key: u8,
}

impl Client {
    /// A socket; nothing is sent yet.
    pub(super) fn new(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, key: 0 }
    }

    /// A client that is connected and subscribed to the topic of its name.
    pub(super) fn subscribed(address: SocketAddr, name: &str) -> Self {
        let mut client = Self::new(address);
        client.send(&connect(name));
        client.expect_connack();
        client.subscribe(name);
        client
    }

    pub(super) fn expect_connack(&mut self) {
        assert_eq!(self.frame(), (0x20, vec![0, 0]));
    }

    pub(super) fn subscribe(&mut self, filter: &str) {
        self.send(&subscribe(filter));
        assert_eq!(self.frame(), (0x90, vec![0, 1, 0]));
    }

    /// PINGREQ and its answer: the broker serves this client.
    pub(super) fn ping(&mut self) {
        self.send(&PINGREQ);
        assert_eq!(self.frame(), (0xd0, vec![]));
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        let bytes: Vec<u8> = bytes.iter().map(|byte| byte ^ self.key).collect();
        self.socket.write_all(&bytes).unwrap();
    }

    pub(super) fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.socket.read_exact(&mut bytes).unwrap();
        bytes.iter().map(|byte| byte ^ self.key).collect()
    }

    /// As it came over the wire.
    pub(super) fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.socket.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// The next packet: first byte and what follows the length.
    pub(super) fn frame(&mut self) -> (u8, Vec<u8>) {
        let first = self.read(1)[0];
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.read(1)[0];
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return (first, self.read(length));
            }
        }
    }

    /// Topic and payload of the next packet, which is a publication of QoS 0.
    pub(super) fn publication(&mut self) -> (String, Vec<u8>) {
        let (first, mut body) = self.frame();
        assert_eq!(first & 0xf6, 0x30);
        let mut topic = body.split_off(2);
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let payload = topic.split_off(length);
        (String::from_utf8(topic).unwrap(), payload)
    }
}

pub(super) const PINGREQ: [u8; 2] = [0xc0, 0];

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    while length >= 0x80 {
        packet.push(length as u8 | 0x80);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend_from_slice(body);
    packet
}

/// CONNECT of 3.1.1 with Clean Session, and a will with its name, which DISCONNECT would discard.
pub(super) fn connect(name: &str) -> Vec<u8> {
    let start = b"\0\x04MQTT\x04\x06\0\0";
    let will = [string("gone"), string(name)].concat();
    packet(0x10, &[&start[..], &string(name), &will].concat())
}

/// CONNECT of 3.1.1 or 5.0 without a will.
pub(super) fn connect_plain(version: u8, name: &str, keep_alive_s: u8) -> Vec<u8> {
    let start = [b"\0\x04MQTT", &[version, 2, 0, keep_alive_s][..]].concat();
    let properties: &[u8] = if version == 5 { &[0] } else { &[] };
    packet(0x10, &[&start, properties, &string(name)].concat())
}

pub(super) fn subscribe(filter: &str) -> Vec<u8> {
    packet(0x82, &[&[0, 1][..], &string(filter), &[0]].concat())
}

pub(super) fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    packet(0x30, &[&string(topic), payload].concat())
}

pub(super) fn retain(topic: &str, payload: &[u8]) -> Vec<u8> {
    packet(0x31, &[&string(topic), payload].concat())
}
