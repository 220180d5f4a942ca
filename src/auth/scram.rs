//! SCRAM-SHA-256 (RFC 5802, RFC 7677): the client proves that it has the password without sending it.
//!
//! The server holds what it needs to check a proof, not what is needed to make one. Its file has one
//! line per user, in the form PostgreSQL made common:
//!
//! ```text
//! user:SCRAM-SHA-256$rounds:salt$StoredKey:ServerKey
//! ```
//!
//! Channel binding is not offered: the broker's TLS is another layer.

mod exchange;

use std::collections::HashMap;
use std::fmt;

use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub use exchange::Exchange;

use super::problem::{account, lines, FileProblem};

/// The name of the mechanism, which MQTT's Authentication Method carries.
pub const METHOD: &str = "SCRAM-SHA-256";

/// Rounds of a new credential. The client pays for them, once per login.
pub(crate) const NEW_ROUNDS: u32 = 15_000;
const ROUNDS_MIN: u32 = 4_096; // RFC 7677, section 4
/// Bounds of a credential read from the file.
const ROUNDS_MAX: u32 = 10_000_000;
const SALT_BYTES_MAX: usize = 128;

type Key = [u8; 32];

/// What the server stores of one user.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    rounds: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

impl Credential {
    /// `salt` is fresh random bytes.
    ///
    /// # Errors
    /// The password has characters that SASLprep does not allow.
    pub fn create(password: &str, salt: &[u8], rounds: u32) -> Result<Self, String> {
        let prepared = stringprep::saslprep(password)
            .map_err(|_| "the password has characters that SCRAM does not allow")?;
        let salted: Key =
            pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(prepared.as_bytes(), salt, rounds);
        let client_key = hmac(&salted, &[b"Client Key"]);
        Ok(Self {
            rounds,
            salt: salt.to_vec(),
            stored_key: Sha256::digest(client_key).into(),
            server_key: hmac(&salted, &[b"Server Key"]),
        })
    }

    /// Whether it was made of this password.
    ///
    /// # Errors
    /// See [`Credential::create`].
    pub fn verify(&self, password: &str) -> Result<bool, String> {
        let other = Self::create(password, &self.salt, self.rounds)?;
        Ok(other.stored_key.ct_eq(&self.stored_key).into())
    }

    /// Reads what stands behind the user name.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "it is not SCRAM-SHA-256$rounds:salt$StoredKey:ServerKey";
        let fields = text.strip_prefix("SCRAM-SHA-256$").ok_or(FORM)?;
        let (cost, keys) = fields.split_once('$').ok_or(FORM)?;
        let (rounds, salt) = cost.split_once(':').ok_or(FORM)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(FORM)?;
        let rounds = match rounds.parse() {
            Ok(rounds) if (ROUNDS_MIN..=ROUNDS_MAX).contains(&rounds) => rounds,
            _ => return Err(format!("the rounds are not {ROUNDS_MIN} to {ROUNDS_MAX}")),
        };
        let salt = match BASE64.decode(salt) {
            Ok(salt) if (1..=SALT_BYTES_MAX).contains(&salt.len()) => salt,
            _ => {
                return Err(format!(
                    "the salt is not base64 of 1 to {SALT_BYTES_MAX} bytes"
                ))
            }
        };
        let key = |text| {
            let bytes = BASE64.decode(text).ok();
            bytes
                .and_then(|bytes| Key::try_from(bytes).ok())
                .ok_or("a key is not base64 of 32 bytes")
        };
        Ok(Self {
            rounds,
            salt,
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
        })
    }
}

/// As it stands in the file.
impl fmt::Display for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|bytes| BASE64.encode(bytes));
        write!(out, "{METHOD}${}:{salt}${stored}:{server}", self.rounds)
    }
}

/// Keys stay out of logs.
impl fmt::Debug for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Credential(SCRAM-SHA-256)")
    }
}

/// Credentials by user name.
#[derive(Debug)]
pub struct ScramFile {
    by_user: HashMap<Box<str>, Credential, ahash::RandomState>,
    /// Makes the salts of users that do not exist.
    secret: Key,
}

impl ScramFile {
    /// `secret` is random: with it, unknown users have salts that look like any other.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn parse(file: &str, text: &str, secret: [u8; 32]) -> Result<Self, Vec<FileProblem>> {
        let mut by_user = HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4));
        let mut problems = Vec::new();
        for (number, line) in lines(text) {
            let mut wrong = |text: String| problems.push(FileProblem::new(file, number, text));
            let Some((name, credential)) = account(line) else {
                wrong("no colon between a user name and its credential".into());
                continue;
            };
            let Some(prepared) = prepare(name) else {
                wrong("the user name is empty or has characters that SCRAM does not allow".into());
                continue;
            };
            match Credential::parse(credential) {
                Ok(credential) => {
                    if by_user.insert(prepared, credential).is_some() {
                        wrong(format!("user \"{}\" is there already", name.escape_debug()));
                    }
                }
                Err(text) => wrong(format!("user \"{}\": {text}", name.escape_debug())),
            }
        }
        if problems.is_empty() {
            Ok(Self { by_user, secret })
        } else {
            Err(problems)
        }
    }

    /// The user's credential, or a decoy that no proof fits and that looks the same to a client.
    fn find(&self, user: &str) -> (Credential, bool) {
        if let Some(credential) = self.by_user.get(user) {
            return (credential.clone(), true);
        }
        let salt = hmac(&self.secret, &[b"salt", user.as_bytes()])[..16].to_vec();
        // Like those of the file, if they agree.
        let rounds = self.by_user.values().map(|known| known.rounds).min();
        let decoy = Credential {
            rounds: rounds.unwrap_or(NEW_ROUNDS),
            salt,
            stored_key: hmac(&self.secret, &[b"stored", user.as_bytes()]),
            server_key: hmac(&self.secret, &[b"server", user.as_bytes()]),
        };
        (decoy, false)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.by_user.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_user.is_empty()
    }
}

/// SASLprep of a user name; `None`: it cannot be one.
fn prepare(name: &str) -> Option<Box<str>> {
    let prepared = stringprep::saslprep(name).ok()?;
    (!prepared.is_empty()).then(|| prepared.into())
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}
