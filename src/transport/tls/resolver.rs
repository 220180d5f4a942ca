//! Which certificate a client is shown.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::CipherSuite;

/// Chooses by the name the client asks for (SNI): the first certificate that is valid for it and
/// signs in a way the client understands. Without such a name, or one that no certificate has, the
/// first that signs so. If none does, the first of all: the library then finds out what is not in
/// common and says it to the client as handshake_failure (RFC 5246 7.4.1.3), where for want of any
/// certificate it would say access_denied.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) keys: Vec<Arc<CertifiedKey>>,
    /// Names of protocols that are taken; none: whatever the client asks for.
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) suites: Vec<CipherSuite>,
    /// Of the last client of each shard's thread.
    pub(super) asked: Mutex<HashMap<ThreadId, Asked>>,
}

/// What the library's errors leave out of a hello, in the same call of which they are raised.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Protocols of which none is taken.
    pub(super) protocols: Vec<String>,
    /// None of the cipher suites is taken. The library may find another thing missing first.
    pub(super) no_suite: bool,
}

/// Protocols named in one line, and bytes of one name.
const NAMES_MAX: usize = 4;
const NAME_BYTES_MAX: usize = 40;

impl Resolver {
    /// What the client just refused on this thread has asked for.
    pub(super) fn take_asked(&self) -> Asked {
        self.asked()
            .remove(&thread::current().id())
            .unwrap_or_default()
    }

    /// Held for a look, once a handshake.
    fn asked(&self) -> MutexGuard<'_, HashMap<ThreadId, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, hello: &ClientHello<'_>) {
        let is_taken = |name: &[u8]| self.alpn.iter().any(|own| own == name);
        let mut asked = Asked {
            no_suite: !hello
                .cipher_suites()
                .iter()
                .any(|suite| self.suites.contains(suite)),
            ..Asked::default()
        };
        let refused =
            !self.alpn.is_empty() && hello.alpn().is_some_and(|mut names| !names.any(is_taken));
        if refused {
            let shown = |name: &[u8]| {
                let shown = &name[..name.len().min(NAME_BYTES_MAX)];
                format!("\"{}\"", shown.escape_ascii())
            };
            let names = hello.alpn().into_iter().flatten();
            asked.protocols = names.take(NAMES_MAX).map(shown).collect();
        }
        self.asked().insert(thread::current().id(), asked);
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.note(&hello);
        let name = hello.server_name();
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let schemes = hello.signature_schemes();
        let usable = || {
            let keys = self.keys.iter();
            keys.filter(|key| key.key.choose_scheme(schemes).is_some())
        };
        let named = name.and_then(|name| usable().find(|key| is_for(key, &name)));
        let found = named.or_else(|| usable().next());
        found.or(self.keys.first()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.end_entity_cert().map(ParsedCertificate::try_from);
    matches!(parsed, Ok(Ok(parsed)) if verify_server_name(&parsed, name).is_ok())
}
