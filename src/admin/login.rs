//! Logins of the admin listener: accounts of the password file that have a role, and bearer tokens.
//!
//! A listener on loopback or a Unix socket asks for none, but one that is given must be right. Failed logins
//! count against their address as those of clients do, and ban it everywhere.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::prelude::{Engine, BASE64_STANDARD};
use hyper::header::{HeaderMap, HeaderValue, AUTHORIZATION, WWW_AUTHENTICATE};
use hyper::StatusCode;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::reply::Problem;
use super::role::{Peer, Role, Who};
use super::settings::Settings;
use super::tokens::{Tokens, Unfit};
use crate::admin_options::AdminOptions;
use crate::auth::Rules;
use crate::io::Broker;

/// Passwords that are hashed at once, and requests that wait for that.
const HASHING: usize = 2;
const WAITING_MAX: usize = 16;
/// Logins that were right lately, so that a page of many requests costs one hash.
const KNOWN_MAX: usize = 32;

pub(super) struct Logins {
    broker: Broker,
    hashing: Semaphore,
    waiting: Semaphore,
    known: Mutex<Known>,
    /// Drawn at the start.
    key: [u8; 32],
}

/// Hashes of names and passwords that were right by these rules.
#[derive(Default)]
struct Known {
    rules: Option<Arc<Rules>>,
    hashes: Vec<[u8; 32]>,
}

/// What Authorization brings.
enum Proof<'a> {
    Nothing,
    Bearer(&'a str),
    Basic { user: String, password: Vec<u8> },
}

impl Logins {
    pub(super) fn new(broker: &Broker) -> std::io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self {
            broker: broker.clone(),
            hashing: Semaphore::new(HASHING),
            waiting: Semaphore::new(WAITING_MAX),
            known: Mutex::default(),
            key,
        })
    }

    /// Whom a request comes from.
    pub(super) async fn who(
        &self,
        settings: &Settings,
        headers: &HeaderMap,
        peer: &Peer,
        needs_login: bool,
    ) -> Result<Who, Problem> {
        let address = match peer {
            Peer::Ip(address) => Some(address.ip()),
            Peer::Unix(_) => None,
        };
        let proof = proof(headers)?;
        let who = |name: Option<Arc<str>>, role, is_bearer| Who {
            name,
            role,
            peer: peer.clone(),
            is_bearer,
        };
        if let Proof::Nothing = proof {
            let role = (!needs_login).then_some(Role::Admin);
            return Ok(who(None, role, false));
        }
        if address.is_some_and(|address| self.broker.is_banned(address)) {
            let text = "too many logins from this address have failed: it is banned for a while";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, text));
        }
        match proof {
            Proof::Nothing => Ok(who(None, None, false)),
            Proof::Bearer(token) => {
                let (name, role) = self.bearer(&settings.tokens, token, address)?;
                Ok(who(Some(name), Some(role), true))
            }
            Proof::Basic { user, password } => {
                self.verify(&user, password, address).await?;
                let role = role_of(&settings.options, &user);
                let role = role.ok_or_else(|| Problem::new(StatusCode::FORBIDDEN, NO_ROLE))?;
                Ok(who(Some(user.into()), Some(role), false))
            }
        }
    }

    fn bearer(
        &self,
        tokens: &Tokens,
        token: &str,
        address: Option<IpAddr>,
    ) -> Result<(Arc<str>, Role), Problem> {
        tokens
            .find(token.as_bytes(), self.broker.unix_s())
            .map_err(|unfit| match unfit {
                Unfit::Expired => unauthorized("the token has expired"),
                Unfit::Unknown => self.failed(address, "no account has this token"),
            })
    }

    /// Whether name and password are an account; takes as long for a name that is none.
    async fn verify(
        &self,
        user: &str,
        password: Vec<u8>,
        address: Option<IpAddr>,
    ) -> Result<(), Problem> {
        let rules = self.broker.rules();
        let hash = self.hash(user, &password);
        if self.is_known(&rules, &hash) {
            return Ok(());
        }
        let busy = || Problem::busy("too many logins are waiting");
        let _place = self.waiting.try_acquire().map_err(|_| busy())?;
        let _core = self.hashing.acquire().await.map_err(|_| busy())?;
        let broker = self.broker.clone();
        let (own_rules, user) = (Arc::clone(&rules), user.to_owned());
        let verified = tokio::task::spawn_blocking(move || {
            broker.yield_to_shards();
            let passwords = own_rules.passwords.as_ref();
            passwords.is_some_and(|passwords| passwords.verify(&user, &password))
        });
        if !verified.await.unwrap_or(false) {
            return Err(self.failed(address, "user name or password is wrong"));
        }
        self.keep(rules, hash);
        Ok(())
    }

    fn hash(&self, user: &str, password: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update((user.len() as u64).to_le_bytes());
        hash.update(user);
        hash.update(password);
        hash.finalize().into()
    }

    fn is_known(&self, rules: &Arc<Rules>, hash: &[u8; 32]) -> bool {
        let known = lock(&self.known);
        let is_current = known
            .rules
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, rules));
        is_current && known.hashes.iter().any(|own| bool::from(own.ct_eq(hash)))
    }

    fn keep(&self, rules: Arc<Rules>, hash: [u8; 32]) {
        let mut known = lock(&self.known);
        if !known
            .rules
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, &rules))
        {
            known.hashes.clear();
        }
        if known.hashes.len() >= KNOWN_MAX {
            known.hashes.remove(0);
        }
        known.rules = Some(rules);
        known.hashes.push(hash);
    }

    fn failed(&self, address: Option<IpAddr>, detail: &str) -> Problem {
        if let Some(address) = address {
            self.broker.login_failed(address);
        }
        unauthorized(detail)
    }
}

fn role_of(options: &AdminOptions, user: &str) -> Option<Role> {
    let is_in = |names: &[String]| names.iter().any(|name| name == user);
    if is_in(&options.admins) {
        return Some(Role::Admin);
    }
    is_in(&options.viewers).then_some(Role::Viewer)
}

const NO_ROLE: &str = "this account has no role here: name it in admin-users or admin-viewers";

/// Asks for a login.
pub(super) fn unauthorized(detail: &str) -> Problem {
    let ask = HeaderValue::from_static("Basic realm=\"ringmq\", charset=\"UTF-8\"");
    Problem::new(StatusCode::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, ask)
}

fn proof(headers: &HeaderMap) -> Result<Proof<'_>, Problem> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(Proof::Nothing);
    };
    let text = value.to_str().unwrap_or_default();
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Proof::Bearer(rest.trim()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(unauthorized("Authorization is neither Basic nor Bearer"));
    }
    let bytes = BASE64_STANDARD.decode(rest.trim()).unwrap_or_default();
    let colon = bytes.iter().position(|byte| *byte == b':');
    let user = colon.and_then(|at| String::from_utf8(bytes[..at].to_vec()).ok());
    match (user, colon) {
        (Some(user), Some(at)) => Ok(Proof::Basic {
            user,
            password: bytes[at + 1..].to_vec(),
        }),
        _ => Err(unauthorized("Basic is not a name and a password in base64")),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
