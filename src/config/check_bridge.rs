//! Check of tables `[[bridge]]`: from raw to checked.

use std::net::IpAddr;

use super::problem::Problem;
use super::raw::{GivenBridge, Typed};
use super::table_check::{Table, ALPN_NAME_MAX};
use crate::bridge::{look_for_loops, Bridge, Line, Start};
use crate::mqtt::topic::is_valid_name;

/// What the address of a Unix socket begins with.
const UNIX: &str = "unix:";

pub(super) fn check(tables: &[GivenBridge], problems: &mut Vec<Problem>) -> Vec<Bridge> {
    let mut bridges: Vec<Bridge> = Vec::new();
    for given in tables {
        let mut table = Table::read(given, problems);
        table.name(&bridges);
        table.addresses();
        table.topics();
        table.notify_topic();
        table.tls();
        table.websocket();
        table.bind_address();
        table.proxy();
        table.start();
        bridges.push(table.value);
    }
    for (at, text) in look_for_loops(&bridges) {
        let place = tables[at].find("topics").map(|given| &given.place);
        let place = place.unwrap_or(&tables[at].place);
        problems.push(Problem::new(place, "topics", text));
    }
    bridges
}

impl Table<'_, Bridge> {
    /// A bridge has a name and client ids of its own.
    fn name(&mut self, others: &[Bridge]) {
        let name = self.value.name.clone();
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
        let local_id = self.value.local_id();
        if let Some(other) = others.iter().find(|other| other.local_id() == local_id) {
            let text = format!(
                "{local_id:?} is that of the bridge {:?}, too: they would end each other's connections",
                other.name
            );
            self.report("local-client-id", text);
        }
        let is_same = |other: &&Bridge| {
            other.remote_id() == self.value.remote_id()
                && (other.addresses.iter()).any(|address| self.value.addresses.contains(address))
        };
        if let Some(other) = others.iter().find(is_same) {
            let text = format!(
                "{:?} is that of the bridge {:?} at the same remote, too: they would end each other's connections",
                self.value.remote_id(),
                other.name
            );
            self.report("client-id", text);
        }
    }

    fn addresses(&mut self) {
        if self.value.addresses.is_empty() {
            let text =
                "is missing: a bridge needs one, such as addresses = [\"broker.example.com:1883\"]";
            self.report("addresses", text);
        }
        for address in self.value.addresses.clone() {
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
                && self.value.transport.has_tls()
                && self.value.tls.server_name.is_none()
            {
                let text = "is missing: with TLS through a Unix socket it is not known whose certificate to expect";
                self.report("tls-server-name", text);
            }
        }
    }

    /// Each line, at its own place.
    fn topics(&mut self) {
        let Some(given) = self.find("topics") else {
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
        let topic = self.value.state_topic();
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
        if !self.value.transport.has_tls() {
            self.only_with(&TLS, "transport = \"tls\" or \"wss\"");
            return;
        }
        if self.value.tls.certificate.is_some() != self.value.tls.key.is_some() {
            self.report("tls-certificate", "tls-certificate and tls-key go together");
        }
        let is_wrong = |name: &&String| name.is_empty() || name.len() > ALPN_NAME_MAX;
        if let Some(name) = self.value.tls.alpn.iter().find(is_wrong).cloned() {
            let text =
                format!("{name:?} does not have the 1 to {ALPN_NAME_MAX} bytes of a name in ALPN");
            self.report("tls-alpn", text);
        }
    }

    fn bind_address(&mut self) {
        let given = self.find("bind-address");
        let Some(Typed::Text(text) | Typed::Word(text)) = given.map(|given| &given.value) else {
            return;
        };
        if text.parse::<IpAddr>().is_err() {
            let text = format!("{text:?} is not an IP address");
            self.report("bind-address", text);
        }
    }

    fn proxy(&mut self) {
        let Some(proxy) = self.value.proxy.clone() else {
            self.only_with(&["proxy-user", "proxy-password-file"], "proxy");
            return;
        };
        if !has_host_and_port(&proxy) {
            let text =
                format!("{proxy:?} is not a host with a port, such as \"proxy.example.com:3128\"");
            self.report("proxy", text);
        }
        if self.value.proxy_password_file.is_some() && self.value.proxy_user.is_none() {
            self.report("proxy-password-file", "proxy-user is missing");
        }
        if self
            .value
            .proxy_user
            .as_deref()
            .is_some_and(|user| user.contains(':'))
        {
            self.report("proxy-user", "a name with \":\" cannot be sent (RFC 7617)");
        }
    }

    fn start(&mut self) {
        if self.value.start == Start::Lazy {
            if self.value.local_clean_start || !self.value.goes_out() {
                let text =
                    "\"lazy\" waits for messages that go out, and none are kept for this bridge";
                self.report("start", text);
            }
            return;
        }
        if !self.wrong.contains("start") {
            self.only_with(&["lazy-messages", "idle-timeout"], "start = \"lazy\"");
        }
    }

    fn websocket(&mut self) {
        let path = self.value.websocket_path.clone();
        if !self.value.transport.has_websocket() {
            self.only_with(&["websocket-path"], "transport = \"ws\" or \"wss\"");
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
