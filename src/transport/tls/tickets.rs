//! Session tickets of a listener, sealed with keys of its own, which another process can be given: its clients resume there
//! what they have begun here.
//!
//! A ticket has the name of its key and a nonce in front of what is sealed, as those of rustls. A key seals for six hours,
//! and opens for as long again.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey, CHACHA20_POLY1305, NONCE_LEN};
use ring::digest::{digest, SHA256, SHA256_OUTPUT_LEN};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::UnixTime;
use rustls::server::ProducesTickets;

const SEALS_S: u64 = 6 * 60 * 60;
const OPENS_S: u64 = 2 * SEALS_S;
const NAME_LEN: usize = 16;
const SECRET_LEN: usize = 32;
/// Name, secret, and since when it seals.
const KEY_LEN: usize = NAME_LEN + SECRET_LEN + 8;

#[derive(Clone)]
struct Key {
    name: [u8; NAME_LEN],
    secret: [u8; SECRET_LEN],
    since_s: u64,
}

/// See the module. Lives on: the context of a listener, shared by all shards.
pub struct Tickets {
    /// What the keys are for: with another configuration of TLS they are not taken.
    of: [u8; SHA256_OUTPUT_LEN],
    /// The newest first.
    keys: RwLock<Vec<Key>>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Tickets") // and no secret
    }
}

impl Tickets {
    /// `of`: everything that decides who may come back, so that no client does whom another configuration shuts out.
    pub(super) fn new(of: &[u8]) -> Self {
        let mut print = [0; SHA256_OUTPUT_LEN];
        print.copy_from_slice(digest(&SHA256, of).as_ref());
        Self {
            of: print,
            keys: RwLock::default(),
        }
    }

    /// What another process needs to open the tickets that were given so far. It is secret.
    #[must_use]
    pub fn give(&self) -> Vec<u8> {
        let mut out = self.of.to_vec();
        for key in self
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            out.extend_from_slice(&key.name);
            out.extend_from_slice(&key.secret);
            out.extend_from_slice(&key.since_s.to_le_bytes());
        }
        out
    }

    /// Takes what another process has given; false: its configuration of TLS was another one.
    pub fn take(&self, given: &[u8]) -> bool {
        let Some((of, rest)) = given.split_first_chunk::<SHA256_OUTPUT_LEN>() else {
            return false;
        };
        let (keys, []) = rest.as_chunks::<KEY_LEN>() else {
            return false;
        };
        if *of != self.of {
            return false;
        }
        let keys = keys.iter().filter_map(|bytes| {
            let (name, rest) = bytes.split_first_chunk()?;
            let (secret, since) = rest.split_first_chunk()?;
            Some(Key {
                name: *name,
                secret: *secret,
                since_s: u64::from_le_bytes(since.try_into().ok()?),
            })
        });
        let mut own = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        own.extend(keys);
        true
    }

    /// The key that seals now.
    fn sealing(&self, now_s: u64) -> Option<Key> {
        let seals = |key: &&Key| now_s < key.since_s.saturating_add(SEALS_S);
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.first().filter(seals) {
            return Some(key.clone());
        }
        drop(keys);
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.first().filter(seals) {
            return Some(key.clone()); // another shard was first
        }
        let key = Key {
            name: random()?,
            secret: random()?,
            since_s: now_s,
        };
        keys.insert(0, key.clone());
        keys.retain(|key| now_s < key.since_s.saturating_add(OPENS_S));
        Some(key)
    }

    fn seal(&self, plain: &[u8], now_s: u64) -> Option<Vec<u8>> {
        let key = self.sealing(now_s)?;
        let nonce: [u8; NONCE_LEN] = random()?; // a counter would tell how many there were
        let mut ticket = [&key.name[..], &nonce[..], plain].concat();
        let (_, sealed) = ticket.split_at_mut(NAME_LEN + NONCE_LEN);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let cipher = key.cipher()?;
        let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(key.name), sealed);
        ticket.extend_from_slice(tag.ok()?.as_ref());
        Some(ticket)
    }

    fn open(&self, ticket: &[u8], now_s: u64) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let opens = |key: &&Key| key.name == *name && now_s < key.since_s.saturating_add(OPENS_S);
        let key = keys.iter().find(opens)?.clone();
        drop(keys);
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut bytes = sealed.to_vec();
        let opened = key
            .cipher()?
            .open_in_place(nonce, Aad::from(key.name), &mut bytes);
        let length = opened.ok()?.len();
        bytes.truncate(length);
        Some(bytes)
    }
}

impl Key {
    fn cipher(&self) -> Option<LessSafeKey> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &self.secret).ok()?;
        Some(LessSafeKey::new(key))
    }
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    default_provider().secure_random.fill(&mut bytes).ok()?;
    Some(bytes)
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        OPENS_S as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, UnixTime::now().as_secs())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, UnixTime::now().as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_opened_until_its_key_is_too_old() {
        let tickets = Tickets::new(b"one");
        let first = tickets.seal(b"secret", 1_000).unwrap();
        assert!(!first.windows(6).any(|six| six == b"secret"));
        assert_eq!(tickets.open(&first, 1_000).unwrap(), b"secret");
        // The next key seals from six hours on; the one before still opens.
        let second = tickets.seal(b"other", 1_000 + SEALS_S).unwrap();
        assert_ne!(first[..NAME_LEN], second[..NAME_LEN]);
        assert_eq!(tickets.open(&first, 999 + OPENS_S).unwrap(), b"secret");
        assert_eq!(tickets.open(&first, 1_000 + OPENS_S), None);
        assert_eq!(tickets.open(&second, 1_000 + OPENS_S).unwrap(), b"other");
        tickets.seal(b"", 1_000 + OPENS_S).unwrap();
        let keys = tickets.keys.read().unwrap().len();
        assert_eq!(keys, 2, "what opens nothing any more is forgotten");
    }

    #[test]
    fn what_is_cut_or_changed_is_no_ticket() {
        let tickets = Tickets::new(b"one");
        let ticket = tickets.seal(b"secret", 5).unwrap();
        for end in 0..ticket.len() {
            assert_eq!(tickets.open(&ticket[..end], 5), None, "cut at {end}");
        }
        for place in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[place] ^= 1;
            assert_eq!(tickets.open(&changed, 5), None, "changed at {place}");
        }
        assert_eq!(Tickets::new(b"one").open(&ticket, 5), None, "another key");
    }

    #[test]
    fn another_process_opens_what_this_one_has_sealed_if_it_lets_the_same_clients_in() {
        let old = Tickets::new(b"one");
        let ticket = old.seal(b"secret", 5).unwrap();
        let (new, other) = (Tickets::new(b"one"), Tickets::new(b"other"));
        assert!(!other.take(&old.give()));
        assert_eq!(other.open(&ticket, 6), None);
        assert!(new.take(&old.give()));
        assert_eq!(new.open(&ticket, 6).unwrap(), b"secret");
        // It seals with the same key from then on.
        assert_eq!(new.seal(b"", 7).unwrap()[..NAME_LEN], ticket[..NAME_LEN]);
        let given = old.give();
        assert!(!new.take(&given[..given.len() - 1]));
        assert!(!format!("{old:?}").contains(|c: char| c.is_ascii_digit()));
    }
}
