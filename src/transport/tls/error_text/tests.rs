use std::sync::Arc;

use rustls::pki_types::{pem, UnixTime};
use rustls::{CertRevocationListError, CertificateError, OtherError};

use super::*;
use crate::transport::tls::day::day;

/// No name of the library's: those are in one word with capitals inside.
fn is_ours(text: &str) -> bool {
    let known = ["ChaCha20", "KiB"];
    let mut words = text.split(|c: char| !c.is_alphanumeric());
    let is_name = |word: &str| {
        let mut chars = word.chars();
        let first_is_capital = chars.next().is_some_and(char::is_uppercase);
        let inner: Vec<char> = chars.collect();
        let has_hump =
            inner.iter().any(|c| c.is_uppercase()) && inner.iter().any(|c| c.is_lowercase());
        first_is_capital && has_hump && !known.contains(&word)
    };
    !words.any(is_name) && !text.contains("\" }") && text.len() > 20
}

fn check(error: Error) {
    for is_open in [false, true] {
        let text = describe(&error, is_open, &Asked::default()).0;
        assert!(is_ours(&text), "{error:?}: {text}");
    }
}

#[test]
fn a_raw_name_is_found() {
    for raw in [
        "the client's certificate is refused: Other(OtherError(UnsupportedCertVersion))",
        "what came is no TLS record (MessageTooShort): it was changed",
        "missing section end marker: [45, 45] and MissingSectionEnd { end_marker: \" }",
    ] {
        assert!(!is_ours(raw), "{raw}");
    }
}

#[test]
fn every_error_of_the_library_is_a_sentence_of_ours() {
    use {InvalidMessage as M, PeerIncompatible as I, PeerMisbehaved as B};
    let messages = [
        M::CertificatePayloadTooLarge,
        M::HandshakePayloadTooLarge,
        M::InvalidCcs,
        M::InvalidContentType,
        M::InvalidCertificateStatusType,
        M::InvalidCertRequest,
        M::InvalidDhParams,
        M::InvalidEmptyPayload,
        M::InvalidKeyUpdate,
        M::InvalidServerName,
        M::MessageTooLarge,
        M::MessageTooShort,
        M::MissingData("ClientHello"),
        M::MissingKeyExchange,
        M::NoSignatureSchemes,
        M::TrailingData("ClientHello"),
        M::UnexpectedMessage("ClientHello"),
        M::UnknownProtocolVersion,
        M::UnsupportedCompression,
        M::UnsupportedCurveType,
        M::EmptyTicketValue,
        M::IllegalEmptyList("ProtocolNames"),
        M::IllegalEmptyValue,
        M::DuplicateExtension(7),
        M::PreSharedKeyIsNotFinalExtension,
        M::UnknownHelloRetryRequestExtension,
        M::UnknownCertificateExtension,
    ];
    messages
        .into_iter()
        .for_each(|what| check(Error::InvalidMessage(what)));
    let incompatible = [
        I::EcPointsExtensionRequired,
        I::ExtendedMasterSecretExtensionRequired,
        I::IncorrectCertificateTypeExtension,
        I::KeyShareExtensionRequired,
        I::NamedGroupsExtensionRequired,
        I::NoCipherSuitesInCommon,
        I::NoEcPointFormatsInCommon,
        I::NoKxGroupsInCommon,
        I::NoSignatureSchemesInCommon,
        I::NullCompressionRequired,
        I::ServerDoesNotSupportTls12Or13,
        I::ServerTlsVersionIsDisabledByOurConfig,
        I::SignatureAlgorithmsExtensionRequired,
        I::SupportedVersionsExtensionRequired,
        I::Tls12NotOffered,
        I::Tls12NotOfferedOrEnabled,
        I::UncompressedEcPointsRequired,
        I::UnsolicitedCertificateTypeExtension,
    ];
    incompatible
        .into_iter()
        .for_each(|what| check(Error::PeerIncompatible(what)));
    let misbehaved = [
        B::AttemptedDowngradeToTls12WhenTls13IsSupported,
        B::DuplicateClientHelloExtensions,
        B::EarlyDataAttemptedInSecondClientHello,
        B::IllegalMiddleboxChangeCipherSpec,
        B::IllegalTlsInnerPlaintext,
        B::IncorrectBinder,
        B::InvalidKeyShare,
        B::KeyEpochWithPendingFragment,
        B::MissingPskModesExtension,
        B::OfferedDuplicateKeyShares,
        B::OfferedEmptyApplicationProtocol,
        B::PskExtensionMustBeLast,
        B::RefusedToFollowHelloRetryRequest,
        B::ResumptionOfferedWithVariedEms,
        B::ServerNameMustContainOneHostName,
        B::SignedHandshakeWithUnadvertisedSigScheme,
        B::TooManyEmptyFragments,
        B::TooManyKeyUpdateRequests,
        B::TooManyRenegotiationRequests,
        B::TooManyWarningAlertsReceived,
        B::TooMuchEarlyDataReceived,
        B::UnsolicitedCertExtension,
    ];
    misbehaved
        .into_iter()
        .for_each(|what| check(Error::PeerMisbehaved(what)));
    let others = [
        Error::NoCertificatesPresented,
        Error::UnsupportedNameType,
        Error::DecryptError,
        Error::EncryptError,
        Error::General("no server certificate chain resolved: ClientHello".into()),
        Error::FailedToGetCurrentTime,
        Error::FailedToGetRandomBytes,
        Error::HandshakeNotComplete,
        Error::PeerSentOversizedRecord,
        Error::NoApplicationProtocol,
        Error::BadMaxFragmentSize,
        Error::Other(OtherError(Arc::new(std::fmt::Error))),
    ];
    others.into_iter().for_each(check);
    (0..=255).for_each(|number| check(Error::AlertReceived(Alert::from(number))));
}

#[test]
fn every_fault_of_a_certificate_is_a_sentence_of_ours() {
    use {webpki::Error as W, CertRevocationListError as R, CertificateError as C};
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_700_000_000));
    let chain = [
        W::BadDer,
        W::CaUsedAsEndEntity,
        W::EndEntityUsedAsCa,
        W::InvalidCertValidity,
        W::InvalidSerialNumber,
        W::MalformedExtensions,
        W::MaximumPathDepthExceeded,
        W::NameConstraintViolation,
        W::PathLenConstraintViolated,
        W::SignatureAlgorithmMismatch,
        W::UnsupportedCertVersion,
        W::UnsupportedCriticalExtension,
        W::UnsupportedNameType,
        W::UnsupportedCrlVersion,
    ];
    let chain = chain.map(|error| C::Other(OtherError(Arc::new(error))));
    #[allow(deprecated)]
    let faults = [
        C::BadEncoding,
        C::Expired,
        C::ExpiredContext {
            time,
            not_after: time,
        },
        C::NotValidYet,
        C::NotValidYetContext {
            time,
            not_before: time,
        },
        C::Revoked,
        C::UnhandledCriticalExtension,
        C::UnknownIssuer,
        C::UnknownRevocationStatus,
        C::ExpiredRevocationList,
        C::ExpiredRevocationListContext {
            time,
            next_update: time,
        },
        C::BadSignature,
        C::UnsupportedSignatureAlgorithm,
        C::NotValidForName,
        C::InvalidPurpose,
        C::InvalidOcspResponse,
        C::ApplicationVerificationFailure,
        C::Other(OtherError(Arc::new(std::fmt::Error))),
    ];
    for fault in chain.into_iter().chain(faults) {
        check(Error::InvalidCertificate(fault));
    }
    let lists = [
        R::BadSignature,
        R::InvalidCrlNumber,
        R::InvalidRevokedCertSerialNumber,
        R::IssuerInvalidForCrl,
        R::ParseError,
        R::UnsupportedCrlVersion,
        R::UnsupportedCriticalExtension,
        R::UnsupportedDeltaCrl,
        R::UnsupportedIndirectCrl,
        R::UnsupportedRevocationReason,
        R::Other(OtherError(Arc::new(std::fmt::Error))),
    ];
    for list in lists {
        check(Error::InvalidCertRevocationList(list));
    }
    let expired = certificate(&C::ExpiredContext {
        time,
        not_after: time,
    });
    assert_eq!(expired, "has expired on 2023-11-14");
    let bad = [
        pem::Error::MissingSectionEnd {
            end_marker: b"-----END".to_vec(),
        },
        pem::Error::IllegalSectionStart {
            line: b"-----BEGIN".to_vec(),
        },
        pem::Error::Base64Decode("InvalidByte(1, 2)".into()),
        pem::Error::SectionTooLarge,
    ];
    for error in bad {
        let text = not_pem(&error);
        assert!(is_ours(&format!("server.pem: {text}.........")), "{text}");
    }
}

#[test]
fn days_of_the_calendar() {
    let rows = [
        (0, "1970-01-01"),
        (-1, "1969-12-31"),
        (951_782_399, "2000-02-28"),
        (951_782_400, "2000-02-29"),
        (951_868_800, "2000-03-01"),
        (1_735_689_599, "2024-12-31"),
        (4_107_542_400, "2100-03-01"),
        (253_402_300_799, "9999-12-31"),
        (-11_644_473_600, "1601-01-01"),
    ];
    for (unix_s, expected) in rows {
        assert_eq!(day(unix_s), expected, "{unix_s}");
    }
}
