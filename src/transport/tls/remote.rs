//! Shared by the ends that connect, bridges and mqload: which certificate will do, and sentences about those that do not.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature, CryptoProvider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use crate::transport::LayerError;

/// What sentences call the other end, and the options that may be wrong.
#[derive(Clone, Copy, Debug)]
pub struct RemoteWords {
    pub remote: &'static str,
    /// The file of authorities.
    pub authorities: &'static str,
    /// The name that the certificate must have.
    pub name: &'static str,
    /// Own certificate and key.
    pub own: &'static str,
    /// The protocols to be chosen from.
    pub alpn: &'static str,
}

impl RemoteWords {
    /// What went wrong, and what to change.
    #[must_use]
    pub fn sentence(&self, error: &Error, is_handshaking: bool) -> LayerError {
        use AlertDescription as Alert;
        let Self {
            remote, own, alpn, ..
        } = self;
        let text = match error {
            Error::InvalidCertificate(error) => self.certificate(error),
            Error::AlertReceived(Alert::CertificateRequired) => {
                format!("{remote} wants a certificate of the client: give {own}")
            }
            Error::AlertReceived(Alert::NoApplicationProtocol) => {
                format!("{remote} takes none of the protocols in {alpn}")
            }
            Error::AlertReceived(alert) => format!(
                "{remote} refused with the alert {alert:?} (a client certificate it wants or does not accept, or no \
                 version, cipher or pre-shared key in common)"
            ),
            Error::InvalidMessage(_) if is_handshaking => {
                format!("what answers does not speak TLS: {error}")
            }
            other => other.to_string(),
        };
        LayerError(format!("TLS: {text}"))
    }

    fn certificate(&self, error: &CertificateError) -> String {
        use CertificateError as Bad;
        let Self {
            remote,
            authorities,
            name,
            ..
        } = self;
        match error {
            Bad::UnknownIssuer => {
                format!("{remote}'s certificate is of no authority in {authorities}")
            }
            Bad::NotValidForName => {
                format!("{remote}'s certificate is for another host: give the name it has with {name}")
            }
            Bad::NotValidForNameContext { expected, .. } => format!(
                "{remote}'s certificate is for another host: give the name it has with {name} (asked for was {:?})",
                expected.to_str()
            ),
            Bad::Expired | Bad::ExpiredContext { .. } => {
                format!("{remote}'s certificate has expired")
            }
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                format!("{remote}'s certificate is not valid yet: is the clock right?")
            }
            other => format!("{remote}'s certificate: {other}"),
        }
    }
}

/// Any certificate is the remote's: signatures are checked, names and issuers are not.
#[derive(Debug)]
pub struct AnyCertificate(pub Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
