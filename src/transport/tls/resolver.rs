//! Choice of the certificate that a client is shown.

use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Chooses by the name the client asks for (SNI): the first certificate that is valid for it and
/// signs in a way the client understands. Without such a name, or one that no certificate has, the
/// first that signs so. If none does, the first of all: the library then finds out what is not in
/// common and alerts the client with handshake_failure (RFC 5246 7.4.1.3), where for want of any
/// certificate it would send access_denied.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) keys: Vec<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
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
