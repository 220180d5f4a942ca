//! Check of tables `[[bridge]]`: from raw to checked.

use std::collections::HashSet;

use super::problem::{Place, Problem};
use super::raw::{Given, GivenBridge, Typed};
use super::reading::read;
use crate::bridge::{look_for_loops, Bridge, Line};
use crate::mqtt::topic::is_valid_name;

/// What the address of a Unix socket begins with.
const UNIX: &str = "unix:";
/// Longest name of a protocol in ALPN, in bytes (RFC 7301).
const ALPN_NAME_MAX: usize = 255;

/// One table while it is checked.
struct Table<'a> {
    given: &'a GivenBridge,
    bridge: Bridge,
    /// Options with a wrong value: rules about them are silent.
    wrong: HashSet<&'static str>,
    problems: &'a mut Vec<Problem>,
}

pub(super) fn check(tables: &[GivenBridge], problems: &mut Vec<Problem>) -> Vec<Bridge> {
    let mut bridges: Vec<Bridge> = Vec::new();
    for given in tables {
        let mut table = Table {
            given,
            bridge: Bridge::default(),
            wrong: HashSet::new(),
            problems,
        };
        table.take_values();
        table.name(&bridges);
        table.addresses();
        table.topics();
        table.notify_topic();
        table.tls();
        table.websocket();
        bridges.push(table.bridge);
    }
    for (at, text) in look_for_loops(&bridges) {
        let place = tables[at].find("topics").map(|given| &given.place);
        let place = place.unwrap_or(&tables[at].place);
        problems.push(Problem::new(place, "topics", text));
    }
    bridges
}

impl GivenBridge {
    fn find(&self, name: &str) -> Option<&Given<Bridge>> {
        let mut given = self.given.iter();
        given.find(|given| given.option.name == name)
    }
}

impl Table<'_> {
    fn take_values(&mut self) {
        for given in &self.given.given {
            let found = read(given);
            if found.is_empty() {
                if let Ok(value) = given.option.kind.read(&given.value) {
                    (given.option.set)(&mut self.bridge, value);
                }
            } else {
                self.wrong.insert(given.option.name);
                self.problems.extend(found);
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.given.find(name).is_some()
    }

    /// Reports at `name`, or where the table begins if that was not given.
    fn report(&mut self, name: &'static str, text: impl Into<String>) {
        if self.wrong.contains(name) {
            return;
        }
        let given = self.given.find(name);
        let place: &Place = given.map_or(&self.given.place, |given| &given.place);
        self.problems.push(Problem::new(place, name, text));
    }

    /// A bridge has a name and client ids of its own.
    fn name(&mut self, others: &[Bridge]) {
        let name = self.bridge.name.clone();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() {
            self.report(
                "name",
                "is missing: a bridge needs one, such as name = \"cloud\"",
            );
            return;
        }
        if !name.chars().all(is_plain) {
            let text = format!("{name:?} is not letters, digits and the signs - _ . alone");
            self.report("name", text);
        }
        if others.iter().any(|other| other.name == name) {
            let text = format!("{name:?} is the name of two bridges; each needs its own");
            self.report("name", text);
            return;
        }
        let local_id = self.bridge.local_id();
        if let Some(other) = others.iter().find(|other| other.local_id() == local_id) {
            let text = format!(
                "{local_id:?} is that of the bridge {:?}, too: they would end each other's connections",
                other.name
            );
            self.report("local-client-id", text);
        }
        let is_same = |other: &&Bridge| {
            other.remote_id() == self.bridge.remote_id()
                && (other.addresses.iter()).any(|address| self.bridge.addresses.contains(address))
        };
        if let Some(other) = others.iter().find(is_same) {
            let text = format!(
                "{:?} is that of the bridge {:?} at the same remote, too: they would end each other's connections",
                self.bridge.remote_id(),
                other.name
            );
            self.report("client-id", text);
        }
    }

    fn addresses(&mut self) {
        if self.bridge.addresses.is_empty() {
            let text =
                "is missing: a bridge needs one, such as addresses = [\"broker.example.com:1883\"]";
            self.report("addresses", text);
        }
        for address in self.bridge.addresses.clone() {
            let is_unix = address.starts_with(UNIX);
            let is_right = match address.strip_prefix(UNIX) {
                Some(path) => path.starts_with('/'),
                None => has_host_and_port(&address),
            };
            if !is_right {
                let text = format!(
                    "{address:?} is not a host with a port, such as \"broker.example.com:1883\" or \"[::1]:1883\", nor \
                     \"unix:/path\""
                );
                self.report("addresses", text);
            } else if is_unix
                && self.bridge.transport.has_tls()
                && self.bridge.tls.server_name.is_none()
            {
                let text = "is missing: with TLS through a Unix socket it is not known whose certificate to expect";
                self.report("tls-server-name", text);
            }
        }
    }

    /// Each line, at its own place.
    fn topics(&mut self) {
        let Some(given) = self.given.find("topics") else {
            let text = "is missing: a bridge without topics carries nothing, such as topics = [\"sensors/# out 1\"]";
            self.report("topics", text);
            return;
        };
        let single = [(&given.place, &given.value)];
        let items: Vec<_> = match &given.value {
            Typed::List(items) => items
                .iter()
                .map(|item| (&item.place, &item.value))
                .collect(),
            _ => single.into(),
        };
        for (place, value) in items {
            let (Typed::Text(text) | Typed::Word(text)) = value else {
                continue; // reported by its kind
            };
            if let Err(wrong) = Line::parse(text) {
                let text = format!("{text:?}: {wrong}");
                self.problems.push(Problem::new(place, "topics", text));
            }
        }
    }

    fn notify_topic(&mut self) {
        let topic = self.bridge.state_topic();
        if !is_valid_name(&topic) {
            let text = format!("{topic:?} is not a topic to publish to");
            self.report("notify-topic", text);
        }
    }

    fn tls(&mut self) {
        const TLS: [&str; 6] = [
            "tls-ca",
            "tls-certificate",
            "tls-key",
            "tls-server-name",
            "tls-alpn",
            "tls-insecure",
        ];
        if self.wrong.contains("transport") {
            return;
        }
        if !self.bridge.transport.has_tls() {
            for name in TLS
                .into_iter()
                .filter(|name| self.has(name))
                .collect::<Vec<_>>()
            {
                self.report(
                    name,
                    "means something only with transport = \"tls\" or \"wss\"",
                );
            }
            return;
        }
        if self.bridge.tls.certificate.is_some() != self.bridge.tls.key.is_some() {
            self.report("tls-certificate", "tls-certificate and tls-key go together");
        }
        let is_wrong = |name: &&String| name.is_empty() || name.len() > ALPN_NAME_MAX;
        if let Some(name) = self.bridge.tls.alpn.iter().find(is_wrong).cloned() {
            let text =
                format!("{name:?} does not have the 1 to {ALPN_NAME_MAX} bytes of a name in ALPN");
            self.report("tls-alpn", text);
        }
    }

    fn websocket(&mut self) {
        let path = self.bridge.websocket_path.clone();
        if !self.bridge.transport.has_websocket() {
            if self.has("websocket-path") {
                let text = "means something only with transport = \"ws\" or \"wss\"";
                self.report("websocket-path", text);
            }
        } else if !path.starts_with('/') || !path.chars().all(|c| c.is_ascii_graphic()) {
            let text = format!("{path:?} is not a path: it begins with \"/\"");
            self.report("websocket-path", text);
        }
    }
}

/// `host:port`; an IPv6 address stands in brackets.
fn has_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let is_host = !host.is_empty()
        && (is_bracketed || !host.contains(':'))
        && !host.contains(|c: char| c.is_whitespace() || matches!(c, '/' | ','));
    is_host && port.parse::<u16>().is_ok_and(|port| port != 0)
}
