//! `--target`: HOST, HOST:PORT or a URL, and the address that a name stands for.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::transport::{TransportOptions, WS_PATH};

/// How long an address of a name that has several may take to answer before the next is tried.
const ADDRESS_TIME: Duration = Duration::from_secs(2);

/// Where to connect, over what, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Each HOST:PORT.
    pub(crate) targets: Vec<String>,
    pub(crate) transport: TransportOptions,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

/// One target as it is given.
#[derive(Debug, Default, PartialEq, Eq)]
struct Given {
    /// Over TLS, over WebSocket; `None` without a scheme.
    scheme: Option<(bool, bool)>,
    user: Option<String>,
    password: Option<String>,
    host: String,
    port: Option<u16>,
    path: Option<String>,
}

impl Endpoint {
    /// Of targets that go over `transport` unless their URLs say otherwise.
    ///
    /// # Errors
    /// A sentence about the target that is none, or that differs from the others.
    pub(crate) fn of(targets: &[String], transport: &TransportOptions) -> Result<Self, String> {
        let mut own = Self {
            targets: Vec::new(),
            transport: transport.clone(),
            user: None,
            password: None,
        };
        let given = targets.iter().map(|target| {
            parse(target).map_err(|why| format!("--target {}: {why}", without_password(target)))
        });
        let given = given.collect::<Result<Vec<_>, _>>()?;
        let first = given.first().ok_or("--target is missing")?;
        let alike = |other: &Given| {
            (other.scheme, &other.user, &other.password, &other.path)
                == (first.scheme, &first.user, &first.password, &first.path)
        };
        if !given.iter().all(alike) {
            return Err("--target: scheme, user and path must be the same for all targets".into());
        }
        if let Some((tls, ws)) = first.scheme {
            own.transport.tls |= tls;
            own.transport.ws |= ws;
        }
        if let Some(path) = first.path.clone().filter(|path| path != "/") {
            own.transport.ws_path = path;
        }
        if own.transport.ws && own.transport.ws_path.is_empty() {
            own.transport.ws_path = WS_PATH.into(); // of a file without the key
        }
        (own.user, own.password) = (first.user.clone(), first.password.clone());
        let port = match (own.transport.tls, own.transport.ws) {
            (false, false) => 1883,
            (true, false) => 8883,
            (false, true) => 80,
            (true, true) => 443,
        };
        let address = |given: &Given| {
            let (host, port) = (&given.host, given.port.unwrap_or(port));
            if host.contains(':') {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            }
        };
        own.targets = given.iter().map(address).collect();
        Ok(own)
    }
}

fn parse(text: &str) -> Result<Given, String> {
    let mut own = Given::default();
    let mut rest = text;
    if let Some((scheme, after)) = text.split_once("://") {
        own.scheme = Some(match scheme {
            "mqtt" | "tcp" => (false, false),
            "mqtts" | "ssl" | "tls" => (true, false),
            "ws" => (false, true),
            "wss" => (true, true),
            _ => return Err(format!("{scheme}:// is none of mqtt, mqtts, ws and wss")),
        });
        rest = after;
        if let Some((authority, path)) = rest.split_once('/') {
            (rest, own.path) = (authority, Some(format!("/{path}")));
        }
        if let Some((who, host)) = rest.rsplit_once('@') {
            let (user, password) = match who.split_once(':') {
                Some((user, password)) => (user, Some(decoded(password))),
                None => (who, None),
            };
            (own.user, own.password, rest) = (Some(decoded(user)), password, host);
        }
    }
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None if rest.matches(':').count() > 1 => (rest, None), // IPv6 without brackets
        None => rest
            .split_once(':')
            .map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err("give HOST, HOST:PORT or mqtt://USER@HOST:PORT".into());
    }
    let read = |port: &str| {
        let port = port.parse().ok().filter(|port| *port > 0);
        port.ok_or("a port is a number from 1 to 65535")
    };
    own.host = host.to_string();
    own.port = port.map(read).transpose()?;
    Ok(own)
}

/// With %XX read.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = (*first == b'%').then(|| after.get(..2)).flatten();
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A target with its password hidden.
pub(crate) fn without_password(text: &str) -> String {
    let hidden = || {
        let (scheme, rest) = text.split_once("://")?;
        let (who, host) = rest.rsplit_once('@')?;
        let (user, _) = who.split_once(':')?;
        Some(format!("{scheme}://{user}:***@{host}"))
    };
    hidden().unwrap_or_else(|| text.to_string())
}

/// Addresses of targets, each HOST:PORT. Of a name with several, the first that takes a connection comes first.
///
/// # Errors
/// A sentence when a target's name is not known.
pub(crate) fn resolve(targets: &[String]) -> Result<Vec<Vec<SocketAddr>>, String> {
    let resolve = |target: &String| {
        let found = target
            .to_socket_addrs()
            .map_err(|error| format!("--target {target}: {error}: is the name right?"))?;
        let mut found: Vec<SocketAddr> = found.collect();
        let mut seen = Vec::new();
        found.retain(|address| {
            !seen.contains(address) && {
                seen.push(*address);
                true
            }
        });
        let answers =
            |address: &SocketAddr| TcpStream::connect_timeout(address, ADDRESS_TIME).is_ok();
        if found.len() > 1 {
            let first = found.iter().position(answers).unwrap_or(0);
            found[..=first].rotate_right(1);
        }
        if found.is_empty() {
            return Err(format!("--target {target}: no address"));
        }
        Ok(found)
    };
    targets.iter().map(resolve).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(target: &str) -> Result<Endpoint, String> {
        Endpoint::of(&[target.to_string()], &TransportOptions::default())
    }

    #[test]
    fn ports_follow_from_the_scheme() {
        for (given, address) in [
            ("localhost", "localhost:1883"),
            ("localhost:99", "localhost:99"),
            ("mqtt://h", "h:1883"),
            ("mqtt://h:1884/", "h:1884"),
            ("mqtts://h", "h:8883"),
            ("ws://h/mqtt", "h:80"),
            ("wss://h:9001", "h:9001"),
            ("::1", "[::1]:1883"),
            ("[::1]:99", "[::1]:99"),
            ("mqtt://u:p@[::1]", "[::1]:1883"),
        ] {
            assert_eq!(of(given).unwrap().targets, [address], "{given}");
        }
        for wrong in ["", "h:0", "h:x", "http://h", "mqtt://", "a b"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn urls_say_who_and_over_what() {
        let own = of("wss://us%20er:p%40ss@h/path/x").unwrap();
        assert_eq!(own.user.as_deref(), Some("us er"));
        assert_eq!(own.password.as_deref(), Some("p@ss"));
        assert!(own.transport.tls && own.transport.ws);
        assert_eq!(own.transport.ws_path, "/path/x");
        let two = ["mqtt://h".to_string(), "mqtts://h".to_string()];
        assert!(Endpoint::of(&two, &TransportOptions::default()).is_err());
    }

    #[test]
    fn passwords_are_hidden() {
        for (given, shown) in [
            ("mqtt://u:p@h:1", "mqtt://u:***@h:1"),
            ("mqtt://u@h", "mqtt://u@h"),
            ("h:1", "h:1"),
        ] {
            assert_eq!(without_password(given), shown);
        }
        let error = of("mqtt://u:secret@h:x").unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn the_address_that_answers_comes_first() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let target = format!("localhost:{}", address.port());
        assert_eq!(resolve(&[target]).unwrap()[0][0], address);
    }
}
