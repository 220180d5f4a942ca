//! TLS context of a listener: what its connections share, made from its files.

use std::sync::Arc;

use rustls::crypto::{ring, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerConfig, UnbufferedServerConnection,
    VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{Error, RootCertStore, SupportedProtocolVersion};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error_text;
use super::identity::IdentitySource;
use super::resolver::Resolver;
use super::tickets::Tickets;

/// Session tickets per handshake of TLS 1.3: a client that reconnects uses one and gets another.
const TICKETS: usize = 1;
/// Of a record; the library counts them as part of a fragment.
const RECORD_HEADER_BYTES: usize = 5;

/// How a listener does TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub version_min: VersionMin,
    pub client_certificate: ClientCertificate,
    /// `None`: a certificate lets its client in and gives it no name.
    pub identity: Option<IdentitySource>,
    /// Protocols taken of clients that ask for one (ALPN); `None`: what the transport carries, none at
    /// all: it does not matter what they ask for.
    pub alpn: Option<Vec<String>>,
    /// Plain bytes of the largest record that is sent; `None`: as TLS has it, 16 KiB.
    pub record_max: Option<u16>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version_min: VersionMin::default(),
            client_certificate: ClientCertificate::default(),
            identity: Some(IdentitySource::CommonName),
            alpn: None,
            record_max: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VersionMin {
    #[default]
    Tls12,
    Tls13,
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificate {
    #[default]
    None,
    /// One that is sent must be good.
    Optional,
    Required,
}

/// The content of a file and its name.
#[derive(Clone, Debug)]
pub struct Named {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// The content of the files that a listener names.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// Certificate chains with their keys, the one for clients without SNI first.
    pub certificates: Vec<(Named, Named)>,
    /// Authorities of client certificates.
    pub client_ca: Vec<Named>,
    pub revocation_lists: Vec<Named>,
}

/// What all connections of a TLS listener share.
pub struct Context {
    pub(super) config: Arc<ServerConfig>,
    tickets: Arc<Tickets>,
    pub(super) identity: Option<IdentitySource>,
}

/// A file that cannot be used, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {text}")]
pub struct Problem {
    pub file: String,
    pub text: String,
}

fn problem(file: &Named, text: impl Into<String>) -> Problem {
    Problem {
        file: file.name.clone(),
        text: text.into(),
    }
}

impl Context {
    /// For a server that uses the library's own streams.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// What gives its clients their user names.
    #[must_use]
    pub fn identity(&self) -> Option<IdentitySource> {
        self.identity
    }

    /// `alpn` are the protocols taken where the settings name none.
    ///
    /// Tickets of another context are not taken, so a session made before a reload cannot be resumed with
    /// a certificate that has been revoked by it; but those of another process are whose context was made of the same.
    ///
    /// # Errors
    /// A file does not hold what it should.
    pub fn new(settings: &Settings, material: &Material, alpn: &[&[u8]]) -> Result<Self, Problem> {
        let provider = Arc::new(ring::default_provider());
        let keys = material.certificates.iter();
        let keys: Vec<_> = keys
            .map(|(certificate, key)| certified_key(certificate, key, &provider).map(Arc::new))
            .collect::<Result<_, _>>()?;
        let versions: &[&SupportedProtocolVersion] = match settings.version_min {
            VersionMin::Tls12 => &[&TLS13, &TLS12],
            VersionMin::Tls13 => &[&TLS13],
        };
        let general = |error: Error| Problem {
            file: "TLS".into(),
            text: error_text::ours(&error).into(),
        };
        let alpn: Vec<Vec<u8>> = match &settings.alpn {
            Some(names) => names.iter().map(|name| name.as_bytes().to_vec()).collect(),
            None => alpn.iter().map(|name| name.to_vec()).collect(),
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(general)?;
        let builder = match verifier(settings.client_certificate, material, &provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Resolver { keys }));
        config.alpn_protocols = alpn;
        config.max_fragment_size = settings
            .record_max
            .map(|bytes| usize::from(bytes) + RECORD_HEADER_BYTES);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let tickets = Arc::new(Tickets::new(&who_comes_back(settings, material)));
        config.ticketer = Arc::clone(&tickets) as Arc<dyn ProducesTickets>;
        config.send_tls13_tickets = TICKETS;
        let config = Arc::new(config);
        UnbufferedServerConnection::new(Arc::clone(&config)).map_err(general)?;
        Ok(Self {
            config,
            tickets,
            identity: settings.identity,
        })
    }

    /// Of its connections.
    #[must_use]
    pub fn tickets(&self) -> &Arc<Tickets> {
        &self.tickets
    }
}

/// What a ticket depends on: settings, certificates, authorities and revocation lists.
fn who_comes_back(settings: &Settings, material: &Material) -> Vec<u8> {
    let mut all = format!("{settings:?}").into_bytes();
    let certificates = material.certificates.iter().map(|(chain, _)| chain);
    for list in [
        certificates.collect::<Vec<_>>(),
        material.client_ca.iter().collect(),
        material.revocation_lists.iter().collect(),
    ] {
        all.extend_from_slice(&list.len().to_le_bytes());
        for file in list {
            all.extend_from_slice(&file.bytes.len().to_le_bytes());
            all.extend_from_slice(&file.bytes);
        }
    }
    all
}

fn certified_key(
    certificate: &Named,
    key: &Named,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Problem> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&certificate.bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| problem(certificate, error_text::not_pem(&error)))?;
    if chain.is_empty() {
        let text = "holds no certificate: tls-certificate wants PEM with BEGIN CERTIFICATE, the \
                    listener's own first, then those between it and the authority";
        return Err(problem(certificate, text));
    }
    let secret = PrivateKeyDer::from_pem_slice(&key.bytes).map_err(|_| {
        let text =
            "holds no private key that can be used: tls-key wants PEM with BEGIN PRIVATE KEY \
                    (or EC or RSA), without a passphrase (openssl pkey -in OLD -out NEW)";
        problem(key, text)
    })?;
    let signing = provider.key_provider.load_private_key(secret);
    let signing = signing.map_err(|_| {
        let text =
            "its key is of a kind that cannot be used: RSA of 2048 to 8192 bits, P-256, P-384 and \
                    Ed25519 are taken";
        problem(key, text)
    })?;
    let certified = CertifiedKey::new(chain, signing);
    check_key(&certified).map_err(|fault| match fault {
        KeyFault::Unreadable => problem(certificate, "its first certificate cannot be read"),
        KeyFault::Mismatch => problem(
            key,
            format!(
                "is not the key of the certificate in {}: name them in the same order in tls-key \
                 and tls-certificate",
                certificate.name
            ),
        ),
    })?;
    Ok(certified)
}

enum KeyFault {
    Unreadable,
    Mismatch,
}

/// The key is that of the certificate. Nothing else of the certificate matters to us, so one of X.509
/// version 1 is served like any other, which the verifier of the library would not read.
fn check_key(certified: &CertifiedKey) -> Result<(), KeyFault> {
    let first = certified.end_entity_cert();
    let first = first.map_err(|_| KeyFault::Unreadable)?;
    let (_, parsed) = X509Certificate::from_der(first).map_err(|_| KeyFault::Unreadable)?;
    match certified.key.public_key() {
        Some(own) if own.as_ref() != parsed.public_key().raw => Err(KeyFault::Mismatch),
        _ => Ok(()),
    }
}

/// The verifier of client certificates by authorities and revocation lists; `None`: none are asked for.
fn verifier(
    asked: ClientCertificate,
    material: &Material,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Problem> {
    if asked == ClientCertificate::None {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for file in &material.client_ca {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(&file.bytes) {
            let certificate =
                certificate.map_err(|error| problem(file, error_text::not_pem(&error)))?;
            roots.add(certificate).map_err(|error| {
                let fault = match &error {
                    Error::InvalidCertificate(error) => error_text::certificate(error),
                    other => error_text::ours(other).into(),
                };
                problem(file, format!("a certificate in it {fault}"))
            })?;
        }
        if roots.len() == before {
            let text = "holds no certificate: tls-client-ca wants the authorities of client \
                        certificates, PEM with BEGIN CERTIFICATE";
            return Err(problem(file, text));
        }
    }
    let mut lists = Vec::new();
    for file in &material.revocation_lists {
        let before = lists.len();
        for list in CertificateRevocationListDer::pem_slice_iter(&file.bytes) {
            lists.push(list.map_err(|error| problem(file, error_text::not_pem(&error)))?);
        }
        if lists.len() == before {
            let text = "holds no revocation list: tls-crl wants PEM with BEGIN X509 CRL";
            return Err(problem(file, text));
        }
    }
    let has_lists = !lists.is_empty();
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if has_lists {
        // An expired list does not cover what was revoked since: clients are refused until there
        // is a new one. Authorities between client and root need no list of their own.
        builder = builder
            .with_crls(lists)
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration();
    }
    if asked == ClientCertificate::Optional {
        builder = builder.allow_unauthenticated();
    }
    let first = |files: &[Named]| {
        files
            .first()
            .map_or_else(String::new, |file| file.name.clone())
    };
    builder.build().map(Some).map_err(|error| match error {
        VerifierBuilderError::InvalidCrl(error) => Problem {
            file: first(&material.revocation_lists),
            text: format!("a revocation list {}", error_text::revocation_list(&error)),
        },
        _ => Problem {
            file: first(&material.client_ca),
            text: "holds no authority that can be used".into(),
        },
    })
}
