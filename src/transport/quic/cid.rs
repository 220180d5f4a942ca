//! Connection ids that name the shard which has their connection.
//!
//! A client sends to the id that it was given, wherever it is: when its address changes, the kernel still finds the socket of
//! the right shard by the first two bytes of the id (see `io/datagrams.rs`), and no datagram is passed on between shards.

use std::time::Duration;

use quinn_proto::{ConnectionId, ConnectionIdGenerator};
use ring::hmac;

/// Bytes of an id.
const LENGTH: usize = 8;
/// Where the id of the receiver begins: in a packet with a short header, and in one with a long header (RFC 8999).
pub const SHARD_AT: [usize; 2] = [1, 6];
/// The bit of a long header.
const LONG: u8 = 0x80;

/// Ids that cannot be guessed, or tied to each other but by their shard.
pub(super) struct Ids {
    key: hmac::Key,
    made: u64,
    shard: u16,
    shards: u16,
}

impl Ids {
    pub(super) fn new(secret: &[u8; 32], shard: u16, shards: u16) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            made: 0,
            shard,
            shards,
        }
    }
}

/// The nearest number below, or above where there is none, that is the shard's.
fn marked(random: u16, shard: u16, shards: u16) -> u16 {
    let first = random - random % shards;
    first
        .checked_add(shard)
        .unwrap_or_else(|| first - shards + shard)
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        self.made += 1;
        let mut text = [0; 10];
        text[..8].copy_from_slice(&self.made.to_le_bytes());
        text[8..].copy_from_slice(&self.shard.to_le_bytes());
        let tag = hmac::sign(&self.key, &text);
        let mut id = [0; LENGTH];
        id.copy_from_slice(&tag.as_ref()[..LENGTH]);
        let random = u16::from_be_bytes([id[0], id[1]]);
        let mark = marked(random, self.shard, self.shards);
        id[..2].copy_from_slice(&mark.to_be_bytes());
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The shard that a datagram is for: that of its id, or of the random id with which a client begins.
#[must_use]
pub fn shard_of_datagram(bytes: &[u8], shards: u16) -> u16 {
    let is_long = bytes.first().is_some_and(|first| first & LONG != 0);
    let at = SHARD_AT[usize::from(is_long)];
    match bytes.get(at..at + 2) {
        Some(&[high, low]) => u16::from_be_bytes([high, low]) % shards,
        _ => 0, // it is none of QUIC
    }
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn an_id_names_its_shard_and_no_two_are_the_same() {
        for shards in [1_u16, 2, 3, 7, 1_000] {
            for shard in [0, shards / 2, shards - 1] {
                let mut ids = Ids::new(&[7; 32], shard, shards);
                let mut seen = std::collections::HashSet::new();
                for _ in 0..100 {
                    let id = ids.generate_cid();
                    let mut packet = vec![0x40];
                    packet.extend_from_slice(&id);
                    assert_eq!(shard_of_datagram(&packet, shards), shard);
                    let mut long = vec![0xC0, 0, 0, 0, 1, 8];
                    long.extend_from_slice(&id);
                    assert_eq!(shard_of_datagram(&long, shards), shard);
                    assert!(seen.insert(id.to_vec()));
                }
            }
        }
        assert_eq!(marked(u16::MAX, 6, 7), 65_533);
        assert_eq!(marked(65_534, 6, 7) % 7, 6);
    }
}
