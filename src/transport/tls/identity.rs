//! The user name in a client certificate.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::transport::LayerError;

/// Longest user name taken of a certificate, in bytes; as long as one of MQTT may be.
const NAME_BYTES_MAX: usize = 65_535;

/// Which part of a verified client certificate is the user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentitySource {
    CommonName,
    SanDns,
    SanEmail,
    SanUri,
}

impl IdentitySource {
    /// The user name.
    ///
    /// # Errors
    /// The certificate has none at that place.
    pub(in crate::transport) fn read(
        self,
        certificate: &CertificateDer<'_>,
    ) -> Result<Box<str>, LayerError> {
        let parsed = X509Certificate::from_der(certificate);
        let found = parsed.ok().and_then(|(_, parsed)| self.find(&parsed));
        found.ok_or_else(|| {
            LayerError(format!(
                "the client's certificate has no {} to be its user name (tls-identity)",
                self.noun()
            ))
        })
    }

    /// The first name of this kind, if it is not empty, not too long and without control characters.
    fn find(self, certificate: &X509Certificate<'_>) -> Option<Box<str>> {
        let name = match self {
            Self::CommonName => {
                let mut names = certificate.subject().iter_common_name();
                names.next()?.as_str().ok()?
            }
            _ => {
                let names = certificate.subject_alternative_name().ok()??;
                let mut names = names.value.general_names.iter();
                names.find_map(|name| match (self, name) {
                    (Self::SanDns, GeneralName::DNSName(name))
                    | (Self::SanEmail, GeneralName::RFC822Name(name))
                    | (Self::SanUri, GeneralName::URI(name)) => Some(*name),
                    _ => None,
                })?
            }
        };
        let is_sound =
            !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
        is_sound.then(|| name.into())
    }

    fn noun(self) -> &'static str {
        match self {
            Self::CommonName => "common name",
            Self::SanDns => "DNS name",
            Self::SanEmail => "e-mail address",
            Self::SanUri => "URI",
        }
    }
}
