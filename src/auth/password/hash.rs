//! Hashed passwords as Mosquitto writes them.
//!
//! | form | made of | written by |
//! | --- | --- | --- |
//! | `$6$salt$digest` | SHA-512 of password and salt | Mosquitto 1 |
//! | `$7$rounds$salt$key` | PBKDF2 with HMAC-SHA-512 | Mosquitto 2.0 and this program |
//! | `$argon2id$v=19$m=..,t=..,p=..$salt$hash` | Argon2id | Mosquitto 2.1 |
//!
//! Salts and digests are base64 (Argon2: without padding).

use std::fmt;

use argon2::password_hash::{PasswordHash, PasswordHashString, SaltString};
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier};
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

const SHA512_BYTES: usize = 64;
const SALT_BYTES_MAX: usize = 128;
/// What one verification may cost: about two seconds of a core, and 1 GiB for its time.
const ROUNDS_MAX: u32 = 4_000_000;
const ARGON2_KIB_MAX: u32 = 1 << 20;
const ARGON2_PASSES_MAX: u32 = 64;
const ARGON2_LANES_MAX: u32 = 16;

/// Salt of a new hash, in bytes.
pub(crate) const NEW_SALT_BYTES: usize = 16;

/// Mosquitto 2.0 reads salts of this length only, in bytes.
const MOSQUITTO_SALT_BYTES: usize = 12;

/// How a new hash is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashKind {
    /// Readable by every Mosquitto since 2.0.
    Pbkdf2 { rounds: u32 },
    /// Readable by Mosquitto 2.1; 46 MiB, one pass, one lane as it writes it.
    Argon2id,
}

/// A hashed password. Verifying takes from a microsecond (`$6$`) to some hundred milliseconds.
#[derive(Clone, PartialEq, Eq)]
pub enum Hash {
    Sha512 {
        salt: Vec<u8>,
        digest: [u8; SHA512_BYTES],
    },
    Pbkdf2 {
        rounds: u32,
        salt: Vec<u8>,
        key: [u8; SHA512_BYTES],
    },
    Argon2id(PasswordHashString),
}

impl Hash {
    /// Reads what stands behind the user name of a password file.
    ///
    /// # Errors
    /// A sentence about what is wrong with it; it never repeats the text, which may be a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("$argon2") {
            return parse_argon2(text);
        }
        let fields: Vec<&str> = text.split('$').collect();
        match fields.as_slice() {
            ["", "6", salt, digest] => Ok(Self::Sha512 {
                salt: salt_of(salt)?,
                digest: digest_of(digest)?,
            }),
            ["", "7", rounds, salt, key] => Ok(Self::Pbkdf2 {
                rounds: rounds_of(rounds)?,
                salt: salt_of(salt)?,
                key: digest_of(key)?,
            }),
            ["", "6" | "7", ..] => Err("the hash is cut off or has too many parts".into()),
            ["", kind, _, ..] => Err(format!(
                "\"${}$\" is not a known kind of hash; known are $6$, $7$ and $argon2id$",
                kind.escape_debug()
            )),
            _ => Err(
                "the password is not hashed; set it anew with `ringmq passwd`, or hash the whole \
                 file with `ringmq passwd -U`"
                    .into(),
            ),
        }
    }

    /// Hashes a password. `salt` is fresh random bytes.
    ///
    /// # Errors
    /// Argon2 refuses the password (longer than 4 GiB).
    pub fn create(
        kind: HashKind,
        password: &[u8],
        salt: [u8; NEW_SALT_BYTES],
    ) -> Result<Self, String> {
        match kind {
            HashKind::Pbkdf2 { rounds } => {
                let salt = &salt[..MOSQUITTO_SALT_BYTES];
                Ok(Self::Pbkdf2 {
                    rounds,
                    salt: salt.to_vec(),
                    key: pbkdf2(password, salt, rounds),
                })
            }
            HashKind::Argon2id => {
                let params = Params::new(47_104, 1, 1, None).map_err(|e| e.to_string())?;
                let argon2 = Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params);
                let salt = SaltString::encode_b64(&salt).map_err(|e| e.to_string())?;
                let hash = argon2.hash_password(password, &salt);
                Ok(Self::Argon2id(hash.map_err(|e| e.to_string())?.serialize()))
            }
        }
    }

    /// Whether this is the password. Takes as long for a wrong one as for the right one.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Sha512 { salt, digest } => {
                let hasher = Sha512::new().chain_update(password).chain_update(salt);
                hasher.finalize().as_slice().ct_eq(digest).into()
            }
            Self::Pbkdf2 { rounds, salt, key } => pbkdf2(password, salt, *rounds).ct_eq(key).into(),
            Self::Argon2id(hash) => {
                let verified = Argon2::default().verify_password(password, &hash.password_hash());
                verified.is_ok()
            }
        }
    }
}

/// As it stands in a password file.
impl fmt::Display for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha512 { salt, digest } => {
                write!(out, "$6${}${}", BASE64.encode(salt), BASE64.encode(digest))
            }
            Self::Pbkdf2 { rounds, salt, key } => {
                let (salt, key) = (BASE64.encode(salt), BASE64.encode(key));
                write!(out, "$7${rounds}${salt}${key}")
            }
            Self::Argon2id(hash) => write!(out, "{hash}"),
        }
    }
}

/// Hashes stay out of logs.
impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Sha512 { .. } => "Hash($6$)",
            Self::Pbkdf2 { .. } => "Hash($7$)",
            Self::Argon2id(_) => "Hash($argon2id$)",
        })
    }
}

fn pbkdf2(password: &[u8], salt: &[u8], rounds: u32) -> [u8; SHA512_BYTES] {
    pbkdf2::pbkdf2_hmac_array::<Sha512, SHA512_BYTES>(password, salt, rounds)
}

fn rounds_of(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(rounds) if (1..=ROUNDS_MAX).contains(&rounds) => Ok(rounds),
        _ => Err(format!("the rounds of the hash are not 1 to {ROUNDS_MAX}")),
    }
}

fn salt_of(text: &str) -> Result<Vec<u8>, String> {
    match BASE64.decode(text) {
        Ok(salt) if (1..=SALT_BYTES_MAX).contains(&salt.len()) => Ok(salt),
        _ => Err(format!(
            "the salt is not base64 of 1 to {SALT_BYTES_MAX} bytes"
        )),
    }
}

fn digest_of(text: &str) -> Result<[u8; SHA512_BYTES], String> {
    let bytes = BASE64.decode(text).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("the hash is not base64 of {SHA512_BYTES} bytes"))
}

fn parse_argon2(text: &str) -> Result<Hash, String> {
    let wrong = |error: &dyn fmt::Display| format!("the argon2 hash is not readable: {error}");
    let hash = PasswordHash::new(text).map_err(|error| wrong(&error))?;
    if hash.algorithm.as_str() != "argon2id" {
        return Err("of the argon2 family only argon2id is known".into());
    }
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err("the argon2 hash is cut off".into());
    }
    let params = Params::try_from(&hash).map_err(|error| wrong(&error))?;
    let within = params.m_cost() <= ARGON2_KIB_MAX
        && params.t_cost() <= ARGON2_PASSES_MAX
        && params.p_cost() <= ARGON2_LANES_MAX;
    if !within {
        return Err(format!(
            "the argon2 hash costs more than m={ARGON2_KIB_MAX}, t={ARGON2_PASSES_MAX}, \
             p={ARGON2_LANES_MAX}"
        ));
    }
    Ok(Hash::Argon2id(hash.serialize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by mosquitto_passwd 2.0.11 for the password `secret`.
    const SEVEN: &str = "$7$101$gbu0nqgYiji6zaw1$TGszBam8kBlXqVn2lUXeQejB9acJ5stGjdRcsv67gdb4wZU2JAorXi7QaB9ogCvmD/mwHNTzgZD6zeCKgrC+Gw==";
    /// Written by mosquitto_passwd 2.0.11 with `-H sha512` for the password `x`.
    const SIX: &str = "$6$r4nej1+Lrq0KXmol$vPX6E7ZV0CfcaiSxnMM2Xt4Q8qLPoUfnzmDVOBEfefUbF2n6bwbCgLNsXay+xqjQqI0/GwMEpSThb1rs5BorfA==";

    /// Of the reference implementation's own tests; 2.1 writes such.
    const ARGON2: &str =
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

    #[test]
    fn hashes_of_mosquitto() {
        for (text, password) in [(SEVEN, "secret"), (SIX, "x"), (ARGON2, "password")] {
            let hash = Hash::parse(text).unwrap();
            assert!(hash.verify(password.as_bytes()));
            assert!(!hash.verify(b"wrong"));
            assert!(!hash.verify(b""));
            assert_eq!(hash.to_string(), text);
        }
    }

    #[test]
    fn new_hashes_are_read_back() {
        for kind in [HashKind::Pbkdf2 { rounds: 3 }, HashKind::Argon2id] {
            let hash = Hash::create(kind, b"p\xff:$", [7; 16]).unwrap();
            let read = Hash::parse(&hash.to_string()).unwrap();
            if let Hash::Pbkdf2 { salt, .. } = &read {
                assert_eq!(salt.len(), 12, "or Mosquitto 2.0 throws the entry away");
            }
            assert_eq!(read, hash);
            assert!(read.verify(b"p\xff:$"));
            assert!(!read.verify(b"p\xff:"));
        }
    }

    #[test]
    fn broken_hashes_have_a_sentence_and_are_not_repeated() {
        let long = "A".repeat(400);
        let rows = [
            ("secret", "not hashed"),
            ("", "not hashed"),
            ("$", "not hashed"),
            ("$5$x$y", "known are $6$"),
            ("$6$", "cut off"),
            ("$7$101$abc", "cut off"),
            ("$7$101$abc$def$ghi", "too many parts"),
            ("$7$0$c2FsdA==$YQ==", "rounds"),
            ("$7$5000000$c2FsdA==$YQ==", "rounds"),
            ("$7$-1$c2FsdA==$YQ==", "rounds"),
            ("$7$101$!!$YQ==", "salt"),
            ("$7$101$$YQ==", "salt"),
            (&format!("$6${long}$YQ=="), "salt"),
            ("$6$c2FsdA==$YQ==", "64 bytes"),
            (
                "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0",
                "only argon2id",
            ),
            ("$argon2id$v=19$m=8,t=1,p=1", "cut off"),
            (
                "$argon2id$v=19$m=2000000,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0",
                "costs more",
            ),
            ("$argon2id$v=19$m=x", "the argon2 hash is"),
        ];
        for (text, part) in rows {
            let problem = Hash::parse(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
    }
}
