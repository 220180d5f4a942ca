//! Which certificate a client is shown.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

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
}

thread_local! {
    /// What the last client on this thread asked for by ALPN that is not taken. The library's error does
    /// not name it; it is raised in the same call that has asked the resolver.
    static ASKED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Protocols named in one line, and bytes of one name.
const NAMES_MAX: usize = 4;
const NAME_BYTES_MAX: usize = 40;

/// Names that the client just refused has asked for.
pub(super) fn take_asked() -> Vec<String> {
    ASKED.take()
}

fn note_asked(names: &mut dyn Iterator<Item = &[u8]>) {
    let shown = |name: &[u8]| {
        let shown = &name[..name.len().min(NAME_BYTES_MAX)];
        format!("\"{}\"", shown.escape_ascii())
    };
    ASKED.set(names.take(NAMES_MAX).map(shown).collect());
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(mut asked) = hello.alpn().filter(|_| !self.alpn.is_empty()) {
            if !asked.any(|name| self.alpn.iter().any(|own| own == name)) {
                note_asked(&mut hello.alpn().into_iter().flatten());
            }
        }
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
