//! What went wrong with TLS, as sentences for the log.

use rustls::{AlertDescription as Alert, CertificateError, Error, InvalidMessage};

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

/// The stream ended without the goodbye of TLS. After the handshake, between records, that is usual.
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
pub(super) fn describe(error: &Error, is_open: bool) -> LayerError {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::NoCertificatesPresented => said(
            "the client has sent no certificate, and tls-client-certificate is \"required\"",
        ),
        Error::AlertReceived(alert) => alert_received(*alert),
        Error::NoApplicationProtocol => {
            said("the client asks by ALPN for other protocols than this listener has")
        }
        Error::PeerSentOversizedRecord
        | Error::InvalidMessage(InvalidMessage::MessageTooLarge) => {
            said("a TLS record is larger than 16 KiB: not a client of TLS, or a hostile one")
        }
        Error::DecryptError => {
            said("a TLS record does not decrypt: it was changed on the way or cut")
        }
        Error::InvalidMessage(what) if is_open => said(format!(
            "what came is no TLS record ({what:?}): it was changed on the way or cut"
        )),
        Error::PeerIncompatible(what) => said(format!(
            "the client and tls-version-min have no TLS version or cipher suite in common ({what:?})"
        )),
        Error::EncryptError => said("TLS can send nothing more on this connection"),
        other if is_open => said(format!("TLS error: {other}")),
        other => said(format!("TLS handshake failed: {other}")),
    }
}

fn certificate(error: &CertificateError) -> LayerError {
    use CertificateError as E;
    match error {
        E::Expired | E::ExpiredContext { .. } => said("the client's certificate has expired"),
        E::NotValidYet | E::NotValidYetContext { .. } => {
            said("the client's certificate is not valid yet: compare the clocks")
        }
        E::Revoked => said("the client's certificate is revoked (tls-crl)"),
        E::UnknownIssuer => said(
            "the client's certificate is self-signed or of an authority that is not in \
             tls-client-ca",
        ),
        E::UnknownRevocationStatus => {
            said("no list in tls-crl is of the authority of the client's certificate")
        }
        E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => said(
            "the revocation list of the authority (tls-crl) has expired: fetch a new one and send \
             SIGHUP",
        ),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            said("the client's certificate is not made for clients (extended key usage)")
        }
        E::BadEncoding => said("the client's certificate cannot be read"),
        E::BadSignature => said("the signature on the client's certificate is wrong"),
        other => said(format!("the client's certificate is refused: {other}")),
    }
}

fn alert_received(alert: Alert) -> LayerError {
    match alert {
        Alert::UnknownCA | Alert::BadCertificate | Alert::CertificateUnknown => said(format!(
            "the client does not accept the certificate of this listener ({alert:?}): give it the \
             authority that signed tls-certificate, and a name that is in the certificate"
        )),
        Alert::CertificateExpired => said(
            "the client says that the certificate of this listener has expired: renew \
             tls-certificate and send SIGHUP",
        ),
        other => said(format!("the client ended TLS with the alert {other:?}")),
    }
}
