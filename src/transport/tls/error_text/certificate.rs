//! Faults of certificates and revocation lists, as predicates of a sentence: "has expired".

use std::borrow::Cow;

use crate::transport::tls::day::day;
use rustls::pki_types::pem;
use rustls::{CertRevocationListError, CertificateError, OtherError};

/// Follows the name of a certificate.
pub(in super::super) fn certificate(error: &CertificateError) -> Cow<'static, str> {
    use CertificateError as E;
    #[allow(deprecated)]
    let text = match error {
        E::Expired => "has expired",
        E::ExpiredContext { not_after, .. } => {
            return format!("has expired on {}", day(not_after.as_secs() as i64)).into()
        }
        E::NotValidYet => "is not valid yet: compare the clocks",
        E::NotValidYetContext { not_before, .. } => {
            let day = day(not_before.as_secs() as i64);
            return format!("is not valid yet but from {day} on: compare the clocks").into();
        }
        E::Revoked => "is revoked (tls-crl)",
        E::UnknownIssuer => "is self-signed or of an authority that is not in tls-client-ca",
        E::UnknownRevocationStatus => "is of an authority of which tls-crl has no list",
        E::ExpiredRevocationList => EXPIRED_LIST,
        E::ExpiredRevocationListContext { next_update, .. } => {
            let day = day(next_update.as_secs() as i64);
            return format!("{EXPIRED_LIST}; the old one was good until {day}").into();
        }
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            "is not made for clients (extended key usage)"
        }
        E::BadEncoding => "cannot be read",
        E::BadSignature => "is not what its authority has signed: the signature is wrong",
        E::UnsupportedSignatureAlgorithm
        | E::UnsupportedSignatureAlgorithmContext { .. }
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => WEAK_SIGNATURE,
        E::UnhandledCriticalExtension => "has a critical extension that is not understood here",
        E::NotValidForName | E::NotValidForNameContext { .. } => "is for another name",
        E::InvalidOcspResponse => "comes with a wrong OCSP response",
        E::Other(OtherError(error)) => match error.downcast_ref() {
            Some(error) => chain(error),
            None => UNKNOWN,
        },
        _ => UNKNOWN,
    };
    text.into()
}

const EXPIRED_LIST: &str =
    "cannot be judged, because the revocation list of its authority (tls-crl) has expired: fetch a new \
     one and send SIGHUP";
const WEAK_SIGNATURE: &str =
    "is signed in a way that is not taken (SHA-1, MD5, or a short RSA key): have it signed anew, with \
     SHA-256";
const UNKNOWN: &str = "cannot be verified: have it made anew";

/// The verifier's error about a certificate, or about one between it and its authority.
fn chain(error: &webpki::Error) -> &'static str {
    use webpki::Error as E;
    match error {
        // RFC 5280 4.1.2.1 wants version 1 where there are no extensions; the verifier takes 3 only.
        E::UnsupportedCertVersion => {
            "is X.509 version 1, which cannot be verified here: have it made anew with an extension \
             (openssl x509 -req ... -extfile FILE, where FILE has: basicConstraints=CA:FALSE)"
        }
        E::CaUsedAsEndEntity => "is one of an authority (CA:TRUE), not of a client",
        E::EndEntityUsedAsCa => {
            "is signed by a certificate that is not one of an authority (CA:FALSE)"
        }
        E::CertDistrusted => "is distrusted",
        E::InvalidCertValidity => "ends before it begins",
        E::InvalidSerialNumber => "has a bad serial number",
        E::MalformedDnsIdentifier | E::UnsupportedNameType => "has a name that cannot be read",
        E::MalformedExtensions | E::ExtensionValueInvalid | E::EmptyEkuExtension => {
            "has an extension that cannot be read"
        }
        E::MalformedNameConstraint
        | E::InvalidNetworkMaskConstraint
        | E::NameConstraintViolation => {
            "has a name that its authority may not certify (name constraints)"
        }
        E::PathLenConstraintViolated => {
            "has more certificates between it and its authority than that allows"
        }
        E::MaximumNameConstraintComparisonsExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumPathDepthExceeded
        | E::MaximumSignatureChecksExceeded => {
            "has a chain to its authority that is too long or too tangled"
        }
        E::SignatureAlgorithmMismatch => "names two different ways in which it is signed",
        E::UnsupportedCriticalExtension => "has a critical extension that is not understood here",
        E::BadDer | E::BadDerTime | E::TrailingData(_) => "cannot be read",
        _ => UNKNOWN,
    }
}

/// Follows "a revocation list in it".
pub(in super::super) fn revocation_list(error: &CertRevocationListError) -> &'static str {
    use CertRevocationListError as E;
    #[allow(deprecated)]
    match error {
        E::BadSignature => "is not what its authority has signed: the signature is wrong",
        E::UnsupportedSignatureAlgorithm
        | E::UnsupportedSignatureAlgorithmContext { .. }
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => WEAK_SIGNATURE,
        E::InvalidCrlNumber => "has a bad number",
        E::InvalidRevokedCertSerialNumber => "has a bad serial number",
        E::IssuerInvalidForCrl => "is of an authority that may not sign such lists (cRLSign)",
        E::UnsupportedCrlVersion => {
            "is of version 1: make it anew as version 2 (openssl ca -gencrl with crlnumber)"
        }
        E::UnsupportedCriticalExtension => "has a critical extension that is not understood here",
        E::UnsupportedDeltaCrl => "is a delta list; only whole ones are taken",
        E::UnsupportedIndirectCrl => {
            "is an indirect list, of several authorities: give one for each"
        }
        E::UnsupportedRevocationReason => "has a reason that is not known",
        _ => "cannot be read",
    }
}

/// Follows the name of a file of which PEM is wanted.
pub(in super::super) fn not_pem(error: &pem::Error) -> &'static str {
    use pem::Error as E;
    match error {
        E::MissingSectionEnd { .. } => "is cut short: a BEGIN line has no END line",
        E::IllegalSectionStart { .. } => "is damaged: a BEGIN line is not whole",
        E::Base64Decode(_) => "is damaged: what is between BEGIN and END is not base64",
        E::SectionTooLarge => "is too large",
        _ => "is not sound PEM",
    }
}
