//! TLS errors as sentences for the log. None has a name of the library's in it.

mod certificate;
#[cfg(test)]
mod tests;

use rustls::{AlertDescription as Alert, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

pub(super) use certificate::{certificate, not_pem, revocation_list};

use super::hello::Asked;
use crate::transport::LayerError;

/// First byte of CONNECT.
const MQTT_CONNECT: u8 = 0x10;

fn said(text: impl Into<String>) -> LayerError {
    LayerError(text.into())
}

/// The first byte is none of TLS.
pub(super) fn not_tls(bytes: &[u8]) -> LayerError {
    let first = bytes.first().copied().unwrap_or(0);
    match first {
        _ if bytes.starts_with(b"PROXY ") || bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n") => said(
            "a PROXY header on a TLS listener without: let it have proxy-protocol = true, or the \
             proxy send none",
        ),
        MQTT_CONNECT => said(
            "plain MQTT on a TLS listener: let the client use TLS, or a listener with transport = \
             \"tcp\"",
        ),
        b'A'..=b'Z' => said(
            "plain HTTP on a TLS listener: let the client use wss:// or https:// in its address",
        ),
        _ => said(format!(
            "not TLS: the first byte is 0x{first:02X}, a TLS handshake begins with 0x16"
        )),
    }
}

/// The stream ended without close_notify. After the handshake, between records, that is usual.
pub(super) fn cut(is_open: bool, inside_record: bool) -> Result<(), LayerError> {
    match (is_open, inside_record) {
        (false, _) => Err(said("the client left in the middle of the TLS handshake")),
        (true, true) => Err(said(
            "the stream ended inside a TLS record: it was cut short",
        )),
        (true, false) => Ok(()),
    }
}

/// One sentence about an error of rustls.
pub(super) fn describe(error: &Error, is_open: bool, asked: &Asked) -> LayerError {
    match error {
        Error::InvalidCertificate(error) => {
            said(format!("the client's certificate {}", certificate(error)))
        }
        Error::InvalidCertRevocationList(error) => said(format!(
            "the client's certificate cannot be judged: a list in tls-crl {}",
            revocation_list(error)
        )),
        Error::NoCertificatesPresented => {
            said("the client has sent no certificate, and tls-client-certificate is \"required\"")
        }
        Error::AlertReceived(alert) => alert_received(*alert),
        Error::NoApplicationProtocol => no_protocol(&asked.protocols),
        Error::PeerSentOversizedRecord | Error::InvalidMessage(InvalidMessage::MessageTooLarge) => {
            said("a TLS record is larger than 16 KiB: not a client of TLS, or a hostile one")
        }
        Error::DecryptError => {
            said("a TLS record does not decrypt: it was changed on the way or cut")
        }
        Error::InvalidMessage(what) if is_open => said(format!(
            "what came is no TLS record ({}): it was changed on the way or cut",
            malformed(what)
        )),
        Error::InvalidMessage(what) => said(format!(
            "TLS handshake failed: the client sent {}",
            malformed(what)
        )),
        Error::PeerIncompatible(what) => {
            let without_suite = asked.no_suite && is_about_keys(what);
            let what = if without_suite {
                &PeerIncompatible::NoCipherSuitesInCommon
            } else {
                what
            };
            said(incompatible(what))
        }
        Error::PeerMisbehaved(what) => {
            let when = if is_open { "after" } else { "in" };
            said(format!(
                "the client broke the rules of TLS {when} the handshake: {}",
                misbehaved(what)
            ))
        }
        Error::EncryptError => said("TLS can send nothing more on this connection"),
        _ => said(format!("TLS {}", ours(error))),
    }
}

/// Faults that are not the client's, or of unknown origin.
pub(super) fn ours(error: &Error) -> &'static str {
    match error {
        Error::FailedToGetCurrentTime => "fails: the clock of this machine cannot be read",
        Error::FailedToGetRandomBytes => "fails: the kernel gives no random bytes",
        Error::HandshakeNotComplete => "fails: something was to be sent before the handshake",
        Error::BadMaxFragmentSize => "does not go with this tls-record-max",
        Error::InconsistentKeys(_) => "fails: key and certificate do not belong together",
        Error::UnsupportedNameType => "fails: a name is of an unknown kind",
        Error::InvalidEncryptedClientHello(_) => "fails: the encrypted client hello is wrong",
        _ => "fails for a reason that is not known here",
    }
}

fn no_protocol(asked: &[String]) -> LayerError {
    let names = if asked.is_empty() {
        "other protocols".to_owned()
    } else {
        asked.join(", ")
    };
    said(format!(
        "the client asks by ALPN for {names}, which this listener has not: add it to tls-alpn, or let \
         that be \"ignore\""
    ))
}

/// Comes before a look at the cipher suites, of which nothing may be left to agree upon.
fn is_about_keys(what: &PeerIncompatible) -> bool {
    use PeerIncompatible as P;
    matches!(what, P::NoKxGroupsInCommon | P::NoSignatureSchemesInCommon)
}

/// What was to be agreed and could not.
fn incompatible(what: &PeerIncompatible) -> &'static str {
    use PeerIncompatible as P;
    match what {
        P::NoCipherSuitesInCommon => {
            "the client and this listener have no cipher suite in common: those taken have ECDHE, fit the \
             kind of tls-key (RSA or EC), and encrypt with AES-GCM or ChaCha20-Poly1305"
        }
        // In TLS 1.1 and older there is no such extension, and it is looked for before the version.
        P::SignatureAlgorithmsExtensionRequired => {
            "the client has no TLS version in common with this listener (1.3, and 1.2 unless tls-version-min says \
             otherwise), or does not say which signatures it takes"
        }
        P::NoSignatureSchemesInCommon | P::NoCertificateRequestSignatureSchemesInCommon => {
            "the client and this listener have no signature algorithm in common: tls-key signs with SHA-256 \
             or longer, never with SHA-1"
        }
        P::NoKxGroupsInCommon | P::NamedGroupsExtensionRequired | P::KeyShareExtensionRequired => {
            "the client and this listener have no group for the key exchange in common: X25519, P-256 and \
             P-384 are taken"
        }
        P::EcPointsExtensionRequired
        | P::NoEcPointFormatsInCommon
        | P::UncompressedEcPointsRequired => {
            "the client does not take points of curves uncompressed, as TLS wants it"
        }
        P::NullCompressionRequired => "the client insists on compression, which TLS has no more",
        P::ExtendedMasterSecretExtensionRequired => {
            "the client does not have the extended master secret (RFC 7627)"
        }
        P::IncorrectCertificateTypeExtension | P::UnsolicitedCertificateTypeExtension => {
            "the client wants another kind of certificate than X.509"
        }
        P::ServerDoesNotSupportTls12Or13
        | P::ServerTlsVersionIsDisabledByOurConfig
        | P::SupportedVersionsExtensionRequired
        | P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled
        | P::Tls13RequiredForQuic => {
            "the client has no TLS version in common with this listener: it takes 1.3, and 1.2 unless \
             tls-version-min says otherwise"
        }
        _ => "the client and this listener cannot agree on how to speak TLS",
    }
}

/// A message that cannot be read: what was sent.
fn malformed(what: &InvalidMessage) -> &'static str {
    use InvalidMessage as M;
    match what {
        M::CertificatePayloadTooLarge => "a chain of certificates above 64 KiB",
        M::HandshakePayloadTooLarge => "a handshake message above 64 KiB",
        M::InvalidCcs => "a malformed change of cipher",
        M::InvalidContentType => "a record of unknown type",
        M::InvalidEmptyPayload => "an empty record",
        M::InvalidKeyUpdate => "a malformed update of keys",
        M::InvalidServerName => "a malformed server name (SNI)",
        M::MessageTooLarge => "a message that is too large",
        M::MessageTooShort | M::MissingData(_) => "a message that ends too early",
        M::MissingKeyExchange => "a message without its part of the key exchange",
        M::NoSignatureSchemes => "an empty list of signature algorithms",
        M::TrailingData(_) => "a message with something behind its end",
        M::UnexpectedMessage(_) => "a message of an unknown kind",
        M::UnknownProtocolVersion => "a record of an unknown version",
        M::UnsupportedCompression => "a message that is compressed",
        M::UnsupportedCurveType | M::UnsupportedKeyExchangeAlgorithm(_) | M::InvalidDhParams => {
            "a kind of key exchange that is not known"
        }
        M::EmptyTicketValue => "an empty ticket",
        M::IllegalEmptyList(_) | M::IllegalEmptyValue => "something empty that must not be",
        M::DuplicateExtension(_) => "an extension twice",
        M::PreSharedKeyIsNotFinalExtension => "its pre-shared keys not as the last extension",
        M::UnknownCertificateExtension => "a certificate with an extension nobody asked for",
        _ => "something that cannot be read",
    }
}

/// A message that can be read and is against the rules.
fn misbehaved(what: &PeerMisbehaved) -> &'static str {
    use PeerMisbehaved as P;
    match what {
        P::AttemptedDowngradeToTls12WhenTls13IsSupported => {
            "it fell back to TLS 1.2 although both have 1.3"
        }
        P::TooManyEmptyFragments => "too many empty records",
        P::TooManyKeyUpdateRequests => "too many updates of keys",
        P::TooManyRenegotiationRequests => "too many wishes to renegotiate",
        P::TooManyWarningAlertsReceived => "too many warnings",
        P::TooMuchEarlyDataReceived
        | P::EarlyDataAttemptedInSecondClientHello
        | P::EarlyDataExtensionWithoutResumption
        | P::EarlyDataOfferedWithVariedCipherSuite
        | P::OfferedEarlyDataWithOldProtocolVersion
        | P::RejectedEarlyDataInterleavedWithHandshakeMessage => "early data where none may be",
        P::KeyEpochWithPendingFragment | P::MessageInterleavedWithHandshakeMessage => {
            "a handshake message was interrupted by another record"
        }
        P::IllegalMiddleboxChangeCipherSpec => "a change of cipher out of turn",
        P::IllegalTlsInnerPlaintext => "a record without content type",
        P::IncorrectBinder | P::MissingBinderInPskExtension => {
            "its proof that it has the key of a session is wrong"
        }
        P::MissingPskExtensionInSecondClientHello
        | P::MissingPskModesExtension
        | P::PskExtensionMustBeLast
        | P::PskExtensionWithMismatchedIdsAndBinders
        | P::SelectedInvalidPsk => "its resumption of a session is malformed",
        P::ResumptionAttemptedWithVariedEms
        | P::ResumptionOfferedWithIncompatibleCipherSuite
        | P::ResumptionOfferedWithVariedCipherSuite
        | P::ResumptionOfferedWithVariedEms => {
            "it resumes a session with another cipher suite than that had"
        }
        P::InvalidKeyShare
        | P::MissingKeyShare
        | P::OfferedDuplicateKeyShares
        | P::WrongGroupForKeyShare => "its part of the key exchange is wrong",
        P::RefusedToFollowHelloRetryRequest
        | P::CipherSuiteDifferedOnRetry
        | P::HandshakeHashVariedAfterRetry
        | P::ServerNameDifferedOnRetry => "its second hello does not fit the first",
        P::DuplicateClientHelloExtensions
        | P::DuplicateEncryptedExtensions
        | P::DuplicateServerNameTypes => "something is there twice",
        P::ServerNameMustContainOneHostName => "it asks for several server names (SNI)",
        P::OfferedEmptyApplicationProtocol => "it asks for a protocol without a name (ALPN)",
        P::SignedKxWithWrongAlgorithm | P::SignedHandshakeWithUnadvertisedSigScheme => {
            "it signs in a way that was not offered"
        }
        _ => "a message that does not belong there",
    }
}

fn alert_received(alert: Alert) -> LayerError {
    match alert {
        Alert::UnknownCA | Alert::BadCertificate | Alert::CertificateUnknown => said(format!(
            "the client does not accept the certificate of this listener ({}): give it the \
             authority that signed tls-certificate, and a name that is in the certificate",
            alert_name(alert)
        )),
        Alert::CertificateExpired => said(
            "the client says that the certificate of this listener has expired: renew \
             tls-certificate and send SIGHUP",
        ),
        other => said(format!(
            "the client ended TLS with alert {}",
            alert_name(other)
        )),
    }
}

/// Number and name of RFC 8446 and its registry.
fn alert_name(alert: Alert) -> String {
    let number = u8::from(alert);
    let name = match number {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        22 => "record_overflow",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => return number.to_string(),
    };
    format!("{number}, {name}")
}
