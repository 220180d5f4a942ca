//! The proof of a payload that is the user's own: whose message it is, when it was due, and a hash of its
//! content. It lies within the payload where `{proof}` stands, or travels beside it as a user property of MQTT 5.

use base64::prelude::{Engine, BASE64_URL_SAFE_NO_PAD};
use ringmq::mqtt::property::{Properties, Property};

use crate::payload::{Header, Reading, HEADER_BYTES};

/// Marks a proof within a payload, and is the name of the user property.
pub const MARK: &str = "mqload";
/// Characters of a proof.
pub const TEXT_BYTES: usize = (HEADER_BYTES + 8) * 4 / 3;
/// Bytes of a proof within a payload: the mark, a colon, the proof.
pub const PROOF_BYTES: usize = MARK.len() + 1 + TEXT_BYTES;
/// Bytes of the user property: its identifier, two lengths, the mark, the proof.
pub const PROPERTY_BYTES: usize = 1 + 2 + MARK.len() + 2 + TEXT_BYTES;

/// FNV-1a of bytes that come in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHash(u64);

impl Default for ContentHash {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl ContentHash {
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}

/// The proof of a payload with so many bytes and this hash of all of them but the proof.
#[must_use]
pub fn value(header: Header, payload_bytes: usize, hash: ContentHash) -> [u8; TEXT_BYTES] {
    let mut bytes = [0; HEADER_BYTES + 8];
    bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes(payload_bytes).0);
    bytes[HEADER_BYTES..].copy_from_slice(&hash.0.to_be_bytes());
    let mut text = [0; TEXT_BYTES];
    // 24 bytes are 32 characters.
    let _ = BASE64_URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
    text
}

/// The proof with its mark.
#[must_use]
pub fn text(header: Header, payload_bytes: usize, hash: ContentHash) -> [u8; PROOF_BYTES] {
    let mut text = [b':'; PROOF_BYTES];
    text[..MARK.len()].copy_from_slice(MARK.as_bytes());
    text[MARK.len() + 1..].copy_from_slice(&value(header, payload_bytes, hash));
    text
}

/// The proof as a user property, encoded.
#[must_use]
pub fn property(header: Header, payload_bytes: usize, hash: ContentHash) -> Vec<u8> {
    let value = value(header, payload_bytes, hash);
    let mut bytes = Vec::with_capacity(PROPERTY_BYTES);
    // Characters of base64 are one byte each.
    let value = std::str::from_utf8(&value).unwrap_or_default();
    Property::UserProperty(MARK, value).put(&mut bytes);
    bytes
}

/// A proof that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    header: [u8; HEADER_BYTES],
    hash: u64,
    /// Where it lies within its payload.
    at: Option<usize>,
}

impl Proof {
    /// Looks for the proof among the properties of a message.
    #[must_use]
    pub fn beside(properties: &[u8]) -> Option<Self> {
        Properties::new(properties).find_map(|property| match property {
            Property::UserProperty(MARK, value) => Self::read(value.as_bytes(), None),
            _ => None,
        })
    }

    /// Looks for the proof within a payload.
    #[must_use]
    pub fn within(payload: &[u8]) -> Option<Self> {
        let places = payload.windows(PROOF_BYTES).enumerate();
        let is_marked = |own: &[u8]| own.starts_with(MARK.as_bytes()) && own[MARK.len()] == b':';
        let (at, found) = places.into_iter().find(|(_, own)| is_marked(own))?;
        Self::read(&found[MARK.len() + 1..], Some(at))
    }

    fn read(text: &[u8], at: Option<usize>) -> Option<Self> {
        let mut bytes = [0; HEADER_BYTES + 8];
        let count = BASE64_URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (header, hash) = bytes.split_first_chunk()?;
        Some(Self {
            header: *header,
            hash: u64::from_be_bytes(hash.try_into().ok()?),
            at: (count == bytes.len()).then_some(at)?,
        })
    }

    /// What it says of a payload with so many bytes.
    #[must_use]
    pub fn reading(&self, payload_bytes: usize) -> Reading {
        Header::read(&self.header, payload_bytes)
    }

    /// True when a whole payload is what was published.
    #[must_use]
    pub fn holds(&self, payload: &[u8]) -> bool {
        let mut hash = ContentHash::default();
        match self.at {
            Some(at) => {
                hash.add(&payload[..at]);
                hash.add(&payload[at + PROOF_BYTES..]);
            }
            None => hash.add(payload),
        }
        let is_whole = matches!(self.reading(payload.len()), Reading::Sound(..));
        is_whole && self.is_of(hash)
    }

    /// True when the content has this hash.
    #[must_use]
    pub fn is_of(&self, hash: ContentHash) -> bool {
        self.hash == hash.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_beside_a_payload_is_of_all_its_bytes() {
        let payload = vec![5; 40_000];
        let mut hash = ContentHash::default();
        hash.add(&payload[..7]);
        hash.add(&payload[7..]);
        let header = Header::new(1, 2, 800);
        let proof = Proof::beside(&property(header, payload.len(), hash)).unwrap();
        assert!(proof.holds(&payload) && proof.is_of(hash));
        assert!(!proof.holds(&payload[1..]));
        assert!(matches!(proof.reading(40_000), Reading::Sound(own, _) if own == header));
        assert_eq!(property(header, 40_000, hash).len(), PROPERTY_BYTES);
        assert_eq!(Proof::beside(&[]), None);
        assert_eq!(Proof::within(b"mqload:short"), None);
    }
}
