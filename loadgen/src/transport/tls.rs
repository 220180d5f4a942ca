//! TLS as a client speaks it: rustls as a layer.

use std::collections::BTreeMap;
use std::io::{IoSlice, Read, Write};
use std::path::Path;
use std::sync::Arc;

use ringmq::transport::tls::{AnyCertificate, RemoteWords};
use ringmq::transport::{ConnectionInfo, Layer, LayerError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{ring, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind,
    RootCertStore, SignatureScheme, SupportedProtocolVersion,
};

use super::naming::Naming;
use super::tickets::Tickets;
use crate::feed::Feed;

/// As the options are called.
const WORDS: RemoteWords = RemoteWords {
    remote: "the broker",
    authorities: "--ca",
    name: "--sni",
    own: "--cert and --key",
    alpn: "ALPN", // which mqload asks for none in
};

/// Trusted issuers, and the clients' own certificate.
#[derive(Clone, Debug)]
pub struct TlsSetup {
    config: Arc<ClientConfig>,
    /// By group: of clients that have certificates of their own.
    own: BTreeMap<usize, Arc<[Option<Arc<ClientConfig>>]>>,
    /// By target: the name that the broker's certificate must have.
    names: Vec<ServerName<'static>>,
    resumes: bool,
    must_resume: bool,
}

/// What a [`TlsSetup`] is made of.
pub(super) struct Parts<'a> {
    /// `None` trusts any certificate.
    pub(super) ca: Option<&'a Path>,
    pub(super) certificate: Option<(&'a Path, &'a Path)>,
    pub(super) names: Vec<ServerName<'static>>,
    pub(super) versions: &'a [&'static SupportedProtocolVersion],
    pub(super) resumes: bool,
    /// What sentences call the options that these came from.
    pub(super) naming: Naming,
}

/// What a handshake cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    Full,
    Resumed,
}

impl TlsSetup {
    /// Reads the files.
    pub(super) fn new(parts: Parts<'_>) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let named = |option: &str| parts.naming.of(option);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(parts.versions)
            .map_err(|error| format!("{}: {error}", named("tls-version")))?;
        let builder = match parts.ca {
            Some(path) => {
                let trusted = Trusted::new(path, &named("ca"), provider)?;
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(trusted))
            }
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
        };
        let mut config = match parts.certificate {
            Some((certificate, key)) => {
                let chain = certificates(certificate, &named("cert"))?;
                let private = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| format!("{} {}: {error}", named("key"), key.display()))?;
                builder
                    .with_client_auth_cert(chain, private)
                    .map_err(|error| {
                        format!(
                            "{} {} and {} {} do not go together: {error}",
                            named("cert"),
                            certificate.display(),
                            named("key"),
                            key.display()
                        )
                    })?
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            own: BTreeMap::new(),
            names: parts.names,
            resumes: parts.resumes,
            must_resume: false,
        })
    }

    /// Gives clients of a group the certificates of their table. They resume no sessions: a ticket is that of
    /// one certificate.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub(crate) fn give_certificates(
        &mut self,
        group: usize,
        feed: &Feed,
        clients: u32,
    ) -> Result<(), String> {
        let name = &feed.name;
        let own = (0..clients).map(|client| {
            let Some((certificate, key)) = feed.certificate(client) else {
                return Ok(None);
            };
            let chain = certificates(&certificate, name)?;
            let private = PrivateKeyDer::from_pem_file(&key)
                .map_err(|error| format!("{name}: {}: {error}", key.display()))?;
            let pair = CertifiedKey::from_der(chain, private, self.config.crypto_provider())
                .map_err(|error| {
                    format!(
                        "{name}: {} and {} do not go together: {error}",
                        certificate.display(),
                        key.display()
                    )
                })?;
            let mut config = (*self.config).clone();
            config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(pair));
            Ok(Some(Arc::new(config)))
        });
        let own = own.collect::<Result<Vec<_>, String>>()?;
        self.own.insert(group, own.into());
        Ok(())
    }

    /// The run is about resumed sessions, and means nothing without any; or about full handshakes.
    pub(crate) fn is_about_resumption(&mut self, resumes: bool) {
        self.resumes = resumes;
        self.must_resume = resumes;
    }

    #[must_use]
    pub fn must_resume(&self) -> bool {
        self.must_resume
    }

    /// The same with a store of tickets for a worker's clients, or none when sessions are not resumed.
    pub(super) fn with_own_tickets(&self, clients: usize) -> Self {
        let mut own = self.clone();
        if self.resumes {
            let mut config = (*self.config).clone();
            config.resumption = Resumption::store(Arc::new(Tickets::new(clients)));
            own.config = Arc::new(config);
        }
        own
    }

    /// Towards a target, for the client with this number in its group.
    pub(super) fn connect(&self, target: usize, (group, index): (usize, u32)) -> TlsClient {
        let name = self.names[target % self.names.len()].clone();
        let own = self.own.get(&group).and_then(|all| all.get(index as usize));
        let config = own.and_then(Option::as_ref).unwrap_or(&self.config);
        let mut connection = ClientConnection::new(Arc::clone(config), name)
            .expect("depends on the configuration alone, which was checked");
        connection.set_buffer_limit(None); // the client bounds what it puts in
        TlsClient {
            connection,
            is_ended: false,
        }
    }
}

fn certificates(path: &Path, option: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong =
        |error: rustls::pki_types::pem::Error| format!("{option} {}: {error}", path.display());
    let found = CertificateDer::pem_file_iter(path).map_err(wrong)?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    if found.is_empty() {
        return Err(format!(
            "{option} {}: no certificate in PEM",
            path.display()
        ));
    }
    Ok(found)
}

/// The client's side of one TLS connection.
pub(crate) struct TlsClient {
    connection: ClientConnection,
    is_ended: bool,
}

impl TlsClient {
    /// Moves what rustls has for the socket to `down`.
    fn drain(&mut self, down: &mut Vec<u8>) {
        while self.connection.wants_write() {
            if self.connection.write_tls(down).is_err() {
                return; // memory takes everything
            }
        }
    }
}

impl Layer for TlsClient {
    fn start(&mut self, down: &mut Vec<u8>) {
        self.drain(down);
    }

    fn receive(
        &mut self,
        bytes: &mut [u8],
        up: &mut Vec<u8>,
        down: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        let is_handshaking = self.connection.is_handshaking();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            self.connection
                .read_tls(&mut rest)
                .map_err(|error| LayerError(format!("TLS: {error}")))?;
            let state = match self.connection.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    self.drain(down); // the alert for the broker
                    return Err(WORDS.sentence(&error, is_handshaking));
                }
            };
            let found = state.plaintext_bytes_to_read();
            if found > 0 {
                let start = up.len();
                up.resize(start + found, 0);
                self.connection
                    .reader()
                    .read_exact(&mut up[start..])
                    .map_err(|error| LayerError(format!("TLS: {error}")))?;
            }
            if state.peer_has_closed() {
                self.is_ended = true;
                break;
            }
        }
        self.drain(down);
        Ok(())
    }

    fn send(&mut self, slices: &[IoSlice<'_>], down: &mut Vec<u8>) -> Result<(), LayerError> {
        for slice in slices {
            self.connection
                .writer()
                .write_all(slice)
                .map_err(|error| LayerError(format!("TLS: {error}")))?;
        }
        self.drain(down);
        Ok(())
    }

    fn close(&mut self, down: &mut Vec<u8>) {
        self.connection.send_close_notify();
        self.drain(down);
    }

    fn is_open(&self) -> bool {
        !self.connection.is_handshaking()
    }

    fn is_ended(&self) -> bool {
        self.is_ended
    }

    fn tell(&mut self, learned: &mut ConnectionInfo) {
        let kind = self.connection.handshake_kind();
        learned.resumed = kind.map(|kind| kind == HandshakeKind::Resumed);
    }
}

/// `--ca`: certificates signed by those of the file, and those of the file themselves. What OpenSSL calls
/// self-signed is a CA's, which webpki does not take for a server's, and may be of version 1.
#[derive(Debug)]
struct Trusted {
    issuers: Option<Arc<WebPkiServerVerifier>>,
    pinned: Vec<CertificateDer<'static>>,
    signatures: AnyCertificate,
}

impl Trusted {
    fn new(path: &Path, option: &str, provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let pinned = certificates(path, option)?;
        let mut roots = RootCertStore::empty();
        // One of version 1 can be pinned, and sign nothing.
        roots.add_parsable_certificates(pinned.iter().cloned());
        let issuers = (!roots.is_empty()).then(|| {
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
        });
        Ok(Self {
            issuers: issuers
                .transpose()
                .map_err(|error| format!("{option} {}: {error}", path.display()))?,
            pinned,
            signatures: AnyCertificate(provider),
        })
    }
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pinned.iter().any(|pinned| pinned == certificate) {
            return Ok(ServerCertVerified::assertion()); // the very one: its names add nothing
        }
        let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let issuers = self.issuers.as_ref().ok_or_else(unknown)?;
        let verified = issuers.verify_server_cert(certificate, chain, name, ocsp, now);
        verified.map_err(|error| match error {
            // No server's certificate to webpki, and not one of the file's either.
            Error::InvalidCertificate(CertificateError::Other(_)) => unknown(),
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}
