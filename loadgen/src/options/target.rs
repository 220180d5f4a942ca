//! `--target`: HOST, HOST:PORT or a URL, and the address that a name stands for.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::secrets::without_password;
use crate::transport::{Speaks, TransportOptions, WS_PATH};

/// How long an address of a name that has several may take to answer before the next is tried.
const ADDRESS_TIME: Duration = Duration::from_secs(2);

/// Where to connect, over what, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Each HOST:PORT, and what is spoken there.
    pub(crate) targets: Vec<(String, Speaks)>,
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
        let given = targets.iter().map(|target| {
            parse(target).map_err(|why| format!("--target {}: {why}", without_password(target)))
        });
        let given = given.collect::<Result<Vec<_>, _>>()?;
        let first = given.first().ok_or("--target is missing")?;
        let alike =
            |other: &Given| (&other.user, &other.password) == (&first.user, &first.password);
        if !given.iter().all(alike) {
            return Err("--target: user and password must be the same for all targets".into());
        }
        Ok(Self {
            targets: given.iter().map(|own| own.target(transport)).collect(),
            user: first.user.clone(),
            password: first.password.clone(),
        })
    }
}

impl Given {
    /// HOST:PORT and what is spoken there: what its URL says, else what `transport` does.
    fn target(&self, transport: &TransportOptions) -> (String, Speaks) {
        let (tls, ws) = self.scheme.unwrap_or_default();
        let (tls, ws) = (tls || transport.tls, ws || transport.ws);
        let path = self.path.as_ref().filter(|path| *path != "/");
        let path = path.unwrap_or(&transport.ws_path);
        let path = match &path[..] {
            "" => WS_PATH, // of a file without the key
            path => path,
        };
        let usual = match (tls, ws) {
            (false, false) => 1883,
            (true, false) => 8883,
            (false, true) => 80,
            (true, true) => 443,
        };
        let (host, port) = (&self.host, self.port.unwrap_or(usual));
        let address = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let path = ws.then(|| path.to_string());
        (address, Speaks { tls, path })
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

/// Addresses of targets, each HOST:PORT. Of a name with several, the first that takes a connection comes first.
///
/// # Errors
/// A sentence when a target's name is not known.
pub(crate) fn resolve(targets: &[(String, Speaks)]) -> Result<Vec<Vec<SocketAddr>>, String> {
    let resolve = |(target, _): &(String, Speaks)| {
        let found = target
            .to_socket_addrs()
            .map_err(|error| format!("--target {target}: {error}: is the name right?"))?;
        let found = in_order(found);
        if found.is_empty() {
            return Err(format!("--target {target}: no address"));
        }
        Ok(found)
    };
    targets.iter().map(resolve).collect()
}

/// The addresses of one name, each once: the first that answers, then the others.
fn in_order(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let answers = |address: &SocketAddr| TcpStream::connect_timeout(address, ADDRESS_TIME).is_ok();
    if addresses.len() > 1 {
        let first = addresses.iter().position(answers).unwrap_or(0);
        addresses[..=first].rotate_right(1);
    }
    addresses
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
            assert_eq!(of(given).unwrap().targets[0].0, address, "{given}");
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
        let (tls, path) = (true, Some("/path/x".to_string()));
        assert_eq!(own.targets[0].1, Speaks { tls, path });
    }

    #[test]
    fn each_target_has_its_own_transport() {
        let given = ["h", "mqtt://h:1", "mqtts://h", "ws://h/x", "wss://h/"].map(String::from);
        let names = |transport: &TransportOptions| {
            let own = Endpoint::of(&given, transport).unwrap();
            let name = |(_, speaks): &(String, Speaks)| (speaks.tls, speaks.path.clone());
            own.targets.iter().map(name).collect::<Vec<_>>()
        };
        let path = |path: &str| Some(path.to_string());
        let mut options = TransportOptions::default();
        let expected = [
            (false, None),
            (false, None),
            (true, None),
            (false, path("/x")),
            (true, path("/mqtt")),
        ];
        assert_eq!(names(&options), expected);
        (options.tls, options.ws, options.ws_path) = (true, true, "/own".into());
        assert_eq!(names(&options)[0], (true, path("/own")));
        let two = ["mqtt://a@h".to_string(), "mqtt://b@h".to_string()];
        assert!(Endpoint::of(&two, &options).is_err());
    }

    #[test]
    fn a_sentence_has_no_password() {
        let error = of("mqtt://u:secret@h:x").unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn the_address_that_answers_comes_first() {
        let listen = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (open, closed) = (listen(), [listen(), listen()]);
        let address = open.local_addr().unwrap();
        let [one, two] = closed.map(|closed| closed.local_addr().unwrap()); // and closes them
        let order = |own: &[SocketAddr]| in_order(own.iter().copied());
        assert_eq!(order(&[one, one, two, address]), [address, one, two]);
        assert_eq!(order(&[one, two]), [one, two], "none answers");
        assert_eq!(order(&[address]), [address]);
        let target = format!("localhost:{}", address.port());
        let target = (target, Speaks::default());
        assert_eq!(resolve(&[target]).unwrap()[0][0], address);
    }
}
