//! The header of a connection that a node passes on: one of the PROXY protocol, version 2, with
//! the client's address, and in fields of our own what the owner must know of the connection.
//!
//! The owner believes a user name of a verified certificate, so strangers must not be able to send such a header. It is
//! signed (HMAC-SHA-256) with a secret that the nodes share, over a number that the owner has drawn for this connection:
//! what is overheard is good for nothing else.

use std::net::{IpAddr, SocketAddr};

use ring::hmac;

use super::NodeName;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, on behalf of another.
const PROXY: u8 = 0x21;
const UNKNOWN: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// Fields of our own are 0xE0 to 0xEF (section 2.2.7 of the protocol).
const LISTENER: u8 = 0xE0;
const IDENTITY: u8 = 0xE1;
const NODE: u8 = 0xE2;
const HOPS: u8 = 0xE4;
/// The last: of everything before it.
const PROOF: u8 = 0xE3;
const PROOF_BYTES: usize = 3 + 32;

/// Signature, command, family and length.
pub const PREFIX_BYTES: usize = 16;
/// What the owner draws.
pub const NONCE_BYTES: usize = 32;
/// Behind the prefix, at most.
const REST_MAX: usize = 4_096;

/// The secret of the nodes of a cluster.
pub struct RelaySecret(hmac::Key);

impl RelaySecret {
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }
}

/// The origin of a connection, for its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayHeader {
    /// `None`: a program on the accepting node's machine, through a Unix socket.
    pub client: Option<SocketAddr>,
    /// Number of the listener that accepted it; nodes have the same ones in the same order.
    pub listener: u16,
    /// User name that a verified certificate gives.
    pub identity: Option<Box<str>>,
    /// The node that passes it on.
    pub node: NodeName,
    /// How many do.
    pub hops: u8,
}

impl RelayHeader {
    #[must_use]
    pub fn encode(&self, nonce: &[u8; NONCE_BYTES], secret: &RelaySecret) -> Vec<u8> {
        let mut rest = Vec::new();
        let family = match self.client {
            None => UNKNOWN,
            Some(client) => put_address(&mut rest, client),
        };
        put_field(&mut rest, LISTENER, &self.listener.to_be_bytes());
        if let Some(identity) = &self.identity {
            put_field(&mut rest, IDENTITY, identity.as_bytes());
        }
        put_field(&mut rest, NODE, self.node.as_str().as_bytes());
        put_field(&mut rest, HOPS, &[self.hops]);
        let mut header = SIGNATURE.to_vec();
        header.extend_from_slice(&[PROXY, family]);
        header.extend_from_slice(&((rest.len() + PROOF_BYTES) as u16).to_be_bytes());
        header.extend_from_slice(&rest);
        let proof = hmac::sign(&secret.0, &[nonce, &header[..]].concat());
        put_field(&mut header, PROOF, proof.as_ref());
        header
    }

    /// How many bytes follow the prefix. `None`: it is none.
    #[must_use]
    pub fn rest_of(prefix: &[u8; PREFIX_BYTES]) -> Option<usize> {
        let rest = usize::from(u16::from_be_bytes([prefix[14], prefix[15]]));
        let is_one = prefix.starts_with(SIGNATURE) && prefix[12] == PROXY;
        (is_one && rest <= REST_MAX).then_some(rest)
    }

    /// The header of exactly these bytes. `None`: it is none, or not signed with the secret.
    #[must_use]
    pub fn decode(bytes: &[u8], nonce: &[u8; NONCE_BYTES], secret: &RelaySecret) -> Option<Self> {
        let (signed, proof) = bytes.split_at_checked(bytes.len().checked_sub(PROOF_BYTES)?)?;
        let proof = proof.strip_prefix(&[PROOF, 0, 32])?;
        hmac::verify(&secret.0, &[nonce, signed].concat(), proof).ok()?;
        let prefix = signed.first_chunk::<PREFIX_BYTES>()?;
        if Self::rest_of(prefix)? != bytes.len() - PREFIX_BYTES {
            return None;
        }
        let mut rest = &signed[PREFIX_BYTES..];
        let client = take_address(prefix[13], &mut rest)?;
        let (mut listener, mut identity, mut node, mut hops) = (None, None, None, None);
        while let Some((kind, field)) = take_field(&mut rest)? {
            match kind {
                LISTENER => listener = Some(u16::from_be_bytes(field.try_into().ok()?)),
                IDENTITY => identity = Some(std::str::from_utf8(field).ok()?.into()),
                NODE => node = NodeName::new(std::str::from_utf8(field).ok()?),
                HOPS => hops = field.first().copied(),
                _ => {} // of a later version
            }
        }
        Some(Self {
            client,
            listener: listener?,
            identity,
            node: node?,
            hops: hops?,
        })
    }
}

fn put_field(out: &mut Vec<u8>, kind: u8, field: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&(field.len() as u16).to_be_bytes());
    out.extend_from_slice(field);
}

/// `Some(None)`: there is none left.
#[allow(clippy::option_option)] // an error, the end, a field
fn take_field<'a>(rest: &mut &'a [u8]) -> Option<Option<(u8, &'a [u8])>> {
    let Some((head, tail)) = rest.split_first_chunk::<3>() else {
        return rest.is_empty().then_some(None);
    };
    let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
    let (field, tail) = tail.split_at_checked(length)?;
    *rest = tail;
    Some(Some((head[0], field)))
}

/// The family.
fn put_address(out: &mut Vec<u8>, client: SocketAddr) -> u8 {
    let (family, addresses) = match client.ip() {
        IpAddr::V4(ip) => (TCP4, [ip.octets(), [0; 4]].concat()),
        IpAddr::V6(ip) => (TCP6, [ip.octets(), [0; 16]].concat()),
    };
    out.extend_from_slice(&addresses);
    out.extend_from_slice(&client.port().to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    family
}

#[allow(clippy::option_option)] // an error, no address, an address
fn take_address(family: u8, rest: &mut &[u8]) -> Option<Option<SocketAddr>> {
    let length = match family {
        UNKNOWN => return Some(None),
        TCP4 => 4,
        TCP6 => 16,
        _ => return None,
    };
    let (address, tail) = rest.split_at_checked(2 * length + 4)?;
    *rest = tail;
    let ip = match length {
        4 => IpAddr::from(*address.first_chunk::<4>()?),
        _ => IpAddr::from(*address.first_chunk::<16>()?),
    };
    let port = u16::from_be_bytes([address[2 * length], address[2 * length + 1]]);
    Some(Some(SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; NONCE_BYTES] = [9; NONCE_BYTES];

    fn secret() -> RelaySecret {
        RelaySecret::new(&[5; 32])
    }

    fn header(client: Option<&str>, identity: Option<&str>) -> RelayHeader {
        RelayHeader {
            client: client.map(|text| text.parse().unwrap()),
            listener: 3,
            identity: identity.map(Into::into),
            node: NodeName::new("node-1").unwrap(),
            hops: 2,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for client in [None, Some("10.1.2.3:4567"), Some("[2001:db8::7]:1")] {
            for identity in [None, Some("größe")] {
                let header = header(client, identity);
                let bytes = header.encode(&NONCE, &secret());
                let prefix = bytes.first_chunk().unwrap();
                assert_eq!(
                    RelayHeader::rest_of(prefix),
                    Some(bytes.len() - PREFIX_BYTES)
                );
                assert_eq!(RelayHeader::decode(&bytes, &NONCE, &secret()), Some(header));
            }
        }
    }

    /// Who does not know the secret claims nothing, and what was overheard is of one connection.
    #[test]
    fn strangers_claim_nothing() {
        let bytes = header(Some("10.1.2.3:4567"), Some("admin")).encode(&NONCE, &secret());
        let other = RelaySecret::new(&[6; 32]);
        assert_eq!(RelayHeader::decode(&bytes, &NONCE, &other), None);
        assert_eq!(
            RelayHeader::decode(&bytes, &[8; NONCE_BYTES], &secret()),
            None
        );
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(
                RelayHeader::decode(&changed, &NONCE, &secret()),
                None,
                "byte {at}"
            );
            assert_eq!(RelayHeader::decode(&bytes[..at], &NONCE, &secret()), None);
        }
        assert_eq!(
            RelayHeader::rest_of(b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\0\0\0"),
            None
        );
    }
}
