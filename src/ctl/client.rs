//! A small client of HTTP/1.1: one request, one answer, the body whole or line by line.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

/// How long the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(40);
/// Bytes of the head of an answer.
const HEAD_MAX: usize = 64 << 10;

/// Why a verb has not done what it should.
#[derive(Debug)]
pub(crate) enum Failure {
    Usage(String),
    /// The broker answered with a problem.
    Refused(String),
    Unreachable(String),
    /// What is printed is not read any more.
    Output,
}

/// Where an admin listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(String),
    /// Host and port.
    Http(String),
    Https(String),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let text = text.escape_debug();
            format!("\"{text}\" is none of unix:PATH, http://HOST:PORT and https://HOST:PORT")
        };
        let host = |rest: &str| {
            let host = rest.trim_end_matches('/');
            let port = host
                .rsplit_once(':')
                .map(|(_, port)| port.parse::<u16>().is_ok());
            (port == Some(true))
                .then(|| host.to_owned())
                .ok_or_else(wrong)
        };
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        if let Some(rest) = text.strip_prefix("http://") {
            return host(rest).map(Self::Http);
        }
        match text.strip_prefix("https://") {
            Some(rest) => host(rest).map(Self::Https),
            None => Err(wrong()),
        }
    }
}

pub(crate) struct Client {
    address: Address,
    token: Option<String>,
    authorities: Option<String>,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// An answer whose body has not been read.
struct Opened {
    status: u16,
    /// `None`: in chunks.
    length: Option<usize>,
    stream: BufReader<Box<dyn Stream>>,
}

impl Client {
    pub(crate) fn new(
        address: Address,
        token: Option<String>,
        authorities: Option<String>,
    ) -> Self {
        Self {
            address,
            token,
            authorities,
        }
    }

    pub(crate) fn get(&self, target: &str) -> Result<Value, Failure> {
        self.request("GET", target, None)
    }

    /// Sends a request; an empty answer is `null`.
    pub(crate) fn request(
        &self,
        method: &str,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let mut opened = self.open(method, target, body)?;
        let text = opened
            .read_whole()
            .map_err(|error| self.unreachable(&error))?;
        if !(200..300).contains(&opened.status) {
            return Err(problem(opened.status, &text));
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        let parsed = serde_json::from_slice(&text);
        parsed.map_err(|error| Failure::Unreachable(format!("the answer is no JSON: {error}")))
    }

    /// Sends a request and gives each line of the answer as it comes.
    pub(crate) fn stream(
        &self,
        target: &str,
        body: &Value,
        each: &mut dyn FnMut(&Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut opened = self.open("POST", target, Some(body))?;
        if opened.status != 200 {
            let text = opened
                .read_whole()
                .map_err(|error| self.unreachable(&error))?;
            return Err(problem(opened.status, &text));
        }
        let mut rest = Vec::new();
        while let Some(piece) = opened
            .read_chunk()
            .map_err(|error| self.unreachable(&error))?
        {
            rest.extend_from_slice(&piece);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if let Ok(value) = serde_json::from_slice(&line) {
                    each(&value)?;
                }
            }
        }
        Ok(())
    }

    fn open(&self, method: &str, target: &str, body: Option<&Value>) -> Result<Opened, Failure> {
        let stream = self.connect().map_err(|error| self.unreachable(&error))?;
        let mut stream = BufReader::new(stream);
        let host = match &self.address {
            Address::Unix(_) => "localhost",
            Address::Http(host) | Address::Https(host) => host,
        };
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-Ringmq-Request: 1\r\n"
        );
        if let Some(token) = &self.token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        let body = body.map(ToString::to_string).unwrap_or_default();
        if !body.is_empty() {
            head.push_str("Content-Type: application/json\r\n");
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        let sent = stream.get_mut().write_all(head.as_bytes());
        sent.map_err(|error| self.unreachable(&error))?;
        read_head(stream).map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let address = match &self.address {
            Address::Unix(path) => format!("unix:{path}"),
            Address::Http(host) => format!("http://{host}"),
            Address::Https(host) => format!("https://{host}"),
        };
        let hint = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ": is the broker running, with this address in admin-listen?"
            }
            io::ErrorKind::PermissionDenied => ": its user and group may use the socket",
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ": it has not answered in time",
            _ => "",
        };
        Failure::Unreachable(format!("{address}: {error}{hint}"))
    }

    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match &self.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Box::new(stream))
            }
            Address::Http(host) => Ok(Box::new(tcp(host)?)),
            Address::Https(host) => {
                let config = tls_config(self.authorities.as_deref())?;
                let name = host.rsplit_once(':').map_or(&**host, |(name, _)| name);
                let name = name
                    .trim_start_matches('[')
                    .trim_end_matches(']')
                    .to_owned();
                let name = ServerName::try_from(name).map_err(io::Error::other)?;
                let connection = ClientConnection::new(Arc::new(config), name);
                let connection = connection.map_err(io::Error::other)?;
                Ok(Box::new(StreamOwned::new(connection, tcp(host)?)))
            }
        }
    }
}

fn tcp(host: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn tls_config(authorities: Option<&str>) -> io::Result<ClientConfig> {
    let Some(file) = authorities else {
        return Err(io::Error::other(
            "https needs --ca-file, the authorities of the certificate",
        ));
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(io::Error::other)? {
        let certificate = certificate.map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn read_head(mut stream: BufReader<Box<dyn Stream>>) -> io::Result<Opened> {
    let mut line = String::new();
    let mut bytes = stream.by_ref().take(HEAD_MAX as u64).read_line(&mut line)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("what answers speaks no HTTP"))?;
    let mut length = Some(0);
    loop {
        line.clear();
        bytes += stream.by_ref().take(HEAD_MAX as u64).read_line(&mut line)?;
        if bytes > HEAD_MAX || line.is_empty() {
            return Err(io::Error::other(
                "the head of the answer is cut off or too long",
            ));
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        match &*name {
            "content-length" => length = value.parse().ok(),
            "transfer-encoding" => length = None,
            _ => {}
        }
    }
    Ok(Opened {
        status,
        length,
        stream,
    })
}

impl Opened {
    fn read_whole(&mut self) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        if let Some(length) = self.length {
            self.stream
                .by_ref()
                .take(length as u64)
                .read_to_end(&mut whole)?;
            return Ok(whole);
        }
        while let Some(chunk) = self.read_chunk()? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }

    fn read_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = String::new();
        self.stream
            .by_ref()
            .take(HEAD_MAX as u64)
            .read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16);
        let length = length.map_err(|_| io::Error::other("the answer has ended in the middle"))?;
        let mut chunk = vec![0; length + 2];
        self.stream.read_exact(&mut chunk)?;
        chunk.truncate(length);
        Ok((length > 0).then_some(chunk))
    }
}

/// What a problem says, by RFC 9457.
fn problem(status: u16, text: &[u8]) -> Failure {
    let parsed: Value = serde_json::from_slice(text).unwrap_or(Value::Null);
    let detail = parsed["detail"].as_str();
    let detail = detail.map_or_else(|| format!("HTTP status {status}"), Into::into);
    match status {
        500.. => Failure::Unreachable(detail),
        _ => Failure::Refused(detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_named() {
        let http = |text: &str| Address::Http(text.into());
        for (text, address) in [
            ("unix:/run/x", Some(Address::Unix("/run/x".into()))),
            ("http://localhost:8080/", Some(http("localhost:8080"))),
            ("http://[::1]:80", Some(http("[::1]:80"))),
            (
                "https://b.example:8443",
                Some(Address::Https("b.example:8443".into())),
            ),
            ("localhost:8080", None),
            ("http://localhost", None),
            ("unix:", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Address>().ok(), address, "{text:?}");
        }
    }
}
