//! TLS layer: the end that connects, for bridges.
//!
//! There are a few of these, so rustls keeps its buffers here, other than in the layer of those who are accepted.

use std::io::{IoSlice, Read, Write};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Error, RootCertStore};

use super::remote::{AnyCertificate, RemoteWords};
use crate::transport::{Layer, LayerError};

/// What a connection begins with, as PEM.
#[derive(Clone, Debug, Default)]
pub struct ClientMaterial {
    /// Authorities of the server's certificate; `None`: any certificate will do.
    pub authorities: Option<Vec<u8>>,
    /// Certificate and key to show.
    pub own: Option<(Vec<u8>, Vec<u8>)>,
    pub server_name: String,
    pub alpn: Vec<String>,
}

/// As the options of a bridge are called.
const WORDS: RemoteWords = RemoteWords {
    remote: "the remote",
    authorities: "tls-ca",
    name: "tls-server-name",
    own: "tls-certificate and tls-key",
    alpn: "tls-alpn",
};

/// The client's side of one TLS connection.
pub struct TlsClient {
    connection: ClientConnection,
    is_ended: bool,
    has_received: bool,
}

impl TlsClient {
    /// A connection that has sent nothing yet.
    ///
    /// # Errors
    /// A sentence about the material.
    pub fn new(material: &ClientMaterial) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match &material.authorities {
            Some(pem) => builder.with_root_certificates(authorities(pem)?),
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
        };
        let mut config = match &material.own {
            Some((certificate, key)) => {
                let chain = certificates(certificate)?;
                if chain.is_empty() {
                    return Err("there is no certificate in tls-certificate".into());
                }
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|error| format!("there is no key in tls-key: {error}"))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| format!("tls-certificate and tls-key: {error}"))?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = material
            .alpn
            .iter()
            .map(|name| name.clone().into())
            .collect();
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(material.server_name.clone())
            .map_err(|_| format!("{:?} is no name of a host", material.server_name))?;
        let mut connection =
            ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
        connection.set_buffer_limit(None); // what is put in is bounded by who does
        Ok(Self {
            connection,
            is_ended: false,
            has_received: false,
        })
    }

    /// Moves what rustls has for the socket to `down`.
    fn drain(&mut self, down: &mut Vec<u8>) {
        while self.connection.wants_write() {
            if self.connection.write_tls(down).is_err() {
                return; // memory takes everything
            }
        }
    }

    fn read(&mut self, bytes: &[u8], up: &mut Vec<u8>) -> Result<(), Error> {
        let other = |error: std::io::Error| Error::General(error.to_string());
        let mut rest = bytes;
        while !rest.is_empty() {
            self.connection.read_tls(&mut rest).map_err(other)?;
            let state = self.connection.process_new_packets()?;
            let (found, start) = (state.plaintext_bytes_to_read(), up.len());
            up.resize(start + found, 0);
            let read = self.connection.reader().read_exact(&mut up[start..]);
            if found > 0 {
                read.map_err(other)?;
            }
            if state.peer_has_closed() {
                self.is_ended = true;
                break;
            }
        }
        Ok(())
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    found.map_err(|error| format!("not certificates in PEM: {error}"))
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(certificates(pem)?);
    match added {
        0 => Err("there is no certificate of an authority in tls-ca".into()),
        _ => Ok(store),
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
        self.has_received = true;
        let is_handshaking = self.connection.is_handshaking();
        let result = self.read(bytes, up);
        self.drain(down); // also the alert about an error
        result.map_err(|error| WORDS.sentence(&error, is_handshaking))
    }

    fn send(&mut self, slices: &[IoSlice<'_>], down: &mut Vec<u8>) -> Result<(), LayerError> {
        for slice in slices {
            let written = self.connection.writer().write_all(slice);
            written.map_err(|error| LayerError(format!("TLS: {error}")))?;
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

    fn end_of_stream(&self) -> Result<(), LayerError> {
        if self.connection.is_handshaking() && !self.has_received {
            let text = "TLS: the remote has closed the connection without an answer: it does not speak TLS there";
            return Err(LayerError(text.into()));
        }
        Ok(())
    }
}
