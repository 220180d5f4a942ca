//! Check of tables `[[listener]]`: from raw to checked.

use std::collections::HashSet;
use std::net::SocketAddr;

use super::listener_mqtt_sn;
use super::listener_options::ALPN_IGNORE;
use super::problem::Problem;
use super::raw::GivenListener;
use super::table_check::{Table, ALPN_NAME_MAX};
use super::Checked;
use crate::listener::{Address, Authentication, Listener, Protocol, Transport, Versions};
use crate::transport::tls::ClientCertificate;
use crate::transport::Trusted;

/// `wrong` are options of the broker with a wrong value.
pub(super) fn check(
    broker: &Checked,
    wrong: &HashSet<&'static str>,
    tables: &[GivenListener],
    problems: &mut Vec<Problem>,
) -> Vec<Listener> {
    let listen = broker.listen.iter().copied().map(Address::Ip);
    let mut seen: HashSet<(Address, bool)> = HashSet::new();
    if tables.is_empty() {
        return Vec::new();
    }
    seen.extend(listen.map(|address| (address, false)));
    let mut listeners = Vec::new();
    for given in tables {
        let mut table = Table::read(given, problems);
        table.address(&mut seen);
        table.mqtt_sn();
        table.tls();
        table.quic();
        table.websocket();
        table.proxies();
        table.packet_size(broker, wrong);
        table.authentication(broker, wrong);
        let mut listener = table.value;
        let transport = listener.transport;
        listener.policy.layered =
            transport.has_tls() || transport.has_websocket() || listener.proxy_protocol;
        listeners.push(listener);
    }
    listeners
}

impl Table<'_, Listener> {
    /// A listener needs an address of its own.
    fn address(&mut self, seen: &mut HashSet<(Address, bool)>) {
        if self.find("address").is_none() {
            let text = "is missing: a listener needs one, such as address = \"127.0.0.1:1883\"";
            self.report("address", text);
            return;
        }
        if self.wrong.contains("address") {
            return;
        }
        let address = self.value.address.clone();
        // A port of TCP and one of UDP are two.
        let is_new = seen.insert((address.clone(), self.value.transport.has_datagrams()));
        match &address {
            Address::Ip(ip) => {
                self.only_with(&["owner", "mode"], "a Unix socket");
                // Port 0 is another free port each time.
                if !is_new && ip.port() != 0 {
                    self.report("address", format!("{address} is given twice; give it once"));
                }
            }
            Address::Inherited(_) => {
                self.only_with(&["owner", "mode"], "a Unix socket that ringmq opens itself");
                if !is_new {
                    self.report("address", format!("{address} is given twice; give it once"));
                }
            }
            Address::Unix(_) => {
                self.only_with(&["connect-rate-source"], "an IP address");
                if !is_new {
                    self.report("address", format!("{address} is given twice; give it once"));
                }
            }
        }
    }

    /// MQTT-SN is spoken over UDP, and nothing else is.
    fn mqtt_sn(&mut self) {
        if self.wrong.contains("transport") || self.wrong.contains("protocol") {
            return;
        }
        let is_udp = self.value.transport == Transport::Udp;
        match (is_udp, self.value.protocol) {
            (false, Protocol::Mqtt) => {
                let names = listener_mqtt_sn::OPTIONS.iter().map(|row| row.option.name);
                let names: Vec<_> = names.collect();
                self.only_with(&names, "protocol = \"mqtt-sn\"");
                return;
            }
            (true, Protocol::MqttSn) => {}
            (true, Protocol::Mqtt) => {
                let text = "\"udp\" carries MQTT-SN only: add protocol = \"mqtt-sn\"";
                self.report("transport", text);
            }
            (false, Protocol::MqttSn) => {
                let text = "\"mqtt-sn\" is spoken over UDP only: add transport = \"udp\"";
                self.report("protocol", text);
            }
        }
        if !matches!(self.value.address, Address::Ip(_)) && !self.wrong.contains("address") {
            self.report("address", "MQTT-SN needs an IP address and a port");
        }
        let settings = &self.value.mqtt_sn;
        let own = match self.value.address {
            Address::Ip(own) => Some(own),
            _ => None,
        };
        let is_group = |group: SocketAddr| {
            let is_same = own.is_none_or(|own| own.is_ipv4() == group.is_ipv4());
            group.ip().is_multicast() && group.port() > 0 && is_same
        };
        let has_group = settings.multicast.is_some();
        let advertises = settings.advertise_s.is_some();
        if settings.multicast.is_some_and(|group| !is_group(group)) {
            let text = "is not a multicast address of the listener's kind and a port, such as 225.1.1.1:1885";
            self.report("sn-multicast", text);
        } else if advertises && !has_group {
            self.report("sn-advertise", "needs a group: set sn-multicast");
        }
        let names = [
            "versions",
            "packet-size-max",
            "proxy-protocol",
            "trusted-proxies",
        ];
        self.only_with(&names, "protocol = \"mqtt\"");
        if self.value.authentication == Some(Authentication::Required) {
            let text = "\"required\" would let nobody in: MQTT-SN has no credentials";
            self.report("authentication", text);
        }
        // What the gateway speaks to the shard.
        self.value.policy.versions = Versions {
            v31: false,
            v311: false,
            v5: true,
        };
    }

    /// Options of TLS need TLS; a certificate needs its key, and client certificates an authority.
    fn tls(&mut self) {
        const TLS: [&str; 9] = [
            "tls-certificate",
            "tls-key",
            "tls-version-min",
            "tls-client-certificate",
            "tls-client-ca",
            "tls-crl",
            "tls-identity",
            "tls-alpn",
            "tls-record-max",
        ];
        if self.wrong.contains("transport") {
            return;
        }
        if !self.value.transport.has_tls() {
            self.only_with(&TLS, "transport = \"tls\", \"wss\" or \"quic\"");
            return;
        }
        let missing: Vec<_> = ["tls-certificate", "tls-key"]
            .into_iter()
            .filter(|name| self.find(name).is_none())
            .collect();
        for name in &missing {
            self.report(name, "is missing: TLS needs it");
        }
        self.alpn();
        let files = &self.value.tls;
        let (certificates, keys) = (files.certificates.len(), files.keys.len());
        let are_good = !self.wrong.contains("tls-certificate") && missing.is_empty();
        if are_good && certificates != keys {
            self.report(
                "tls-key",
                format!("names {keys} keys for {certificates} certificates: give one for each"),
            );
        }
        if self.wrong.contains("tls-client-certificate") {
            return;
        }
        if self.value.tls.settings.client_certificate == ClientCertificate::None {
            let with = "tls-client-certificate = \"optional\" or \"required\"";
            self.only_with(&["tls-client-ca", "tls-crl", "tls-identity"], with);
        } else if self.find("tls-client-ca").is_none() {
            let text = "is missing: it names the authorities whose certificates clients may show";
            self.report("tls-client-ca", text);
        }
    }

    /// QUIC has TLS 1.3 within it, and needs a protocol to be named (RFC 9001 section 8.1).
    fn quic(&mut self) {
        if self.wrong.contains("transport") || self.value.transport != Transport::Quic {
            return;
        }
        if !matches!(self.value.address, Address::Ip(_)) && !self.wrong.contains("address") {
            self.report("address", "QUIC needs an IP address and a port");
        }
        let names = ["proxy-protocol", "tls-version-min", "tls-record-max"];
        self.only_with(&names, "a transport over TCP");
        let alpn = self.value.tls.settings.alpn.as_ref();
        if alpn.is_some_and(Vec::is_empty) && !self.wrong.contains("tls-alpn") {
            let text = "QUIC needs a name that clients ask for, such as \"mqtt\"";
            self.report("tls-alpn", text);
        }
    }

    fn alpn(&mut self) {
        let names = self.value.tls.settings.alpn.iter().flatten();
        let text = names.into_iter().find_map(|name| match name.as_str() {
            ALPN_IGNORE => Some(format!(
                "\"{ALPN_IGNORE}\" stands alone: it takes whatever a client asks for"
            )),
            name if name.len() > ALPN_NAME_MAX => Some(format!(
                "{name:?} is longer than the {ALPN_NAME_MAX} bytes that a name may have in ALPN"
            )),
            _ => None,
        });
        if let Some(text) = text {
            self.report("tls-alpn", text);
        }
    }

    fn websocket(&mut self) {
        if !self.value.transport.has_websocket() {
            let names = ["websocket-path", "websocket-origins"];
            if !self.wrong.contains("transport") {
                self.only_with(&names, "transport = \"ws\" or \"wss\"");
            }
            return;
        }
        let path = &self.value.websocket_path;
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#');
        let is_any = matches!(path.as_str(), "" | "*");
        if !is_any && (!path.starts_with('/') || !path.chars().all(is_plain)) {
            let text = format!(
                "{path:?} is not a path: it begins with \"/\" and has no query; \"*\" takes any"
            );
            self.report("websocket-path", text);
        }
        let is_origin = |origin: &String| {
            let host = origin.split_once("://").map(|(_, host)| host);
            origin == "null" || host.is_some_and(|host| !host.is_empty() && !host.contains('/'))
        };
        let mut origins = self.value.websocket_origins.iter();
        if let Some(wrong) = origins.find(|origin| !is_origin(origin)).cloned() {
            let text = format!(
                "{wrong:?} is not an origin: that is scheme, host and port of a page, without a path"
            );
            self.report("websocket-origins", text);
        }
    }

    /// The PROXY protocol needs trusted proxies; these mean something only with it or with WebSocket.
    fn proxies(&mut self) {
        let listener = &self.value;
        let uses = listener.proxy_protocol || listener.transport.has_websocket();
        if !uses && !self.wrong.contains("transport") && !self.wrong.contains("proxy-protocol") {
            let with = "proxy-protocol = true, or transport = \"ws\" or \"wss\"";
            self.only_with(&["trusted-proxies"], with);
        }
        let list = self.value.trusted_proxies.iter();
        if let Err(error) = Trusted::from_list(list.map(String::as_str)) {
            self.report("trusted-proxies", error.to_string());
        }
        if self.value.proxy_protocol && self.find("trusted-proxies").is_none() {
            let text = "is missing: proxy-protocol = true needs it, or nobody could connect";
            self.report("trusted-proxies", text);
        }
    }

    /// A listener's packet size is at most that of the whole broker.
    fn packet_size(&mut self, broker: &Checked, wrong: &HashSet<&'static str>) {
        let max = broker.limits.packet_size_max;
        let own = self.value.policy.packet_size_max;
        if own.is_some_and(|own| own > max) && !wrong.contains("packet-size-max") {
            let text = format!("is more than packet-size-max of the whole broker ({max} bytes)");
            self.report("packet-size-max", text);
        }
    }

    /// Decides whether clients must authenticate, and whether a listener may be without.
    fn authentication(&mut self, broker: &Checked, wrong: &HashSet<&'static str>) {
        let silent = [
            "address",
            "authentication",
            "transport",
            "tls-client-certificate",
            "allow-anonymous",
        ];
        if silent.iter().any(|name| self.wrong.contains(name)) {
            return;
        }
        let settings = &self.value.tls.settings;
        let asks = match settings.identity {
            Some(_) => settings.client_certificate,
            None => ClientCertificate::None,
        };
        let own = &self.value.policy.files;
        let has_logins = broker.files().has_logins() || own.password_file.is_some();
        let policy = match (self.value.authentication, asks) {
            (None, ClientCertificate::Required) => Authentication::Required,
            (given, _) => given.unwrap_or_default(),
        };
        self.value.policy.authentication = policy;
        if policy == Authentication::Required && self.value.policy.allow_anonymous == Some(true) {
            let text = "means nothing here: the clients of this listener must say who they are";
            self.report("allow-anonymous", text);
        }
        if policy == Authentication::Required && asks == ClientCertificate::None && !has_logins {
            let text = "nobody could connect: there is nothing to authenticate with; give \
                        password-file, or tls-client-certificate and tls-identity, or take \"anonymous\"";
            self.report("authentication", text);
        }
        let is_open = policy == Authentication::Anonymous && !self.value.address.is_local();
        let own = self.value.policy.allow_anonymous;
        let is_meant = own.unwrap_or(broker.allow_anonymous);
        let is_known = own.is_some() || !wrong.contains("allow-anonymous");
        if is_open && !has_logins && !is_meant && is_known {
            let address = &self.value.address;
            let text = format!(
                "{address} can be reached from other machines and its clients need not \
                 authenticate: set password-file, listen on a loopback address or a Unix socket, \
                 require client certificates (tls-client-certificate = \"required\"), or set allow-anonymous = true, \
                 here or for the whole broker, to let anybody in"
            );
            self.report("address", text);
        }
    }
}
